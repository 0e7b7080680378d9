//! `attach`, and terminals that are left and come back to.

use nix::sys::signal::Signal;

use super::Box;
use crate::requires;
use crate::support::pty::{COLUMNS, ROWS, Terminal};
use crate::support::{has, until};

#[test]
fn a_terminal_is_left_and_come_back_to() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let b = Box::new();
    b.run_d(&["-it", "--name", "shell"], &["sh"]);
    let keys = ["attach", "--detach-keys", "ctrl-p,ctrl-q", "shell"];
    let mut terminal = Terminal::coracle(&b.home, &keys);
    terminal.send("x=kept; stty size\n");
    terminal.expect(&format!("{ROWS} {COLUMNS}"));
    terminal.resize(50, 120);
    terminal.signal(Signal::SIGWINCH);
    let old = format!("{ROWS} {COLUMNS}");
    terminal
        .send(format!("while [ \"$(stty size)\" = '{old}' ]; do sleep 0.02; done; stty size\n"));
    terminal.expect("50 120");
    terminal.send("\x10\x11");
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    assert_eq!(b.status("shell"), "running");
    // It is the same shell, whoever else has come meanwhile.
    let mut again = Terminal::coracle(&b.home, &["attach", "shell"]);
    let mut other = Terminal::coracle(&b.home, &["attach", "shell"]);
    // What was written before it came it does not see.
    other.send("echo other-$x\n");
    other.expect("other-kept");
    again.send("echo $x-$((40+2)); echo\n");
    again.expect("kept-42");
    other.expect("kept-42");
    again.send("exit 5\n");
    assert_eq!(again.wait().code(), Some(5), "{}", again.text());
    assert_eq!(other.wait().code(), Some(5), "{}", other.text());
    assert_eq!(b.field("shell", ".State.ExitCode"), "5");
    has(&b.ok(&["logs", "shell"]), &["kept-42"]);
    has(&b.coracle(&["attach", "shell"]).fails(1), &["cannot attach to a stopped container"]);
}

#[test]
fn run_it_is_left_by_its_keys_where_it_lives_on() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let b = Box::new();
    let flags =
        ["run", "-it", "--network", "none", "--restart", "unless-stopped", "--name", "shell"];
    let keys = ["--detach-keys", "ctrl-a,d", &b.image, "sh"];
    let mut terminal = Terminal::coracle(&b.home, &[&flags[..], &keys].concat());
    terminal.send("echo at-$((1+1))\n");
    terminal.expect("at-2");
    terminal.send("\x01d");
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    assert_eq!(b.status("shell"), "running");
}

/// Its terminal's end and its session's are nothing to a container that was detached.
#[test]
fn it_outlives_the_terminal_that_it_was_started_at() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let b = Box::new();
    let words = ["run", "-d", "--network", "none", "--name", "web", &b.image];
    let command = ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"];
    let mut terminal = Terminal::coracle(&b.home, &[&words[..], &command].concat());
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    drop(terminal); // hangs up
    let lines = b.ok(&["logs", "web"]).lines().count();
    until("more lines", || b.ok(&["logs", "web"]).lines().count() > lines + 3);
}

#[test]
fn both_streams_come_apart_and_signals_go_through() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script =
        "trap 'echo bye; exit 4' INT; while :; do echo out; echo err >&2; sleep 0.02; done";
    b.run_d(&["--name", "web"], &["sh", "-c", script]);
    let attached = b.coracle(&["attach", "web"]).spawn();
    attached.until_heard();
    attached.signal(Signal::SIGINT);
    let output = attached.wait();
    assert_eq!(output.code(), 4, "{output}");
    assert!(output.stdout.starts_with("out\n") && output.stdout.ends_with("bye\n"), "{output}");
    assert!(output.stderr.lines().all(|line| line == "err") && !output.stderr.is_empty());
}

#[test]
fn input_reaches_a_detached_program() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["-i", "--name", "reader"], &["sh", "-c", "read a; echo got $a; read b; echo got $b"]);
    let first = b.coracle(&["attach", "reader"]).stdin("one\n").spawn();
    until("the first line", || b.ok(&["logs", "reader"]) == "got one");
    // Who came first has typed all that it had; its end is not the program's.
    assert_eq!(b.coracle(&["attach", "reader"]).stdin("two\n").ok(), "got two");
    assert_eq!(first.wait().ok(), "got one\ngot two");
}

/// Who does not read holds nothing up for ever, and loses nothing.
#[test]
fn a_slow_reader_gets_it_all() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.started("create", &["--name", "much"], &["sh", "-c", "seq 1 100000; exit 3"]).ok();
    let output = b.coracle(&["start", "-a", "much"]).output();
    assert_eq!((output.code(), output.stdout.lines().count()), (3, 100_000));
    assert!(output.stdout.ends_with("\n100000\n"));
}

/// Signals that are not for the container end who is there, as if nobody held them back.
#[test]
fn who_passes_no_signals_on_leaves_by_them() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "trap 'exit 4' INT; while :; do echo out; echo err >&2; sleep 0.02; done";
    b.run_d(&["--name", "web"], &["sh", "-c", script]);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let attached = b.coracle(&["attach", "--sig-proxy=false", "web"]).spawn();
        attached.until_heard();
        attached.signal(signal);
        assert_eq!(attached.wait().code(), code);
        assert_eq!(b.status("web"), "running");
    }
    let flags = ["run", "--network", "none", "--sig-proxy=false", "--name", "own", &b.image];
    let run = b.coracle(&[&flags[..], &["sh", "-c", script]].concat()).spawn();
    run.until_heard();
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait().code(), 130);
    assert_eq!(b.status("own"), "running");
}

/// Who types says what is to happen; a terminal's end is nothing to the container.
#[test]
fn a_container_with_a_terminal_outlives_those_of_who_comes() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let b = Box::new();
    b.run_d(&["-it", "--name", "shell"], &["sh"]);
    let mut terminal = Terminal::coracle(&b.home, &["attach", "shell"]);
    terminal.send("echo at-$((1+1))\n");
    terminal.expect("at-2");
    terminal.signal(Signal::SIGHUP);
    assert_eq!(terminal.wait().code(), Some(129), "{}", terminal.text());
    assert_eq!(b.status("shell"), "running");
    // A program that was brought along ends with it.
    let mut terminal = Terminal::coracle(
        &b.home,
        &["exec", "-it", "shell", "sh", "-c", "echo in; exec sleep 987"],
    );
    terminal.expect("in");
    let sleeps = || b.ok(&["exec", "shell", "ps"]).contains("sleep 987");
    until("the program", sleeps);
    terminal.signal(Signal::SIGHUP);
    assert_eq!(terminal.wait().code(), Some(129), "{}", terminal.text());
    until("its end", || !sleeps());
    assert_eq!(b.status("shell"), "running");
}
