//! `exec`: another program in a container that runs.

use super::background::Background;
use super::home_with_busybox;
use crate::requires;
use crate::support::needs::has_real_ids;
use crate::support::pty::{COLUMNS, ROWS, Terminal};
use crate::support::{has, until};

#[test]
fn it_is_in_the_same_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::start(
        &home,
        "box",
        &[
            ["--network", "none"],
            ["-e", "GIVEN=1"],
            ["-w", "/tmp"],
            ["--ulimit", "nofile=77:88"],
            ["--oom-score-adj", "300"],
        ]
        .concat(),
        &["sleep", "600"],
    );
    let sh = |script: &str| container.exec(&[], &["sh", "-c", script]).ok();
    // pid 1 is --init, into which nobody may look; 2 is the program.
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        assert_eq!(
            sh(&format!("readlink /proc/self/ns/{kind}")),
            sh(&format!("readlink /proc/2/ns/{kind}"))
        );
    }
    assert_eq!(sh("echo $GIVEN; pwd; ulimit -n; cat /proc/1/comm"), "1\n/tmp\n77\ncoracle");
    assert_eq!(sh("cat /proc/self/oom_score_adj"), "300");
    sh("echo left >/left");
    assert_eq!(sh("cat /left"), "left");
    let confinement = "grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid)' /proc/PID/status";
    let of = |pid: &str| sh(&confinement.replace("PID", pid));
    assert_eq!(of("self"), of("2"), "the same powers as the container's own program");
    let descriptors = sh("ls /proc/self/fd");
    assert_eq!(descriptors, "0\n1\n2\n3", "3 is the directory that ls reads");
}

#[test]
fn exit_codes_are_the_commands() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::idle(&home, "box");
    for code in [0, 1, 42, 255] {
        let script = format!("exit {code}");
        assert_eq!(container.exec(&[], &["sh", "-c", &script]).output().code(), code);
    }
    assert_eq!(container.exec(&[], &["sh", "-c", "kill -9 $$"]).output().code(), 137);
    has(&container.exec(&[], &["nope"]).fails(127), &["executable file not found in $PATH"]);
    has(&container.exec(&[], &["/etc/passwd"]).fails(126), &["permission denied"]);
    has(&home.coracle(["exec", "nobody", "true"]).fails(1), &["No such container: nobody"]);
    assert_eq!(container.end().code(), 137);
}

#[test]
fn user_directory_and_variables_are_given() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::idle(&home, "box");
    let flags = ["-e", "A=b c", "-w", "/etc", "--env", "PATH=/bin:/usr/bin"];
    let script = "echo $A; pwd; echo $PATH";
    assert_eq!(container.exec(&flags, &["sh", "-c", script]).ok(), "b c\n/etc\n/bin:/usr/bin");
    has(&container.exec(&["-u", "no-such-user"], &["true"]).fails(126), &["no-such-user"]);
    has(&container.exec(&["-u", "0:no-such-group"], &["true"]).fails(126), &["no-such-group"]);
    has(&container.exec(&["-w", "/none"], &["true"]).fails(127), &["/none"]);
    has(&container.exec(&["-w", "/etc/passwd"], &["true"]).fails(127), &["/etc/passwd"]);
    // Emulated ids take a filter of their own, which refuses nothing.
    let filters = if has_real_ids() { "Seccomp_filters:\t0" } else { "Seccomp_filters:\t1" };
    let command = ["grep", "-E", "CapEff|Seccomp_filters", "/proc/self/status"];
    let capable = container.exec(&["--privileged"], &command);
    has(&capable.ok(), &["CapEff:\t000001ffffffffff", filters]);
}

#[test]
fn stdin_is_passed_with_i_only() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::idle(&home, "box");
    let text = "x".repeat(300_000);
    let count = |flags: &[&str]| container.exec(flags, &["wc", "-c"]).stdin(text.clone()).ok();
    assert_eq!(count(&["-i"]), "300000");
    assert_eq!(count(&[]), "0");
}

#[test]
fn a_terminal_can_be_left() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let (home, _) = home_with_busybox();
    let container = Background::idle(&home, "box");
    let mut terminal =
        Terminal::coracle(&home, &["exec", "-it", "--detach-keys", "ctrl-p,ctrl-q", "box", "sh"]);
    terminal.send("stty size; tty\n");
    terminal.expect(&format!("{ROWS} {COLUMNS}"));
    terminal.send("(sleep 0.5; echo on >/on) & sleep 600\n\x10\x11");
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    until("the shell to go on", || container.exec(&[], &["cat", "/on"]).output().stdout == "on\n");
    has(&container.exec(&[], &["ps"]).ok(), &["sleep 600", "sh"]);
}

#[test]
fn detached_it_runs_on_and_ends_with_the_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::idle(&home, "box");
    let marked = "sleep 4242";
    assert_eq!(container.exec(&["-d"], &["sh", "-c", &format!("{marked}; true")]).ok(), "");
    until("the program", || container.exec(&[], &["ps"]).ok().contains(marked));
    // With a terminal, at which nobody is: a shell waits there for ever.
    assert_eq!(container.exec(&["-dt"], &["sh", "-c", "tty >/tty; read line"]).ok(), "");
    let tty = || container.exec(&[], &["cat", "/tty"]).output().stdout;
    until("the terminal", || tty().starts_with("/dev/pts/"));
    has(&container.exec(&[], &["ps"]).ok(), &["read line"]);
    container.end();
    let left = |pid: &std::path::Path| {
        std::fs::read(pid.join("cmdline")).is_ok_and(|line| line.starts_with(b"sleep\x004242"))
    };
    until("the program's end", || {
        !std::fs::read_dir("/proc").unwrap().flatten().any(|entry| left(&entry.path()))
    });
}

#[test]
fn many_at_once() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let container = Background::idle(&home, "box");
    let running: Vec<_> = (0..20)
        .map(|number| container.exec(&[], &["sh", "-c", &format!("exit {number}")]).spawn())
        .collect();
    for (number, running) in running.into_iter().enumerate() {
        assert_eq!(running.wait().code(), i32::try_from(number).unwrap());
    }
}
