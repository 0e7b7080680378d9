//! install.sh, from a given binary to nothing left.

use std::path::Path;
use std::process::Command;

use crate::support::{binary, source};

fn install(prefix: &Path, arguments: &[&str]) -> String {
    let output = Command::new("/bin/sh")
        .arg(source("install.sh"))
        .arg("--prefix")
        .arg(prefix)
        .args(arguments)
        // Where cp and mkdir are: the suite's own PATH is bare.
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn what_is_installed_is_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let binary = binary();
    let binary = binary.to_str().unwrap();
    for _ in 0..2 {
        let said = install(home.path(), &["--binary", binary]);
        assert!(said.contains("manual pages"), "{said}");
    }
    for file in [
        "bin/coracle",
        "share/man/man1/coracle-run.1",
        "share/bash-completion/completions/coracle",
        "share/zsh/site-functions/_coracle",
        "share/fish/vendor_completions.d/coracle.fish",
    ] {
        assert!(home.path().join(file).is_file(), "{file}");
    }
    install(home.path(), &["--uninstall"]);
    let left =
        Command::new("/usr/bin/find").arg(home.path()).args(["-type", "f"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
}
