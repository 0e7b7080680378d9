//! Containers and real servers outside: `tests/run` makes a network namespace for those, and a cable
//! to it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::{home_with_busybox, pulled, run, run_image, sh};
use crate::support::{has, until};
use crate::{needs_outside, requires};

const CROWD: &str = include_str!("../support/crowd.py");
const BURST: &str = include_str!("../support/burst.py");

/// The host's programs, for who has to run more than busybox in a container.
pub const HOST_PROGRAMS: &[&str] =
    &["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];

/// The addresses of the servers, of either family.
pub fn outside() -> (String, String) {
    let of = |name| std::env::var(name).expect("the test requires it");
    (of("CORACLE_TEST_OUTSIDE"), of("CORACLE_TEST_OUTSIDE6"))
}

#[test]
fn all_that_a_container_needs_of_the_world_is_there() {
    needs_outside!();
    let (four, six) = outside();
    let (home, image) = home_with_busybox();
    home.coracle(["network", "create", "--ipv6", "web"]).ok();
    home.coracle(["network", "create", "--internal", "shut"]).ok();
    let script = format!(
        "wget -q -O - http://{four}:8080/ && wget -q -O - http://[{six}]:8080/ && \
         echo over-tcp | nc -w 5 {four} 7; \
         wget -q -O /tmp/big http://{four}:8080/big && wc -c </tmp/big; \
         nc -w 5 {four} 9 || echo refused; nslookup host.outside.test {four}; \
         nslookup far.outside.test {six}"
    );
    let said = ["served outside", "over-tcp", "20971520", "refused", "198.51.100.77", &*four];
    for network in ["private", "web"] {
        let run = ["run", "--rm", "--network", network, &image, "sh", "-c", &script];
        has(&home.coracle(run).ok(), &said);
    }
    // Names of the world by the resolver that was given, of the network's own by the network.
    let named = ["run", "--rm", "--network", "web:alias=me", "--dns", &four, &image, "sh", "-c"];
    let script =
        "wget -q -O - http://web.outside.test:8080/; nslookup me; nslookup none.outside.test";
    has(
        &home.coracle(named.into_iter().chain([script])).output().stdout,
        &["served outside", "Address: 10.89.", "NXDOMAIN"],
    );
    let shut =
        format!("nc -w 3 {four} 7 </dev/null; ping -c1 -W1 {four}; wget -T 3 http://{four}:8080/");
    let output =
        home.coracle(["run", "--rm", "--network", "shut", &image, "sh", "-c", &shut]).output();
    assert!(output.code() != 0 && output.stderr.contains("unreachable"), "{output}");
}

#[test]
fn usual_programs_do_what_they_do_elsewhere() {
    needs_outside!(Program("/usr/bin/curl"), Program("/usr/bin/dig"), Program("/usr/bin/iperf3"));
    let (four, six) = outside();
    let script = format!(
        "set -e; curl -sS http://{four}:8080/ http://[{six}]:8080/; \
         dig +short @{four} one.outside.test; dig +short @{six} two.outside.test; \
         for way in '' -R '-P 8' '-u -b 50M -l 1400'; do \
             for try in 1 2 3 4 5 6 7 8 9; do \
                 if iperf3 -c {four} -n 8M $way >/tmp/out 2>&1; then echo well; break; fi; \
                 grep -qE 'busy|refused' /tmp/out && sleep 1 || {{ cat /tmp/out; exit 1; }}; \
             done; \
         done"
    );
    let text = sh(&[&["--network", "private"], HOST_PROGRAMS].concat(), &script);
    let expected =
        format!("served outside\nserved outside\n{four}\n{four}\nwell\nwell\nwell\nwell");
    assert_eq!(text, expected);
}

#[test]
fn echo_leads_outside_where_the_host_lets_users_send_it() {
    needs_outside!();
    let (four, six) = outside();
    let script = format!("ping -c1 -W3 {four} | tail -2; ping -6 -c1 -W3 {six} | tail -2");
    let text = sh(&["--network", "private"], &script);
    let (home, _image) = home_with_busybox();
    let doctor = home.coracle(["doctor", "--offline", "--json"]).output().stdout;
    match doctor.contains("ping_group_range") {
        true => has(&text, &["0 packets received"]),
        false => assert_eq!(text.matches("1 packets received").count(), 2, "{text}"),
    }
}

#[test]
fn a_stranger_outside_comes_in_by_a_published_port_under_its_own_address() {
    needs_outside!();
    let (four, _) = outside();
    let (home, image) = home_with_busybox();
    let serve = ["nc", "-ll", "-p", "80", "-e", "sh", "-c", "netstat -tn | grep ESTABLISHED"];
    let run = ["run", "-d", "--name", "web", "-p", "80", &image];
    home.coracle(run.into_iter().chain(serve)).ok();
    let port = home.coracle(["port", "web", "80/tcp"]).ok();
    let port = port.lines().next().unwrap().rsplit_once(':').unwrap().1.to_owned();
    // The servers outside call back whoever asks them to.
    let call = format!("echo {port} | nc -w 10 {four} 6");
    has(&sh(&["--network", "private"], &call), &[&format!("{four}:")]);
}

#[test]
fn sockets_of_the_host_s_without_a_name_on_disk_are_out_of_reach() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let name = format!("coracle-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let listed = std::fs::read_to_string("/proc/net/unix").unwrap();
    has(&listed, &[&name]);
    let text = sh(&["--network", "private"], "cat /proc/net/unix; echo end");
    assert!(text.ends_with("end") && !text.contains(&name), "{text}");
}

/// The goal is 5,000; `CORACLE_TEST_CONNECTIONS` says how many it is to be.
#[test]
fn many_connections_at_once_are_all_carried() {
    needs_outside!(Program("/usr/bin/python3"));
    let asked = std::env::var("CORACLE_TEST_CONNECTIONS").ok().filter(|count| !count.is_empty());
    let count = asked.unwrap_or_else(|| "500".into());
    let flags = [&["--network", "private"], HOST_PROGRAMS].concat();
    let (four, six) = outside();
    for address in [four, six] {
        let program = ["/usr/bin/python3", "-c", CROWD, &address, "8", &count];
        let said = run(&flags, &program).timeout_s(120).ok();
        assert_eq!(said, format!("{count}\nall heard"), "{address}");
    }
}

#[test]
fn bursts_of_datagrams_lose_none() {
    needs_outside!(Program("/usr/bin/python3"));
    let flags = [&["--network", "private"], HOST_PROGRAMS].concat();
    let (four, six) = outside();
    for address in [four, six] {
        let program = ["/usr/bin/python3", "-c", BURST, &address, "7"];
        assert_eq!(run(&flags, &program).timeout_s(120).ok(), "all home", "{address}");
    }
}

/// What a server has of its own while eight streams come in, and after.
#[test]
fn a_busy_server_s_memory_has_an_end_and_is_given_back() {
    needs_outside!(Program("/usr/bin/curl"));
    let (four, _) = outside();
    let (home, image) = home_with_busybox();
    let run = ["run", "-d", "--name", "box", "--network", "private"];
    let words = run.iter().chain(HOST_PROGRAMS).copied();
    home.coracle(words.chain([&*image, "sleep", "600"])).ok();
    let pid = home.coracle(["inspect", "--format", "{{.State.Pid}}", "box"]).ok();
    let server = super::networks::server_of(pid.trim().parse().unwrap());
    let own = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // What is under way stays in the host's sockets; with a kernel that keeps no place in them it is in the
    // server, half a megabyte for each stream.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit()).map(str::parse);
    let version: [u32; 2] = std::array::from_fn(|_| numbers.next().unwrap().unwrap());
    let most_kb = if version >= [6, 9] { 1536 } else { 8 * 512 + 3 * 1024 };
    let fetch = format!("http://{four}:8080/big");
    let urls = ["-o", "/dev/null", &fetch].repeat(8);
    let words = ["exec", "box", "/usr/bin/curl", "-sS", "--parallel"].into_iter().chain(urls);
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| home.coracle(words).timeout_s(120).ok());
        while !fetching.is_finished() {
            let now = own();
            assert!(now < most_kb, "{now} kB");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        fetching.join().unwrap();
    });
    until("the memory to be given back", || own() < 1024);
    home.coracle(["rm", "-f", "-t", "0", "box"]).ok();
}

/// A list of packages, and some megabytes of them over one connection.
#[test]
fn packages_come_from_outside() {
    requires!(
        UserNamespaces,
        Image("debian", "12"),
        Program("/dev/net/tun"),
        Fixture("debs/Packages"),
        Outside
    );
    let (four, _) = outside();
    let script = format!(
        "rm -f /etc/apt/sources.list.d/*
         echo 'deb [trusted=yes] http://{four}:8080/debs ./' >/etc/apt/sources.list
         apt-get update >/tmp/log 2>&1 && apt-get install -y --download-only nginx >>/tmp/log 2>&1 ||
             {{ tail -20 /tmp/log; exit 1; }}
         grep Fetched /tmp/log; ls /var/cache/apt/archives"
    );
    let said =
        run_image(&pulled("debian", "12"), &["--network", "private"], &["bash", "-c", &script])
            .timeout_s(300)
            .ok();
    has(&said, &["Fetched ", "nginx-common_"]);
}
