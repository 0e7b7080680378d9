//! `stop`, `kill`, `wait`, `rm`, `rename`, and ends that nobody asked for.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Box;
use crate::requires;
use crate::support::{Running, has, layout, lives, until};

#[test]
fn stop_lets_a_program_end_by_itself() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let waits = "echo ready; while :; do sleep 0.02; done";
    let all = [
        ("polite", "trap 'exit 7' TERM;", "7"),
        ("deaf", "trap '' TERM;", "137"),
        ("other", "trap 'exit 8' USR1;", "8"),
    ];
    for (name, trap, _) in all {
        let flags = if name == "other" { vec!["--stop-signal", "USR1"] } else { Vec::new() };
        b.run_d(
            &[&["--name", name], &flags[..]].concat(),
            &["sh", "-c", &format!("{trap}{waits}")],
        );
    }
    for (name, _, code) in all {
        until("it to be ready", || b.ok(&["logs", name]) == "ready");
        b.ok(&["stop", "-t", "1", name]);
        assert_eq!(b.field(name, ".State.ExitCode"), code, "{name}");
    }
}

/// docker's -1.
#[test]
fn stop_waits_for_ever_where_that_is_asked_for() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "trap '' TERM; trap 'exit 7' USR1; echo ready; while :; do sleep 0.02; done";
    b.run_d(&["--name", "web", "--stop-timeout=-1"], &["sh", "-c", script]);
    assert_eq!(b.field("web", ".Config.StopTimeout"), "-1");
    has(&b.ok(&["generate", "systemd", "web"]), &["\nTimeoutStopSec=infinity\n"]);
    until("it to be ready", || b.ok(&["logs", "web"]) == "ready");
    let stop = b.coracle(&["stop", "web"]).spawn();
    stop.until_asleep();
    assert_eq!(b.status("web"), "running");
    b.ok(&["kill", "-s", "USR1", "web"]);
    stop.wait().ok();
    assert_eq!(b.field("web", ".State.ExitCode"), "7");
}

#[test]
fn kill_sends_what_it_is_told() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "trap 'echo got' USR1; echo ready; while :; do sleep 0.02; done";
    let id = b.run_d(&["--name", "web"], &["sh", "-c", script]);
    until("it to be ready", || b.ok(&["logs", "web"]) == "ready");
    assert_eq!(b.ok(&["kill", "-s", "USR1", "web"]), "web");
    until("the signal", || b.ok(&["logs", "web"]) == "ready\ngot");
    assert_eq!(b.status("web"), "running");
    b.ok(&["kill", "web"]);
    assert_eq!(b.field("web", ".State.ExitCode"), "137");
    let again = b.coracle(&["kill", "web"]).fails(1);
    has(&again, &["cannot kill container: web", &id, "is not running"]);
    b.coracle(&["kill", "-s", "NOPE", "web"]).fails(125);
}

#[test]
fn who_waits_is_told_how_it_ended() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let until_told = |code: u8| format!("until [ -e /go ]; do sleep 0.01; done; exit {code}");
    b.run_d(&["--name", "three"], &["sh", "-c", &until_told(3)]);
    b.run_d(&["--name", "gone", "--rm"], &["sh", "-c", &until_told(5)]);
    let both = b.coracle(&["wait", "three", "gone"]).spawn();
    let many: Vec<_> = (0..5).map(|_| b.coracle(&["wait", "gone"]).spawn()).collect();
    many.iter().chain([&both]).for_each(Running::until_asleep);
    for name in ["three", "gone"] {
        b.ok(&["exec", name, "touch", "/go"]);
    }
    assert!(many.into_iter().all(|one| one.wait().ok() == "5"));
    assert_eq!(both.wait().ok().lines().next(), Some("3"));
    // One that runs in somebody's foreground, and is removed at its end.
    let running = b.started("run", &["--rm", "--name", "front"], &["sleep", "600"]).spawn();
    until("it to run", || !b.ok(&["ps", "-q"]).is_empty());
    let waiting = b.coracle(&["wait", "front"]).spawn();
    waiting.until_asleep();
    b.ok(&["stop", "front"]);
    assert_eq!((waiting.wait().ok().as_str(), running.wait().code()), ("143", 143));
    assert_eq!(b.ok(&["ps", "-aq", "--filter", "name=front"]), "");
}

#[test]
fn what_else_can_be_waited_for() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.started("create", &["--name", "job"], &["sh", "-c", "sleep 0.3; exit 3"]).ok();
    assert_eq!(b.ok(&["wait", "--condition", "created", "job"]), "-1");
    let running = b.coracle(&["wait", "--condition", "running,healthy", "job"]).spawn();
    let ended = b.coracle(&["wait", "--condition=exited", "job"]).spawn();
    [&running, &ended].into_iter().for_each(Running::until_asleep);
    b.ok(&["start", "job"]);
    assert_eq!(ended.wait().ok(), "3");
    // It may have missed the short time; then it is to wait on.
    b.started(
        "run",
        &["-d", "--name", "other", "--health-cmd", "true", "--health-interval", "20ms"],
        &["sleep", "600"],
    )
    .ok();
    assert_eq!(b.ok(&["wait", "--condition", "healthy", "other"]), "-1");
    b.ok(&["rm", "job"]);
    let running = running.wait();
    assert!(running.stdout == "-1\n" || running.code() == 1, "{running}");
    assert_eq!(b.ok(&["wait", "--ignore", "nobody"]), "-1");
    b.coracle(&["wait", "--condition", "happy", "other"]).fails(125);
    let both = b.output(&["wait", "--condition", "running", "nobody", "other"]);
    assert_eq!((both.code(), both.stdout.as_str()), (1, "-1\n"));
}

#[test]
fn rm_takes_what_does_not_run_and_by_force_the_rest() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let before = b.home.listing();
    let id = b.run_d(&["--name", "up"], &["sleep", "600"]);
    b.started("create", &["--name", "new"], &["true"]).ok();
    let refused = b.output(&["rm", "up", "new"]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, "new\n"));
    has(&refused.stderr, &["container is running", "rm -f up"]);
    assert_eq!(b.ok(&["rm", "-fv", &id[..10], "nobody"]), &id[..10]);
    for _ in 0..3 {
        b.run_d(&["--restart", "always"], &["sh", "-c", "mkdir -m 0 /closed; sleep 600"]);
    }
    assert_eq!(b.ok(&["rm", "-f", "--all"]).lines().count(), 3);
    assert_eq!(b.ok(&["ps", "-aq"]), "");
    let kept = |listing: &str| -> Vec<String> {
        let made = ["/containers", "/names", "/tmp", "/probe.json", "/locks"];
        let other = |line: &&str| !made.iter().any(|name| line.contains(name));
        listing.lines().filter(other).map(str::to_owned).collect()
    };
    let after = b.home.listing();
    assert_eq!(kept(&after), kept(&before));
    for directory in ["containers", "names", "tmp"] {
        let path = b.home.store().join(directory);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "{}", path.display());
    }
}

#[test]
fn of_who_is_removed_at_its_end_no_file_stays_and_no_directory_for_long() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let entries = |path: &std::path::Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    for command in [["true", ""], ["touch", "/written"], ["true", ""], ["true", ""]] {
        b.started("run", &["--rm"], &command).ok();
        for directory in ["containers", "names"] {
            let there = entries(&b.home.store().join(directory));
            assert!(there.is_empty(), "{command:?}: {there:?}");
        }
        // Its own at most, and the spare: others before it went at its start.
        let left = entries(&b.home.store().join("tmp"));
        assert!(left.iter().filter(|husk| !husk.ends_with("spare")).count() <= 1, "{left:?}");
        for entry in left.iter().flat_map(|husk| entries(husk)) {
            assert!(entry.ends_with("upper") || entry.ends_with("work"), "{}", entry.display());
        }
    }
    assert_eq!(b.ok(&["ps", "-aq"]), "");
    let left = entries(&b.home.store().join("tmp"));
    assert_eq!(left, [b.home.store().join("tmp/spare")]);
    let mut parts = entries(&left[0]);
    parts.sort();
    assert_eq!(parts, ["upper", "work"].map(|name| left[0].join(name)));
    assert!(parts.iter().all(|part| entries(part).is_empty()));
    b.ok(&["system", "prune", "-f"]);
    assert!(entries(&b.home.store().join("tmp")).is_empty());
}

#[test]
fn another_name() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "old"], &["sh", "-c", "sleep 0.5; exit 6"]);
    b.started("create", &["--name", "taken"], &["true"]).ok();
    has(&b.coracle(&["rename", "old", "taken"]).fails(1), &["is already in use by container"]);
    has(&b.coracle(&["rename", "old", "old"]).fails(1), &["same name"]);
    b.ok(&["rename", "old", "new"]);
    b.coracle(&["inspect", "old"]).fails(1);
    // Its monitor has heard of it.
    assert_eq!(b.ok(&["wait", "new"]), "6");
    assert_eq!(b.field("new", ".Name"), "/new");
    b.started("create", &["--name", "old"], &["true"]).ok();
    b.ok(&["rm", "new", "old", "taken"]);
    assert_eq!(std::fs::read_dir(b.home.store().join("names")).unwrap().count(), 0);
}

/// One in the foreground is under everybody's hand, and can be started again.
#[test]
fn a_foreground_container_from_another_terminal() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "echo hello; echo oops >&2; sleep 600";
    let running = b.started("run", &["--name", "front"], &["sh", "-c", script]).spawn();
    until("its lines", || b.output(&["logs", "front"]).stdout == "hello\n");
    assert_eq!(b.output(&["logs", "front"]).stderr, "oops\n");
    has(&b.coracle(&["attach", "front"]).fails(1), &["foreground"]);
    b.ok(&["stop", "front"]);
    let ended = running.wait();
    assert_eq!(
        (ended.code(), ended.stdout.as_str(), ended.stderr.as_str()),
        (143, "hello\n", "oops\n")
    );
    b.ok(&["start", "front"]);
    until("more lines", || b.ok(&["logs", "front"]) == "hello\nhello");
    b.ok(&["rm", "-f", "front"]);
}

/// The monitor of a container, by the name that it gives itself.
fn monitor(id: &str) -> Option<Pid> {
    let name = format!("coracle:{}\n", &id[..7]);
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is = |pid: &i32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        // A zombie has its name still.
        comm.is_ok_and(|comm| comm == name) && lives(*pid)
    };
    pids.find(is).map(Pid::from_raw)
}

#[test]
fn without_its_monitor_it_is_dead_and_said_to_be() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let id = b.run_d(&["--name", "web"], &["sh", "-c", "echo run; exec sleep 600"]);
    let temporary = b.run_d(&["--rm"], &["sleep", "600"]);
    let pid: i32 = b.field("web", ".State.Pid").parse().unwrap();
    for id in [&id, &temporary] {
        until("the monitor's name", || monitor(id).is_some());
        kill(monitor(id).unwrap(), Signal::SIGKILL).unwrap();
    }
    until("its end", || b.status("web") == "exited");
    until("its process's end", || !lives(pid));
    has(&b.ok(&["ps", "-a"]), &["Exited (137)"]);
    assert_eq!(b.ok(&["wait", "web"]), "137");
    until("the temporary one's end", || b.ok(&["ps", "-aq", "--no-trunc"]) == id);
    b.coracle(&["start", &temporary]).fails(1);
    b.ok(&["start", "web"]);
    until("its second run", || b.ok(&["logs", "web"]) == "run\nrun");
    b.ok(&["rm", "-f", "web"]);
}

/// Who ends the monitor politely stops its container, whatever its policy: a machine goes down.
#[test]
fn a_monitor_that_is_terminated_stops_its_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let id = b.run_d(&["--name", "web", "--restart", "always"], &["sh", "-c", script]);
    until("it to be ready", || b.ok(&["logs", "web"]) == "ready");
    until("the monitor's name", || monitor(&id).is_some());
    kill(monitor(&id).unwrap(), Signal::SIGTERM).unwrap();
    until("its end", || b.status("web") == "exited");
    assert_eq!(b.field("web", ".State.ExitCode"), "9");
}

/// A monitor gives its memory back when nothing has happened for a second, its relocated data too, and
/// has all of it again for whatever comes: output, health checks in children, a new run, the end.
#[test]
fn a_monitor_that_slept_goes_on() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "echo run; sleep 3; echo late; sleep 3; [ -e /again ] || { >/again; exit 3; }; exec sleep 600";
    let flags = [
        "--name",
        "web",
        "--restart",
        "on-failure",
        "--health-cmd",
        "true",
        "--health-interval",
        "2s",
    ];
    b.run_d(&flags, &["sh", "-c", script]);
    until("a second run, and its words", || b.ok(&["logs", "web"]) == "run\nlate\nrun\nlate");
    until("its health", || b.field("web", ".State.Health.Status") == "healthy");
    b.ok(&["restart", "-t", "0", "web"]);
    b.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(b.field("web", ".State.Status"), "exited");
    b.ok(&["rm", "web"]);
}

#[test]
fn rm_gives_time_and_takes_what_is_gone_for_removed() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "trap 'echo bye >/said/bye; exit' TERM; echo ready; while :; do sleep 0.02; done";
    b.run_d(&["--name", "web", "-v", "said:/said"], &["sh", "-c", script]);
    until("it to be ready", || b.ok(&["logs", "web"]) == "ready");
    b.coracle(&["rm", "-t", "60", "web"]).fails(125);
    assert_eq!(b.ok(&["rm", "-f", "-t", "60", "web"]), "web");
    let said = b.started("run", &["--rm", "-v", "said:/said"], &["cat", "/said/bye"]).ok();
    assert_eq!(said, "bye");
    b.coracle(&["rm", "web"]).fails(1);
    assert_eq!(b.ok(&["rm", "--ignore", "web"]), "");
    // It is removed by what ends it, and its name is printed all the same.
    b.run_d(&["--rm", "--name", "passing"], &["sleep", "600"]);
    assert_eq!(b.ok(&["rm", "-f", "-t", "0", "passing"]), "passing");
}

#[test]
fn an_image_goes_with_its_last_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let images = || b.ok(&["images", "-q"]);
    b.run_d(&["--name", "other"], &["sleep", "600"]);
    b.started("run", &["--rmi"], &["sh", "-c", "exit 3"]).fails(3);
    assert_ne!(images(), "", "the other one has it");
    b.ok(&["rm", "-f", "-t", "0", "other"]);
    b.started("run", &["--rmi"], &["sh", "-c", "exit 3"]).fails(3);
    assert_eq!((images(), b.ok(&["ps", "-aq"])), Default::default());
    b.ok(&["pull", "-q", &b.image]);
    b.run_d(&["--rmi"], &["true"]);
    until("it to be gone", || images().is_empty());
    assert_eq!(b.ok(&["ps", "-aq"]), "");
    // One from a layout has no name here.
    let [first, second] = ["latest", "labels"].map(|tag| layout("busybox", tag));
    b.ok(&["run", "--rmi", "--network", "none", &first, "true"]);
    assert_eq!(images(), "");
    // A name that is another image's by now is not taken from that.
    let (old, new) = (b.ok(&["pull", "-q", &first]), b.ok(&["pull", "-q", &second]));
    b.ok(&["tag", &old, "mine"]);
    b.ok(&["run", "-d", "--rmi", "--network", "none", "--name", "web", "mine", "sleep", "600"]);
    b.ok(&["tag", &new, "mine"]);
    b.ok(&["stop", "-t", "0", "web"]);
    until("the old one to be gone", || b.ok(&["images", "-q", "--no-trunc"]) == new);
    assert_eq!(b.ok(&["images", "-q", "--no-trunc", "mine"]), new);
}
