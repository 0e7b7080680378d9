//! Artifacts: files in a registry that are no image.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::push::scratch;
use crate::requires;
use crate::support::image::digest;
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, has};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(home: &Home, name: &str) -> Value {
    let text = home.coracle(["artifact", "inspect", name]).ok();
    serde_json::from_str::<Value>(&text).unwrap()["Manifest"].clone()
}

#[test]
fn files_are_made_an_artifact_sent_fetched_and_written_out() {
    requires!(Registry);
    let home = Home::new();
    let (one, two) = (home.write("in/a.txt", "one\n"), home.write("in/b.json", "{}"));
    let name = format!("{}:1", scratch("things"));
    let made = home
        .coracle(["artifact", "add", "--type", "application/x-thing", &name, one.to_str().unwrap()])
        .ok();
    let flags = ["--append", "--file-type", "application/json", "--annotation", "k=v"];
    let words = ["artifact", "add"].iter().chain(&flags).copied();
    let appended = home.coracle(words.chain([&*name, two.to_str().unwrap()])).ok();
    assert_ne!(made, appended);
    let has_it = manifest(&home, &name);
    assert_eq!(has_it["artifactType"], "application/x-thing");
    assert_eq!(has_it["config"]["digest"], digest(b"{}"));
    assert_eq!(
        has_it["layers"][1],
        json!({
            "mediaType": "application/json", "digest": digest(b"{}"), "size": 2,
            "annotations": {"k": "v", "org.opencontainers.image.title": "b.json"},
        })
    );
    home.coracle(["artifact", "add", &name, one.to_str().unwrap()]).fails(1);
    home.coracle(["artifact", "add", "--append", &name, one.to_str().unwrap()]).fails(1);
    home.coracle(["artifact", "add", "--append", "no:1", one.to_str().unwrap()]).fails(1);
    home.coracle(["artifact", "add", "dir:1", home.path().to_str().unwrap()]).fails(1);
    let pushed = home.coracle(["artifact", "push", &name]).ok();
    has(&pushed, &[&format!("1: digest: sha256:{appended} size: ")]);
    let other = Home::new();
    assert_eq!(other.coracle(["artifact", "pull", "-q", &name]).ok(), appended);
    let repository = scratch("things");
    let listed = other.coracle(["artifact", "ls"]).ok();
    let line: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line, [&*repository, "1", &appended[..12], "6B"]);
    // It stays when all else is swept, and is whole.
    other.coracle(["system", "prune", "-af"]).ok();
    has(&other.coracle(["system", "check"]).ok(), &["no damage"]);
    let out = other.path().join("out");
    fs::create_dir(&out).unwrap();
    other.coracle(["artifact", "extract", &appended[..12], out.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(out.join("a.txt")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(out.join("b.json")).unwrap(), "{}");
    let file = other.path().join("file");
    let error = other.coracle(["artifact", "extract", &name, file.to_str().unwrap()]).fails(1);
    has(&error, &["it has 2 files", "--title or --digest"]);
    let words = ["artifact", "extract", "--title", "a.txt", &name, file.to_str().unwrap()];
    other.coracle(words).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
    let words = ["artifact", "extract", "--title", "a.txt", &name, "/dev/stdout"];
    assert_eq!(other.coracle(words).ok(), "one", "a pipe is written to");
    let by_digest = digest(b"one\n");
    let words = ["artifact", "extract", "--digest", &by_digest, &name, file.to_str().unwrap()];
    other.coracle(words).ok();
    let error = other.coracle(["artifact", "extract", "--title", "c", &name, "x"]).fails(1);
    has(&error, &["has no file \"c\"", "\"a.txt\""]);
    assert_eq!(other.coracle(["artifact", "rm", &name]).ok(), appended);
    assert_eq!(fs::read_dir(other.store().join("blobs/sha256")).unwrap().count(), 0);
    has(&other.coracle(["artifact", "rm", &name]).fails(1), &["artifact does not exist"]);
    // It is no image, and said to be none.
    has(&other.coracle(["pull", &name]).fails(1), &["it is an artifact (application/x-thing)"]);
}

/// An artifact of a stranger's, with files under these titles.
fn strange(registry: &Registry, tag: &str, titles: &[&str]) -> String {
    registry.put_blob("a", &digest(b"{}"), b"{}");
    registry.put_blob("a", &digest(b"evil"), b"evil");
    let layer = |title: &&str| {
        json!({
            "mediaType": "text/plain", "digest": digest(b"evil"), "size": 4,
            "annotations": {"org.opencontainers.image.title": title},
        })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "x/\u{1b}[31my",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": titles.iter().map(layer).collect::<Vec<Value>>(),
    });
    registry.put_manifest("a", tag, MANIFEST, manifest.to_string().as_bytes());
    registry.reference("a", tag)
}

#[test]
fn a_title_leads_out_of_no_directory() {
    let (registry, home) = (Registry::new(), Home::new());
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let odd = ["../evil", "/tmp/evil", "a/b", "..", ".", "", "a\u{1b}[2Jb", "a\nb"];
    for (tag, title) in odd.iter().enumerate() {
        let name = strange(&registry, &format!("t{tag}"), &["good", title]);
        home.coracle(["artifact", "pull", "-q", &name]).ok();
        let error = home.coracle(["artifact", "extract", &name, out.to_str().unwrap()]).fails(1);
        has(&error, &["has a file that calls itself", "--digest"]);
        assert!(!error.contains('\u{1b}'), "{error}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "nothing is written by halves");
    }
    let name = strange(&registry, "twice", &["same", "same"]);
    home.coracle(["artifact", "pull", "-q", &name]).ok();
    home.coracle(["artifact", "extract", &name, out.to_str().unwrap()]).fails(1);
    // A link in the directory is replaced and not followed.
    let name = strange(&registry, "link", &["good"]);
    home.coracle(["artifact", "pull", "-q", &name]).ok();
    let victim = home.write("victim", "mine");
    symlink(&victim, out.join("good")).unwrap();
    home.coracle(["artifact", "extract", &name, out.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(fs::read_to_string(out.join("good")).unwrap(), "evil");
}

#[test]
fn a_registry_that_lies_leaves_no_artifact() {
    let home = Home::new();
    let liar = Registry::with(|request, reply| match request.is_blob() {
        true => Reply::new(200, "wrong"),
        false => reply,
    });
    let name = strange(&liar, "1", &["file"]);
    has(&home.coracle(["artifact", "pull", "-q", &name]).fails(1), &["want sha256:"]);
    assert_eq!(home.coracle(["artifact", "ls", "-q"]).ok(), "");
    let registry = Registry::new();
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    registry.put_manifest("a", "i", "application/vnd.oci.image.index.v1+json", index);
    let error = home.coracle(["artifact", "pull", "-q", &registry.reference("a", "i")]).fails(1);
    has(&error, &["it is an index of several"]);
    // A connection that breaks goes on; what was damaged later is told and fetched again.
    let name = strange(&registry, "1", &["file"]);
    home.coracle(["artifact", "pull", "-q", &name]).ok();
    let blob = home.store().join(digest(b"evil").replace("sha256:", "blobs/sha256/"));
    fs::write(&blob, "ev1l").unwrap();
    home.coracle(["artifact", "extract", &name, "out"]).fails(1);
    assert!(!home.path().join("out").exists());
    let told = home.coracle(["system", "check"]).output();
    assert_eq!(told.code(), 1);
    has(&told.stdout, &["its content does not match its name", &name]);
    has(&home.coracle(["system", "check", "--repair"]).ok(), &["repaired: 1"]);
    home.coracle(["artifact", "extract", &name, "out"]).ok();
}

/// The policy file is for all that comes from a registry.
#[test]
fn what_the_policy_rejects_is_not_fetched() {
    let (registry, home) = (Registry::new(), Home::new());
    let name = strange(&registry, "1", &["file"]);
    home.write(".config/containers/policy.json", r#"{"default":[{"type":"reject"}]}"#);
    has(&home.coracle(["artifact", "pull", "-q", &name]).fails(1), &["policy.json"]);
    assert_eq!(registry.blob_requests(), 0);
    assert_eq!(home.coracle(["artifact", "ls", "-q"]).ok(), "");
}
