//! Networks with names: containers that share one, and those that do not.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use super::home_with_busybox;
use super::outside::{HOST_PROGRAMS, outside};
use crate::requires;
use crate::support::{Home, has, until};

/// A store of its own, in which containers start.
struct Town {
    home: Home,
    image: String,
}

impl Town {
    fn new() -> Self {
        let (home, image) = home_with_busybox();
        Self { home, image }
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.home.coracle(arguments.iter().copied()).ok()
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        self.home.coracle(arguments.iter().copied()).fails(code)
    }

    /// A container that stays, and says its name to all that come to port 80.
    fn house(&self, name: &str, flags: &[&str]) {
        let speak = ["nc", "-ll", "-p", "80", "-e", "echo", name];
        self.ok(&[&["run", "-d", "--name", name][..], flags, &[&self.image], &speak].concat());
        until("it to listen", || self.hears(name, "127.0.0.1", name));
    }

    /// Whether `from` reaches `name` at an address.
    fn hears(&self, from: &str, address: &str, name: &str) -> bool {
        let output = self.home.coracle(["exec", from, "nc", "-w", "3", address, "80"]).output();
        output.stdout.trim() == name
    }

    fn inside(&self, name: &str, script: &str) -> String {
        self.ok(&["exec", name, "sh", "-c", script])
    }

    fn field(&self, name: &str, field: &str) -> String {
        self.ok(&["inspect", "--format", &format!("{{{{{field}}}}}"), name])
    }

    /// The pid of the process that serves a container's networks.
    fn server(&self, name: &str) -> i32 {
        server_of(self.field(name, ".State.Pid").parse().unwrap())
    }
}

/// The process that serves the networks of a container, by its first process.
pub fn server_of(pid: i32) -> i32 {
    let monitor = parent_of(pid);
    let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children"));
    let children = children.unwrap();
    let mut pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.find(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "coracle-network")
    })
    .expect("a server")
}

pub fn parent_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn names_are_asked_for_by_connections_too() {
    requires!(
        UserNamespaces,
        Image("busybox", "latest"),
        Program("/dev/net/tun"),
        Program("/usr/bin/dig"),
        Outside
    );
    let (outside, _) = outside();
    let town = Town::new();
    town.ok(&["network", "create", "web"]);
    town.ok(&["network", "create", "--internal", "shut"]);
    town.house("db", &["--network", "web", "--network", "shut"]);
    let four = town.field("db", ".NetworkSettings.Networks.web.IPAddress");
    let ask = |network: &str, questions: &str| {
        let script = format!("dig +tcp +keepopen +tries=1 +noall +answer +comments {questions}");
        let run = ["run", "--rm", "--dns", &outside, "--network", network];
        let words = [&run, HOST_PROGRAMS, &[&town.image, "sh", "-c", &script]].concat();
        let said = town.ok(&words);
        let lines = said.lines().filter(|line| !line.is_empty());
        let told = |line: &str| match line.split_once("status: ") {
            Some((_, status)) => status.split(',').next().map(str::to_owned),
            None if line.starts_with(';') => None,
            None => line.split_whitespace().last().map(str::to_owned),
        };
        lines.filter_map(told).collect::<Vec<_>>().join(" ")
    };
    // Whoever knows them, over one connection.
    assert_eq!(
        ask("web", "db one.outside.test none.outside.test db"),
        format!("NOERROR {four} NOERROR {outside} NXDOMAIN NOERROR {four}")
    );
    assert_eq!(ask("shut", "one.outside.test"), "NXDOMAIN");
    town.ok(&["rm", "-f", "-t", "0", "db"]);
}

#[test]
fn containers_of_one_network_know_each_other_by_name() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let town = Town::new();
    let id = town.ok(&["network", "create", "--ipv6", "--label", "tier=front", "web"]);
    town.house("db", &["--network", "web", "--network-alias", "data"]);
    town.house("app", &["--network", "web:alias=site,mac=02:00:00:00:00:07", "--hostname", "appy"]);
    for name in ["db", "data", "DB", &town.ok(&["ps", "-q", "--filter", "name=^db$"])] {
        assert!(town.hears("app", name, "db"), "{name}");
    }
    for name in ["app", "site", "appy"] {
        assert!(town.hears("db", name, "app"), "{name}");
    }
    let (four, six) = (
        town.field("db", ".NetworkSettings.Networks.web.IPAddress"),
        town.field("db", ".NetworkSettings.Networks.web.GlobalIPv6Address"),
    );
    assert!(town.hears("app", &four, "db") && town.hears("app", &six, "db"), "{four} {six}");
    has(
        &town.inside("app", &format!("ping -c1 -W5 {four}; ping -6 -c1 -W5 {six}; ip addr")),
        &["1 packets received", "02:00:00:00:00:07"],
    );
    has(&town.inside("app", "nslookup $(hostname -i)"), &["app"]);
    let gateway = town.field("db", ".NetworkSettings.Networks.web.Gateway");
    has(
        &town.inside("db", "cat /etc/resolv.conf /etc/hosts"),
        &[
            &format!("nameserver {gateway}"),
            &format!("{four}\t"),
            &format!("{six}\t"),
            "host.docker.internal",
        ],
    );
    // What the commands say of it.
    assert_eq!(town.field("db", ".NetworkSettings.Networks.web.NetworkID"), id);
    assert_eq!(town.field("db", ".HostConfig.NetworkMode"), "web");
    assert_eq!(
        town.ok(&["ps", "-a", "--filter", "network=web", "--format", "{{.Networks}}"]),
        "web\nweb"
    );
    assert_eq!(
        town.ok(&["ps", "-a", "--filter", &format!("network={id}"), "-q"]).lines().count(),
        2
    );
    let document = town.ok(&["network", "inspect", "web"]);
    has(&document, &["\"EnableIPv6\": true", &four, "02:00:00:00:00:07", "\"tier\": \"front\""]);
    has(&town.fails(1, &["network", "rm", "web"]), &["has containers: ", "db"]);
    // By its name it is found again after a start, wherever it lives then.
    town.ok(&["restart", "-t", "0", "db"]);
    until("it to be found", || town.hears("app", "db", "db"));
    town.ok(&["rm", "-f", "db", "app"]);
    assert_eq!(town.ok(&["network", "rm", "web"]), "web");
}

#[test]
fn networks_are_apart_and_an_internal_one_leads_nowhere() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let town = Town::new();
    town.ok(&["network", "create", "front"]);
    town.ok(&["network", "create", "--internal", "--subnet", "10.90.7.0/24", "back"]);
    town.house("one", &["--network", "front"]);
    town.house("two", &["--network", "back", "--ip", "10.90.7.9"]);
    town.house("both", &["--network", "back", "--network", "front:ip=10.89.0.200"]);
    let one = town.field("one", ".NetworkSettings.Networks.front.IPAddress");
    // The one in both reaches both, and is no bridge between them.
    assert!(town.hears("both", "one", "one") && town.hears("both", "two", "two"));
    assert!(town.hears("one", "both", "both") && town.hears("two", "both", "both"));
    for (from, to) in [("one", "two"), ("one", "10.90.7.9"), ("two", "one"), ("two", &one)] {
        let said = town.home.coracle(["exec", from, "nc", "-w", "3", to, "80"]).output();
        assert!(said.stdout.is_empty(), "{from} reached {to}: {said}");
        assert!(from == "one" || said.code() != 0, "nothing is outside: {said}");
    }
    town.inside("both", "ip route add 10.90.8.0/24 via 10.90.7.9 2>/dev/null; true");
    assert!(!town.inside("two", "ip route").contains("default"));
    has(&town.inside("both", "ip route"), &["default via 10.89.0.1 dev eth1"]);
    has(
        &town.home.coracle(["exec", "two", "nslookup", "example.org"]).output().stdout,
        &["NXDOMAIN"],
    );
    // The host and its ports are outside too.
    let host = town.home.coracle(["exec", "two", "nc", "-w", "3", "10.90.7.1", "22"]).output();
    assert!(host.code() != 0, "{host}");
    // Nobody takes another's address.
    has(
        &town.fails(125, &["run", "--rm", "--network", "back:ip=10.90.7.9", &town.image, "true"]),
        &["address 10.90.7.9 is already in use on network back"],
    );
}

#[test]
fn a_running_container_joins_and_leaves_networks() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let town = Town::new();
    for name in ["one", "two"] {
        town.ok(&["network", "create", name]);
    }
    town.house("host", &["--network", "two"]);
    town.house("guest", &["--network", "one"]);
    town.house("lone", &[]);
    for name in ["guest", "lone"] {
        let alias = format!("my-{name}");
        town.ok(&["network", "connect", "--alias", &alias, "two", name]);
        until("the two to meet", || {
            town.hears("host", &alias, name) && town.hears(name, "host", "host")
        });
        has(&town.inside(name, "ip addr; cat /etc/resolv.conf"), &["eth1", "nameserver 10.89."]);
    }
    has(
        &town.fails(1, &["network", "connect", "two", "guest"]),
        &["endpoint with name guest already exists in network two"],
    );
    // It is called by another name at once, and no more by the old one.
    town.ok(&["rename", "lone", "single"]);
    until("the new name to be known", || town.hears("host", "single", "lone"));
    assert!(!town.hears("host", "lone", "lone") && town.hears("host", "my-lone", "lone"));
    town.ok(&["rename", "single", "lone"]);
    until("the old name to be known", || town.hears("host", "lone", "lone"));
    // It is in it after a restart too.
    town.ok(&["restart", "-t", "0", "guest"]);
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    let events = ["events", "--since", "1h", "--until", "0.001s", "-f", "type=network"];
    let events = [&events[..], &["--format", format]].concat();
    let last = ["disconnect one", "disconnect two", "connect one", "connect two"].join("\n");
    until("each network to be told of", || town.ok(&events).ends_with(&last));
    until("the two to meet again", || town.hears("host", "my-guest", "guest"));
    town.ok(&["network", "disconnect", "two", "guest"]);
    until("it to be gone", || !town.hears("host", "my-guest", "guest"));
    until("its device to be gone", || !town.inside("guest", "ip addr").contains("eth1"));
    has(&town.fails(1, &["network", "disconnect", "two", "guest"]), &["is not connected"]);
    // One that has left all has no network, and gets one again.
    town.ok(&["network", "disconnect", "one", "guest"]);
    until("its device to be gone", || !town.inside("guest", "ip addr").contains("eth0"));
    town.ok(&["network", "connect", "two", "guest"]);
    until("the two to meet again", || town.hears("guest", "host", "host"));
    // One that does not run is in it from its start on.
    town.ok(&["stop", "-t", "0", "lone"]);
    town.ok(&["network", "connect", "--ip", "10.89.0.77", "one", "lone"]);
    town.ok(&["start", "lone"]);
    has(&town.inside("lone", "ip addr"), &["10.89.0.77/24"]);
    town.ok(&["run", "-d", "--name", "bare", "--network", "none", &town.image, "sleep", "100"]);
    has(&town.fails(1, &["network", "connect", "one", "bare"]), &["cannot be connected"]);
}

#[test]
fn a_server_that_is_killed_is_an_error_and_no_hang() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let town = Town::new();
    town.ok(&["network", "create", "web"]);
    town.house("db", &["--network", "web"]);
    town.house("app", &["--network", "web"]);
    let server = nix::unistd::Pid::from_raw(town.server("db"));
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL).unwrap();
    let reach = || town.home.coracle(["exec", "app", "nc", "-w", "5", "db", "80"]).output();
    until("the others to know", || reach().stderr.contains("bad address"));
    until("its device to be gone", || !town.inside("db", "ip addr").contains("eth0"));
    let out = town.home.coracle(["exec", "db", "nc", "-w", "5", "10.89.0.3", "80"]).output();
    has(&out.stderr, &["unreachable"]);
    has(&town.fails(1, &["network", "connect", "web", "bare"]), &["No such container"]);
    town.ok(&["network", "create", "more"]);
    has(&town.fails(1, &["network", "connect", "more", "db"]), &["does not answer", "restart db"]);
    town.ok(&["restart", "-t", "0", "db"]);
    until("it to be back", || town.hears("app", "db", "db"));
    town.ok(&["stop", "-t", "0", "db"]);
    town.ok(&["rm", "-f", "app", "db"]);
}

/// Who waits for something to read must not wait for ever.
#[test]
fn a_reader_learns_that_its_server_was_killed() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let town = Town::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let run = ["run", "--name", "reader", "--network", "private:host-loopback"];
    let read = [&*town.image, "nc", "10.0.2.2", &port];
    for flags in [&["-d"][..], &[]] {
        let all = [&run[..], flags, &read].concat();
        let running = town.home.coracle(all).spawn();
        let (_stream, _) = silent.accept().unwrap();
        let server = nix::unistd::Pid::from_raw(town.server("reader"));
        nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL).unwrap();
        town.ok(&["wait", "reader"]);
        running.wait();
        // Who kept it has yet to let go of it.
        until("it to be removed", || town.home.coracle(["rm", "reader"]).output().status.success());
    }
}

#[test]
fn networks_are_made_listed_and_cleared_away() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let town = Town::new();
    let id = town.ok(&["network", "create", "-o", "mtu=1400", "--label", "a=b", "one"]);
    town.ok(&[
        "network",
        "create",
        "--internal",
        "--subnet",
        "10.91.0.0/16",
        "--gateway",
        "10.91.0.9",
        "--ip-range",
        "10.91.5.0/24",
        "--disable-dns",
        "two",
    ]);
    let table = town.ok(&["network", "ls"]);
    has(&table, &["NETWORK ID", &id[..12], "bridge    local", "host", "null", "private"]);
    for (filter, names) in [
        ("label=a=b", "one"),
        ("type=custom", "one\ntwo"),
        ("name=wo", "two"),
        ("driver=host", "host"),
        ("dangling=true", "one\ntwo"),
    ] {
        let listed = town.ok(&["network", "ls", "--filter", filter, "--format", "{{.Name}}"]);
        assert_eq!(listed, names, "{filter}");
    }
    assert_eq!(town.ok(&["network", "ls", "-q", "--no-trunc", "--filter", "label=a=b"]), id);
    let config = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{.IPRange}}{{end}} {{.Internal}}";
    assert_eq!(
        town.ok(&["network", "inspect", "--format", config, "two"]),
        "10.91.0.0/16 10.91.0.9 10.91.5.0/24 true"
    );
    assert_eq!(
        town.ok(&["inspect", "--type", "network", "--format", "{{.Name}}", &id[..20]]),
        "one"
    );
    town.ok(&["network", "exists", "one"]);
    town.fails(1, &["network", "exists", "three"]);
    for (arguments, words) in [
        (&["create", "one"][..], "network with name one already exists"),
        (&["create", "host"], "operation is not permitted on predefined host network"),
        (&["create", "--subnet", "10.91.4.0/24", "x"], "Pool overlaps"),
        (&["rm", "three"], "network three not found"),
        (&["rm", "bridge"], "operation is not permitted on predefined bridge network"),
        (&["inspect", "three"], "network three not found"),
    ] {
        has(&town.fails(1, &[&["network"][..], arguments].concat()), &[words]);
    }
    for (arguments, words) in [
        (&["create", "-d", "macvlan", "x"][..], "takes root"),
        (&["create", "-o", "com.docker.network.bridge.name=x", "x"], "mtu is all"),
        (&["create", "--subnet", "10.91.4", "x"], "invalid CIDR address"),
        (&["create", "--attachable", "x"], "--attachable"),
    ] {
        has(&town.fails(125, &[&["network"][..], arguments].concat()), &[words]);
    }
    assert_eq!(town.ok(&["network", "create", "--ignore", "one"]), id);
    town.ok(&["network", "rm", "--force", "three"]);
    // A container that does not run keeps it.
    town.ok(&["create", "--name", "box", "--network", "two", &town.image, "true"]);
    assert_eq!(town.ok(&["network", "prune", "--force"]), "Deleted Networks:\none");
    town.ok(&["rm", "box"]);
    has(&town.ok(&["system", "prune", "--force"]), &["Deleted Networks:\ntwo"]);
    for (arguments, words) in [
        (&["--network", "two"][..], "network two not found"),
        (&["--network", "x", "--network", "x"], "specified multiple times"),
        (&["--network-alias", "x"], "supported only for containers in user defined"),
        (&["--network", "x:colour=red"], "has no option \"colour\""),
    ] {
        let all = [&["run", "--rm"][..], arguments, &[&town.image, "true"]].concat();
        has(&town.fails(125, &all), &[words]);
    }
}

#[test]
fn datagrams_pass_a_published_port_both_ways() {
    requires!(
        UserNamespaces,
        Image("busybox", "latest"),
        Program("/dev/net/tun"),
        Program("/usr/bin/python3")
    );
    let town = Town::new();
    let serve = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                 s.bind(('', 7000))\n\
                 while True: s.sendto(*s.recvfrom(9999))";
    let flags = ["run", "-d", "--name", "echo", "-p", "127.0.0.1::7000/udp"];
    let python = [town.image.as_str(), "/usr/bin/python3", "-c", serve];
    town.ok(&[&flags[..], HOST_PROGRAMS, &python].concat());
    let address = town.ok(&["port", "echo", "7000/udp"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut room = [0; 16];
    until("an answer", || {
        socket.send_to(b"ahoy", &address).unwrap();
        socket
            .recv_from(&mut room)
            .is_ok_and(|(length, from)| &room[..length] == b"ahoy" && from.to_string() == address)
    });
    // Who has a port is told: a container of this store's, or a process.
    let again = format!("{address}:7000/udp");
    has(
        &town.fails(125, &["run", "--rm", "-p", &again, &town.image, "true"]),
        &["port is already allocated", "container echo"],
    );
    let own = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = format!("{}:7000/udp", own.local_addr().unwrap());
    has(
        &town.fails(125, &["run", "--rm", "-p", &taken, &town.image, "true"]),
        &["port is already allocated", &format!("(pid {})", std::process::id())],
    );
}
