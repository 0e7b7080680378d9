//! coracle killed with -9 at any instant, and many containers at once.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Box;
use crate::requires;
use crate::support::needs::pass;
use crate::support::{lives, until};

/// Steps of a generator that needs to be no better than this (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// The program of every container here, to be found in /proc by: no other test run has the same.
fn nap() -> [String; 2] {
    ["sleep".to_owned(), (400_000 + std::process::id()).to_string()]
}

/// Living processes below this test's user whose command line and environment are right.
fn processes(right: impl Fn(&str) -> bool) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let line = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .unwrap_or_default()
    };
    pids.filter(|pid| lives(*pid) && right(&line(pid))).map(Pid::from_raw).collect()
}

/// The coracle processes of this home, monitors too.
fn coracles(b: &Box) -> Vec<Pid> {
    let root = format!("--root {}", b.home.path().join("store").display());
    processes(|line| line.contains(&root))
}

/// So many kills there are at least: more than 500 in the two passes together, or in each what
/// `CORACLE_TEST_KILLS` says.
fn kills_wanted() -> usize {
    let asked = std::env::var("CORACLE_TEST_KILLS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if pass() == "range" { 140 } else { 380 })
}

/// Many kills: of commands at work, and of monitors. Afterwards every state is true, nobody
/// runs whom no record tells of, and the store is whole.
#[test]
fn whatever_is_killed_every_state_is_true() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let store = b.home.path().join("store").display().to_string();
    let run = |words: &[&str]| b.coracle(&[&["--root", &store][..], words].concat());
    run(&["pull", "-q", &b.image]).ok();
    let seed = u64::from(std::process::id()) ^ 0x9e37_79b9_7f4a_7c15;
    let mut random = Random(seed);
    let mut kills = 0;
    let names = ["one", "two", "three", "four"];
    let mut rounds = 0;
    while kills < kills_wanted() {
        rounds += 1;
        assert!(rounds < 10_000, "{kills} kills only, seed {seed}");
        let running: Vec<_> = (0..8)
            .map(|_| {
                let name = names[random.below(names.len())];
                let made = |verb: &'static str, flags: &[&'static str]| -> Vec<String> {
                    let first = [verb, "--network", "none", "--name", name];
                    let words = first.iter().chain(flags).copied().chain([&b.image[..]]);
                    words.map(str::to_owned).chain(nap()).collect()
                };
                let words: Vec<String> = match random.below(11) {
                    0..3 => made("run", &["-d"]),
                    3 => made("run", &["-d", "--rm"]),
                    4 => made("run", &["--rm"]),
                    5 => made("create", &[]),
                    6 => ["start", name].map(str::to_owned).to_vec(),
                    7 => ["rm", "-f", name].map(str::to_owned).to_vec(),
                    8 => ["stop", "-t", "0", name].map(str::to_owned).to_vec(),
                    9 => ["restart", "-t", "0", name].map(str::to_owned).to_vec(),
                    _ => ["ps", "-a"].map(str::to_owned).to_vec(),
                };
                run(&words.iter().map(String::as_str).collect::<Vec<_>>()).spawn()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(random.below(40) as u64));
        // Most of them, so that some container stays to be found by the next round.
        for pid in coracles(&b) {
            if random.below(8) > 0 && kill(pid, Signal::SIGKILL).is_ok() {
                kills += 1;
            }
        }
        for one in running {
            let pid = Pid::from_raw(one.child.id().try_into().unwrap());
            let _ = kill(pid, Signal::SIGKILL); // `run` in the foreground would last
            one.wait();
        }
    }
    let listed = || -> Vec<(String, String, String)> {
        let text = run(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Pid}}"]).ok();
        let line = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[0].to_owned(), words[1].to_owned(), words[2].to_owned())
        };
        text.lines().map(line).collect()
    };
    // What a dying first process leaves takes its time to go.
    until("states and processes to agree", || {
        let up: BTreeSet<String> = listed()
            .into_iter()
            .filter(|(_, state, _)| state == "running")
            .map(|(_, _, pid)| pid)
            .collect();
        let alive: BTreeSet<String> = processes(|line| line.trim_end() == nap().join(" "))
            .into_iter()
            .map(|pid| pid.to_string())
            .collect();
        up == alive
    });
    for (id, state, _) in listed() {
        let executed = run(&["exec", &id, "true"]).output().code();
        assert_eq!(executed == 0, state == "running", "{id} {state}, seed {seed}");
    }
    run(&["events", "--stream=false", "--since", "1h"]).ok();
    run(&["rm", "-fa"]).ok();
    run(&["run", "--rm", "--network", "none", &b.image, "true"]).ok();
    assert_eq!(run(&["ps", "-aq"]).ok(), "");
    let containers = b.home.path().join("store/containers");
    let left: Vec<_> = fs::read_dir(containers).unwrap().flatten().map(|it| it.path()).collect();
    assert!(left.is_empty(), "{left:?}, seed {seed}");
    // A name that a killed command took is free.
    for name in names {
        run(&["create", "--name", name, &b.image, "true"]).ok();
    }
    run(&["rm", "-a"]).ok();
    // Probes and drafts that were killed are rubbish, for a collection to take.
    run(&["rmi", "-f", &b.image]).ok();
    let tmp = b.home.path().join("store/tmp");
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0);
    assert!(coracles(&b).is_empty());
}

const COUNT: usize = 200;

/// Two hundred start, write and stop together, and leave nothing.
#[test]
fn two_hundred_together() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let next = AtomicUsize::new(0);
    let each = |work: &(dyn Fn(usize) + Sync)| {
        next.store(0, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= COUNT {
                            break;
                        }
                        work(number);
                    }
                });
            }
        });
    };
    let name = |number: usize| format!("many-{number}");
    each(&|number| {
        let script = format!("echo I am {number}; exec sleep 600");
        b.run_d(&["--name", &name(number)], &["sh", "-c", &script]);
    });
    assert_eq!(b.ok(&["ps", "-q"]).lines().count(), COUNT);
    each(&|number| {
        until("its line", || b.ok(&["logs", &name(number)]) == format!("I am {number}"));
    });
    assert_eq!(b.ok(&["stop", "-t", "5", "--all"]).lines().count(), COUNT);
    assert_eq!(b.ok(&["ps", "-q"]), "");
    assert_eq!(b.ok(&["ps", "-aq", "--filter", "exited=143"]).lines().count(), COUNT);
    assert_eq!(b.ok(&["rm", "--all"]).lines().count(), COUNT);
    for directory in ["containers", "names", "tmp"] {
        assert_eq!(fs::read_dir(b.home.store().join(directory)).unwrap().count(), 0);
    }
    let home = b.home.path().display().to_string();
    until("the last monitor", || {
        let of_here = |pid: &Pid| {
            fs::read_to_string(format!("/proc/{pid}/environ")).is_ok_and(|it| it.contains(&home))
        };
        !processes(|line| line.contains("run -d")).iter().any(of_here)
    });
}
