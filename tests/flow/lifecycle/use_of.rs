//! What runs in a container and what it uses: `top`, `stats`, `pause`, `update`.

use super::Box;
use crate::requires;
use crate::support::{has, until};

#[test]
fn processes_and_their_use_are_shown() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "web"], &["sh", "-c", "sleep 601 & sleep 600"]);
    until("both processes", || b.ok(&["top", "web"]).matches("sleep 60").count() >= 2);
    let table = b.ok(&["top", "web"]);
    assert!(table.starts_with("UID"), "{table}");
    has(&table, &["PID", "PPID", "CMD", "sleep 601"]);
    let stats = b.ok(&["stats", "--no-stream"]);
    has(&stats, &["CONTAINER ID", "CPU %", "MEM USAGE / LIMIT", "web"]);
    let pids = b.ok(&["stats", "--no-stream", "--format", "{{.PIDs}}", "web"]);
    assert!(pids.parse::<u32>().unwrap() >= 2, "{pids}");
    let memory = b.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "web"]);
    assert!(!memory.starts_with("0B"), "{memory}");
    has(&b.coracle(&["stats", "--no-stream", "nobody"]).fails(1), &["nobody"]);
    let some = b.output(&["stats", "--no-stream", "--format", "{{.Name}}", "nobody", "web"]);
    assert_eq!((some.code(), some.stdout.as_str()), (1, "web\n"), "one failure spares the rest");
    has(&b.coracle(&["top", "nobody"]).fails(1), &["No such container"]);
    b.ok(&["rm", "-f", "web"]);
    has(&b.ok(&["stats", "--no-stream"]), &["NAME"]);
}

#[test]
fn paused_and_gone_on() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("freezer"));
    let b = Box::new();
    b.run_d(&["--name", "web"], &["sh", "-c", "while :; do echo tick; sleep 0.02; done"]);
    until("ticks", || b.ok(&["logs", "web"]).lines().count() > 2);
    assert_eq!(b.ok(&["pause", "web"]), "web");
    assert_eq!(b.status("web"), "paused");
    has(&b.ok(&["ps"]), &["(Paused)"]);
    has(&b.coracle(&["pause", "web"]).fails(1), &["is paused"]);
    has(&b.coracle(&["exec", "web", "true"]).fails(1), &["is paused"]);
    let ticks = || b.ok(&["logs", "web"]).lines().count();
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(ticks(), before);
    assert_eq!(b.ok(&["unpause", "web"]), "web");
    until("more ticks", || ticks() > before);
    has(&b.coracle(&["unpause", "web"]).fails(1), &["is not paused"]);
    // A paused one can be stopped, and removed by force.
    b.ok(&["pause", "web"]);
    b.ok(&["stop", "-t", "1", "web"]);
    assert_eq!(b.status("web"), "exited");
    b.ok(&["start", "web"]);
    b.ok(&["pause", "web"]);
    b.ok(&["rm", "-f", "web"]);
}

#[test]
fn limits_are_changed_while_it_runs_and_for_the_next_time() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("memory"), Controller("pids"));
    let b = Box::new();
    b.run_d(&["--name", "web", "-m", "64m"], &["sleep", "600"]);
    assert_eq!(b.ok(&["update", "-m", "32m", "--pids-limit", "20", "web"]), "web");
    assert_eq!(b.field("web", ".HostConfig.Memory"), (32 << 20).to_string());
    has(&b.ok(&["stats", "--no-stream", "web"]), &["/ 32MiB"]);
    b.ok(&["restart", "-t", "0", "web"]);
    has(&b.ok(&["stats", "--no-stream", "web"]), &["/ 32MiB"]);
    assert_eq!(b.ok(&["update", "--restart", "on-failure:3", "web"]), "web");
    assert_eq!(b.field("web", ".HostConfig.RestartPolicy.Name"), "on-failure");
    b.coracle(&["update", "web"]).fails(125);
    b.ok(&["rm", "-f", "web"]);
}
