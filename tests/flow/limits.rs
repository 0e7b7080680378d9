//! What a container may use. With groups that `tests/run` delegates, the kernel keeps it; without,
//! coracle keeps what it can and refuses the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle::engine::cgroup::{self, Group, Resources, Version};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{home_with_busybox, run, sh};
use crate::requires;
use crate::support::needs::has_real_ids;
use crate::support::{Home, Running, binary, has, until};

/// A container that sleeps, and its group.
struct Sleeper {
    running: Running,
    home: Home,
    group: Group,
}

impl Sleeper {
    fn start(flags: &[&str], script: &str) -> Self {
        let (home, image) = home_with_busybox();
        let first = ["run", "--name", "it", "--network", "none"];
        let last = [image.as_str(), "sh", "-c", script];
        let running = home.coracle(first.iter().chain(flags).chain(&last)).spawn();
        let records = home.store().join("containers");
        let mut found = None;
        until("the container's record", || {
            let entry = fs::read_dir(&records).ok().and_then(|mut all| all.next()?.ok());
            let text = entry.and_then(|it| fs::read(it.path().join("record.json")).ok());
            found = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            found.is_some()
        });
        let group: Group =
            serde_json::from_value(found.unwrap()["in_force"]["group"].clone()).unwrap();
        // The record comes before the program.
        until("the program", || {
            let first = group.processes().first().map(|pid| pid.as_raw_nonzero());
            let name = first.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
            name.is_some_and(|name| name != "coracle\n")
        });
        Self { running, home, group }
    }

    /// A file of its group: of version 2, or of version 1.
    fn file(&self, controller: &str, unified: &str, separate: &str) -> String {
        let name =
            if cgroup::detect(Path::new("/")).version == Version::V2 { unified } else { separate };
        fs::read_to_string(self.group.of(controller).unwrap().join(name)).unwrap().trim().to_owned()
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.group.parts.iter().map(|part| part.path.clone()).collect()
    }
}

#[test]
fn memory_is_limited_and_the_kill_is_told() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("memory"));
    let (home, image) = home_with_busybox();
    // tail keeps a line whole, and this one has no end.
    let eat = "tail /dev/zero";
    let flags = ["run", "--name", "fat", "--network", "none", "-m", "16m"];
    let output =
        home.coracle(flags.iter().chain(&[image.as_str(), "sh", "-c", "exec tail /dev/zero"]));
    let error = output.fails(137);
    has(&error, &["note: the container was killed: over its memory limit of 16MiB"]);
    let inspected: Value = serde_json::from_str(&home.coracle(["inspect", "fat"]).ok()).unwrap();
    assert_eq!(inspected[0]["State"]["OOMKilled"], true);
    assert_eq!(inspected[0]["HostConfig"]["Memory"], 16 << 20);
    // A child that is killed is the program's business.
    let output = run(&["-m", "16m"], &["sh", "-c", &format!("{eat}; echo $?")]).output();
    assert!(!output.stderr.contains("was killed"), "{output}");
    assert_eq!(output.ok(), "137");
    // A kill of another kind is no matter of memory.
    let error = run(&["-m", "16m"], &["sh", "-c", "kill -9 $$; sleep 9 & kill -9 $!; exit 137"]);
    assert!(!error.fails(137).contains("memory"));
}

#[test]
fn processes_are_counted() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("pids"));
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done; wait";
    has(&run(&["--pids-limit", "5"], &["sh", "-c", script]).output().stderr, &["can't fork"]);
    let output = run(&["--pids-limit", "50"], &["sh", "-c", script]).output();
    assert!(!output.stderr.contains("can't fork"), "{output}");
}

#[test]
fn every_limit_reaches_its_file() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("memory"), Controller("cpu"));
    let flags = [
        "-m",
        "64m",
        "--memory-reservation",
        "32m",
        "--cpus",
        "0.5",
        "-c",
        "512",
        "--pids-limit",
        "20",
        "--cpuset-cpus",
        "0",
    ];
    // Three processes are there when the first line is written, and not before.
    let script = "grep Cpus_allowed_list /proc/self/status; sleep 60 & sleep 60 & wait";
    let it = Sleeper::start(&flags, script);
    assert_eq!(it.file("memory", "memory.max", "memory.limit_in_bytes"), "67108864");
    assert_eq!(it.file("memory", "memory.low", "memory.soft_limit_in_bytes"), "33554432");
    assert_eq!(it.file("pids", "pids.max", "pids.max"), "20");
    assert_eq!(it.file("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let quota = it.file("cpu", "cpu.max", "cpu.cfs_quota_us");
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");
    let shares = it.file("cpu", "cpu.weight", "cpu.shares");
    assert!(shares == "512" || shares == "59", "{shares}");
    // It is in there, all of it, and sees its own group as the root.
    until("its processes", || it.group.processes().len() >= 3);
    let group = it.group.stats();
    assert_eq!(group.memory.unwrap().limit, Some(64 << 20));
    assert!(group.pids.unwrap().current >= 2 && group.cpu.unwrap().usage_us > 0);
    let resources = Resources { pids: Some(30), ..Resources::default() };
    it.group.update(&resources).unwrap();
    assert_eq!(it.file("pids", "pids.max", "pids.max"), "30");
    let directories = it.directories();
    assert!(!directories.is_empty() && directories.iter().all(|path| path.is_dir()));
    it.running.signal(Signal::SIGTERM);
    let output = it.running.wait();
    has(&output.stdout, &["Cpus_allowed_list:\t0\n"]);
    assert!(directories.iter().all(|path| !path.exists()), "groups are left: {directories:?}");
}

/// More memory than before needs another order of the same files (version 1).
#[test]
fn limits_can_be_raised_and_lowered() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("memory"));
    let it = Sleeper::start(&["-m", "16m"], "sleep 60");
    for size in [64 << 20, 8 << 20] {
        let memory =
            cgroup::Memory { limit: Some(size), swap: Some(size * 2), ..Default::default() };
        it.group.update(&Resources { memory, ..Resources::default() }).unwrap();
        let now = it.file("memory", "memory.max", "memory.limit_in_bytes");
        assert_eq!(now, size.to_string());
    }
    it.group.kill().unwrap();
    assert_eq!(it.running.wait().code(), 137);
}

#[test]
fn a_program_that_joins_is_limited_too() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("pids"));
    let it = Sleeper::start(&["--pids-limit", "8", "--cpuset-cpus", "0"], "sleep 60 & wait");
    let fork = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    has(&it.home.coracle(["exec", "it", "sh", "-c", fork]).output().stderr, &["can't fork"]);
    let allowed = it.home.coracle(["exec", "it", "grep", "Cpus_allowed_list", "/proc/self/status"]);
    assert_eq!(allowed.ok(), "Cpus_allowed_list:\t0");
}

#[test]
fn a_quota_holds_a_busy_loop_back() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("cpu"), Controller("cpuacct"));
    let it = Sleeper::start(&["--cpus", "0.1"], "while :; do :; done");
    until("the quota's end", || it.group.stats().cpu.unwrap().throttled_periods > 3);
    let before = it.group.stats().cpu.unwrap().usage_us;
    let began = std::time::Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let used = it.group.stats().cpu.unwrap().usage_us - before;
    let passed = began.elapsed().as_micros();
    assert!(u128::from(used) * 10 < passed * 3, "{used} of {passed} microseconds");
    it.group.kill().unwrap();
    it.running.wait();
}

#[test]
fn a_group_freezes_and_is_killed_whole() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("freezer"));
    let it = Sleeper::start(&[], "while :; do :; done & while :; do sleep 0.01; done");
    until("its processes", || it.group.processes().len() >= 3);
    it.group.freeze().unwrap();
    assert!(it.group.is_frozen());
    let used = || it.group.stats().cpu.map(|cpu| cpu.usage_us);
    let before = used();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(used(), before, "the frozen do nothing");
    it.group.thaw().unwrap();
    assert!(!it.group.is_frozen());
    it.group.freeze().unwrap();
    it.group.kill().unwrap();
    assert_eq!(it.running.wait().code(), 137);
    assert!(it.group.parts.iter().all(|part| !part.path.exists()));
}

/// A coracle that is killed cannot clean up: who removes its container does.
#[test]
fn a_killed_coracles_group_goes_with_its_container() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("pids"));
    for remove in [false, true] {
        let it = Sleeper::start(if remove { &["--rm"] } else { &[] }, "sleep 60");
        it.running.signal(Signal::SIGKILL);
        it.running.wait();
        let left = it.group.parts[0].path.clone();
        assert!(left.exists());
        until("the container's end", || it.group.processes().is_empty());
        if remove {
            it.home.coracle(["ps"]).ok();
        } else {
            it.home.coracle(["rm", "it"]).ok();
        }
        assert!(!left.exists(), "{}", left.display());
    }
}

#[test]
fn without_control_groups_each_limit_is_kept_or_refused() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let off = "--cgroups=disabled";
    has(
        &run(&[off, "-m", "64m"], &["true"]).fails(125),
        &["cannot limit memory: control groups were turned off", "hint: "],
    );
    has(&run(&[off, "--cpus", "1"], &["true"]).fails(125), &["cannot limit cpus: "]);
    // The processors of the first process are those of all.
    let output =
        run(&[off, "--cpuset-cpus", "0"], &["grep", "Cpus_allowed_list", "/proc/self/status"]);
    let output = output.output();
    has(&output.stderr, &["note: cpuset-cpus is kept by CPU affinity"]);
    assert_eq!(output.ok(), "Cpus_allowed_list:\t0");
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done; wait";
    let limited = run(&[off, "--pids-limit", "5"], &["sh", "-c", script]);
    if has_real_ids() {
        has(&limited.fails(125), &["cannot limit pids-limit", "each of the container's ids apart"]);
    } else {
        has(&limited.output().stderr, &["can't fork"]);
        // The count is the container's, whatever else this user runs.
        assert_eq!(sh(&[off, "--pids-limit", "3"], "sleep 0.1 & wait; echo done"), "done");
    }
}

#[test]
fn best_effort_says_what_it_leaves_out() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let host = cgroup::detect(Path::new("/"));
    let output =
        run(&["--cgroups=best-effort", "-m", "64m", "--cpus", "1"], &["echo", "on"]).output();
    for (flag, controller) in [("memory", "memory"), ("cpus", "cpu")] {
        let kept = host.controllers().iter().any(|it| it == controller);
        let told = output.stderr.contains(&format!("note: no limit on {flag}: "));
        assert_ne!(kept, told, "{output}");
    }
    assert_eq!(output.ok(), "on");
}

#[test]
fn what_makes_no_sense_is_refused_in_dockers_words() {
    requires!(UserNamespaces);
    for (flags, why) in [
        (&["-m", "1m"][..], "Minimum memory limit allowed is 6MB"),
        (&["-m", "x"], "invalid size"),
        (&["--memory-swap", "1g"], "always set the Memory limit"),
        (&["--cpus", "100000"], "Range of CPUs is from 0.01"),
        (&["--cpuset-cpus", "8000"], "Requested CPUs are not available"),
        (&["--kernel-memory", "1m"], "no longer limits it apart"),
        (&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (&["--device-read-bps", "/dev/null:1m"], "/dev/null: it is no block device"),
    ] {
        let all = ["run"].iter().chain(flags).chain(&["busybox"]).copied().collect::<Vec<_>>();
        has(&Home::shared().coracle(all).fails(125), &[why]);
    }
    assert!(binary().exists());
}

#[test]
fn the_plan_is_explained() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("memory"));
    let text = run(&["--explain", "-m", "64m"], &["true"]).ok();
    has(&text, &["group         make /", "67108864"]);
    let text = run(&["--explain=json", "-m", "64m", "--cpus", "1"], &["true"]).ok();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["linux"]["resources"]["memory"]["limit"], 64 << 20);
    assert_eq!(config["linux"]["resources"]["cpu"]["quota"], 100_000);
}
