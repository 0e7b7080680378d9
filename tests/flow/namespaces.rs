//! Namespaces that containers share, and what else the flags of isolation set.

use super::background::Background;
use super::{home_with_busybox, run, sh};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, has};

fn host(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.display().to_string()
}

fn inside(flag: &str, kind: &str) -> String {
    run(&[flag], &["readlink", &format!("/proc/self/ns/{kind}")]).ok()
}

#[test]
fn the_hosts_can_be_shared() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    for (flag, kind) in [
        ("--pid", "pid"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
        ("--cgroupns", "cgroup"),
        ("--network", "net"),
    ] {
        assert_eq!(inside(&format!("{flag}=host"), kind), host(kind), "{flag}");
        if flag != "--network" {
            assert_ne!(inside(&format!("{flag}=private"), kind), host(kind), "{flag}");
        }
    }
    let own = format!("/proc/{}", std::process::id());
    assert_eq!(sh(&["--pid=host"], &format!("ls -d {own}")), own);
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(sh(&["--uts=host"], "hostname"), name);
    has(&run(&["--uts=host", "--hostname", "x"], &["true"]).fails(125), &["--hostname"]);
}

#[test]
fn ipc_none_has_no_shared_memory() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&["--ipc=none"], "grep -c ' /dev/shm ' /proc/mounts || true"), "0");
    assert_eq!(sh(&["--ipc=shareable"], "grep -c ' /dev/shm ' /proc/mounts"), "1");
}

/// To go into the host's again would take root.
#[test]
fn what_a_container_shares_with_the_host_is_shared_on() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let shared = [["--network", "host"], ["--uts", "host"]].concat();
    let first = Background::start(&home, "first", &shared, &["sleep", "600"]);
    let joined = ["run", "--rm", "--network", "container:first", "--uts", "container:first"];
    let links = ["sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/uts"];
    let run = home.coracle([&joined[..], &["--pid", "container:first", &image], &links].concat());
    assert_eq!(run.ok(), format!("{}\n{}", host("net"), host("uts")));
    drop(first);
}

/// What belongs to a shared namespace is its owner's to say, and is refused rather than lost.
#[test]
fn nothing_is_said_of_what_is_another_s() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let first = Background::start(&home, "first", &["--hostname", "named"], &["sleep", "600"]);
    let run = |flags: &str| {
        let flags: Vec<&str> = flags.split(' ').collect();
        home.coracle([&["run", "--rm"], &flags[..], &[&image, "hostname"]].concat())
    };
    for (flags, why) in [
        ("--network container:first --dns 192.0.2.1", "dns and the network mode"),
        ("--network container:first --add-host a:192.0.2.1", "host-to-IP mapping"),
        ("--network container:first --hostname x", "shares its host name with first"),
        ("--uts container:first --network none --hostname x", "shares its host name"),
        ("--ipc container:first --network none --shm-size 1m", "--shm-size and the IPC mode"),
        ("--pid container:first --network none --userns host-id", "ids of its own"),
        ("--userns nomap --network none --group-add 5", "nobody has more groups"),
    ] {
        has(&run(flags).fails(125), &[why]);
    }
    // Its /etc/hosts knows it by this name.
    assert_eq!(run("--network container:first").ok(), "named");
    assert_eq!(run("--network container:first --hostname=").output().code(), 125);
    drop(first);
}

/// Three containers that see each other's network, memory and processes: a pod.
#[test]
fn containers_share_with_each_other() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let first = Background::start(
        &home,
        "first",
        &["--network", "none", "--hostname", "pod", "--add-host", "db:10.0.0.1"],
        &["sh", "-c", "echo shared >/dev/shm/word; nc -ll -p 8080 -e echo answered"],
    );
    let with = |flags: &[&str], script: &str| {
        let shared = [
            "run",
            "--rm",
            "--network",
            "container:first",
            "--ipc",
            "container:first",
            "--pid",
            "container:first",
            "--uts",
            "container:first",
        ];
        let all: Vec<&str> = shared
            .iter()
            .chain(flags)
            .chain([&image.as_str(), &"sh", &"-c", &script])
            .copied()
            .collect();
        home.coracle(&all)
    };
    for kind in ["user", "net", "ipc", "pid", "uts"] {
        let link = ["readlink", &format!("/proc/self/ns/{kind}")].map(str::to_owned);
        let theirs = first.exec(&[], &[&link[0], &link[1]]).ok();
        assert_eq!(with(&[], &format!("readlink /proc/self/ns/{kind}")).ok(), theirs, "{kind}");
    }
    assert_eq!(with(&[], "cat /dev/shm/word; hostname").ok(), "shared\npod");
    has(&with(&[], "ps").ok(), &["nc -ll -p 8080"]);
    assert_eq!(with(&[], "nc 127.0.0.1 8080 </dev/null").ok(), "answered");
    has(&with(&[], "cat /etc/hosts").ok(), &["10.0.0.1\tdb"]);
    // What the second writes the first sees; what is the first's own stays its own.
    with(&[], "echo more >/dev/shm/more; echo own >/own").ok();
    assert_eq!(first.exec(&[], &["cat", "/dev/shm/more"]).ok(), "more");
    assert_eq!(first.exec(&[], &["ls", "/own"]).output().code(), 1);
    let whole = home.coracle([
        "run",
        "--rm",
        "--userns",
        "container:first",
        &image,
        "readlink",
        "/proc/self/ns/user",
    ]);
    assert_eq!(whole.ok(), first.exec(&[], &["readlink", "/proc/self/ns/user"]).ok());
}

#[test]
fn what_cannot_be_shared_is_told() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let _one = Background::idle(&home, "one");
    let _two = Background::idle(&home, "two");
    let refused = |flags: &[&str]| {
        let all: Vec<&str> = ["run", "--rm"]
            .iter()
            .chain(flags)
            .chain([&image.as_str(), &"true"])
            .copied()
            .collect();
        home.coracle(&all).fails(125)
    };
    let both = ["--network", "container:one", "--ipc", "container:two"];
    has(&refused(&both), &["one", "two", "user namespace", "--userns container:one"]);
    has(&refused(&["--pid", "container:nobody"]), &["No such container: nobody"]);
    has(&refused(&["--network", "container:one", "--hostname", "x"]), &["--hostname", "one"]);
    has(&refused(&["--network", "harbour"]), &["harbour"]);
    home.coracle(["run", "--name", "ended", &image, "true"]).ok();
    has(&refused(&["--ipc", "container:ended"]), &["ended", "is not running"]);
}

/// Without a range such a container has one id, which is not root.
#[test]
fn who_joins_another_is_told_its_ids() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let flags = ["--userns", "nomap", "-u", "7:8", "--network", "none"];
    let _first = Background::start(&home, "first", &flags, &["sleep", "600"]);
    let joined = ["run", "--rm", "--network", "container:first"];
    let refused = home.coracle([&joined[..], &[&image, "id"]].concat()).fails(126);
    has(&refused, &["user 0:0 is outside the ids", "those of whom it joins", "hint:", "-u 7:8\n"]);
    let script = "echo $(id -u):$(id -g)";
    let fits = [&joined[..], &["-u", "7:8", &image, "sh", "-c", script]].concat();
    assert_eq!(home.coracle(fits).ok(), "7:8");
}

#[test]
fn a_group_beyond_the_ids_is_told_those_that_are_there() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    if pass() != "range" {
        return; // all ids are emulated, or there
    }
    let said = run(&["--group-add", "70000"], &["true"]).fails(126);
    has(&said, &["group 70000 is outside the ids of the container, which has groups 0-65536 ("]);
}

#[test]
fn kernel_parameters_go_by_namespace() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/domainname";
    let flags =
        ["--sysctl", "net.ipv4.ip_unprivileged_port_start=80", "--sysctl", "kernel.domainname=dom"];
    assert_eq!(sh(&flags, read), "80\ndom");
    let slashes =
        ["--sysctl", "net/ipv4/ip_unprivileged_port_start=80", "--sysctl=kernel/domainname=dom"];
    assert_eq!(sh(&slashes, read), "80\ndom");
    let host = run(&["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], &["true"]);
    has(&host.fails(125), &["net.ipv4.ip_forward", "network"]);
    has(&run(&["--sysctl", "vm.swappiness=1"], &["true"]).fails(125), &["whole machine"]);
    // It stays read-only to the container itself.
    let write = "echo 1 >/proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_ne!(run(&["--sysctl", "kernel.domainname=x"], &["sh", "-c", write]).output().code(), 0);
}

#[test]
fn umask_score_groups_and_time() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&[], "umask"), "0022");
    assert_eq!(sh(&["--umask", "0077"], "umask; touch /f; stat -c %a /f"), "0077\n600");
    assert_eq!(sh(&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj"), "500");
    has(&run(&["--oom-score-adj", "1001"], &["true"]).fails(125), &["1001"]);
    has(&run(&["--group-add", "no-such-group"], &["true"]).fails(125), &["no-such-group"]);
    let began = std::time::Instant::now();
    assert_eq!(run(&["--timeout", "1"], &["sleep", "60"]).output().code(), 137);
    assert!(began.elapsed().as_secs() < 30);
}

#[test]
fn devices_are_shown_and_checked() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&["--device", "/dev/zero:/dev/naught"], "head -c 3 /dev/naught | wc -c"), "3");
    let readable = "test -c /dev/fuse && echo there";
    assert_eq!(sh(&["--device", "/dev/fuse"], readable), "there");
    has(&run(&["--device", "/etc/passwd"], &["true"]).fails(125), &["not a device node"]);
    // A directory stands for the nodes below it, and for nothing else in there.
    assert_eq!(sh(&["--device", "/dev/net:/dev/n"], "ls /dev/n"), "tun");
    has(&run(&["--device", "/etc"], &["true"]).fails(125), &["no device node below"]);
    has(
        &run(&["--device", "/dev/zero:r"], &["true"]).fails(125),
        &["may write to it", "leave :r out"],
    );
    has(&run(&["--device", "/dev/none"], &["true"]).fails(125), &["/dev/none"]);
    has(&run(&["--device-cgroup-rule", "c 1:3 rwm"], &["true"]).fails(125), &["root"]);
}

#[test]
fn a_read_only_root_may_have_temporary_places() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let write =
        "for d in /run /tmp /var/tmp /etc; do echo x >$d/x 2>/dev/null && echo $d; done; true";
    assert_eq!(sh(&["--read-only", "--read-only-tmpfs"], write), "/run\n/tmp\n/var/tmp");
    assert_eq!(sh(&["--read-only"], write), "");
}

/// A namespace's file stands for the namespace, as `ns:PATH`.
#[test]
fn a_path_stands_for_a_namespace() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let wrong = Home::shared().write("no-namespace", "");
    let flag = format!("--pid=ns:{}", wrong.display());
    has(&run(&[&flag], &["true"]).fails(125), &["user namespace"]);
}
