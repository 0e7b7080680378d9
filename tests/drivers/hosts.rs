//! File systems that refuse what a driver needs: another one takes its place, and says why.

use std::fs;

use super::DRIVERS;
use crate::requires;
use crate::support::image::{Entry, Image, Tar};
use crate::support::registry::Registry;
use crate::support::{Home, file_system};

/// Two layers: the second hides a directory's content and a file, and brings a file of another owner.
fn image() -> Image {
    let program = fs::read("/bin/busybox").unwrap();
    let busybox = Entry { name: b"bin/busybox", mode: 0o755, data: &program, ..Default::default() };
    let base = Tar::new()
        .entry(&busybox)
        .symlink("bin/sh", "busybox")
        .directory("d", 0o755)
        .file("d/hidden", "")
        .directory("d/in", 0o755)
        .file("d/in/hidden", "")
        .directory("e", 0o755)
        .file("e/removed", "")
        .file("e/kept", "kept")
        .file("e/large", &"a line of it\n".repeat(200_000));
    let owned = Entry { name: b"d/owned", uid: b"1750", gid: b"1750", ..Default::default() };
    let above = Tar::new()
        .file("d/.wh..wh..opq", "")
        .directory("d", 0o755)
        .entry(&owned)
        .directory("d/in", 0o755)
        .file("d/in/new", "")
        .file("e/.wh.removed", "");
    Image::of(&[base.finish(), above.finish()])
}

const FOUND: &str = "/d\n/d/in\n/d/in/new\n/d/owned\n/e\n/e/kept\n/e/large";

#[test]
fn a_file_system_without_attributes_holds_images_whole_and_roots_are_copies() {
    requires!(UserNamespaces, Program("/bin/busybox"), FileSystem("bare"));
    let registry = Registry::new();
    let reference = registry.push("hosts", "1", &image());
    let exported = [file_system("bare").unwrap(), std::env::temp_dir()].map(|place| {
        let home = Home::new_in(&place);
        home.coracle(["pull", "-q", &reference]).ok();
        let script = "busybox find /d /e | busybox sort; echo more >>/e/kept; rm -r /d/in";
        let words = ["run", "--name", "changed", "--network", "none", &reference];
        let found = home.coracle(words.into_iter().chain(["/bin/sh", "-c", script])).ok();
        assert_eq!(found, FOUND, "{}", place.display());
        let diff = home.coracle(["diff", "changed"]).ok();
        home.coracle(["commit", "-q", "changed", "committed"]).ok();
        let format = "{{range .RootFS.Layers}}{{.}} {{end}}";
        let layers = home.coracle(["image", "inspect", "--format", format, "committed"]).ok();
        assert_eq!(layers.split_whitespace().count(), 3);
        let owner = ["run", "--rm", "--network", "none", &reference, "busybox", "stat", "-c", "%u"];
        let owner = home.coracle(owner.into_iter().chain(["/d/owned"])).ok();
        (diff, owner, home)
    });
    let [(diff, owner, bare), (plain_diff, plain_owner, _)] = exported;
    assert_eq!((&diff, &owner), (&plain_diff, &plain_owner));
    assert_eq!(owner, "1000");
    let info = bare.coracle(["info"]).ok();
    let said = ["copy: a probe could mount neither", "overlay: cannot mount it", "fuse: cannot"];
    assert!(said.iter().all(|text| info.contains(text)), "{info}");
    let forced =
        ["--storage-driver", "overlay", "run", "--rm", "--network", "none", &reference, "true"];
    let output = bare.coracle(forced).output();
    assert!(output.stderr.contains("--storage-driver fuse or copy"), "{output}");
}

#[test]
fn a_disk_that_is_full_in_a_copy_up_leaves_the_old_file() {
    requires!(UserNamespaces, Program("/bin/busybox"), FileSystem("small"));
    let registry = Registry::new();
    let reference = registry.push("hosts", "full", &image());
    let home = Home::new_in(&file_system("small").unwrap());
    home.coracle(["pull", "-q", &reference]).ok();
    let script = "sum() { busybox head -n 200000 /e/large | busybox md5sum; }; sum; \
        busybox cat /dev/zero >/fill || echo full; \
        echo more | busybox dd of=/e/large oflag=append conv=notrunc,fsync 2>&1 || echo refused; \
        busybox rm /fill; sum; echo more >>/e/large && busybox tail -n 1 /e/large";
    for driver in &DRIVERS[..2] {
        let first = ["--storage-driver", driver, "run", "--rm", "--network", "none"];
        let run = home.coracle(first.into_iter().chain([&*reference, "/bin/sh", "-c", script]));
        let output = run.output();
        assert!(output.stderr.contains("No space left on device"), "{driver}: {output}");
        let lines: Vec<_> = output.stdout.lines().collect();
        let ([before, "full", .., "refused", after, "more"], 0) = (&lines[..], output.code())
        else {
            panic!("{driver}: {output}");
        };
        assert_eq!(before, after, "{driver}: {output}");
    }
}
