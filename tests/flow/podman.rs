//! The same image in podman and in coracle: what a command sees must be the same.
//!
//! Only in the range pass, since podman needs newuidmap. podman runs with runc: Debian's crun
//! refuses the hybrid control groups that CI machines have.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

use super::push::{line, scratch};
use super::{pulled, run_image};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, busybox, image};

/// podman's own store, in a home where nothing else is.
pub fn podman(arguments: &[&str]) -> crate::support::Run {
    static HOME: OnceLock<&'static Home> = OnceLock::new();
    // Leaked: the store holds other ids' files, which `tests/run` removes.
    let home = HOME.get_or_init(|| Box::leak(Box::new(Home::new())));
    let mut command = Command::new("/usr/bin/podman");
    command.args([
        "--log-level=error",
        "--cgroup-manager=cgroupfs",
        "--runtime=runc",
        "--storage-driver=overlay",
    ]);
    command.args(arguments);
    // The suite's own: podman breaks when this path has more than 50 characters.
    home.run(command)
        .env("XDG_RUNTIME_DIR", std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default())
}

pub fn in_podman(image: &str, flags: &[&str], command: &[&str]) -> crate::support::Run {
    podman(&["pull", "-q", "--tls-verify=false", image]).ok();
    let first = ["run", "--rm", "--network=none"];
    let all: Vec<&str> =
        first.iter().chain(flags).chain([&image]).chain(command).copied().collect();
    podman(&all)
}

/// Lines that one has and the other has not.
fn compare(what: &str, coracle: &str, podman: &str) {
    let (ours, theirs): (BTreeSet<&str>, BTreeSet<&str>) =
        (coracle.lines().collect(), podman.lines().collect());
    let only = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| {
        a.difference(b).take(20).copied().collect::<Vec<_>>().join("\n  ")
    };
    assert!(
        ours == theirs,
        "{what} differs ({} and {} lines)\nonly coracle:\n  {}\nonly podman:\n  {}",
        ours.len(),
        theirs.len(),
        only(&ours, &theirs),
        only(&theirs, &ours)
    );
    assert!(!ours.is_empty(), "{what}: nothing to compare");
}

/// Every file: kind, mode, owner, size, time, links, name and target.
const FILES: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run \\) \
    -prune -o -print0 | xargs -0 stat -c '%F|%a|%u|%g|%s|%Y|%h|%N'";

/// The lines that must be the same: not what each tool lays over the image, and of directories
/// neither size nor links nor time, which are the file system's and the moment's.
fn files(text: &str) -> String {
    let laid_over = [
        "/",
        "/etc",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/etc/mtab",
        "/etc/passwd",
    ];
    let mut kept = String::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [kind, mode, uid, gid, .., name] = fields[..] else {
            kept.push_str(line);
            continue;
        };
        let path = name.split(" -> ").next().unwrap_or(name);
        if laid_over.contains(&path.trim_matches('\'')) {
            continue;
        }
        // podman counts no time before 1970.
        if path.trim_matches('\'') == "/ancient" {
            continue;
        }
        let same = match kind {
            "directory" => [kind, mode, uid, gid, name].join("|"),
            _ => line.to_owned(),
        };
        kept.push_str(&same);
        kept.push('\n');
    }
    kept
}

macro_rules! only_in_range {
    () => {
        if pass() != "range" {
            return;
        }
        requires!(UserNamespaces, Registry, Program("/usr/bin/podman"), Program("/usr/sbin/runc"));
    };
}

#[test]
fn the_same_files() {
    only_in_range!();
    requires!(Image("edge", "buildah"), Image("debian", "12"), Image("python", "3"));
    for (name, tag) in [
        ("edge", "buildah"),
        ("edge", "umoci"),
        ("busybox", "docker"),
        ("debian", "12"),
        ("python", "3"),
    ] {
        let reference = pulled(name, tag);
        let flags = ["--entrypoint", ""];
        let ours = files(&run_image(&reference, &flags, &["sh", "-c", FILES]).ok());
        let theirs = files(&in_podman(&reference, &flags, &["sh", "-c", FILES]).ok());
        compare(&format!("{name}:{tag}"), &ours, &theirs);
    }
}

#[test]
fn the_same_files_of_odd_images() {
    // Left out is what podman refuses (links across layers, duplicates, GNU's sparse files).
    only_in_range!();
    for tag in [
        "whiteout",
        "whiteout-missing",
        "opaque",
        "replace",
        "replace-back",
        "order",
        "dot-names",
        "long-pax",
        "long-gnu",
        "sparse-pax-0-1",
        "modes",
        "owners",
        "times",
        "many",
    ] {
        requires!(Image("edge", "whiteout"));
        let reference = pulled("edge", tag);
        let ours = files(&run_image(&reference, &[], &["sh", "-c", FILES]).ok());
        let theirs = files(&in_podman(&reference, &[], &["sh", "-c", FILES]).ok());
        compare(tag, &ours, &theirs);
    }
}

#[test]
fn the_same_contents() {
    only_in_range!();
    requires!(Image("python", "3"));
    let reference = image("python", "3");
    pulled("python", "3");
    let script = "find / -xdev -type f \\( -path '/proc/*' -o -path '/sys/*' -o -path '/dev/*' -o -path '/run/*' -o -path /etc/hosts \
        -o -path /etc/hostname -o -path /etc/resolv.conf -o -path /etc/passwd \\) -prune -o -type f -print0 | xargs -0 md5sum";
    let ours = run_image(&reference, &["--entrypoint", ""], &["sh", "-c", script]).ok();
    let theirs = in_podman(&reference, &["--entrypoint", ""], &["sh", "-c", script]).ok();
    compare("contents of python:3", &ours, &theirs);
}

#[test]
fn the_same_process() {
    only_in_range!();
    requires!(Image("busybox", "latest"), Image("busybox", "user-name"));
    let look = "id -u; id -g; id -G; pwd; umask; env | grep -vE '^(HOSTNAME|container|TERM)=' | sort; \
                grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; echo $HOME $0 $$; ls -d /proc/[0-9]* | head -1";
    for (tag, flags) in [
        ("latest", &[][..]),
        ("latest", &["-u", "1000"]),
        ("latest", &["-u", "nonroot"]),
        ("latest", &["-u", "1000:2001"]),
        ("latest", &["-u", "4321"]),
        ("latest", &["-w", "/tmp", "-e", "A=b", "-e", "PATH=/bin"]),
        ("user-name", &[]),
        ("user-id", &[]),
        ("shell-entry", &["--entrypoint", ""]),
    ] {
        let reference = pulled("busybox", tag);
        let ours = run_image(&reference, flags, &["sh", "-c", look]).ok();
        let theirs = in_podman(&reference, flags, &["sh", "-c", look]).ok();
        compare(&format!("{tag} {flags:?}"), &ours, &theirs);
    }
}

#[test]
fn the_same_exit_codes() {
    only_in_range!();
    requires!(Image("busybox", "latest"));
    let reference = pulled("busybox", "latest");
    for command in [
        &["true"][..],
        &["false"],
        &["sh", "-c", "exit 77"],
        &["no-such-command"],
        &["/etc/passwd"],
        &["sh", "-c", "kill -9 $$; exit 3"],
    ] {
        let ours = run_image(&reference, &[], command).output().code();
        let theirs = in_podman(&reference, &[], command).output().code();
        assert_eq!(ours, theirs, "{command:?}");
    }
}

#[test]
fn the_same_devices_and_masks() {
    only_in_range!();
    requires!(Image("busybox", "latest"));
    let reference = pulled("busybox", "latest");
    let script = "ls -l /dev | awk '{print $1, $NF}' | sort | grep -vE '^total|console|core'; \
                  for p in kcore keys timer_list sched_debug; do [ -e /proc/$p ] && wc -c </proc/$p; done; \
                  (echo 1 >/proc/sys/kernel/hung_task_panic) 2>/dev/null || echo sys refused";
    let ours = run_image(&reference, &[], &["sh", "-c", script]).ok();
    let theirs = in_podman(&reference, &[], &["sh", "-c", script]).ok();
    compare("devices", &ours, &theirs);
}

#[test]
fn the_same_volumes() {
    only_in_range!();
    requires!(Image("busybox", "volume"));
    let reference = pulled("busybox", "volume");
    let name = format!("same-{}", std::process::id());
    let data = format!("{name}:/data");
    let look = "stat -c '%n %F %a %u:%g' /data /data/* /fresh/volume; cat /data/kept; \
                touch /data/again 2>/dev/null && echo written";
    for flags in [
        &[][..],
        &["-v", &data],
        &["-v", &data], // the second time it has the first one's file
        &["-v", &format!("{name}2:/data:ro")],
        &["-v", "/data", "--tmpfs", "/fresh"],
        &["--read-only"],
        &["--mount", &format!("type=volume,src={name}3,dst=/data,ro")],
    ] {
        let ours = run_image(&reference, flags, &["sh", "-c", look]).output();
        let theirs = in_podman(&reference, flags, &["sh", "-c", look]).output();
        assert_eq!(ours.stdout, theirs.stdout, "{flags:?}\n{ours}\n{theirs}");
    }
    for words in [
        &["volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}}", &name][..],
        &["volume", "ls", "-q", "--filter", &format!("name={name}")],
        &["volume", "ls", "--filter", &format!("name={name}")],
        &["volume", "exists", "nothing"],
        &["volume", "exists", &name],
        &["volume", "rm", "no-such-volume"],
        &["volume", "rm", &name, &format!("{name}2"), &format!("{name}3")],
    ] {
        let (ours, theirs) = (Home::shared().coracle(words).output(), podman(words).output());
        let columns =
            |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(columns(&ours.stdout), columns(&theirs.stdout), "{words:?}");
        assert_eq!(ours.code(), theirs.code(), "{words:?}: {ours}{theirs}");
    }
}

#[test]
fn the_same_image_after_a_push_either_way() {
    only_in_range!();
    let home = Home::new();
    let [ours, theirs] = ["for-podman", "of-podman"].map(|name| format!("{}:1", scratch(name)));
    home.coracle(["pull", "-q", &busybox()]).ok();
    home.coracle(["tag", &busybox(), &ours]).ok();
    home.coracle(["push", "-q", &ours]).ok();
    let id = home.coracle(["inspect", "-f", "{{.Id}}", &ours]).ok();
    let told = podman(&["pull", "-q", "--tls-verify=false", &ours]).ok();
    assert_eq!(told, id.trim_start_matches("sha256:"));
    podman(&["push", "-q", "--tls-verify=false", &ours, &theirs]).ok();
    let mut skopeo = Command::new("/usr/bin/skopeo");
    skopeo.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"]);
    skopeo.arg(format!("docker://{theirs}"));
    let pulled = Home::new().coracle(["pull", &theirs]).ok();
    assert_eq!(line(&pulled, "Digest: "), home.run(skopeo).ok());
}
