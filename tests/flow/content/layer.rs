//! Changes to a layer, and all of a root to an archive.

use std::process::Command;

use super::{home_with_tree, run};
use crate::drivers::DRIVERS;
use crate::requires;
use crate::support::{Home, has};

/// Changes of every kind, all at one time.
const CHANGES: &str = "cd /t; mkdir -p n/sub; echo data >n/f; ln n/f n/hard; ln -s f n/l; mkfifo n/p; \
    chown 33:42 n/f; chmod 4755 n/f; chown -h 5:6 n/l; mkdir n/private; chmod 700 n/private; \
    rm -r gone; rm emptied/1 emptied/2 emptied/3; echo longer >>kept/f; chmod 600 deep/er/same; \
    rm replaced; mkdir replaced; echo in >replaced/in; rm -r dir; echo file >dir; \
    chmod 600 linked; chmod 644 linked; \
    printf x >$(head -c 120 /dev/zero | tr '\\0' n); \
    find n emptied kept deep replaced dir nnn* | xargs touch -h -d @1700000000; touch -d @1700000000 .";

const DIFFERENCES: &str = "C /t\nC /t/deep\nC /t/deep/er\nC /t/deep/er/same\nC /t/dir\nC /t/emptied\n\
    D /t/emptied/1\nD /t/emptied/2\nD /t/emptied/3\nD /t/gone\nC /t/kept\nC /t/kept/f\nA /t/n\nA /t/n/f\n\
    A /t/n/hard\nA /t/n/l\nA /t/n/p\nA /t/n/private\nA /t/n/sub\nA /t/nnn\nC /t/replaced\n\
    A /t/replaced/in";

fn differences(home: &Home, container: &str) -> String {
    let long = format!("/t/{}", "n".repeat(120));
    home.coracle(["diff", container]).ok().replace(&long, "/t/nnn")
}

#[test]
fn every_driver_gives_the_same_layer() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    let mut layers = Vec::new();
    for driver in DRIVERS {
        let first = ["--storage-driver", driver, "run", "--network", "none", "--name", driver];
        home.coracle(first.iter().chain(&[image.as_str(), "sh", "-ec", CHANGES])).ok();
        assert_eq!(differences(&home, driver), DIFFERENCES, "{driver}");
        let name = format!("local/{driver}:1");
        let id = home.coracle(["commit", driver, &name]).ok();
        assert!(id.starts_with("sha256:"), "{id}");
        let format = "{{json .RootFS.Layers}}";
        layers.push(home.coracle(["inspect", "--format", format, &name]).ok());
        // What was shipped is what is there.
        let script = "cd /t; find . | sort | xargs stat -c '%n %a %u:%g %F %h %Y'; readlink n/l; readlink link; \
            cat kept/f replaced/in dir";
        let told = super::sh(&home, &[], &name, script);
        has(
            &told,
            &[
                "./n/f 4755 33:42 regular file 2 1700000000",
                "./n/l 777 5:6 symbolic link",
                "./n/p 644 0:0 fifo",
                "./link 777 5:6 symbolic link",
                "./kept 755 7:8 directory",
                "./n/private 700",
                "old\nlonger",
            ],
        );
        assert!(!told.contains("./gone") && !told.contains("./emptied/1"), "{told}");
    }
    assert_eq!((&layers[1], &layers[2]), (&layers[0], &layers[0]), "fuse, copy, overlay");
}

#[test]
fn nothing_is_changed_by_being_run() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    home.write("bound/file", "x");
    let bound = format!("{}:/new/place", home.path().join("bound").display());
    for driver in DRIVERS {
        let name = format!("quiet-{driver}");
        let first = ["--storage-driver", driver, "run", "-d", "--network", "none", "--name", &name];
        let flags = ["-v", &bound, "--tmpfs", "/other", "--hostname", "h"];
        let command = [image.as_str(), "sleep", "100"];
        home.coracle(first.iter().chain(&flags).chain(&command)).ok();
        assert_eq!(home.coracle(["diff", &name]).ok(), "", "{driver}");
        home.coracle(["exec", &name, "touch", "/new/file"]).ok();
        assert_eq!(home.coracle(["diff", &name]).ok(), "A /new\nA /new/file", "{driver}, running");
        let json = home.coracle(["diff", "--format", "json", &name]).ok();
        assert_eq!(json, r#"{"added":["/new","/new/file"]}"#);
        home.coracle(["rm", "-f", &name]).ok();
    }
    home.coracle(["diff", "nobody"]).fails(1);
}

#[test]
fn an_archive_holds_the_whole_root() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/tar"));
    let (home, image) = home_with_tree();
    let script = "cd /t; head -c 3000000 /dev/zero | tr '\\0' z >big; truncate -s 50M sparse; \
        printf end >>sparse; chown 33:42 big; mkdir -m 000 closed; touch kept/g; chmod 000 kept/g";
    run(&home, &["--name", "cc"], &image, script);
    let archive = home.path().join("root.tar");
    home.coracle(["export", "-o", archive.to_str().unwrap(), "cc"]).ok();
    let size = archive.metadata().unwrap().len();
    assert!(size < 40 << 20, "holes are none: {size}");
    // The same again, byte for byte, through a pipe.
    let twice = format!(
        "{} export cc | /usr/bin/cmp - root.tar && {} export -o - cc | /usr/bin/cmp - root.tar",
        crate::support::binary().display(),
        crate::support::binary().display()
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-ec", &twice]);
    home.run(shell).ok();
    let mut tar = Command::new("/usr/bin/tar");
    tar.args(["--numeric-owner", "-tvf", "root.tar"]);
    let list = home.run(tar).ok();
    let line = |end: &str| {
        let found = list.lines().find(|line| line.ends_with(end));
        found.unwrap_or_else(|| panic!("no {end} in {list}")).to_owned()
    };
    has(&line(" t/big"), &["-rw-r--r-- 33/42", "3000000"]);
    has(&line(" t/link -> kept"), &["lrwxrwxrwx 5/6"]);
    has(&line(" t/other link to t/linked"), &["hrw-r--r-- 0/0"]);
    has(&line(" t/kept/"), &["drwxr-xr-x 7/8"]);
    has(&line(" t/sparse"), &["52428803"]);
    has(&line(" proc/"), &["drwxr-xr-x 0/0"]);
    home.coracle(["export", "nobody"]).fails(1);
}
