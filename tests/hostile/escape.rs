//! Every confinement of a running container as a check that can fail. `probe.pl` tries the ways out
//! from inside and tells what came of each; the tables here say what must have come of it: by
//! default, with `--init`, with `--privileged`, and next to podman.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;
use std::{fs, process};

use crate::flow::{podman, pulled};
use crate::requires;
use crate::support::needs::pass;
use crate::support::pty::Terminal;
use crate::support::{Home, Output, binary, fixtures, has, until};

/// What the probe told, by name.
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn new(output: Output) -> Self {
        assert!(output.stderr.is_empty(), "the probe complains: {output}");
        let pair = |line: &str| {
            let (name, result) = line.split_once('\t').unwrap_or((line, ""));
            (name.to_owned(), result.to_owned())
        };
        let seen = Self(output.ok().lines().map(pair).collect());
        assert!(seen.0.len() > 150, "the probe stopped at {:?}", seen.0.last_key_value());
        seen
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("not tried", String::as_str)
    }

    /// The names that came out as `done`.
    fn open(&self) -> BTreeSet<&str> {
        self.0.iter().filter(|(_, result)| *result == "done").map(|(name, _)| &**name).collect()
    }

    /// Every row's name must have come out as one of its results, split by `|`.
    fn check(&self, rows: &[(&str, &str)]) {
        let wrong: Vec<String> = rows
            .iter()
            .filter(|(name, want)| !want.split('|').any(|want| want == self.get(name)))
            .map(|(name, want)| format!("{name}: {:?}, want {want:?}", self.get(name)))
            .collect();
        assert!(wrong.is_empty(), "not as it must be:\n  {}", wrong.join("\n  "));
    }
}

/// The probe's text with the numbers of the calls and what it may look for on the host.
fn script(arguments: &[(&str, &str)]) -> String {
    let mut text = String::from("%main::nr = (");
    for call in syscalls::Sysno::iter() {
        let _ = write!(text, "{} => {}, ", call.name(), call.id());
    }
    text.push_str("); %main::arg = (");
    for (name, value) in arguments {
        let _ = write!(text, "'{name}' => '{value}', ");
    }
    text + ");\n" + include_str!("probe.pl")
}

/// The probe in a container of the shared home.
fn probe(flags: &[&str], arguments: &[(&str, &str)]) -> Seen {
    let (debian, script) = (pulled("debian", "12"), script(arguments));
    let (first, last) = (["run", "--rm", "--network", "none"], [&debian, "perl", "-e", &script]);
    let all = first.iter().chain(flags).chain(&last);
    Seen::new(Home::shared().coracle(all).timeout_s(30).output())
}

/// Docker's capabilities (moby `oci/caps/defaults.go`).
const DOCKERS: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

/// What the program is and stands on. Names of calls are in the tables below.
const CIRCUMSTANCES: &[(&str, &str)] = &[
    ("status CapInh", NONE),
    ("status CapPrm", DOCKERS),
    ("status CapEff", DOCKERS),
    ("status CapBnd", DOCKERS),
    ("status CapAmb", NONE),
    ("status Seccomp", "2"),
    ("status TracerPid", "0"),
    ("after exec CapInh", NONE),
    ("after exec CapPrm", DOCKERS),
    ("after exec CapEff", DOCKERS),
    ("after exec CapBnd", DOCKERS),
    ("after exec CapAmb", NONE),
    ("after exec Seccomp", "2"),
    ("pid", "1"),
    ("pids", "1"),
    ("cwd", "/"),
    ("root", "its own parent"),
    ("descriptors", ""),
    ("host's variables", ""),
    ("block devices", "0"),
    // procfs is procfs, and nothing of the host's /dev shows.
    ("type of /proc", "proc"),
    ("type of /proc/self", "proc"),
    ("type of /proc/sys", "proc"),
    ("type of /proc/self/attr/current", "proc|0"),
    ("type of /sys", "sysfs"),
    ("type of /dev", "tmpfs"),
    ("type of /dev/pts", "devpts"),
    ("type of /dev/shm", "tmpfs"),
    ("device /dev/null", "char 1:3"),
    ("device /dev/zero", "char 1:5"),
    ("device /dev/full", "char 1:7"),
    ("device /dev/random", "char 1:8"),
    ("device /dev/urandom", "char 1:9"),
    ("device /dev/tty", "char 5:0"),
    ("device /dev/pts/ptmx", "char 5:2"),
    ("device /dev/ptmx", "link to pts/ptmx"),
    ("device /dev/fd", "link to /proc/self/fd"),
    ("device /dev/core", "link to /proc/kcore"),
    // Docker's read-only paths (moby `oci/defaults.go`).
    ("/proc/bus is", "read-only|absent"),
    ("/proc/fs is", "read-only|absent"),
    ("/proc/irq is", "read-only|absent"),
    ("/proc/sys is", "read-only"),
    ("/proc/sysrq-trigger is", "read-only|absent"),
    ("/sys is", "read-only"),
    ("/sys/fs/cgroup is", "read-only|absent"),
    // Docker's masked paths (the same file), and podman's.
    ("shown by /proc/asound", "0|absent"),
    ("shown by /proc/acpi", "0|absent"),
    ("shown by /proc/interrupts", "0|absent"),
    ("shown by /proc/kcore", "0|absent"),
    ("shown by /proc/keys", "0|absent"),
    ("shown by /proc/latency_stats", "0|absent"),
    ("shown by /proc/timer_list", "0|absent"),
    ("shown by /proc/timer_stats", "0|absent"),
    ("shown by /proc/sched_debug", "0|absent"),
    ("shown by /proc/scsi", "0|absent"),
    ("shown by /sys/firmware", "0|absent"),
    ("shown by /sys/devices/virtual/powercap", "0|absent"),
    ("shown by /sys/dev/block", "0|absent"),
    ("shown by /sys/fs/selinux", "0|absent"),
    // Ways back to the host.
    ("leads /proc/1/root", "the root"),
    ("leads /proc/self/root", "the root"),
    ("leads /proc/1/root/../../..", "the root"),
    ("leads /proc/self/cwd/../../..", "the root"),
    ("leads a second chroot", "the root"),
    ("host store", "absent"),
    ("host home", "absent"),
    ("host binary", "absent"),
    ("directories of the overlay", "absent|not tried"),
    ("host's abstract socket", "ECONNREFUSED"),
    ("host's loopback", "ECONNREFUSED"),
];

/// Kinds of mount and the flags that each must have.
const MOUNTS: &[(&str, &str)] = &[
    ("/proc", "nosuid nodev noexec"),
    ("/dev", "nosuid noexec"),
    ("/dev/null", "nosuid noexec"),
    ("/dev/zero", "nosuid noexec"),
    ("/dev/full", "nosuid noexec"),
    ("/dev/random", "nosuid noexec"),
    ("/dev/urandom", "nosuid noexec"),
    ("/dev/tty", "nosuid noexec"),
    ("/dev/pts", "nosuid noexec"),
    ("/dev/shm", "nosuid nodev noexec"),
    ("/dev/mqueue", "nosuid nodev noexec"),
    ("/sys", "ro nosuid nodev noexec"),
    ("/sys/fs/cgroup", "ro nosuid nodev noexec"),
    ("/proc/bus", "ro nosuid nodev noexec"),
    ("/proc/fs", "ro nosuid nodev noexec"),
    ("/proc/irq", "ro nosuid nodev noexec"),
    ("/proc/sys", "ro nosuid nodev noexec"),
    ("/proc/acpi", "ro nosuid nodev noexec"),
    ("/sys/firmware", "ro nosuid nodev noexec"),
    ("/sys/dev/block", "ro nosuid nodev noexec"),
    ("/etc/hosts", "nosuid nodev noexec"),
    ("/etc/hostname", "nosuid nodev noexec"),
    ("/etc/resolv.conf", "nosuid nodev noexec"),
];

/// Attempts whose answer is the filter's, so that none depends on how the kernel was built. Docker
/// names them in "Significant syscalls blocked by the default profile"; what came after that list is
/// in THREATS: clone3, io_uring, AF_ALG, AF_VSOCK, typing into terminals, the newer mount calls.
const FILTERED: &[(&str, &str)] = &[
    ("acct", "EPERM"),
    ("add_key", "EPERM"),
    ("bpf", "EPERM"),
    ("bind the root", "EPERM"),
    ("clock_settime", "EPERM"),
    ("clone cgroup", "EPERM"),
    ("clone ipc", "EPERM"),
    ("clone mnt", "EPERM"),
    ("clone net", "EPERM"),
    ("clone pid", "EPERM"),
    ("clone user", "EPERM"),
    ("clone uts", "EPERM"),
    ("clone3", "ENOSYS"),
    ("delete_module", "EPERM"),
    ("fanotify_init", "EPERM"),
    ("find the caller's key", "EPERM"),
    ("find the user's key", "EPERM"),
    ("finit_module", "EPERM"),
    ("fsopen", "EPERM"),
    ("fspick", "EPERM"),
    ("get_mempolicy", "EPERM"),
    ("init_module", "EPERM"),
    ("io_uring_setup", "EPERM"),
    ("ioperm", "EPERM"),
    ("iopl", "EPERM"),
    ("kcmp", "EPERM"),
    ("kexec_file_load", "EPERM"),
    ("kexec_load", "EPERM"),
    ("keyctl join", "EPERM"),
    ("keyctl session", "EPERM"),
    ("lookup_dcookie", "EPERM"),
    ("mbind", "EPERM"),
    ("migrate_pages", "EPERM"),
    ("mount", "EPERM"),
    ("mount_setattr", "EPERM"),
    ("move_mount", "EPERM"),
    ("move_pages", "EPERM"),
    ("nfsservctl", "EPERM"),
    ("open_by_handle_at", "EPERM"),
    ("open_tree", "EPERM"),
    ("perf_event_open", "EPERM"),
    ("personality ADDR_COMPAT_LAYOUT", "EPERM"),
    ("personality ADDR_NO_RANDOMIZE", "EPERM"),
    ("pidfd_getfd of 1", "EPERM"),
    ("pivot_root", "EPERM"),
    ("process_madvise", "EPERM"),
    ("quotactl", "EPERM"),
    ("reboot", "EPERM"),
    ("remount /proc/sys", "EPERM"),
    ("request_key", "EPERM"),
    ("set_mempolicy", "EPERM"),
    ("setdomainname", "EPERM"),
    ("sethostname", "EPERM"),
    ("setns cgroup", "EPERM"),
    ("setns ipc", "EPERM"),
    ("setns mnt", "EPERM"),
    ("setns net", "EPERM"),
    ("setns pid", "EPERM"),
    ("setns user", "EPERM"),
    ("setns uts", "EPERM"),
    ("settimeofday", "EPERM"),
    ("socket AF_ALG", "EPERM"),
    ("socket AF_ALG, upper bits set", "EPERM"),
    ("socket AF_VSOCK", "EPERM"),
    ("socket AF_VSOCK, upper bits set", "EPERM"),
    ("swapoff", "EPERM"),
    ("swapon", "EPERM"),
    ("sysfs", "EPERM"),
    ("syslog", "EPERM"),
    ("TIOCLINUX", "EPERM"),
    ("TIOCSTI", "EPERM"),
    ("TIOCSTI, upper bits set", "EPERM"),
    ("umount /proc/sys", "EPERM"),
    ("umount the root", "EPERM"),
    ("unshare cgroup", "EPERM"),
    ("unshare ipc", "EPERM"),
    ("unshare mnt", "EPERM"),
    ("unshare net", "EPERM"),
    ("unshare pid", "EPERM"),
    ("unshare time", "EPERM"),
    ("unshare user", "EPERM"),
    ("unshare uts", "EPERM"),
    ("uselib", "EPERM"),
    ("userfaultfd", "EPERM"),
    ("ustat", "EPERM"),
    ("vhangup", "EPERM"),
    ("x32 getpid", "ENOSYS"),
];

/// All that is open by default: the container's own first process, and what docker lets through.
const OPEN: &[&str] = &[
    "chroot",
    "link /proc/1/cwd",
    "link /proc/1/exe",
    "link /proc/1/fd/0",
    "link /proc/1/ns/mnt",
    "link /proc/1/root",
    "listen to the kernel",
    "memory of another as itself",
    "open /proc/1/auxv",
    "open /proc/1/environ",
    "open /proc/1/map_files",
    "open /proc/1/maps",
    "open /proc/1/mem",
    "own abstract socket",
];

/// What seems to be open where ids are emulated: the kernel is never asked for it.
const EMULATED: &[&str] =
    &["become another user", "chown beyond the ids", "mknod block", "mknod char"];

fn open_here() -> BTreeSet<&'static str> {
    let emulated = match &*pass() {
        "range" => &[],
        "root" => &EMULATED[..2], // has all ids, and no device is made in a user namespace
        _ => EMULATED,
    };
    OPEN.iter().chain(emulated).copied().collect()
}

/// All that `--privileged` opens besides: what the user could do in a user namespace of its own, and
/// devices that the user may open anyway. Some depends on the kernel, so that less may be open.
const OPENED: &[&str] = &[
    "add_key",
    "bind the root",
    "bpf",
    "clone cgroup",
    "clone ipc",
    "clone mnt",
    "clone net",
    "clone pid",
    "clone user",
    "clone uts",
    "fanotify_init",
    "fsopen",
    "fspick",
    "get_mempolicy",
    "io_uring_setup",
    "kcmp",
    "keyctl join",
    "keyctl session",
    "mbind",
    "migrate_pages",
    "mount",
    "move_pages",
    "open_tree",
    "perf_event_open",
    "personality ADDR_COMPAT_LAYOUT",
    "personality ADDR_NO_RANDOMIZE",
    "process_madvise",
    "remount /proc/sys",
    "set setgroups",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "setns cgroup",
    "setns ipc",
    "setns mnt",
    "setns net",
    "setns pid",
    "setns uts",
    "socket AF_ALG",
    "socket AF_ALG, upper bits set",
    "socket AF_VSOCK",
    "socket AF_VSOCK, upper bits set",
    "sysfs",
    "TIOCSTI",
    "TIOCSTI, upper bits set",
    "unshare cgroup",
    "unshare ipc",
    "unshare mnt",
    "unshare net",
    "unshare pid",
    "unshare time",
    "unshare user",
    "unshare uts",
    "userfaultfd",
    "ustat",
    // Devices that the user itself may open; bound from the host.
    "write /dev/fuse",
    "write /dev/kvm",
    "write /dev/net/tun",
    // The namespaces' own.
    "write /proc/sys/kernel/ns_last_pid",
    "write /proc/sys/user/max_user_namespaces",
];

/// Filtered attempts to which an unprivileged user's kernel says the same, filter or not.
const REFUSED_ANYWAY: &[&str] = &[
    "acct",
    "clock_settime",
    "fanotify_init",
    "open_by_handle_at",
    "perf_event_open",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "userfaultfd",
    "vhangup",
    "x32 getpid",
];

macro_rules! needs_debian {
    () => {
        requires!(UserNamespaces, Image("debian", "12"));
    };
}

#[test]
fn a_container_is_confined() {
    needs_debian!();
    let debian = pulled("debian", "12");
    let home = Home::shared();
    // What a careless host has open: sockets on its network, descriptors, variables.
    let abstract_name = format!("coracle-canary-{}", process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (store, home_path, tool) = (home.store(), home.path(), binary());
    let script = script(&[
        ("abstract", &abstract_name),
        ("port", &port),
        ("host store", store.to_str().unwrap()),
        ("host home", home_path.to_str().unwrap()),
        ("host binary", tool.to_str().unwrap()),
    ]);
    let mut command = Command::new("/bin/sh");
    let careless =
        "ulimit -n 321; ulimit -c 0; exec 5</ 6<. 7</proc 9<\"$0\" && exec \"$0\" \"$@\"";
    command.args(["-c", careless]).arg(&tool);
    command.args(["run", "--rm", "--network", "none", &debian, "perl", "-e", &script]);
    let seen = Seen::new(home.run(command).env("CANARY_TOKEN", "the host's own").output());

    seen.check(CIRCUMSTANCES);
    seen.check(FILTERED);
    // Whose groups would open the host's files is the reason to drop them; with one id they cannot
    // be dropped, only be shown as nobody's.
    let groups = ["", "0"].contains(&seen.get("status Groups"));
    assert!(groups || pass() != "range", "groups {:?}", seen.get("status Groups"));
    let mode = fs::metadata(&store).unwrap().mode();
    assert_eq!(mode & 0o077, 0, "others may look into the store (CVE-2021-41091): {mode:o}");
    let limits = "core file size=0:0 open files=321:321";
    assert_eq!(seen.get("limits"), limits, "the caller's limits are kept");
    for kind in ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let own = seen.get(&format!("namespace {kind}"));
        assert!(own.starts_with(kind), "{kind}: {own}");
        assert_ne!(own, host.to_str().unwrap());
    }
    assert!(seen.get("cgroup paths").split(' ').all(|path| path == "/"), "its cgroups show");
    check_mounts(&seen);
    let open = open_here();
    assert_eq!(seen.open(), open, "left of what is open, right of what may be");
}

/// Each mount has the flags of its row, no event of any passes out, and no other writable one is
/// there than the root, `/dev`'s and the container's own files.
fn check_mounts(seen: &Seen) {
    let mut wrong = Vec::new();
    for (point, flags) in MOUNTS {
        let has = seen.get(&format!("mount {point}"));
        let missing = |flag: &&str| !has.split([' ', ',']).any(|has| has == *flag);
        if has != "not tried" && flags.split(' ').any(|flag| missing(&flag)) {
            wrong.push(format!("{point}: {has}, want {flags}"));
        }
    }
    for (name, flags) in &seen.0 {
        let Some(point) = name.strip_prefix("mount /") else { continue };
        let known = point.is_empty() || MOUNTS.iter().any(|row| row.0[1..] == *point);
        // Files hide behind the null device.
        let hidden = point.starts_with("proc/") || flags.split([' ', ',']).any(|flag| flag == "ro");
        if flags.contains("shared:") || !known && !hidden {
            wrong.push(format!("/{point}: {flags}"));
        }
    }
    assert!(wrong.is_empty(), "mounts not as they must be:\n  {}", wrong.join("\n  "));
}

/// CVE-2024-21626: a directory that the caller's stream is would be a way to the host's files.
#[test]
fn a_directory_is_no_stream() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let busybox = pulled("busybox", "latest");
    let run = |flags: &str, redirect: &str| {
        let mut command = Command::new("/bin/sh");
        let script = format!("exec \"$0\" run --rm {flags} \"$@\" {redirect}");
        command.args(["-c", &script]).arg(binary());
        command.args(["--network", "none", &busybox, "ls", "/proc/self/fd/0/", "/proc/self/fd/2/"]);
        Home::shared().run(command).output()
    };
    assert_eq!(run("-i", "</").code(), 125);
    assert_eq!(run("", "2</").code(), 125);
    for (flags, redirect) in [("-i", "<."), ("", "1<."), ("-i", "</proc/self/cwd 2</dev/null")] {
        let output = run(flags, redirect);
        assert_eq!((output.code(), output.stdout.as_str()), (125, ""), "{output}");
    }
}

/// CVE-2019-5736, CVE-2016-9962: with `--init` the first process is the tool's own program. Nothing
/// of it can be opened, traced or entered, whatever the container may do.
#[test]
fn the_tools_own_process_is_closed() {
    needs_debian!();
    // The real root may open the directory, which is its own, and read nothing in it.
    let files = if pass() == "root" { "done" } else { "EACCES" };
    let closed = [
        ("attach to 1", "EPERM"),
        ("exe of 1", "EACCES"),
        ("leads /proc/1/root", "none"),
        ("link /proc/1/cwd", "EACCES"),
        ("link /proc/1/exe", "EACCES"),
        ("link /proc/1/fd/0", "EACCES"),
        ("link /proc/1/ns/mnt", "EACCES"),
        ("link /proc/1/root", "EACCES"),
        ("open /proc/1/auxv", "EACCES"),
        ("open /proc/1/environ", "EACCES"),
        ("open /proc/1/map_files", files),
        ("open /proc/1/maps", "EACCES"),
        ("open /proc/1/mem", "EACCES"),
        ("reopen exe of 1", "EACCES"),
        ("write /proc/1/exe", "EACCES"),
    ];
    let everything = ["--init", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined"];
    for flags in [&["--init"][..], &["--init", "--privileged"], &everything] {
        probe(flags, &[]).check(&closed);
    }
}

/// The user's other processes, in another container or in none, cannot look into it either.
#[test]
fn the_tools_own_process_is_not_dumpable() {
    needs_debian!();
    if pass() == "root" {
        return; // who looks into everything
    }
    let debian = pulled("debian", "12");
    let running = Home::shared()
        .coracle(["run", "--rm", "-i", "--init", "--network", "none", &debian, "cat"])
        .spawn_open();
    let supervisor = running.child.id();
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    // Beside it there may be the supervisor of emulated ids, which has no child.
    let with_child = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .is_ok_and(|pids| !pids.is_empty())
    };
    let first = || {
        let pids = fs::read_to_string(&children).unwrap_or_default();
        pids.split_whitespace().find(with_child).unwrap_or_default().to_owned()
    };
    until("the program below --init", || !first().is_empty());
    let pid = first();
    // Files of a process that is not dumpable belong to root (proc(5)).
    assert_eq!(fs::metadata(format!("/proc/{pid}/stat")).unwrap().uid(), 0, "dumpable");
    for name in ["exe", "cwd", "root", "ns/mnt", "fd/0"] {
        assert!(fs::read_link(format!("/proc/{pid}/{name}")).is_err(), "{name} can be read");
    }
    drop(running);
}

/// Less than `--privileged` it could not be, and more the user itself could not do.
#[test]
fn privileged_opens_what_the_user_itself_may_do() {
    needs_debian!();
    if pass() == "root" {
        return; // who may do all of it
    }
    let seen = probe(&["--privileged"], &[]);
    let may: BTreeSet<&str> = open_here().into_iter().chain(OPENED.iter().copied()).collect();
    let more: Vec<&str> = seen.open().difference(&may).copied().collect();
    assert!(more.is_empty(), "--privileged opened {more:?}");
    // A check that says the same whatever the filter does would prove nothing.
    let dead: Vec<&str> = FILTERED
        .iter()
        .filter(|(name, want)| seen.get(name) == *want && !REFUSED_ANYWAY.contains(name))
        .map(|(name, _)| *name)
        .collect();
    assert!(dead.is_empty(), "without the filter as with it: {dead:?}");
    seen.check(&[
        ("status CapInh", NONE),
        ("status CapAmb", NONE),
        ("descriptors", ""),
        ("leads a second chroot", "the root"),
        ("write /proc/sys/kernel/core_pattern", "EACCES"),
        ("write /proc/sysrq-trigger", "EACCES|ENOENT"),
        ("write /sys/kernel/uevent_helper", "EACCES|ENOENT"),
        ("set uid_map", "EPERM"),
        ("set oom_score_adj", "EACCES|EPERM"),
        ("raise a hard limit", "EPERM"),
        ("nice -20", "EACCES|EPERM"),
    ]);
    if pass() == "range" {
        seen.check(&[
            ("mknod block", "EPERM"),
            ("mknod char", "EPERM"),
            ("become another user", "EINVAL"),
            ("chown beyond the ids", "EINVAL"),
        ]);
    }
}

#[test]
fn a_user_inside_holds_nothing() {
    needs_debian!();
    if pass() != "range" {
        return;
    }
    let seen = probe(&["-u", "1000:1000"], &[]);
    seen.check(&[
        ("status CapInh", NONE),
        ("status CapPrm", NONE),
        ("status CapEff", NONE),
        ("status CapBnd", DOCKERS),
        ("status CapAmb", NONE),
        ("after exec CapEff", NONE),
        ("chroot", "EPERM"),
        ("status Groups", "1000|"),
    ]);
    seen.check(FILTERED);
}

#[test]
fn no_new_privileges_takes_the_power_of_setuid() {
    needs_debian!();
    if pass() != "range" {
        return;
    }
    let name = "a setuid program runs as";
    probe(&[], &[("setuid", "1")]).check(&[(name, "0 "), ("status NoNewPrivs", "0")]);
    let seen = probe(&["--security-opt", "no-new-privileges"], &[("setuid", "1")]);
    seen.check(&[(name, "1000 "), ("status NoNewPrivs", "1"), ("after exec NoNewPrivs", "1")]);
    seen.check(FILTERED);
}

/// The caller's session keyring stays outside, also where no filter hides keyctl(2).
#[test]
fn the_callers_keys_stay_outside() {
    needs_debian!();
    requires!(Program("/usr/bin/perl"));
    let debian = pulled("debian", "12");
    let (home, script) = (Home::shared(), script(&[]));
    let mut command = Command::new("/usr/bin/perl");
    // A new session keyring (keyctl 1) with a key in it, and in the user's (-4): then coracle.
    let keys = format!(
        "my ($type, $name, $text) = ('user', 'coracle-canary', 'secret'); my $none = 0; \
         syscall({keyctl}, 1, 0) != -1 or die \"keyctl: $!\"; \
         for my $ring (-3, -4) {{ syscall({add_key}, $type, $name, $text, 6, $ring) != -1 or die \"add_key: $!\" }} \
         syscall({keyctl}, 10, -3, $type, $name, 0) != -1 or die \"no key: $!\"; \
         exec @ARGV",
        keyctl = syscalls::Sysno::keyctl.id(),
        add_key = syscalls::Sysno::add_key.id(),
    );
    command.args(["-e", &keys, "--"]).arg(binary());
    command.args(["run", "--rm", "--network", "none", "--security-opt", "seccomp=unconfined"]);
    command.args([&debian, "perl", "-e", &script]);
    let seen = Seen::new(home.run(command).output());
    seen.check(&[
        ("find the caller's key", "ENOKEY"),
        ("find the user's key", "ENOKEY"),
        ("request_key", "ENOKEY"),
    ]);
}

/// CVE-2017-5226, CVE-2023-28100, CVE-2025-52565: the terminal is the container's own, so is the
/// console, and into neither may a program type.
#[test]
fn a_terminal_is_the_containers_own() {
    needs_debian!();
    requires!(Program("/usr/bin/setsid"));
    let debian = pulled("debian", "12");
    let script = r#"
        my ($letter, @console) = ("x", stat "/dev/console");
        printf "console %s %d:%d\n", -c _ ? "char" : "no", $console[6] >> 8, $console[6] & 255;
        print "stdin ", readlink "/proc/self/fd/0", "\n";
        for my $path ("/dev/tty", "/dev/console", "/proc/self/fd/0") {
            open my $tty, "+<", $path or die "$path: $!";
            for my $request (0x5412, 0x541c) {
                print "$path $request ", ioctl($tty, $request, $letter) ? "done" : $!{EPERM} ? "EPERM" : $!, "\n";
            }
        }
        print "end\n";
    "#;
    let run = ["run", "--rm", "-t", "--network", "none", &debian, "perl", "-e", script];
    let mut terminal = Terminal::coracle(Home::shared(), &run);
    assert!(terminal.wait().success(), "{}", terminal.text());
    terminal.expect("end");
    let text = terminal.text();
    has(&text, &["console char 136:0", "stdin /dev/pts/0"]);
    assert_eq!(text.matches("EPERM").count(), 6, "{text}");
}

/// What a container does to its files is its own: the layers below stay as they were pulled.
#[test]
fn the_image_is_not_written() {
    needs_debian!();
    let before = probe(&[], &[]).get("image").to_owned();
    assert!(before.contains("100755"), "{before}");
    assert_eq!(probe(&[], &[("spoil", "1")]).get("image"), "spoilt spoilt 104777");
    assert_eq!(probe(&[], &[]).get("image"), before);
    // And with the image's files as its own user's, from the host's side: none is writable now.
    let sealed = probe(&["--read-only"], &[]);
    assert!(sealed.get("mount /").contains(" ro,"), "{}", sealed.get("mount /"));
}

/// With the host's network /sys is the host's own tree: all of it must be read-only. And the host's
/// abstract sockets are in that network (CVE-2020-15257): Landlock shuts them off.
#[test]
fn the_hosts_network_brings_nothing_else_of_the_host() {
    needs_debian!();
    let debian = pulled("debian", "12");
    let name = format!("coracle-canary-host-{}", process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let script = script(&[("abstract", &name)]);
    let probe = |flags: &[&str]| {
        let (first, last) =
            (["run", "--rm", "--network", "host"], [&debian, "perl", "-e", &script]);
        Seen::new(Home::shared().coracle(first.iter().chain(flags).chain(&last)).output())
    };
    let seen = probe(&[]);
    for (name, flags) in seen.0.iter().filter(|(name, _)| name.starts_with("mount /sys")) {
        for flag in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(
                flags.split([' ', ',']).any(|has| has == flag),
                "{name} without {flag}: {flags}"
            );
        }
    }
    seen.check(&[
        ("/sys is", "read-only"),
        ("mkdir sys/fs/cgroup/x", "EROFS|ENOENT"),
        ("mkdir sys/kernel/x", "EROFS"),
        ("own abstract socket", "done"),
    ]);
    seen.check(FILTERED);
    // The scope is new in the sixth version of Landlock, Linux 6.12.
    let shut = seen.get("landlock").parse().is_ok_and(|version: i32| version >= 6);
    seen.check(&[("host's abstract socket", if shut { "EPERM" } else { "done" })]);
    probe(&["--privileged"]).check(&[("host's abstract socket", "done")]);
    // It takes nothing else away.
    probe(&["--cap-add", "SYS_ADMIN"]).check(&[("mount", "done"), ("pivot_root", "EPERM")]);
}

/// Labels are for hosts that have the modules; elsewhere they are refused by name, and what takes a
/// label away means nothing.
#[test]
fn labels_of_modules_that_are_not_there() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let active =
        |path: &str, word: &str| fs::read_to_string(path).is_ok_and(|text| text.starts_with(word));
    for option in ["apparmor=unconfined", "label=disable"] {
        assert_eq!(crate::flow::run(&["--security-opt", option], &["echo", "ran"]).ok(), "ran");
    }
    let both = ["--security-opt", "label=type:x_t", "--security-opt", "label=disable"];
    assert_eq!(crate::flow::run(&both, &["echo", "ran"]).ok(), "ran");
    for (option, module, is_here) in [
        (
            "apparmor=no-such-profile",
            "AppArmor",
            active("/sys/module/apparmor/parameters/enabled", "Y"),
        ),
        ("label=type:no_such_t", "SELinux", active("/sys/fs/selinux/enforce", "")),
        ("label=level:s0:c1,c2", "SELinux", active("/sys/fs/selinux/enforce", "")),
        ("label=nested", "SELinux", active("/sys/fs/selinux/enforce", "")),
    ] {
        if !is_here {
            let error = crate::flow::run(&["--security-opt", option], &["true"]).fails(125);
            has(&error, &[option, module, "not active"]);
        }
    }
    for option in ["apparmor=", "label=x", "label=type:", "label=type:a b"] {
        crate::flow::run(&["--security-opt", option], &["true"]).fails(125);
    }
}

/// podman's own profile, of several hundred names and all architectures, is read and enforced.
#[test]
fn a_profile_from_a_file_is_enforced() {
    needs_debian!();
    let path = Home::shared().write(
        "no-chmod.json",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_S390X"],
        "syscalls":[{"names":["fchmodat","fchmodat2","chmod"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#,
    );
    let option = format!("seccomp={}", path.display());
    let error = crate::flow::run(&["--security-opt", &option], &["chmod", "700", "/tmp"]).fails(1);
    has(&error, &["not supported"]);
    let path = "/usr/share/containers/seccomp.json";
    if fs::metadata(path).is_ok() {
        let option = format!("seccomp={path}");
        let seen = probe(&["--security-opt", &option], &[]);
        seen.check(&[
            ("bpf", "EPERM"),
            ("swapon", "EPERM"),
            ("add_key", "ENOSYS"),
            ("clone user", "done"),
        ]);
    }
}

/// Calls that docker's present profile lets through, some with a capability, and the podman compared
/// with does not know; and `personality`, whose question for the present one is asked here with more
/// bits than podman's rule expects.
const NEWER_THAN_PODMAN: &[&str] = &[
    "cachestat",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "map_shadow_stack",
    "memfd_secret",
    "mseal",
    "open_tree_attr",
    "personality",
    "quotactl_fd",
    "removexattrat",
    "set_mempolicy_home_node",
    "setxattrat",
    "statmount",
];

/// Whatever podman's default refuses is refused here, call by call; each path that it hides or makes
/// read-only and each flag that it sets on a mount is here too.
#[test]
fn podman_refuses_nothing_that_is_open_here() {
    needs_debian!();
    if pass() != "range" {
        return;
    }
    requires!(Registry, Program("/usr/bin/podman"), Program("/usr/sbin/runc"));
    let sweep = [("sweep", "1")];
    let script = script(&sweep);
    let command = ["perl", "-e", &script];
    let debian = crate::support::image("debian", "12");
    // podman leaves three of docker's capabilities out, and its filter follows what there are.
    let dockers = ["--cap-add=mknod,net_raw,audit_write"];
    for (flags, podmans) in [
        (&[][..], &dockers[..]),
        (&["--cap-drop=all"], &["--cap-drop=all"]),
        (&["--cap-add=all"], &["--cap-add=all"]),
        (&["--user=1000"], &[dockers[0], "--user=1000"]),
    ] {
        let ours = probe(flags, &sweep);
        let theirs = Seen::new(podman::in_podman(&debian, podmans, &command).output());
        assert_eq!(theirs.get("status CapBnd"), ours.get("status CapBnd"), "{flags:?}");
        let looser = looser(&ours, &theirs);
        assert!(looser.is_empty(), "looser than podman with {flags:?}:\n  {}", looser.join("\n  "));
    }
}

/// What came out less strictly here than there.
fn looser(ours: &Seen, theirs: &Seen) -> Vec<String> {
    let mut looser = Vec::new();
    let mut calls = 0;
    for (name, result) in &theirs.0 {
        let (here, there) = (ours.get(name), result.as_str());
        let is_looser = if let Some(call) = name.strip_prefix("call ") {
            calls += 1;
            let refused = |result: &str| ["EPERM", "ENOSYS"].contains(&result);
            refused(there) && !refused(here) && !NEWER_THAN_PODMAN.contains(&call)
        } else if let Some(point) = name.strip_prefix("mount ") {
            let flags = |text: &str| {
                let strict = ["ro", "nosuid", "nodev", "noexec"];
                let split = text.split([' ', ',']).map(str::to_owned);
                split.filter(|flag| strict.contains(&flag.as_str())).collect::<BTreeSet<_>>()
            };
            // podman mounts the groups one by one, and lays an empty tmpfs over what it hides.
            here != "not tried" && point != "/" && !flags(there).is_subset(&flags(here))
        } else if name.starts_with("shown by") {
            ["0", "absent"].contains(&there) && !["0", "absent"].contains(&here)
        } else if name.ends_with(" is") {
            there == "read-only" && !["read-only", "absent"].contains(&here)
        } else {
            // Its own one: podman has none on hosts with control groups of version 1.
            here == "done" && there != "done" && name != "setns cgroup"
        };
        if is_looser {
            looser.push(format!("{name}: {here:?}, podman {there:?}"));
        }
    }
    assert!(calls > 300, "{calls} calls compared");
    looser
}

/// The same holds one level down: the inner container is no looser than the outer's would be.
#[test]
fn a_container_in_a_container_is_confined() {
    needs_debian!();
    requires!(Fixture("archives/python.docker.tar"));
    let debian = pulled("debian", "12");
    let program = format!("{}:/coracle:ro", binary().display());
    let images = format!("{}:/images:ro", fixtures().join("archives").display());
    let probe = Home::shared().write("probe.pl", script(&[]));
    let probe = format!("{}:/probe.pl:ro", probe.display());
    let inner = "exec /coracle run -q --rm --network none -v /probe.pl:/probe.pl:ro --entrypoint perl \
                 -w / docker-archive:/images/python.docker.tar /probe.pl";
    let mut all = vec!["run", "--rm", "--network", "none", "--privileged", "-e", "HOME=/h"];
    all.extend(["--tmpfs", "/h:exec", "-v", &program, "-v", &images, "-v", &probe]);
    all.extend([&debian, "sh", "-c", inner]);
    let seen = Seen::new(Home::shared().coracle(all).timeout_s(60).output());
    seen.check(FILTERED);
    let untried =
        ["host store", "host home", "host binary", "host's abstract socket", "host's loopback"];
    let rows = CIRCUMSTANCES.iter().filter(|(name, _)| !untried.contains(name));
    seen.check(&rows.copied().collect::<Vec<_>>());
    let open = open_here();
    assert_eq!(seen.open(), open);
}
