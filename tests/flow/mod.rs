//! From pull to exit, as a user types it.

mod archives;
mod artifact;
mod background;
mod check;
mod commands;
mod content;
mod contents;
mod crash;
mod exec;
mod explain;
mod fast;
mod files;
mod given;
mod hello;
mod ids;
mod isolation;
mod lifecycle;
mod limits;
mod login;
mod loops;
mod manifest;
mod namespaces;
mod nested;
mod network;
mod networks;
mod oci;
mod outside;
pub mod podman;
mod process;
mod pull;
mod push;
mod registries;
mod root;
mod saved;
mod terminal;
mod trust;
mod unpack;
mod users;
mod volumes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::support::image::{Image, Tar, digest};
use crate::support::registry::Registry;
use crate::support::{Home, Run, busybox, image};

/// Pull an image into the shared home, once for all tests, and give its reference.
pub fn pulled(name: &str, tag: &str) -> String {
    static DONE: OnceLock<Mutex<HashMap<String, Arc<OnceLock<()>>>>> = OnceLock::new();
    let reference = image(name, tag);
    let once = {
        let mut done = DONE.get_or_init(Mutex::default).lock().unwrap();
        Arc::clone(done.entry(reference.clone()).or_default())
    };
    once.get_or_init(|| {
        Home::shared().coracle(["pull", "-q", &reference]).ok();
    });
    reference
}

/// `coracle run --rm --network none FLAGS… busybox COMMAND…` in the shared home.
pub fn run(flags: &[&str], command: &[&str]) -> Run {
    run_image(&pulled("busybox", "latest"), flags, command)
}

pub fn run_image(image: &str, flags: &[&str], command: &[&str]) -> Run {
    let first = ["run", "--rm", "--network", "none"];
    let says = flags.iter().any(|flag| matches!(flag.split('=').next(), Some("--network")));
    let first = if says { &first[..2] } else { &first };
    Home::shared().coracle(first.iter().chain(flags).chain([&image]).chain(command))
}

/// What a shell script prints in a container.
pub fn sh(flags: &[&str], script: &str) -> String {
    run(flags, &["sh", "-c", script]).ok()
}

/// A private home that has the busybox image.
pub fn home_with_busybox() -> (Home, String) {
    let home = Home::new();
    let image = busybox();
    home.coracle(["pull", "-q", &image]).ok();
    (home, image)
}

/// An image of one layer, pulled as `app:packed`; and the same layer and configuration, shipped as it
/// is and pulled after it as `app:plain`.
fn in_two_packings(registry: &Registry, home: &Home) -> (Image, Image) {
    let tar = Tar::new().file("f", "x\n").finish();
    let packed = Image::of(std::slice::from_ref(&tar));
    let mut plain = packed.clone();
    plain.manifest["layers"][0] = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": digest(&tar), "size": tar.len(),
    });
    plain.layers = vec![tar];
    for (tag, image) in [("packed", &packed), ("plain", &plain)] {
        home.coracle(["pull", "-q", &registry.push("app", tag, image)]).ok();
    }
    (packed, plain)
}
