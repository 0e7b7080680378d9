//! What is in a container: `diff`, `export`, `commit`, `cp`.

mod commit;
mod copy;
mod ids;
mod layer;

use crate::support::Home;

/// A home with busybox and an image of a known tree below /t, made by `commit`.
fn home_with_tree() -> (Home, String) {
    let (home, busybox) = super::home_with_busybox();
    let script = "mkdir -p /t/gone /t/kept /t/emptied /t/deep/er; touch /t/gone/a /t/gone/b; \
        touch /t/emptied/1 /t/emptied/2 /t/emptied/3; echo old >/t/kept/f; echo two >/t/linked; \
        ln /t/linked /t/other; ln -s kept /t/link; chown -h 5:6 /t/link; chown 7:8 /t/kept; \
        echo same >/t/deep/er/same; echo short >/t/replaced; mkdir /t/dir; touch /t/dir/in";
    run(&home, &["--name", "tree"], &busybox, script);
    home.coracle(["commit", "-q", "tree", "local/tree:1"]).ok();
    (home, "local/tree:1".to_owned())
}

/// Runs a shell script to its end in a container that stays.
fn run(home: &Home, flags: &[&str], image: &str, script: &str) -> String {
    let first = ["run", "--network", "none"];
    home.coracle(first.iter().chain(flags).chain(&[image, "sh", "-ec", script])).ok()
}

/// What a script prints in a container that goes.
fn sh(home: &Home, flags: &[&str], image: &str, script: &str) -> String {
    run(home, &[&["--rm"], flags].concat(), image, script)
}
