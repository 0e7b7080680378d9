//! Containers whose ids are not those that the image was unpacked with, and accounts made for them.

use super::{home_with_tree, run, sh};
use crate::requires;
use crate::support::has;
use crate::support::needs::pass;

/// What is shown and kept of owners is what the container sees.
#[test]
fn owners_are_those_that_the_container_sees() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    if pass() != "range" {
        return; // one id is nobody else's
    }
    let (home, image) = home_with_tree();
    let keep = ["--userns", "keep-id", "-u", "0", "--passwd=false"];
    let script = "cd /t; echo new >new; chown 33:42 new; chown 9 kept/f; echo more >>linked";
    run(&home, &[&keep[..], &["--name", "keep"]].concat(), &image, script);
    let changes = home.coracle(["diff", "keep"]).ok();
    assert_eq!(changes, "C /t\nC /t/kept\nC /t/kept/f\nC /t/linked\nA /t/new\nC /t/other");
    home.coracle(["commit", "-q", "keep", "local/keep:1"]).ok();
    let look = "cd /t; stat -c '%n %u:%g' new kept kept/f linked; stat -c %u:%g link";
    let owners = "new 33:42\nkept 7:8\nkept/f 9:0\nlinked 0:0\n5:6";
    assert_eq!(sh(&home, &[], "local/keep:1", look), owners);
    assert_eq!(sh(&home, &keep, "local/keep:1", look), owners);
    let root = tempfile::tempdir().unwrap();
    let tar = root.path().join("keep.tar");
    home.coracle(["export", "-o", &tar.display().to_string(), "keep"]).ok();
    let mut list = std::process::Command::new("tar");
    let listed = list.args(["--numeric-owner", "-tvf"]).arg(&tar).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let owner_of = |name: &str| {
        let line = listed.lines().find(|line| line.ends_with(&format!(" {name}")));
        line.and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned)
    };
    for (name, owner) in [("t/new", "33/42"), ("t/kept/f", "9/0"), ("bin/busybox", "0/0")] {
        assert_eq!(owner_of(name).as_deref(), Some(owner), "{name}");
    }
    let archive = home.coracle(["cp", "keep:/t/new", "-"]).output().stdout;
    has(&archive, &["ustar", "0000041\u{0}"]); // 33, octal
}

/// Volumes and mounts of an image's files have the owners that the image gives them.
#[test]
fn copies_of_an_images_files_are_whose_they_are() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    if pass() != "range" {
        return;
    }
    let (home, image) = home_with_tree();
    let look = "cd /v; stat -c %u:%g . kept; stat -c %u:%g link";
    let keep = ["--userns", "keep-id", "-u", "0"];
    let filled = [&keep[..], &["-v", "data:/t"]].concat();
    let script = look.replace("/v", "/t");
    assert_eq!(sh(&home, &filled, &image, &script), "0:0\n7:8\n5:6");
    for more in ["", ",readonly", ",subpath=t"] {
        let mount = format!("type=image,source={image},target=/v{more}");
        let script = if more == ",subpath=t" { look } else { &look.replace("/v", "/v/t") };
        let flags = [&keep[..], &["--mount", &mount]].concat();
        assert_eq!(sh(&home, &flags, &image, script), "0:0\n7:8\n5:6", "{more}");
    }
}

/// An account that a container gets because its user has none is nothing that it has changed.
#[test]
fn an_account_for_an_unknown_user_is_no_change() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    run(&home, &["--name", "own", "-u", "4711:4712"], &image, "id -un >/tmp/who || exit 0");
    let changes = home.coracle(["diff", "own"]).ok();
    assert!(!changes.contains("/etc"), "{changes}");
    home.coracle(["start", "-a", "own"]).ok();
    assert_eq!(home.coracle(["diff", "own"]).ok(), changes);
    home.coracle(["commit", "-q", "own", "local/own:1"]).ok();
    let accounts = "grep -c 471 /etc/passwd || :";
    assert_eq!(sh(&home, &["--passwd=false"], "local/own:1", accounts), "0");
    // With a change of its own the file is one.
    let script = "echo me:x:1:1::/:/bin/sh >>/etc/passwd";
    run(&home, &["--name", "more", "--passwd-entry", "x:*:0:0::/:/bin/sh"], &image, script);
    has(&home.coracle(["diff", "more"]).ok(), &["C /etc\nC /etc/passwd"]);
}
