//! Random operations: fuse and copy do what the kernel's overlayfs does.

use super::{home, said, work};
use crate::requires;
use crate::support::Home;

/// Operations on each driver, in so many runs.
const COUNT: u64 = 100_000;
const RUNS: u64 = 4;

#[test]
fn fuse_and_copy_do_what_overlayfs_does() {
    requires!(UserNamespaces);
    let (home, image) = home();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for run in 0..RUNS {
        let seed = std::env::var("CORACLE_TEST_SEED").map_or(now + run, |seed| seed.parse().unwrap());
        eprintln!("drivers: random operations with CORACLE_TEST_SEED={seed}");
        let count = COUNT / RUNS;
        let by = |driver: &str| {
            said(work(&home, driver, &[], &image, &format!("random /t {seed} {count} thousands")))
        };
        let expected = by("overlay");
        for driver in ["fuse", "copy"] {
            compare(&home, &image, driver, seed, &expected, &by(driver));
        }
    }
}

/// Says which operation was the first to differ.
fn compare(home: &Home, image: &str, driver: &str, seed: u64, want: &[String], got: &[String]) {
    let Some(at) = (0..want.len().max(got.len())).find(|at| want.get(*at) != got.get(*at)) else {
        return;
    };
    let upto = want[..at].iter().rev().find_map(|line| line.split(' ').next()?.parse::<u64>().ok());
    let task = format!("random /t {seed} {} every", upto.unwrap_or(0) + 1000);
    let every = |driver: &str| said(work(home, driver, &[], image, &task));
    let (wanted, found) = (every("overlay"), every(driver));
    let first = (0..wanted.len()).find(|at| wanted.get(*at) != found.get(*at));
    let first = first.unwrap_or_default();
    panic!(
        "{driver} differs from overlay with seed {seed}: line {at}:\n  {:?}\n  {:?}\nfirst:\n  {:#?}\n  {:#?}",
        want.get(at),
        got.get(at),
        &wanted[first.saturating_sub(3)..(first + 1).min(wanted.len())],
        &found[first.saturating_sub(1).min(found.len())..(first + 1).min(found.len())],
    );
}
