//! The image in the binary: no registry, no set-up.

use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, binary, has, image};

#[test]
fn it_runs_from_nothing() {
    requires!(UserNamespaces);
    let home = Home::new();
    let text = home.coracle(["run", "hello"]).ok();
    has(&text.to_lowercase(), &["coracle"]);
    // What it promises to tell.
    has(&text.to_lowercase(), &["root", "network"]);
    home.coracle(["run", "--rm", "hello"]).ok();
    // It is an image like any other from then on.
    has(&home.coracle(["images"]).ok(), &["hello"]);
}

/// With no home directory to speak of, as in the poorest CI job.
#[test]
fn it_runs_with_a_bare_environment() {
    requires!(UserNamespaces);
    let home = Home::new();
    let mut run = home.coracle(["--root", "./store", "run", "--rm", "hello"]);
    run.command.env_clear();
    run.ok();
    assert!(home.path().join("store").is_dir());
}

#[test]
fn it_runs_inside_itself() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let home = Home::new();
    let program = format!("{}:/bin/coracle:ro", binary().display());
    let inside = |more: &[&str]| {
        let first = [
            "run",
            "--rm",
            "--privileged",
            "--network",
            "host",
            "-v",
            &program,
            "--tmpfs",
            "/root",
        ];
        let busybox = image("busybox", "latest");
        home.coracle(first.iter().chain([&busybox.as_str(), &"coracle"]).chain(more)).ok()
    };
    has(&inside(&["run", "--rm", "hello"]).to_lowercase(), &["coracle"]);
    if pass() != "own" {
        // And a real image, pulled inside.
        let busybox = image("busybox", "latest");
        assert_eq!(inside(&["run", "--rm", "--network", "none", &busybox, "echo", "deep"]), "deep");
    }
}
