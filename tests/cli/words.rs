//! Words and exit codes that scripts depend on.

use crate::support::{Home, has};

#[test]
fn usage_mistakes_exit_125() {
    let home = Home::new();
    for words in [
        &["run", "--nope", "x"][..],
        &["run"],
        &["nope"],
        &["container", "nope"],
        &["ps", "--filter", "nope=1"],
        &["run", "-v", "na/med:/x", "x"],
    ] {
        let run = home.coracle(words).output();
        assert_eq!(run.code(), 125, "{words:?}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: "), "{words:?}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn missing_objects_exit_1() {
    let home = Home::new();
    let inspect = home.coracle(["inspect", "nope"]).output();
    assert_eq!((inspect.code(), inspect.stdout.trim()), (1, "[]"));
    assert_eq!(inspect.stderr.trim(), "error: No such object: nope");
    let rm = home.coracle(["rm", "nope"]).output();
    assert_eq!((rm.code(), rm.stderr.trim()), (1, "error: No such container: nope"));
    assert_eq!(home.coracle(["rm", "-f", "nope"]).output().code(), 0);
    let rmi = home.coracle(["rmi", "nope"]).output();
    assert_eq!((rmi.code(), rmi.stderr.trim()), (1, "error: No such image: nope"));
}

#[test]
fn empty_lists_are_headings() {
    let home = Home::new();
    let images = home.coracle(["images"]).ok();
    let images = images.trim_end();
    assert_eq!(images, "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE");
    assert_eq!(home.coracle(["image", "ls"]).ok(), images);
    assert_eq!(home.coracle(["ps", "-aq"]).ok(), "");
    assert_eq!(home.coracle(["container", "ls", "--format", "json"]).ok(), "");
}

#[test]
fn the_version_is_the_package_s() {
    let home = Home::new();
    let version = env!("CARGO_PKG_VERSION");
    assert!(home.coracle(["version"]).ok().starts_with(&format!("coracle {version} (linux/")));
    assert_eq!(home.coracle(["version", "-f", "{{.Client.Version}}"]).ok(), version);
    for flag in ["--version", "-V", "-v"] {
        assert_eq!(home.coracle([flag]).ok(), format!("coracle {version}"));
    }
}

#[test]
fn mistakes_have_suggestions() {
    let home = Home::new();
    let run = home.coracle(["imgaes"]).output();
    assert!(run.stderr.contains("'images'"), "{}", run.stderr);
    let run = home.coracle(["version", "-f", "{{.version}}{{.Clint}}"]).output();
    assert!(run.stderr.contains("Clint"), "{}", run.stderr);
}

#[test]
fn a_home_that_takes_nothing_is_told_with_what_helps() {
    // Nobody makes anything there, root neither.
    let told = Home::new().coracle(["images"]).env("HOME", "/proc").fails(1);
    has(&told, &["cannot make /proc/.local/share/coracle", "CORACLE_ROOT"]);
}

#[test]
fn commands_that_there_are_not_say_why() {
    let told = Home::new().coracle(["build", "-t", "app", "."]).fails(125);
    has(&told, &["there is no coracle build: coracle runs images and builds none", "commit"]);
    let told = Home::new().coracle(["-H", "unix:///run/docker.sock", "ps"]).fails(125);
    has(&told, &["-H cannot be honoured", "works on this host"]);
}
