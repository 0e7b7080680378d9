//! The contract: the same lines from a container on every driver.

use super::{DRIVERS, home, said, work};
use crate::requires;

/// What is known to differ, and is no fault of ours: overlayfs without an index breaks hard links of
/// lower files apart (Documentation/filesystems/overlayfs.rst, "Non-standard behavior").
const BROKEN_LINKS: &str = "lower links stay one file";

#[test]
fn the_contract_holds_on_every_driver() {
    requires!(UserNamespaces);
    let (home, image) = home();
    let told = DRIVERS.map(|driver| said(work(&home, driver, &image, "contract")));
    let [overlay, others @ ..] = &told;
    assert!(overlay.len() > 20, "{overlay:#?}");
    for (driver, lines) in DRIVERS[1..].iter().zip(others) {
        for (want, line) in overlay.iter().zip(lines) {
            if line.starts_with(BROKEN_LINKS) {
                assert_eq!(line, "lower links stay one file: true changed 2 1", "{driver}");
            } else {
                assert_eq!(line, want, "{driver}");
            }
        }
        assert_eq!(lines.len(), overlay.len(), "{driver}");
    }
    let errors: Vec<_> = overlay.iter().filter(|line| line.contains(": error:")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    eprintln!("drivers: {overlay:#?}");
}
