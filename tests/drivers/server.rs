//! The process behind a root that is served through FUSE.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::{command, home, said};
use crate::requires;
use crate::support::{busybox, until};

/// The servers that are this user's.
fn servers() -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim_end() == "coracle-union" {
            found.push(pid);
        }
    }
    found
}

/// The parent of a process.
fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[test]
fn a_server_ends_with_its_container_and_a_killed_one_leaves_errors() {
    requires!(UserNamespaces);
    let home = crate::support::Home::new();
    let image = busybox();
    home.coracle(["pull", "-q", &image]).ok();
    let start = |bound: &str, script: &str| {
        let first =
            ["--storage-driver", "fuse", "run", "--rm", "-i", "--network", "none", "-v", bound];
        home.coracle(first.into_iter().chain([image.as_str(), "sh", "-c", script])).spawn_open()
    };
    let of = |pid| servers().into_iter().find(|server| parent(*server) == Some(pid));

    let bound = format!("{}:/host", home.path().display());
    let start = |script: &str| start(&bound, script);
    let mut running = start("touch /host/ready; read line; cat /etc/passwd && echo still here");
    let pid = running.child.id();
    until("the program", || home.path().join("ready").exists());
    let server = of(pid).unwrap();
    let killed = nix::sys::signal::Signal::SIGKILL;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.try_into().unwrap()), killed).unwrap();
    let began = Instant::now();
    running.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = running.wait();
    assert!(began.elapsed() < Duration::from_secs(10), "{output}");
    // A page of the shell itself may be among what cannot be read any more.
    let told = ["not connected", "Bus error"].iter().any(|text| output.stderr.contains(text));
    assert!(told && !output.stdout.contains("still here"), "{output}");

    let running = start("read line");
    let pid = running.child.id();
    until("a server", || of(pid).is_some());
    let server = of(pid).unwrap();
    running.signal(killed);
    running.wait();
    until("its end", || parent(server).is_none());
}

#[test]
fn a_container_may_change_drivers_between_two_starts() {
    requires!(UserNamespaces);
    let (home, image) = home();
    let starts = |name: &str, drivers: [&str; 3]| {
        let words = command(&image, "random /t 5 3000 thousands");
        let mut arguments = vec!["--storage-driver", drivers[0], "create", "--name", name];
        arguments.extend(words.iter().map(String::as_str));
        home.coracle(arguments).ok();
        drivers.map(|driver| {
            said(home.coracle(["--storage-driver", driver, "start", "-a", name]).output())
        })
    };
    let expected = starts("alike", ["overlay", "overlay", "overlay"]);
    assert!(expected[2].len() > 50);
    assert_ne!(expected[0], expected[1], "the second began where the first ended");
    assert_eq!(starts("first", ["overlay", "fuse", "overlay"]), expected);
    assert_eq!(starts("second", ["fuse", "overlay", "fuse"]), expected);
}
