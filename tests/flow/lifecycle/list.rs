//! `ps` and `top`, `generate systemd`.

use super::Box;
use crate::requires;
use crate::support::{has, until};

#[test]
fn filters_formats_and_sizes() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.started("create", &["--name", "web-1", "-l", "tier=front"], &["true"]).ok();
    b.run_d(&["--name", "web-2", "-l", "tier=back", "-v", "/etc:/host:ro"], &["sleep", "600"]);
    b.run_d(&["--name", "job", "--restart", "on-failure:1"], &["sh", "-c", "exit 3"]);
    until("the job's end", || b.status("job") == "exited");
    let names = |words: &[&str]| -> Vec<String> {
        let all = [&["ps", "--format", "{{.Names}}"][..], words].concat();
        b.ok(&all).lines().map(str::to_owned).collect()
    };
    let filtered = |filters: &[&str]| -> Vec<String> {
        let flags: Vec<&str> =
            ["-a"].into_iter().chain(filters.iter().flat_map(|it| ["-f", it])).collect();
        names(&flags)
    };
    let label = ["ps", "-a", "--format", "{{.Names}}:{{.Label \"tier\"}}"];
    assert_eq!(b.ok(&label), "job:\nweb-2:back\nweb-1:front");
    b.ok(&["container", "exists", "web-1"]);
    assert_eq!(b.coracle(&["container", "exists", "web-3"]).fails(1), "");
    assert_eq!(names(&[]), ["web-2"]);
    assert_eq!(names(&["-a"]), ["job", "web-2", "web-1"], "the newest first");
    assert_eq!(names(&["-n", "2"]), ["job", "web-2"]);
    assert_eq!(names(&["-l"]), ["job"]);
    assert_eq!(filtered(&["status=created"]), ["web-1"]);
    assert_eq!(filtered(&["exited=3"]), ["job"]);
    assert_eq!(filtered(&["name=web"]), ["web-2", "web-1"]);
    assert_eq!(filtered(&["name=^web-1$"]), ["web-1"]);
    assert_eq!(filtered(&["name=web", "label=tier=back"]), ["web-2"]);
    assert_eq!(filtered(&["before=web-2"]), ["web-1"]);
    assert_eq!(filtered(&["since=web-2"]), ["job"]);
    assert_eq!(filtered(&["volume=/host"]), ["web-2"]);
    assert_eq!(filtered(&["restart-policy=on-failure"]), ["job"]);
    assert_eq!(filtered(&["ancestor=nothing"]), Vec::<String>::new());
    assert_eq!(filtered(&[&format!("ancestor={}", b.image)]).len(), 3);
    b.coracle(&["ps", "-f", "status=happy"]).fails(125);
    b.coracle(&["ps", "-f", "since=nobody"]).fails(1);
    assert_eq!(names(&["-a", "--sort", "created"]), ["web-1", "web-2", "job"]);
    assert_eq!(names(&["-a", "--sort", "runningfor"]), ["job", "web-2", "web-1"]);
    assert_eq!(names(&["-a", "--sort", "names"]), ["job", "web-1", "web-2"]);
    assert_eq!(names(&["-a", "--sort", "status"]), ["web-1", "job", "web-2"]);
    b.coracle(&["ps", "--sort", "beauty"]).fails(125);
    let table = b.ok(&["ps", "-a"]);
    let heading = table.lines().next().unwrap();
    let columns = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    assert_eq!(
        heading.split("   ").filter(|it| !it.is_empty()).map(str::trim).collect::<Vec<_>>(),
        columns
    );
    assert_eq!(b.ok(&["ps", "--noheading"]).lines().count(), 1);
    b.ok(&["exec", "web-2", "dd", "if=/dev/zero", "of=/big", "bs=1000", "count=3000"]);
    b.ok(&["exec", "web-2", "mkdir", "-m", "0", "/closed"]);
    let sizes = b.ok(&["ps", "-as", "--format", "{{.Names}} {{.Size}}"]);
    has(&sizes, &["web-2 3MB (virtual ", "web-1 0B (virtual "]);
    assert_eq!(names(&["-a", "--sort", "size"]).last().unwrap(), "web-2");
    has(&b.ok(&["ps", "-s"]), &["SIZE"]);
    let json: serde_json::Value = serde_json::from_str(&b.ok(&["ps", "--format", "json"])).unwrap();
    assert_eq!((&json["State"], &json["Names"]), (&"running".into(), &"web-2".into()));
    let id = b.ok(&["ps", "-q"]);
    assert_eq!((id.len(), b.ok(&["ps", "-q", "--no-trunc"]).len()), (12, 64));
}

#[test]
fn top_shows_its_processes_and_no_others() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "one", "--init"], &["sh", "-c", "sleep 611 & sleep 612 & wait"]);
    b.run_d(&["--name", "two"], &["sleep", "613"]);
    until("all of it", || b.ok(&["top", "one"]).contains("sleep 612"));
    let top = b.ok(&["top", "one"]);
    let heading: Vec<&str> = top.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    has(&top, &["root", "sleep 611", "sleep 612", "sh -c"]);
    assert!(!top.contains("sleep 613"), "{top}");
    // Options are those of the host's ps.
    let by_ps = |options: &[&str]| {
        b.coracle(&[&["top", "one"], options].concat()).env("PATH", "/usr/bin:/bin")
    };
    if std::path::Path::new("/usr/bin/ps").exists() || std::path::Path::new("/bin/ps").exists() {
        let top = by_ps(&["-eo", "pid,args"]).ok();
        has(&top, &["PID", "sleep 611", "sleep 612"]);
        assert!(!top.contains("sleep 613"), "{top}");
        has(&by_ps(&["-eo", "args"]).fails(125), &["Couldn't find PID field"]);
    }
    b.ok(&["stop", "one"]);
    has(&b.coracle(&["top", "one"]).fails(1), &["is not running"]);
}

#[test]
fn a_unit_for_systemd() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let id = b.run_d(&["--name", "web", "--stop-timeout", "3"], &["sleep", "600"]);
    let unit = b.ok(&["generate", "systemd", "web"]);
    let line = |name: &str| -> String {
        let found = unit.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in\n{unit}")).to_owned()
    };
    assert_eq!((line("Type=").as_str(), line("TimeoutStopSec=").as_str()), ("forking", "13"));
    // The commands of the unit do what they are for, and the pid is the monitor's.
    b.ok(&["stop", "web"]);
    let run = |text: &str| {
        let mut words = text.split_whitespace();
        let mut command = std::process::Command::new(words.next().unwrap());
        command.args(words);
        b.home.run(command).ok();
    };
    run(&line("ExecStart="));
    assert_eq!(b.status("web"), "running");
    let pid = std::fs::read_to_string(line("PIDFile=")).unwrap();
    let comm = || std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap();
    until("the monitor's name", || comm().trim() == format!("coracle:{}", &id[..7]));
    run(&line("ExecStop="));
    assert_eq!(b.status("web"), "exited");
    has(&unit, &["WantedBy=default.target", "loginctl enable-linger"]);
}

/// After a reboot: what its policy wants is started, what a user stopped is not.
#[test]
fn start_boot_starts_what_is_wanted() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    for (name, policy) in [("ever", "always"), ("unless", "unless-stopped"), ("never", "no")] {
        b.run_d(&["--name", name, "--restart", policy], &["sleep", "600"]);
    }
    // Whatever ends all monitors at once.
    for id in b.ok(&["ps", "-q", "--no-trunc"]).lines() {
        let path = b.home.store().join("containers").join(id).join("monitor.pid");
        let pid: i32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    until("their end", || b.ok(&["ps", "-q"]).is_empty());
    b.ok(&["start", "--boot"]);
    let up = || b.ok(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(up(), "unless\never");
    b.ok(&["stop", "ever", "unless"]);
    b.ok(&["start", "--boot"]);
    assert_eq!(up(), "ever");
}
