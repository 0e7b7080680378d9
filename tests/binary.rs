//! The promise of one static binary: nothing to load, nothing of the host to ask.

use std::fs;
use std::process::Command;

use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, binary, busybox};

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;

#[test]
fn the_binary_is_static() {
    let bytes = fs::read(binary()).unwrap();
    let word = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let int = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(bytes[..5], *b"\x7fELF\x02", "a 64-bit ELF file");
    let (table, each, count) =
        (usize::try_from(long(0x20)).unwrap(), usize::from(word(0x36)), usize::from(word(0x38)));
    for header in (0..count).map(|number| table + number * each) {
        assert_ne!(int(header), PT_INTERP, "it names an interpreter");
        if int(header) == PT_DYNAMIC {
            let (at, size) = (
                usize::try_from(long(header + 8)).unwrap(),
                usize::try_from(long(header + 32)).unwrap(),
            );
            for entry in (at..at + size).step_by(16) {
                assert_ne!(long(entry), DT_NEEDED, "it needs a shared library");
            }
        }
    }
}

#[test]
fn version_loads_nothing() {
    requires!(Program("/usr/bin/strace"));
    loads_nothing(&Home::new(), &["version"]);
}

/// Name resolution, TLS and user look-up are where glibc would load modules.
#[test]
fn a_pull_loads_nothing() {
    requires!(Program("/usr/bin/strace"), Registry, Image("busybox", "latest"));
    // newuidmap gets no privilege under a tracer, so the range pass cannot show this.
    if pass() == "range" {
        return;
    }
    let home = Home::new();
    let image = busybox().replace("127.0.0.1", "localhost");
    let trace = loads_nothing(&home, &["pull", "-q", &image]);
    assert!(
        trace.contains("resolv.conf") || trace.contains("/etc/hosts") || trace.contains("connect"),
        "{trace}"
    );
    loads_nothing(&home, &["run", "--rm", "--network", "host", &image, "true"]);
}

fn loads_nothing(home: &Home, arguments: &[&str]) -> String {
    let log = home.path().join("trace");
    let mut strace = Command::new("/usr/bin/strace");
    strace.args(["-f", "-qq", "-e", "trace=open,openat,openat2,connect", "-o"]).arg(&log);
    strace.arg(binary()).args(arguments);
    home.run(strace).ok();
    let trace = fs::read_to_string(log).unwrap();
    for line in trace.lines() {
        let loads = [".so\"", ".so.", "nsswitch.conf", "libnss", "gconv", "/etc/ld"]
            .iter()
            .any(|part| line.contains(part));
        assert!(!loads, "{arguments:?} opened: {line}");
    }
    trace
}
