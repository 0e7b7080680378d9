//! Random operations: fuse and copy do what the kernel's overlayfs does.

use std::time::UNIX_EPOCH;

use super::{home, pull_many, said, work};
use crate::requires;
use crate::support::needs::pass;

/// Operations that are compared on each driver, in runs of so many: 100,000 in the two passes of the
/// suite together.
const COUNT: usize = 50_000;
const RUN: usize = 25_000;

/// The suite takes the same seeds each time. `CORACLE_TEST_SEED` begins with another, or with the
/// clock's where it is `clock`; `CORACLE_TEST_OPERATIONS` compares more or fewer.
#[test]
fn fuse_and_copy_do_what_overlayfs_does() {
    requires!(UserNamespaces);
    let given = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let mut seed = match given("CORACLE_TEST_SEED").as_deref() {
        None if pass() == "range" => 101,
        None => 1,
        Some("clock") => UNIX_EPOCH.elapsed().unwrap().as_secs(),
        Some(seed) => seed.parse().unwrap(),
    };
    let count = given("CORACLE_TEST_OPERATIONS").map_or(COUNT, |count| count.parse().unwrap());
    let (home, image) = home();
    let many = pull_many(&home);
    let mut compared = 0;
    while compared < count {
        eprintln!("drivers: random operations with CORACLE_TEST_SEED={seed}");
        let task = format!("random /t {seed} {} every", RUN.min(count));
        let by = |driver: &str, image: &str| said(work(&home, driver, image, &task));
        let expected = by("overlay", &image);
        assert!(expected.len() >= RUN.min(count), "{} operations", expected.len());
        let counts = [("fuse", &image), ("copy", &image), ("overlay", &many)]
            .map(|(driver, image)| compare(driver, seed, &expected, &by(driver, image)));
        compared += counts.into_iter().min().unwrap();
        seed += 1;
    }
}

/// How many operations were compared; panics at the first that differs.
fn compare(driver: &str, seed: u64, want: &[String], got: &[String]) -> usize {
    let Some(first) = (0..want.len().max(got.len())).find(|at| want.get(*at) != got.get(*at))
    else {
        return RUN;
    };
    let line = |lines: &[String]| lines.get(first).cloned().unwrap_or_default();
    let (wanted, found) = (line(want), line(got));
    let told = |line: &str, words: [&str; 2]| words.iter().all(|word| line.contains(word));
    // Linux 6.18's overlayfs now and then refuses to rename two files that are both there. What
    // follows cannot be compared then.
    // Or gives what is one file two numbers, depending on when it was opened.
    if told(&wanted, [" rename ", "Stale"]) || told(&found, [" copy held ", "itself"]) {
        eprintln!("drivers: overlayfs itself failed after {first} operations");
        return first;
    }
    // What was done to the same paths before, and what was done last.
    let paths: Vec<&str> = wanted.split('"').skip(1).step_by(2).collect();
    let before: Vec<&String> = want[..first]
        .iter()
        .enumerate()
        .filter(|(at, line)| first - at < 20 || paths.iter().any(|path| line.contains(path)))
        .map(|(_, line)| line)
        .collect();
    let before = &before[before.len().saturating_sub(60)..];
    panic!("{driver} differs from overlay with seed {seed}:\n{before:#?}\n {wanted}\n {found}");
}
