//! Images, registries and archives that mean harm. Each attack is refused or contained: the
//! command ends soon, without a panic, and nothing outside the store has changed.

mod archives;
mod contents;
mod copy;
mod documents;
mod escape;
mod layers;
mod start;
mod transport;
mod trust;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::image::Image;
use crate::support::registry::Registry;
use crate::support::{Home, Output, listing};

/// A home with something to lose beside its store.
pub struct Victim {
    pub home: Home,
    pub registry: Registry,
    canary: PathBuf,
    before: String,
}

const SECRET: &str = "the host's own\n";

impl Victim {
    pub fn new() -> Self {
        let home = Home::new();
        let canary = home.path().join("canary");
        home.write("canary/secret", SECRET);
        home.write("canary/directory/inside", SECRET);
        fs::set_permissions(canary.join("directory"), fs::Permissions::from_mode(0o750)).unwrap();
        let before = listing(&canary);
        Self { home, registry: Registry::new(), canary, before }
    }

    /// The absolute path of what must not be touched, or something below it.
    pub fn path(&self, below: &str) -> String {
        format!("{}{below}", self.canary.display())
    }

    /// Pull an image of these archives: it ends in time, and with a code that says so.
    pub fn pull(&self, archives: &[Vec<u8>]) -> Output {
        self.pull_image(&Image::of(archives))
    }

    pub fn pull_image(&self, image: &Image) -> Output {
        let reference = self.registry.push("evil", "1", image);
        let output = self.home.coracle(["pull", "-q", &reference]).timeout_s(20).output();
        self.unharmed(&output);
        output
    }

    /// The same, where only a refusal will do; gives the message.
    pub fn refuses(&self, image: &Image) -> String {
        let images = || self.home.coracle(["images", "-q", "--no-trunc"]).ok();
        let before = images();
        let output = self.pull_image(image);
        let config = String::from_utf8_lossy(&image.config[..image.config.len().min(2000)]);
        let what = format!("{output}\n{:#}\n{config}", image.manifest);
        assert_eq!(output.code(), 1, "accepted: {what}");
        assert_eq!(images(), before, "half an image shows: {what}");
        output.fails(1)
    }

    pub fn unharmed(&self, output: &Output) {
        assert!([0, 1, 125, 126, 127].contains(&output.code()), "{output}");
        assert!(!output.stderr.contains("panicked"), "{output}");
        assert_eq!(listing(&self.canary), self.before, "the host was changed by {output}");
        for name in ["secret", "directory/inside"] {
            assert_eq!(fs::read_to_string(self.canary.join(name)).unwrap(), SECRET, "{output}");
        }
        // Nothing new beside the store either.
        for entry in fs::read_dir(self.home.path()).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let known = ["canary", "run", ".local", ".cache", ".config"];
            assert!(known.contains(&name.as_str()), "{name} appeared: {output}");
        }
    }
}
