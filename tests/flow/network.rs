//! A network of one's own, and ports of the host that lead into it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::{home_with_busybox, run, sh};
use crate::requires;
use crate::support::{has, until};

/// Somebody on the host's loopback who says a word to all that come.
fn speaker(word: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(word.as_bytes()));
        }
    });
    port
}

#[test]
fn a_private_network_has_addresses_names_and_low_ports() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let flags =
        ["--network", "private:mtu=1400", "--ip", "10.0.2.7", "--mac-address", "02:00:00:00:00:09"];
    let text = sh(
        &flags,
        "ip addr show eth0; ip route; cat /etc/hosts /etc/resolv.conf; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    has(
        &text,
        &[
            "10.0.2.7/24",
            "mtu 1400",
            "02:00:00:00:00:09",
            "fd00::100/64",
            "default via 10.0.2.2",
            "10.0.2.2\thost.docker.internal host.containers.internal",
            "nameserver 10.0.2.3",
        ],
    );
    assert!(text.ends_with("\n0"), "{text}");
    has(&sh(&["--network", "bridge"], "ping -c1 -W5 10.0.2.2"), &["1 packets received"]);
}

#[test]
fn the_hosts_loopback_is_out_of_reach_unless_asked_for() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let port = speaker("secret");
    let port = port.to_string();
    for address in ["127.0.0.1", "10.0.2.2", "10.0.2.3", "0.0.0.0", "::1", "fd00::2"] {
        let output = run(&["--network", "private"], &["nc", "-w", "5", address, &port]).output();
        assert!(!output.stdout.contains("secret"), "{address}: {output}");
    }
    let asked = ["--network", "private:host-loopback"];
    assert_eq!(run(&asked, &["nc", "-w", "10", "10.0.2.2", &port]).ok(), "secret");
}

#[test]
fn published_ports_lead_into_the_container() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let (home, image) = home_with_busybox();
    let detached = ["run", "-d", "--name", "web", "-p", "127.0.0.1::8080", "--expose", "9/udp"];
    home.coracle(
        detached.into_iter().chain([&*image, "nc", "-ll", "-p", "8080", "-e", "echo", "hello"]),
    )
    .ok();
    let address = home.coracle(["port", "web", "8080/tcp"]).ok();
    until("an answer", || {
        let mut text = String::new();
        let read = TcpStream::connect(&address).and_then(|mut it| it.read_to_string(&mut text));
        read.is_ok() && text == "hello\n"
    });
    let all = home.coracle(["port", "--all"]).ok();
    assert!(all.ends_with(&format!("\t8080/tcp -> {address}")), "{all}");
    has(&home.coracle(["ps"]).ok(), &[&format!("{address}->8080/tcp, 9/udp")]);
    let asked = [
        "inspect",
        "--format",
        "{{.NetworkSettings.IPAddress}} {{(index .NetworkSettings.Ports \"8080/tcp\")}}",
        "web",
    ];
    has(&home.coracle(asked).ok(), &["10.0.2.100", address.rsplit_once(':').unwrap().1]);
    let again = format!("{address}:8080");
    let taken = home.coracle(["run", "--rm", "-p", &again, &image, "true"]).fails(125);
    has(&taken, &["port is already allocated", "container web"]);
    has(
        &home.coracle(["port", "web", "81"]).fails(1),
        &["No public port '81/tcp' published for web"],
    );
    // Its port is free again when it has ended, and its own after a restart.
    home.coracle(["restart", "-t", "0", "web"]).ok();
    assert!(!home.coracle(["port", "web"]).ok().is_empty());
    home.coracle(["rm", "-f", "web"]).ok();
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn what_cannot_be_published_is_told() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let published = run(&["--network", "host", "-p", "8080:80"], &["true"]).output();
    has(&published.fails(0), &["Published ports are discarded when using host network mode"]);
    has(&run(&["--network", "web"], &["true"]).fails(125), &["network web not found"]);
    has(
        &run(&["--network", "host", "--ip", "10.0.2.9"], &["true"]).fails(125),
        &["conflicting options"],
    );
    has(&run(&["--network", "slirp4netns:cidr=10.9.0.0/24"], &["true"]).fails(125), &["cidr"]);
    for networks in [["none", "host"], ["web", "none"], ["host", "web"]] {
        let flags = [["--network", networks[0]], ["--network", networks[1]]].concat();
        has(&run(&flags, &["true"]).fails(125), &["conflicting options: several networks"]);
    }
    run(&["--network", "none", "--network", "none"], &["true"]).ok();
}
