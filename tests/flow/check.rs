//! `system check`: damage is named, and `--repair` heals it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::image::{Image, Tar, digest};
use crate::support::registry::Registry;
use crate::support::{Home, has};

struct Store {
    home: Home,
    registry: Registry,
    reference: String,
    image: Image,
}

impl Store {
    fn new() -> Self {
        let (registry, home) = (Registry::new(), Home::new());
        let image = Image::of(&[
            Tar::new().directory("d", 0o755).file("d/a", "one\n").file("b", "two\n").finish(),
            Tar::new().file("d/.wh.a", "").hardlink("c", "b").symlink("l", "b").finish(),
        ]);
        let reference = registry.push("app", "1", &image);
        home.coracle(["pull", "-q", &reference]).ok();
        has(&home.coracle(["system", "check"]).ok(), &["no damage: 1 images, 4 blobs, 2 unpacked"]);
        Self { home, registry, reference, image }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.home.store().join("blobs/sha256").join(&digest[7..])
    }

    /// The tree of the layer that has this file.
    fn tree(&self, file: &str) -> PathBuf {
        let owners = fs::read_dir(self.home.store().join("layers")).unwrap().next().unwrap();
        let layers = fs::read_dir(owners.unwrap().path()).unwrap();
        let trees = layers.map(|layer| layer.unwrap().path().join("fs"));
        let mut having = trees.filter(|tree| tree.join(file).symlink_metadata().is_ok());
        having.next().unwrap()
    }

    /// The check names `parts`, a repair heals, and then all is well.
    fn heals(&self, parts: &[&str]) {
        let output = self.home.coracle(["system", "check"]).output();
        assert_eq!(output.code(), 1, "{output}");
        has(&output.stdout, parts);
        let output = self.home.coracle(["system", "check", "--repair", "-q"]).output();
        assert_eq!(output.code(), 0, "{output}");
        has(&output.stdout, &["repaired: ", "no damage: 1 images, 4 blobs, 2 unpacked layers"]);
        self.home.coracle(["inspect", &self.reference]).ok();
        self.home.coracle(["save", "-o", "again.tar", &self.reference]).ok();
    }
}

#[test]
fn blobs_are_named_and_fetched_again() {
    let store = Store::new();
    let layer = store.blob(&digest(&store.image.layers[0]));
    let config = store.blob(&digest(&store.image.config));
    let manifest = store.blob(&digest(store.image.manifest.to_string().as_bytes()));
    for blob in [layer, config, manifest] {
        let name = format!("blobs/sha256/{}", blob.file_name().unwrap().display());
        fs::write(&blob, "").unwrap();
        store.heals(&[&name]);
        fs::remove_file(&blob).unwrap();
        store.heals(&[&name, "app:1"]);
    }
    // The right size, and another content.
    let layer = store.blob(&digest(&store.image.layers[1]));
    let mut bytes = fs::read(&layer).unwrap();
    bytes[20] ^= 1;
    fs::write(&layer, bytes).unwrap();
    assert_eq!(store.home.coracle(["system", "check", "--quick"]).output().code(), 0);
    store.heals(&["its content does not match its name"]);
}

type Harm = fn(&Path);

#[test]
fn trees_are_compared_with_their_blobs_and_unpacked_again() {
    let store = Store::new();
    let harms: [(&str, &str, Harm); 6] = [
        ("b", "b: its size", |tree| fs::write(tree.join("b"), "").unwrap()),
        ("d/a", "d/a: it is missing", |tree| fs::remove_file(tree.join("d/a")).unwrap()),
        ("b", "thesis.txt: it belongs to no entry", |tree| {
            fs::write(tree.join("thesis.txt"), "x").unwrap();
        }),
        ("l", "l: it is missing", |tree| fs::remove_file(tree.join("l")).unwrap()),
        ("b", "d: its mode", |tree| {
            fs::set_permissions(tree.join("d"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("l", "it is not whole", |tree| fs::write(tree.join("../layer.json"), "").unwrap()),
    ];
    let asked = store.registry.blob_requests();
    for (layer, want, harm) in harms {
        harm(&store.tree(layer));
        store.heals(&["layers/", want, "app:1"]);
    }
    fs::remove_dir_all(store.tree("l").parent().unwrap()).unwrap();
    store.heals(&["layers/", "it is missing"]);
    assert_eq!(store.registry.blob_requests(), asked, "the blobs were here");
}

#[test]
fn records_and_names_come_again() {
    let store = Store::new();
    let id = digest(&store.image.config);
    let record = store.home.store().join("images").join(format!("{}.json", &id[7..]));
    fs::write(&record, "").unwrap();
    store.heals(&["images/"]);
    fs::remove_file(&record).unwrap();
    store.heals(&["tags/", "which is not here"]);
}

#[test]
fn what_cannot_be_fetched_again_is_said() {
    let store = Store::new();
    let other = Home::new();
    store.home.coracle(["tag", &store.reference, "mine:1"]).ok();
    store.home.coracle(["save", "-o", "s.tar", "mine:1"]).ok();
    let saved = store.home.path().join("s.tar");
    other.coracle(["load", "-q", "-i", saved.to_str().unwrap()]).ok();
    other.coracle(["tag", "mine:1", "127.0.0.1:1/mine:1"]).ok();
    other.coracle(["untag", "mine:1", "mine:1"]).ok();
    let blob = other.store().join("blobs/sha256").join(
        &store.home.coracle(["inspect", "-f", "{{index .RootFS.Layers 0}}", "mine:1"]).ok()[7..],
    );
    fs::write(&blob, "").unwrap();
    let output = other.coracle(["system", "check", "--repair", "-q"]).output();
    assert_eq!(output.code(), 1, "{output}");
    has(&output.stdout, &["still damaged:"]);
    has(&output.stderr, &["127.0.0.1:1/mine:1 could not be brought again"]);
}
