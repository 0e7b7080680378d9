//! `--network fast`: connections to the outside that pass no tap.

use std::net::TcpListener;

use super::home_with_busybox;
use super::outside::{HOST_PROGRAMS, outside};
use crate::needs_outside;
use crate::support::{Home, has, until};

/// What programs do, in a container; and what a hostile one tries.
const SWITCHED: &str = include_str!("../support/switched.py");
const REACHING: &str = include_str!("../support/reaching.py");

/// An address outside that takes packets and says nothing: `tests/run` makes it beside the servers'.
fn hole() -> String {
    let (four, _) = outside();
    let four: std::net::Ipv4Addr = four.parse().unwrap();
    std::net::Ipv4Addr::from(u32::from(four) + 1).to_string()
}

/// A store with the image, and how a container with the host's programs is run there.
struct Yard {
    home: Home,
    image: String,
}

impl Yard {
    fn new() -> Self {
        let (home, image) = home_with_busybox();
        Self { home, image }
    }

    fn run(&self, flags: &[&str], command: &[&str]) -> String {
        let run = ["run", "--rm", "--init"];
        let words = run.iter().chain(flags).chain(HOST_PROGRAMS).copied();
        let words = words.chain([&*self.image]).chain(command.iter().copied());
        self.home.coracle(words).ok()
    }

    fn exec(&self, command: &[&str]) -> String {
        self.home.coracle(["exec", "box"].iter().chain(command).copied()).ok()
    }

    /// A container that stays, by the name of box.
    fn stay(&self, network: &str) {
        let run = ["run", "-d", "--name", "box", "--network", network];
        let words = run.iter().chain(HOST_PROGRAMS).copied();
        self.home.coracle(words.chain([&*self.image, "sleep", "600"])).ok();
    }
}

#[test]
fn programs_connect_by_the_host_s_sockets_as_they_do_elsewhere() {
    needs_outside!(Program("/usr/bin/python3"));
    let (four, six) = outside();
    let said = Yard::new()
        .run(&["--network", "fast"], &["/usr/bin/python3", "-c", SWITCHED, &four, &six, &hole()]);
    let done: Vec<&str> = said.lines().collect();
    let things = [
        "blocking",
        "many_bytes",
        "options",
        "unhurried",
        "by_loop",
        "in_epoll",
        "shared",
        "among_many",
        "bound",
        "refused",
        "inside",
        "interrupted",
    ];
    assert_eq!(done, things);
}

#[test]
fn connections_are_switched_without_a_filter_of_the_container_s_too() {
    needs_outside!(Program("/usr/bin/python3"));
    let (four, six) = outside();
    let said = Yard::new().run(
        &["--network", "fast", "--security-opt", "seccomp=unconfined", "--cap-add", "NET_ADMIN"],
        &["/usr/bin/python3", "-c", SWITCHED, &four, &six, &hole(), "in_epoll", "routed"],
    );
    assert_eq!(said, "in_epoll\nrouted");
}

#[test]
fn the_hosts_loopback_is_out_of_reach_of_who_cheats() {
    needs_outside!(Program("/usr/bin/python3"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let rounds = std::env::var("CORACLE_TEST_RACES").unwrap_or_else(|_| "300".to_owned());
    let (four, _) = outside();
    let said = Yard::new().run(
        &["--network", "fast"],
        &["/usr/bin/python3", "-c", REACHING, &four, &hole(), &port, &rounds],
    );
    assert_eq!(said, "rewriting\nagain\nexchanging");
    let came = listener.accept().map(|(_, from)| from);
    assert!(came.is_err(), "{came:?}");
}

#[test]
fn all_that_private_has_is_there_beside_it() {
    needs_outside!(
        Program("/usr/bin/python3"),
        Program("/usr/bin/curl"),
        Program("/usr/bin/iperf3")
    );
    let (four, six) = outside();
    let yard = Yard::new();
    yard.home.coracle(["network", "create", "web"]).ok();
    let speak = ["nc", "-ll", "-p", "80", "-e", "echo", "neighbour"];
    let run = ["run", "-d", "--name", "neighbour", "--network", "web", &yard.image];
    yard.home.coracle(run.iter().chain(&speak).copied()).ok();
    let listening = ["exec", "neighbour", "nc", "127.0.0.1", "80"];
    until("it to listen", || yard.home.coracle(listening).output().stdout == "neighbour\n");

    // Datagrams by the tap, connections past it; whoever joins is supervised too.
    yard.stay("fast");
    let script = format!(
        "curl -sS http://{four}:8080/ http://[{six}]:8080/; nslookup host.outside.test {four}; \
         for try in 1 2 3 4 5 6 7 8 9; do iperf3 -c {four} -n 8M -P 8 >/tmp/out 2>&1 && break; \
         grep -qE 'busy|refused' /tmp/out && sleep 1 || {{ cat /tmp/out; exit 1; }}; done; tail -n 1 /tmp/out"
    );
    has(
        &yard.exec(&["sh", "-c", &script]),
        &["served outside\nserved outside", &four, "iperf Done."],
    );
    let python = ["/usr/bin/python3", "-c", SWITCHED, &four, &six, &hole(), "many_bytes", "inside"];
    assert_eq!(yard.exec(&python), "many_bytes\ninside");

    let mode = ["inspect", "--format", "{{.HostConfig.NetworkMode}}", "box"];
    assert_eq!(yard.home.coracle(mode).ok(), "fast");
    // A network that it joins has its own way.
    yard.home.coracle(["network", "connect", "web", "box"]).ok();
    assert_eq!(yard.exec(&["/bin/nc", "-w", "5", "neighbour", "80"]), "neighbour");
    yard.home.coracle(["rm", "-f", "-t", "0", "box", "neighbour"]).ok();
}

#[test]
fn without_its_supervisor_a_connection_is_an_error_and_no_hang() {
    needs_outside!();
    let (four, _) = outside();
    let yard = Yard::new();
    // The first connection brings one up, which is a child of who watched for it.
    let call = format!("while sleep 0.1; do echo word | nc -w 5 {four} 7; done");
    let run = ["run", "-d", "--name", "box", "--network", "fast", &yard.image, "sh", "-c", &call];
    yard.home.coracle(run).ok();
    let logs = || yard.home.coracle(["logs", "box"]).output();
    until("it to connect", || logs().stdout.contains("word"));
    let format = ["inspect", "--format", "{{.State.Pid}}", "box"];
    let pid: i32 = yard.home.coracle(format).ok().trim().parse().unwrap();
    let monitor = super::networks::parent_of(pid);
    let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children"));
    let children = children.unwrap();
    let mut pids = children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
    let is_supervisor = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        ["coracle-ids", "coracle-switch"].contains(&name.trim())
    };
    let supervisor = nix::unistd::Pid::from_raw(pids.find(is_supervisor).expect("a supervisor"));
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("an error", || logs().stderr.contains("Function not implemented"));
    yard.home.coracle(["rm", "-f", "-t", "0", "box"]).ok();
}
