//! `run -d`, `create`, `start`, `restart`, restart policies.

use super::Box;
use crate::requires;
use crate::support::{has, until};

#[test]
fn run_d_prints_the_id_and_leaves_it_running() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let id = b.run_d(&["--name", "web"], &["sleep", "600"]);
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(b.status("web"), "running");
    assert_eq!(b.ok(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(b.ok(&["exec", "web", "cat", "/proc/1/comm"]), "sleep");
    // By the beginning of its ID too.
    assert_eq!(b.ok(&["stop", &id[..6]]), &id[..6]);
    assert_eq!(b.status("web"), "exited");
    has(&b.ok(&["ps", "-a"]), &["Exited (143)", "web"]);
    assert_eq!(b.ok(&["start", "web"]), "web");
    assert_eq!(b.status("web"), "running");
    assert_eq!(b.ok(&["rm", "-f", "web"]), "web");
    assert_eq!(b.ok(&["ps", "-aq"]), "");
}

/// What cannot be started says so as in the foreground, and leaves nothing.
#[test]
fn failures_are_those_of_the_foreground() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let run = |command: &str| b.started("run", &["-d"], &[command]);
    has(&run("nope").fails(127), &["executable file not found in $PATH"]);
    has(&run("/etc/passwd").fails(126), &["permission denied"]);
    b.started("run", &["-d", "-w", "/etc/passwd"], &["true"]).fails(125);
    assert_eq!(b.ok(&["ps", "-aq"]), "");
    b.ok(&["create", "--network", "none", "--name", "bad", &b.image, "nope"]);
    has(&b.coracle(&["start", "bad"]).fails(127), &["executable file not found in $PATH"]);
    assert_eq!(b.status("bad"), "created");
    has(&b.coracle(&["start", "nobody"]).fails(1), &["No such container: nobody"]);
}

#[test]
fn created_started_attached() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "echo out; echo err >&2; echo mark >>/kept; wc -l </kept; exit 7";
    let id = b.started("create", &["--name", "job"], &["sh", "-c", script]).ok();
    assert_eq!(b.status("job"), "created");
    assert_eq!(b.ok(&["ps", "-q"]), "");
    assert_eq!(b.ok(&["wait", "job"]), "0", "one that was never started is not waited for");
    let first = b.output(&["start", "-a", "job"]);
    assert_eq!(
        (first.code(), first.stdout.as_str(), first.stderr.as_str()),
        (7, "out\n1\n", "err\n")
    );
    // What it wrote is kept from one start to the next.
    let again = b.output(&["start", "-a", &id]);
    assert_eq!((again.code(), again.stdout.as_str()), (7, "out\n2\n"));
    assert_eq!(b.ok(&["start", "job"]), "job");
    assert_eq!(b.ok(&["wait", "job"]), "7");
    let started = b.field("job", ".State.StartedAt");
    let finished = b.field("job", ".State.FinishedAt");
    assert!(started < finished, "{started} {finished}");
    has(&b.coracle(&["start", "-a", "job", "job"]).fails(1), &["cannot start and attach multiple"]);
}

#[test]
fn input_goes_to_who_is_started_with_it() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.started("create", &["-i", "--name", "count"], &["wc", "-c"]).ok();
    let text = "x".repeat(300_000);
    assert_eq!(b.coracle(&["start", "-ai", "count"]).stdin(text).ok(), "300000");
    assert_eq!(b.coracle(&["start", "-ai", "count"]).stdin("abc").ok(), "3");
}

#[test]
fn several_at_once_and_one_failure_spares_the_rest() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    for name in ["one", "two"] {
        b.started("create", &["--name", name], &["sleep", "600"]).ok();
    }
    let started = b.output(&["start", "one", "nobody", "two"]);
    assert_eq!((started.code(), started.stdout.as_str()), (1, "one\ntwo\n"));
    let stopped = b.output(&["stop", "one", "nobody", "two"]);
    assert_eq!((stopped.code(), stopped.stdout.as_str()), (1, "one\ntwo\n"));
    assert_eq!(b.ok(&["stop", "one"]), "one", "stopping twice is no failure");
    b.ok(&["start", "--all"]);
    assert_eq!(b.ok(&["ps", "-q"]).lines().count(), 2);
    assert_eq!(b.ok(&["stop", "--all"]).lines().count(), 2);
    assert_eq!(b.ok(&["ps", "-q"]), "");
}

#[test]
fn chosen_by_what_holds_by_a_file_or_as_the_last() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.coracle(&["stop", "--latest"]).fails(1);
    has(&b.coracle(&["stop"]).fails(125), &["no container is named", "--latest"]);
    let file = b.home.path().join("of-two.id");
    let file = file.to_str().unwrap();
    b.run_d(&["--name", "one", "-l", "tier=front"], &["sleep", "600"]);
    b.run_d(&["--name", "two", "--cidfile", file], &["sleep", "600"]);
    b.started("create", &["--name", "three", "-l", "tier=front"], &["sleep", "600"]).ok();
    let running = || b.ok(&["ps", "--sort", "names", "--format", "{{.Names}}"]);
    assert_eq!(b.ok(&["stop", "-t", "0", "--filter", "label=tier=front"]).lines().count(), 1);
    assert_eq!(running(), "two");
    b.coracle(&["stop", "--filter", "colour=red"]).fails(125);
    b.coracle(&["stop", "--filter", "name=one", "one"]).fails(125);
    assert_eq!(b.ok(&["start", "--latest"]).len(), 64);
    assert_eq!(running(), "three\ntwo");
    assert_eq!(b.ok(&["restart", "-t", "0", "--running", "--all"]).lines().count(), 2);
    assert_eq!(b.ok(&["kill", "--cidfile", file]).len(), 64);
    until("the end of two", || running() == "three");
    has(&b.coracle(&["rm", "--cidfile", "/no/such/file"]).fails(1), &["cannot read /no/such/file"]);
    b.ok(&["rm", "-f", "--cidfile", "/no/such/file"]);
    b.ok(&["rm", "-f", "--filter", "label=tier=front"]);
    assert_eq!(b.ok(&["ps", "-a", "--format", "{{.Names}}"]), "two");
    b.ok(&["rm", "--cidfile", file]);
}

#[test]
fn restart_is_a_new_run_of_the_same_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "web", "-e", "A=1"], &["sh", "-c", "echo run $A; exec sleep 600"]);
    until("the first line", || b.ok(&["logs", "web"]) == "run 1");
    let pid = b.field("web", ".State.Pid");
    assert_eq!(b.ok(&["restart", "-t", "0", "web"]), "web");
    assert_ne!(b.field("web", ".State.Pid"), pid);
    until("the second line", || b.ok(&["logs", "web"]) == "run 1\nrun 1");
}

#[test]
fn policies_are_kept() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "fails", "--restart", "on-failure:2"], &["sh", "-c", "echo try; exit 4"]);
    b.run_d(&["--name", "well", "--restart", "on-failure"], &["true"]);
    b.run_d(&["--name", "ever", "--restart", "always"], &["sh", "-c", "echo try; sleep 0.05"]);
    until("three tries", || {
        b.field("fails", ".RestartCount") == "2" && b.status("fails") == "exited"
    });
    assert_eq!(b.ok(&["logs", "fails"]), "try\ntry\ntry");
    assert_eq!(b.field("fails", ".State.ExitCode"), "4");
    until("a good end", || b.status("well") == "exited");
    assert_eq!(b.field("well", ".RestartCount"), "0");
    until("restarts", || b.ok(&["logs", "ever"]).lines().count() > 2);
    // A user's word is the last one.
    b.ok(&["stop", "ever"]);
    let lines = b.ok(&["logs", "ever"]).lines().count();
    assert_eq!(b.status("ever"), "exited");
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(
        (b.status("ever").as_str(), b.ok(&["logs", "ever"]).lines().count()),
        ("exited", lines)
    );
    has(
        &b.started("run", &["--rm", "--restart", "always"], &["true"]).fails(125),
        &["--restart and --rm"],
    );
    has(
        &b.started("run", &["--restart", "maybe"], &["true"]).fails(125),
        &["unknown policy 'maybe'"],
    );
}

#[test]
fn a_stop_at_any_moment_is_the_last_word() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "ever", "--restart", "always"], &["true"]);
    for round in 0..15 {
        std::thread::sleep(std::time::Duration::from_millis(round * 7));
        b.ok(&["stop", "ever"]);
        assert_eq!(b.status("ever"), "exited", "round {round}");
        b.ok(&["start", "ever"]);
    }
    b.ok(&["rm", "-f", "ever"]);
}

/// Attached, the first end is the command's, as in docker; the container goes on by its policy.
#[test]
fn a_policy_in_the_foreground() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let flags = ["--name", "web", "--restart", "on-failure:1", "-i"];
    let script = ["sh", "-c", "cat; echo err >&2; exit 4"];
    let output = b.started("run", &flags, &script).stdin("typed").output();
    assert_eq!((output.code(), output.stdout.as_str()), (4, "typed"), "{output}");
    has(&output.stderr, &["err"]);
    until("the second run", || b.field("web", ".RestartCount") == "1");
}
