//! Images of many layers.

use std::fs;

use super::DRIVERS;
use crate::requires;
use crate::support::Home;
use crate::support::image::{Image, Tar};
use crate::support::registry::Registry;

/// More than overlayfs takes (`OVL_MAX_STACK`).
const LAYERS: usize = 502;
/// More than are mounted one by one (`snapshot/flat.rs`). Checking takes the square of it.
const WORTH_ONE: usize = 130;

/// How many images have their layers as one directory, of either form.
pub fn merged(home: &Home) -> usize {
    let below = |path| fs::read_dir(path).map(|entries| entries.flatten().collect::<Vec<_>>());
    let forms = ["flat", "metadata"].map(|form| home.store().join(form));
    let owners = forms.into_iter().flat_map(|form| below(form).unwrap_or_default());
    owners.map(|owner| below(owner.path()).unwrap().len()).sum()
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
fn more_layers_than_overlayfs_takes_are_one_directory() {
    requires!(UserNamespaces, Program("/bin/busybox"));
    let (home, registry) = (Home::new(), Registry::new());
    let few = registry.push("few", "1", &image(3));
    let many = registry.push("many", "1", &image(LAYERS));
    for reference in [&few, &many] {
        home.coracle(["pull", "-q", reference]).ok();
    }
    assert_eq!(merged(&home), 1, "the one of many layers");
    for driver in DRIVERS {
        assert_eq!(run(&home, driver, &many, SCRIPT), shown(LAYERS), "{driver}");
    }
    assert_eq!(lowers(&home, &few), (3, Some("2".into())));
    assert_eq!(lowers(&home, &many), (1, Some((LAYERS - 1).to_string())));
    // The layers that both share are still whole when one goes.
    home.coracle(["rmi", &few]).ok();
    assert_eq!(lowers(&home, &many), (1, Some((LAYERS - 1).to_string())));
}

#[test]
fn one_directory_is_checked_made_again_and_goes_with_its_image() {
    requires!(UserNamespaces, Program("/bin/busybox"));
    let (home, registry) = (Home::new(), Registry::new());
    let many = registry.push("many", "1", &image(WORTH_ONE));
    home.coracle(["pull", "-q", &many]).ok();
    home.coracle(["system", "check"]).ok();
    // What is missing in it is found and taken away.
    let hurt = "/bin/rm -v flat/*/*/fs/changed metadata/*/*/fs/changed";
    let hurt = format!("cd {} && {hurt}", home.store().display());
    let output = home.coracle(["unshare", "sh", "-c", &hurt]).output();
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    let output = home.coracle(["system", "check"]).output();
    assert!(output.stdout.contains("changed: it is missing"), "{output}");
    home.coracle(["system", "check", "--repair"]).ok();
    assert_eq!(merged(&home), 0);
    // Made before a run where no pull has made it; its files hold nothing that the layers have not.
    let disk = || home.coracle(["system", "df", "--format", "{{.Type}} {{.Size}}"]).ok();
    let before = disk();
    assert_eq!(run(&home, "overlay", &many, SCRIPT), shown(WORTH_ONE));
    assert_eq!((merged(&home), disk()), (1, before));
    home.coracle(["rmi", &many]).ok();
    let left = fs::read_dir(home.store().join("tmp")).unwrap().count();
    assert_eq!((merged(&home), left), (0, 0));
}

const SCRIPT: &str = "cat /changed; echo; busybox ls /files; echo new >/files/2; cat /files/2";

/// What it says in an image of so many layers.
fn shown(layers: usize) -> String {
    format!("{0}\n{1}\n{0}\nlink\nnew", layers - 1, layers - 2)
}

fn run(home: &Home, driver: &str, reference: &str, script: &str) -> String {
    let first = ["--storage-driver", driver, "run", "--rm", "--network", "none"];
    home.coracle(first.into_iter().chain([reference, "/bin/sh", "-c", script])).ok()
}

/// How many layers an overlay has, and who is on top.
fn lowers(home: &Home, reference: &str) -> (usize, Option<String>) {
    let script = "busybox grep -o lowerdir+*=[^,]* /proc/mounts; cat /changed";
    let text = run(home, "overlay", reference, script);
    (text.matches("/fs\n").count(), text.lines().last().map(str::to_owned))
}
