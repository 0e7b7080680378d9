//! Images of many layers.

use std::fs;

use super::DRIVERS;
use crate::requires;
use crate::support::Home;
use crate::support::image::{Image, Tar};
use crate::support::registry::Registry;

/// More than overlayfs takes (`OVL_MAX_STACK`).
const LAYERS: usize = 520;

fn flat(home: &Home) -> usize {
    let below = |path| fs::read_dir(path).map(|entries| entries.flatten().collect::<Vec<_>>());
    let owners = below(home.store().join("flat")).unwrap_or_default();
    owners.iter().map(|owner| below(owner.path()).unwrap().len()).sum()
}

/// Each layer adds a file, changes one and removes the one of the layer before it but one.
fn image(layers: usize) -> Image {
    let program = fs::read("/bin/busybox").unwrap();
    let mut archives = Vec::new();
    for number in 0..layers {
        let mut tar = Tar::new()
            .file(&format!("files/{number}"), &number.to_string())
            .file("changed", &number.to_string());
        if number == 0 {
            let busybox = crate::support::image::Entry {
                name: b"bin/busybox",
                mode: 0o755,
                data: &program,
                ..Default::default()
            };
            tar = tar.entry(&busybox).symlink("bin/sh", "busybox").symlink("files/link", "0");
        } else if number > 1 {
            tar = tar.file(&format!("files/.wh.{}", number - 2), "");
        }
        archives.push(tar.finish());
    }
    Image::of(&archives)
}

#[test]
fn more_layers_than_overlayfs_takes_are_one_directory_for_as_long_as_their_image_stays() {
    requires!(UserNamespaces, Program("/bin/busybox"));
    let (home, registry) = (Home::new(), Registry::new());
    let few = registry.push("few", "1", &image(3));
    let many = registry.push("many", "1", &image(LAYERS));
    for reference in [&few, &many] {
        home.coracle(["pull", "-q", reference]).ok();
    }
    assert_eq!(flat(&home), 1, "the one of many layers");
    let run = |driver: &str, reference: &str, script: &str| {
        let first = ["--storage-driver", driver, "run", "--rm", "--network", "none"];
        home.coracle(first.into_iter().chain([reference, "/bin/sh", "-c", script])).ok()
    };
    let script = "cat /changed; echo; busybox ls /files; echo new >/files/518; cat /files/518";
    let whole = "519\n518\n519\nlink\nnew";
    for driver in DRIVERS {
        assert_eq!(run(driver, &many, script), whole, "{driver}");
    }
    let lowers = |reference: &str| {
        let script = "busybox grep -o lowerdir+*=[^,]* /proc/mounts; cat /changed";
        let text = run("overlay", reference, script);
        (text.matches("/fs\n").count(), text.lines().last().map(str::to_owned))
    };
    assert_eq!(lowers(&few), (3, Some("2".into())));
    assert_eq!(lowers(&many), (1, Some("519".into())));

    // What is missing in it is found and taken away.
    home.coracle(["system", "check"]).ok();
    let in_flat = format!("/bin/rm {}/*/*/fs/files/519", home.store().join("flat").display());
    home.coracle(["unshare", "sh", "-c", &in_flat]).ok();
    let output = home.coracle(["system", "check"]).output();
    assert!(output.stdout.contains("flat/") && output.stdout.contains("files"), "{output}");
    home.coracle(["system", "check", "--repair"]).ok();
    assert_eq!(flat(&home), 0);
    // Made before a run where no pull has made it; its files are the layers', so that it takes nothing.
    let disk = || home.coracle(["system", "df", "--format", "{{.Type}} {{.Size}}"]).ok();
    let before = disk();
    assert_eq!(run("overlay", &many, script), whole);
    assert_eq!((flat(&home), disk()), (1, before));

    // The layers that both share are still whole when one goes, and the one directory with it.
    home.coracle(["rmi", &few]).ok();
    assert_eq!(lowers(&many), (1, Some("519".into())));
    home.coracle(["rmi", &many]).ok();
    assert_eq!((flat(&home), fs::read_dir(home.store().join("tmp")).unwrap().count()), (0, 0));
}
