//! Everything at once, time and again: pulls, kills, a full disk, removals and collections. Nothing
//! that is promised may be lost, and nothing be left behind.
//!
//! `CORACLE_TEST_LOOPS` says how often; each pass has its own number, from which all its chances come.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::requires;
use crate::support::image::{Entry, Image, Tar};
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, Output, Running, file_system, has};

/// What `tests/run` mounts as `small` holds either of the images and not both.
const NOISE: usize = 1_500_000;

/// The same numbers for the same start (xorshift64).
struct Chance(u64);

impl Chance {
    fn new(start: u64) -> Self {
        Self(start.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// An image that runs, with a layer that cannot be packed.
fn image(number: u64) -> Image {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(fs::read);
    let busybox = busybox.into_iter().find_map(Result::ok).expect("busybox-static");
    let program = Entry { name: b"bin/busybox", mode: 0o755, data: &busybox, ..Entry::default() };
    let base = Tar::new().directory("bin", 0o755).directory("proc", 0o755);
    let base = base.entry(&program).symlink("bin/true", "busybox").symlink("bin/cat", "busybox");
    let mut chance = Chance::new(number);
    let noise: Vec<u8> = (0..NOISE).map(|_| chance.next().to_le_bytes()[0]).collect();
    let noise = Entry { name: b"noise", data: &noise, ..Entry::default() };
    let name = format!("image {number}\n");
    Image::of(&[base.finish(), Tar::new().entry(&noise).file("name", &name).finish()])
}

struct Loop {
    home: Home,
    first: String,
    second: String,
    _registry: Registry,
}

/// A command of a pass.
struct Deed {
    running: Running,
    killed_after: Option<Duration>,
    is_pull: bool,
}

impl Loop {
    fn new() -> Self {
        // Slow enough for a kill to meet a pull at work.
        let registry = Registry::with(|request, reply| {
            let pace = (request.is_blob() && reply.body.len() > 100_000).then_some(10_000_000);
            Reply { pace, ..reply }
        });
        let (first, second) =
            (registry.push("first", "1", &image(1)), registry.push("second", "1", &image(2)));
        let home = Home::new_in(&file_system("small").expect("a small file system"));
        Self { home, first, second, _registry: registry }
    }

    fn deed(&self, words: &[&str], killed_after: Option<Duration>) -> Deed {
        let running = self.home.coracle(words).spawn();
        Deed { running, killed_after, is_pull: words[0] == "pull" }
    }

    /// What one pass does; all of it at once.
    fn deeds(&self, kind: u64, chance: &mut Chance) -> Vec<Deed> {
        let pull = ["pull", "-q", &self.first];
        let other = ["pull", "-q", &self.second];
        let fate = |chance: &mut Chance| {
            let pause = Duration::from_millis(chance.below(400));
            (chance.below(3) > 0).then_some(pause)
        };
        let mut deeds = Vec::new();
        match kind {
            // More than there is room for.
            0 => deeds.extend([self.deed(&pull, None), self.deed(&other, None)]),
            // One stays alive through collections that may remove nothing of it.
            1 => {
                let once = fate(chance);
                deeds.extend([self.deed(&pull, None), self.deed(&pull, once)]);
                for words in [&["image", "prune", "-f"][..], &["system", "prune", "-f"]] {
                    thread::sleep(Duration::from_millis(chance.below(150)));
                    deeds.push(self.deed(words, None));
                }
            }
            _ => {
                let removals: [&[&str]; 4] = [
                    &["rmi", "-f", &self.first],
                    &["image", "prune", "-af"],
                    &["system", "prune", "-f"],
                    &["rmi", "-f", &self.second],
                ];
                for words in [&pull[..], &other, &pull] {
                    let fate = fate(chance);
                    deeds.push(self.deed(words, fate));
                }
                for _ in 0..2 {
                    let (words, fate) =
                        (removals[usize::try_from(chance.below(4)).unwrap()], fate(chance));
                    thread::sleep(Duration::from_millis(chance.below(150)));
                    deeds.push(self.deed(words, fate));
                }
            }
        }
        deeds
    }

    fn pass(&self, number: u64) {
        let mut chance = Chance::new(number);
        let kind = number % 4;
        let had_first = self.has_first();
        let outputs = end(self.deeds(kind, &mut chance));
        let full = |output: &&Output| output.stderr.to_lowercase().contains("space");
        for (killed, is_pull, output) in &outputs {
            // What was not killed did its work, or said why not: that there is no room, or nothing to remove.
            let excused = (*is_pull && full(&output)) || output.stderr.contains("No such image");
            assert!(*killed || output.code() == 0 || excused, "pass {number}: {output}");
        }
        let pulls = outputs.iter().filter(|(_, is_pull, _)| *is_pull).map(|(_, _, output)| output);
        match kind {
            0 => assert!(pulls.clone().any(|one| one.code() != 0), "both fit: nothing was tried"),
            1 => assert!(
                self.has_first() || pulls.clone().any(|one| full(&one)),
                "pass {number}: lost"
            ),
            _ => {}
        }
        // What nobody removed is still there.
        assert!(kind > 1 || !had_first || self.has_first(), "pass {number}: it was here before");

        let output = self.home.coracle(["system", "check"]).output();
        assert_eq!(output.code(), 0, "pass {number}: {output}");
        has(&output.stdout, &["no damage"]);
        // A container of what is here runs; what is not here can be had again.
        self.home.coracle(["rmi", "-f", &self.second]).output();
        let run = ["run", "--rm", "--network", "none", &self.first, "cat", "/name"];
        assert_eq!(self.home.coracle(run).ok(), "image 1", "pass {number}");
        self.home.coracle(["image", "prune", "-f"]).ok();
        let left = names(&self.home.store().join("tmp"));
        assert!(left.is_empty(), "pass {number} left {left:?}");
        let output = self.home.coracle(["system", "check"]).output();
        assert_eq!(output.code(), 0, "pass {number}, after a run: {output}");
    }

    fn has_first(&self) -> bool {
        self.home.coracle(["images", "-q", &self.first]).ok().len() == 12
    }
}

/// Kills who is to be killed, when it is time, and waits for all.
fn end(deeds: Vec<Deed>) -> Vec<(bool, bool, Output)> {
    let mut waiting = Vec::new();
    for Deed { running, killed_after, is_pull } in deeds {
        waiting.push(thread::spawn(move || {
            if let Some(pause) = killed_after {
                thread::sleep(pause);
                running.signal(Signal::SIGKILL);
            }
            (killed_after.is_some(), is_pull, running.wait())
        }));
    }
    waiting.into_iter().map(|one| one.join().expect("no panic")).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the store's directory").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn pulls_kills_collections_and_a_full_disk() {
    requires!(UserNamespaces, FileSystem("small"));
    let passes = std::env::var("CORACLE_TEST_LOOPS").ok().and_then(|text| text.parse().ok());
    let all = Loop::new();
    for number in 0..passes.unwrap_or(8) {
        all.pass(number);
    }
    // And at the end all of it can be cleared away, what broken downloads left too.
    all.home.coracle(["system", "prune", "-af"]).ok();
    for directory in ["tmp", "partial", "images", "tags", "blobs/sha256"] {
        let left = names(&all.home.store().join(directory));
        assert!(left.is_empty(), "{directory} holds {left:?}");
    }
    let left = fs::read_dir(all.home.store().join("layers")).unwrap().flatten();
    assert!(left.map(|owners| names(&owners.path())).all(|names| names.is_empty()));
}
