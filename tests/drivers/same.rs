//! The contract: the same lines from a container on every driver, and on every file system.

use super::{DRIVERS, home, home_in, pull_many, said, work};
use crate::requires;
use crate::support::{Home, file_system};

/// What is known to differ, and is no fault of ours: overlayfs without an index breaks hard links of
/// lower files apart (Documentation/filesystems/overlayfs.rst, "Non-standard behavior").
const BROKEN_LINKS: &str = "lower links stay one file";

/// Random operations on each driver and file system, beside the contract.
const OPERATIONS: usize = 500;

fn holds(place: &str, home: &Home, image: &str) {
    let told = DRIVERS.map(|driver| said(work(home, driver, image, "contract")));
    let [overlay, others @ ..] = &told;
    assert!(overlay.len() > 20, "{place}: {overlay:#?}");
    for (driver, lines) in DRIVERS[1..].iter().zip(others) {
        for (want, line) in overlay.iter().zip(lines) {
            if line.starts_with(BROKEN_LINKS) {
                let whole = "lower links stay one file: true changed 2 1";
                assert_eq!(line, whole, "{driver} on {place}");
            } else {
                assert_eq!(line, want, "{driver} on {place}");
            }
        }
        assert_eq!(lines.len(), overlay.len(), "{driver} on {place}");
    }
    let described = said(work(home, "overlay", &pull_many(home), "contract"));
    assert_eq!(&described, overlay, "one layer for many on {place}");
    let errors: Vec<_> = overlay.iter().filter(|line| line.contains(": error:")).collect();
    assert!(errors.is_empty(), "{place}: {errors:#?}");
    eprintln!("drivers: on {place} {overlay:#?}");
}

#[test]
fn the_contract_holds_on_every_driver() {
    requires!(UserNamespaces);
    let (home, image) = home();
    holds("the scratch directory", &home, &image);
}

/// On a file system that was made for it.
fn on(kind: &'static str) {
    requires!(UserNamespaces, FileSystem(kind));
    let (home, image) = home_in(&file_system(kind).unwrap());
    holds(kind, &home, &image);
    let task = format!("random /t 77 {OPERATIONS} every");
    let [overlay, fuse, copy] = DRIVERS.map(|driver| said(work(&home, driver, &image, &task)));
    assert!(overlay.len() > OPERATIONS, "{kind}: {}", overlay.len());
    for (driver, lines) in [("fuse", fuse), ("copy", copy)] {
        let first = overlay.iter().zip(&lines).find(|(want, line)| want != line);
        assert_eq!((first, lines.len()), (None, overlay.len()), "{driver} on {kind}");
    }
    // The probe finds the same: nothing is forced here.
    let info = home.coracle(["info"]).ok();
    assert!(info.contains("overlay: a probe mounted an overlay here"), "{kind}: {info}");
}

#[test]
fn the_contract_holds_on_ext4() {
    on("ext4");
}

#[test]
fn the_contract_holds_on_btrfs() {
    on("btrfs");
}

#[test]
fn the_contract_holds_on_xfs() {
    on("xfs");
}

#[test]
fn the_contract_holds_on_tmpfs() {
    on("tmpfs");
}
