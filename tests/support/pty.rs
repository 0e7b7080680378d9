//! A terminal for `-t`: the program gets the slave as its controlling terminal, the test types
//! and reads at the master.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::pty::{Winsize, openpty};
use rustix::termios::{Termios, tcgetattr};

use super::{Home, binary, wait_until};

pub struct Terminal {
    master: File,
    /// Kept open: what the program left in the terminal can still be asked when it is gone.
    slave: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

pub const ROWS: u16 = 33;
pub const COLUMNS: u16 = 101;

impl Terminal {
    pub fn coracle(home: &Home, arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let (mut master, slave) = (File::from(pair.master), File::from(pair.slave));
        // `setsid --ctty` makes the session; it execs, so the child's pid is the program's.
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--ctty").arg(binary()).args(arguments);
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let mut command = home.run(command).command;
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        // The command holds copies of the slave; they must not keep the terminal open.
        drop(command);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (reader, sink) = (master.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || copy(reader, &sink));
        master.flush().unwrap();
        Self { master, slave, child, seen }
    }

    pub fn attributes(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).unwrap()
    }

    pub fn send(&mut self, text: impl AsRef<[u8]>) {
        self.master.write_all(text.as_ref()).unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(self.master.as_fd(), size).unwrap();
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Wait until `text` was shown.
    pub fn expect(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.text().contains(text) {
            assert!(Instant::now() < deadline, "no `{text}` on the terminal:\n{}", self.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = wait_until(&mut self.child, deadline);
        status.unwrap_or_else(|| {
            let _ = self.child.kill();
            panic!("still running on its terminal:\n{}", self.text())
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(mut from: File, into: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        into.lock().unwrap().extend_from_slice(&buffer[..count]);
    }
}
