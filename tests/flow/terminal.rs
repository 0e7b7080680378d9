//! `-t`: the container's terminal is a real one, and the caller's is given back as it was.

use nix::sys::signal::Signal;
use rustix::termios::LocalModes;

use super::pulled;
use crate::requires;
use crate::support::Home;
use crate::support::pty::{COLUMNS, ROWS, Terminal};

fn start(command: &[&str]) -> Terminal {
    let image = pulled("busybox", "latest");
    let first = ["run", "--rm", "-it", "--network", "none", &image];
    let all: Vec<&str> = first.iter().chain(command).copied().collect();
    Terminal::coracle(Home::shared(), &all)
}

fn cooked(terminal: &Terminal) -> bool {
    terminal
        .attributes()
        .local_modes
        .contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

#[test]
fn it_is_a_terminal_of_the_right_size() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let mut terminal = start(&[
        "sh",
        "-c",
        "test -t 0 && test -t 1 && test -t 2 && stty size && tty; echo $TERM; exit 5",
    ]);
    assert_eq!(terminal.wait().code(), Some(5), "{}", terminal.text());
    terminal.expect(&format!("{ROWS} {COLUMNS}\r\n"));
    terminal.expect("xterm");
    assert!(terminal.text().contains("/dev/"), "{}", terminal.text());
}

#[test]
fn typing_resizing_and_control_c() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let mut terminal = start(&["sh"]);
    let before = terminal.attributes().local_modes;
    terminal.send("echo typed-$((40+2))\n");
    terminal.expect("typed-42");
    assert!(!cooked(&terminal), "raw while the container has it");
    terminal.resize(50, 120);
    terminal.signal(Signal::SIGWINCH);
    let old = format!("{ROWS} {COLUMNS}");
    terminal
        .send(format!("while [ \"$(stty size)\" = '{old}' ]; do sleep 0.02; done; stty size\n"));
    terminal.expect("50 120");
    // Control-C reaches the program inside and not the tool.
    terminal.send("trap 'echo caught-$((1+1))' INT; echo set-$((1+1)); sleep 10\n");
    terminal.expect("set-2");
    terminal.send("\x03");
    terminal.expect("caught-2");
    terminal.send("exit 7\n");
    assert_eq!(terminal.wait().code(), Some(7), "{}", terminal.text());
    assert!(cooked(&terminal), "restored, was {before:?}");
}

#[test]
fn it_is_restored_however_the_run_ends() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let mut terminal = start(&["no-such-command"]);
    assert_eq!(terminal.wait().code(), Some(127), "{}", terminal.text());
    assert!(cooked(&terminal));

    let mut terminal =
        start(&["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"]);
    terminal.expect("ready");
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.wait().code(), Some(9), "{}", terminal.text());
    assert!(cooked(&terminal));
}

/// Scripts pass -t by habit; docker's words tell them apart from other failures.
#[test]
fn without_a_terminal_it_is_refused() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let image = pulled("busybox", "latest");
    let output = Home::shared().coracle(["run", "--rm", "-it", &image, "true"]).stdin("").output();
    crate::support::has(&output.fails(1), &["the input device is not a TTY"]);
}

/// A terminal without `-i`: output is seen, nothing can be typed.
#[test]
fn output_only() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let image = pulled("busybox", "latest");
    let mut terminal = Terminal::coracle(
        Home::shared(),
        &[
            "run",
            "--rm",
            "-t",
            "--network",
            "none",
            &image,
            "sh",
            "-c",
            "test -t 1 && echo terminal",
        ],
    );
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    terminal.expect("terminal");
}

#[test]
fn without_t_no_terminal_is_passed_in() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/setsid"));
    let image = pulled("busybox", "latest");
    let script = "test -t 1 && echo stdout-is-one; (echo x >/dev/tty) 2>/dev/null && echo can-open-it; echo end";
    let mut terminal = Terminal::coracle(
        Home::shared(),
        &["run", "--rm", "--network", "none", &image, "sh", "-c", script],
    );
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.text());
    terminal.expect("end");
    // TIOCSTI on a terminal of the caller would type into the caller's shell.
    assert!(!terminal.text().contains("can-open-it"), "{}", terminal.text());
}
