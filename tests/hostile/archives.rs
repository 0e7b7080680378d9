//! Archives and directories for `load` that want to be unpacked: their members are read by name from
//! where they lie, and a link leads to another member or nowhere.

use serde_json::json;

use super::Victim;
use crate::support::image::{Entry, Image, Tar, digest};

fn good() -> Image {
    Image::of(&[Tar::new().file("f", "one\n").finish()])
}

/// One of docker's archives, whose members stand under these names.
fn docker(image: &Image, config: &str, layer: &str) -> Tar {
    let manifest = json!([{"Config": config, "RepoTags": ["evil:1"], "Layers": [layer]}]);
    Tar::new().file("manifest.json", &manifest.to_string()).entry(&Entry {
        name: b"c.json",
        data: &image.config,
        ..Entry::default()
    })
}

/// An OCI layout in an archive.
fn layout(image: &Image) -> Tar {
    let manifest = image.manifest.to_string();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(manifest.as_bytes()), "size": manifest.len()}]});
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
    let tar = Tar::new()
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", &index.to_string())
        .file(&blob(manifest.as_bytes()), &manifest);
    [&image.config, &image.layers[0]].into_iter().fold(tar, |tar, bytes| {
        tar.pax(&[("path", blob(bytes).as_bytes())]).entry(&Entry {
            name: b"x",
            data: bytes,
            ..Entry::default()
        })
    })
}

fn load(victim: &Victim, archive: Vec<u8>) -> bool {
    victim.home.write("canary/../run/archive.tar", archive);
    let path = victim.home.path().join("run/archive.tar").display().to_string();
    let output = victim.home.coracle(["load", "-q", "-i", &path]).timeout_s(20).output();
    std::fs::remove_file(&path).unwrap();
    victim.unharmed(&output);
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
    output.code() == 0
}

#[test]
fn members_that_lead_to_the_host() {
    let victim = Victim::new();
    let image = good();
    let secret = victim.path("/secret");
    assert!(load(&victim, layout(&image).finish()), "a right one");
    let climb = format!("{}{secret}", "../".repeat(12));
    for name in [secret.as_str(), &climb, "/proc/self/environ", "/etc/passwd"] {
        // As what the archive says a member is called.
        assert!(!load(&victim, docker(&image, name, "l.tar").finish()), "{name}");
        assert!(!load(&victim, docker(&image, "c.json", name).finish()), "{name}");
        // As where a link leads: `blobs`, `index.json`, a layer.
        for member in ["index.json", "oci-layout", "manifest.json", "blobs", "blobs/sha256"] {
            let link = |tar: Tar| tar.pax(&[("linkpath", name.as_bytes())]).symlink(member, "x");
            assert!(!load(&victim, link(Tar::new()).finish()), "{member} to {name}");
            load(&victim, link(layout(&image)).finish());
        }
        let layer = docker(&image, "c.json", "l.tar");
        let link = layer.pax(&[("linkpath", name.as_bytes())]).symlink("l.tar", "x");
        assert!(!load(&victim, link.finish()), "{name}");
    }
    let secret = std::fs::read_to_string(victim.path("/secret")).unwrap();
    let kept = victim.home.listing();
    assert!(!kept.contains(&digest(secret.as_bytes())[7..]), "the secret was taken in:\n{kept}");
}

#[test]
fn members_in_a_circle_and_without_end() {
    let victim = Victim::new();
    let image = good();
    for tar in [
        Tar::new().symlink("manifest.json", "manifest.json"),
        Tar::new().symlink("manifest.json", "a").symlink("a", "manifest.json"),
        Tar::new().hardlink("index.json", "index.json"),
        Tar::new().entry(&Entry { name: b"manifest.json", kind: b'6', ..Entry::default() }),
        Tar::new().directory("manifest.json", 0o755).directory("index.json", 0o755),
        Tar::new().file("manifest.json", &"[".repeat(100_000)),
        Tar::new().file("manifest.json", &" ".repeat(12 << 20)),
        Tar::new().file("manifest.json", "[]").file("index.json", "{}"),
        Tar::new()
            .file("manifest.json", r#"[{"Config":"c","RepoTags":["\u001b[2J"],"Layers":[]}]"#),
        docker(&image, "c.json", "manifest.json"),
        docker(&image, "\u{1b}[2J", "l.tar"),
        Tar::new(),
    ] {
        assert!(!load(&victim, tar.finish()));
    }
    let lying = Entry { name: b"manifest.json", size: Some(b"77777777777\0"), ..Entry::default() };
    assert!(!load(&victim, Tar::new().entry(&lying).finish()));
    assert!(!load(&victim, b"\x1f\x8b garbage".to_vec()));
    assert!(!load(&victim, b"\x28\xb5\x2f\xfd garbage".to_vec()));
    assert_eq!(victim.home.coracle(["images", "-q"]).ok(), "");
}

/// A directory is the user's own, and may have been unpacked from anywhere: what is no regular file
/// is not waited for, and what is linked must have the digest that names it.
#[test]
fn directories_with_traps() {
    let victim = Victim::new();
    let make = |name: &str| {
        let directory = victim.home.path().join("run").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        directory
    };
    let load = |directory: &std::path::Path| {
        let path = directory.display().to_string();
        let output = victim.home.coracle(["load", "-q", "-i", &path]).timeout_s(20).output();
        victim.unharmed(&output);
        output.fails(1)
    };
    let pipe = make("pipe");
    std::fs::write(pipe.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        pipe.join("index.json"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    load(&pipe);
    let linked = make("linked");
    let image = good();
    let manifest = image.manifest.to_string();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(manifest.as_bytes()), "size": manifest.len()}]});
    std::fs::write(linked.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(linked.join("index.json"), index.to_string()).unwrap();
    std::fs::create_dir_all(linked.join("blobs/sha256")).unwrap();
    let blob = linked.join("blobs/sha256").join(&digest(manifest.as_bytes())[7..]);
    std::os::unix::fs::symlink(victim.path("/secret"), blob).unwrap();
    assert!(load(&linked).contains("want sha256:"));
}
