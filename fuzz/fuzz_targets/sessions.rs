//! Whole sessions of a container with the server of its network. The frames may name any address, so
//! it runs where none leads anywhere: unshare -rn sh -c 'ip link set lo up; cargo fuzz run sessions'.
#![no_main]

use std::net::TcpListener;
use std::sync::OnceLock;

use coracle::network::fuzzing;

/// Somebody at port 7 who takes connections, as far as the kernel does that alone.
static LISTENER: OnceLock<TcpListener> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let listener = LISTENER.get_or_init(|| {
        let devices = std::fs::read_to_string("/proc/net/dev").expect("devices");
        let alone = devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"));
        assert!(alone, "run it in a network namespace of its own: unshare -rn");
        let listener = TcpListener::bind("127.0.0.1:7").expect("port 7");
        listener.set_nonblocking(true).expect("a listener");
        listener
    });
    fuzzing::session(bytes);
    while listener.accept().is_ok() {}
});
