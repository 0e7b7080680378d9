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
fn more_layers_than_overlayfs_takes() {
    requires!(UserNamespaces, Program("/bin/busybox"));
    let (home, registry) = (Home::new(), Registry::new());
    let reference = registry.push("deep", "1", &image(LAYERS));
    home.coracle(["pull", "-q", &reference]).ok();
    let script = "cat /changed; echo; busybox ls /files; echo new >/files/518; cat /files/518";
    let run = |driver: &str| {
        let first = ["--storage-driver", driver, "run", "--rm", "--network", "none"];
        let command = [reference.as_str(), "/bin/sh", "-c", script];
        home.coracle(first.into_iter().chain(command)).ok()
    };
    for driver in DRIVERS {
        assert_eq!(run(driver), "519\n518\n519\nlink\nnew", "{driver}");
    }
    // Made before the first run where no pull has made it.
    assert_eq!(flat(&home), 1);
    fs::remove_dir_all(home.store().join("flat")).unwrap();
    assert_eq!(run("overlay"), "519\n518\n519\nlink\nnew");
    assert_eq!(flat(&home), 1);
    home.coracle(["rmi", &reference]).ok();
    assert_eq!(flat(&home), 0);
}

#[test]
fn many_layers_are_one_lower_directory_for_as_long_as_their_image_stays() {
    requires!(UserNamespaces, Program("/bin/busybox"));
    let (home, registry) = (Home::new(), Registry::new());
    let few = registry.push("few", "1", &image(3));
    let many = registry.push("many", "1", &image(150));
    for reference in [&few, &many] {
        home.coracle(["pull", "-q", reference]).ok();
    }
    assert_eq!(flat(&home), 1, "the one of 150 layers");
    let lowers = |reference: &str| {
        let first = ["--storage-driver", "overlay", "run", "--rm", "--network", "none"];
        let script = "busybox grep -o lowerdir+*=[^,]* /proc/mounts; cat /changed";
        let output = home.coracle(first.into_iter().chain([reference, "/bin/sh", "-c", script]));
        let text = output.ok();
        (text.matches("/fs\n").count(), text.lines().last().map(str::to_owned))
    };
    assert_eq!(lowers(&few), (3, Some("2".into())));
    assert_eq!(lowers(&many), (1, Some("149".into())));
    // The layers that both share are still whole when one goes, and the one directory with it.
    home.coracle(["rmi", &few]).ok();
    assert_eq!(lowers(&many), (1, Some("149".into())));
    home.coracle(["rmi", &many]).ok();
    assert_eq!((flat(&home), fs::read_dir(home.store().join("tmp")).unwrap().count()), (0, 0));
}
