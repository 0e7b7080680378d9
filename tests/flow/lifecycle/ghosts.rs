//! What a reboot, a kill or a failed disk leaves behind: nothing that is taken for a container.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::Box;
use crate::requires;
use crate::support::{has, lives, until};

impl Box {
    fn record(&self, id: &str) -> PathBuf {
        self.home.store().join("containers").join(id).join("record.json")
    }

    /// Kills whoever keeps a container, and waits until its process is gone too.
    fn lose(&self, id: &str) {
        let record: Value =
            serde_json::from_slice(&std::fs::read(self.record(id)).unwrap()).unwrap();
        let pid = |pointer: &str| -> i32 {
            record.pointer(pointer).unwrap().as_i64().unwrap().try_into().unwrap()
        };
        let (keeper, first) = (pid("/keeper/process/pid"), pid("/state/process/pid"));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(keeper), Signal::SIGKILL).unwrap();
        until("its process's end", || !lives(keeper) && !lives(first));
    }

    /// Has the record speak of another boot, in which its pids were those of this very process.
    fn reboot(&self, id: &str) {
        let path = self.record(id);
        let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
        let own = serde_json::json!({
            "pid": std::process::id(),
            "start_ticks": ticks.parse::<u64>().unwrap(),
            "boot": "5a5a5a5a-0000-4000-8000-000000000000",
        });
        record["state"]["process"] = own.clone();
        record["keeper"]["process"] = own;
        std::fs::write(&path, record.to_string()).unwrap();
    }
}

#[test]
fn a_reboot_leaves_no_ghost() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let web = b.run_d(&["--name", "web"], &["sh", "-c", "echo run; exec sleep 600"]);
    let other = b.run_d(&["--name", "other", "--restart", "always"], &["sleep", "600"]);
    let short = b.run_d(&["--name", "short", "--rm"], &["sleep", "600"]);
    for id in [&web, &other, &short] {
        b.lose(id);
        b.reboot(id);
    }
    assert_eq!(b.ok(&["ps", "-q"]), "");
    assert_eq!(
        b.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]),
        "other exited\nweb exited"
    );
    assert_eq!((b.status("web").as_str(), b.field("web", ".State.Pid").as_str()), ("exited", "0"));
    has(&b.coracle(&["exec", "web", "true"]).fails(1), &["is not running"]);
    has(&b.coracle(&["kill", "web"]).fails(1), &["is not running"]);
    b.ok(&["stop", "web"]);
    b.coracle(&["attach", "web"]).fails(1);
    assert_eq!(b.ok(&["wait", "web"]), "137");
    b.ok(&["start", "web"]);
    until("its second run", || b.ok(&["logs", "web"]) == "run\nrun");
    b.ok(&["rm", "-f", "web", "other"]);
    for directory in ["containers", "names", "tmp"] {
        assert_eq!(std::fs::read_dir(b.home.store().join(directory)).unwrap().count(), 0);
    }
}

/// Whoever comes upon an end that nobody lived to write down writes it down and tells it, once.
#[test]
fn an_end_without_a_witness_is_told_once() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let deaths = |id: &str| {
        let container = format!("container={id}");
        b.happened(&["event=die", &container], "{{.Actor.Attributes.exitCode}}")
    };
    let web = b.run_d(&["--name", "web"], &["sleep", "600"]);
    let looked = b.run_d(&["--name", "looked"], &["sleep", "600"]);
    let short = b.run_d(&["--name", "short", "--rm"], &["sleep", "600"]);
    let asked = b.run_d(&["--name", "asked"], &["sleep", "600"]);
    for id in [&web, &looked, &short, &asked] {
        b.lose(id);
    }
    assert_eq!(b.field("looked", ".State.ExitCode"), "137");
    let ended = b.field("looked", ".State.FinishedAt");
    assert!(!ended.starts_with("0001"), "{ended}");
    assert_eq!(b.field("looked", ".State.FinishedAt"), ended);
    // Several that find it at once.
    let lists: Vec<_> = (0..6).map(|_| b.coracle(&["ps", "-a"]).spawn()).collect();
    for list in lists {
        list.wait();
    }
    let written = std::fs::read_to_string(b.record(&web)).unwrap();
    has(&written, &[r#""status":"stopped""#, r#""code":137"#]);
    for id in [&web, &looked, &short] {
        assert_eq!(deaths(id), ["137"], "{id}");
    }
    let short = format!("container={short}");
    assert_eq!(b.happened(&[&short], "{{.Action}}"), ["create", "start", "die", "destroy"]);
    // `events` itself is such a command.
    let last = b.run_d(&[], &["sleep", "600"]);
    b.lose(&last);
    assert_eq!(deaths(&last), ["137"]);
    // A new run is another one.
    b.ok(&["start", "asked"]);
    b.ok(&["kill", "asked"]);
    assert_eq!(deaths(&asked), ["137", "137"]);
}

/// `--rm` in the foreground: what was killed before it could remove its container, the next command
/// removes, with files of other ids and closed directories.
#[test]
fn a_killed_foreground_leaves_nothing() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "mkdir -m 0 /closed; echo x >/file; chown 33:33 /file; echo ready; sleep 600";
    for network in ["none", "host"] {
        let flags = ["run", "--rm", "--network", network, &b.image, "sh", "-c", script];
        let running = b.coracle(&flags).spawn();
        until("it to run", || !b.ok(&["ps", "-q"]).is_empty());
        let id = b.ok(&["ps", "-q", "--no-trunc"]);
        let file = b.home.store().join("containers").join(&id);
        until("its files", || {
            let top = b.coracle(&["exec", &id, "ls", "/file"]).output();
            top.code() == 0
        });
        let pid = b.field(&id, ".State.Pid").parse().unwrap();
        running.signal(Signal::SIGKILL);
        running.wait();
        until("its process's end", || !lives(pid));
        until("its removal", || b.ok(&["ps", "-aq"]).is_empty() && !file.exists());
    }
    for directory in ["containers", "names", "tmp"] {
        assert_eq!(std::fs::read_dir(b.home.store().join(directory)).unwrap().count(), 0);
    }
    let told = ["events", "--stream=false", "--since", "1h", "-f", "event=destroy"];
    assert_eq!(b.ok(&told).lines().count(), 2);
}

/// A power failure may leave an empty record: it hides no other container, and can be removed.
#[test]
fn a_damaged_record_hides_no_other() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let damaged = b.started("create", &["--name", "damaged"], &["true"]).ok();
    let newer = b.started("create", &["--name", "newer"], &["true"]).ok();
    b.run_d(&["--name", "well"], &["sleep", "600"]);
    std::fs::write(b.record(&damaged), "").unwrap();
    let text = std::fs::read_to_string(b.record(&newer)).unwrap();
    std::fs::write(b.record(&newer), text.replace("\"version\":", "\"version\":9")).unwrap();
    let listed = b.output(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!((listed.code(), listed.stdout.as_str()), (0, "well\n"), "{listed}");
    has(&listed.stderr, &[&damaged[..12], "is damaged", &newer[..12], "newer coracle"]);
    has(&b.coracle(&["rm", "damaged"]).fails(1), &["is damaged", "coracle rm --force"]);
    b.coracle(&["start", "damaged"]).fails(1);
    b.ok(&["rm", "-f", "well"]);
    assert_eq!(b.ok(&["rm", "-f", &damaged[..12]]), &damaged[..12]);
    b.started("create", &["--name", "damaged"], &["true"]).ok();
    // What a newer coracle made is its own to remove.
    b.coracle(&["rm", "-f", "newer"]).fails(1);
    std::fs::write(b.record(&newer), text).unwrap();
    b.ok(&["rm", "newer", "damaged"]);
}
