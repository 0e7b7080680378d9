//! Random operations: fuse and copy do what the kernel's overlayfs does.

use std::time::UNIX_EPOCH;

use super::{home, said, work};
use crate::requires;
use crate::support::Home;

/// Operations that are compared on each driver, in runs of so many.
const COUNT: u64 = 100_000;
const RUN: u64 = 25_000;

#[test]
fn fuse_and_copy_do_what_overlayfs_does() {
    requires!(UserNamespaces);
    let (home, image) = home();
    let given = std::env::var("CORACLE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let mut seed = given.unwrap_or_else(|| UNIX_EPOCH.elapsed().unwrap().as_secs());
    let mut compared = 0;
    while compared < COUNT {
        eprintln!("drivers: random operations with CORACLE_TEST_SEED={seed}");
        let task = format!("random /t {seed} {RUN} thousands");
        let by = |driver: &str| said(work(&home, driver, &image, &task));
        let expected = by("overlay");
        let counts = ["fuse", "copy"]
            .map(|driver| compare(&home, &image, driver, seed, &expected, &by(driver)));
        compared += counts.into_iter().min().unwrap();
        seed += 1;
    }
}

/// How many operations were compared; panics at the first that differs.
fn compare(
    home: &Home,
    image: &str,
    driver: &str,
    seed: u64,
    want: &[String],
    got: &[String],
) -> u64 {
    let Some(at) = (0..want.len().max(got.len())).find(|at| want.get(*at) != got.get(*at)) else {
        return RUN;
    };
    let upto = want[..at].iter().rev().find_map(|line| line.split(' ').next()?.parse::<u64>().ok());
    let task = format!("random /t {seed} {} every", (upto.unwrap_or(0) + 1000).min(RUN));
    let every = |driver: &str| said(work(home, driver, image, &task));
    let (wanted, found) = (every("overlay"), every(driver));
    let first = (0..wanted.len()).find(|at| wanted.get(*at) != found.get(*at));
    let first = first.unwrap_or_default();
    // Linux 6.18's overlayfs now and then refuses to rename two files that are both there. What
    // follows cannot be compared then.
    let told = |lines: &[String], words: [&str; 2]| {
        lines.get(first).is_some_and(|line| words.iter().all(|word| line.contains(word)))
    };
    // Or gives what is one file two numbers, depending on when it was opened.
    if told(&wanted, [" rename ", "Stale"]) || told(&found, [" copy held ", "itself"]) {
        eprintln!("drivers: overlayfs itself failed after {first} operations");
        return first as u64;
    }
    panic!(
        "{driver} differs from overlay with seed {seed}: line {at}:\n  {:?}\n  {:?}\nfirst:\n  {:#?}\n  {:#?}",
        want.get(at),
        got.get(at),
        &wanted[first.saturating_sub(20)..(first + 1).min(wanted.len())],
        &found[first.saturating_sub(1).min(found.len())..(first + 1).min(found.len())],
    );
}
