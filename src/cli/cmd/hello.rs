//! `hello`: inside the image that is in the binary, tells how it was run.

use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use super::super::{Context, Error};

/// Say how this process is contained
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(super) fn run(_args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (status, mountinfo) = (read("/proc/self/status"), read("/proc/self/mountinfo"));
    let host = rustix::system::uname();
    let machine = host.machine().to_string_lossy().into_owned();
    let release = host.release().to_string_lossy().into_owned();
    let name = String::from_utf8_lossy(host.nodename().to_bytes()).into_owned();
    let lines = [
        ("who", ids(&status)),
        ("ids", maps(&read("/proc/self/uid_map"))),
        ("root", root(&mountinfo)),
        ("process", format!("{} in its pid namespace, on {name}", std::process::id())),
        ("namespaces", namespaces()),
        ("network", network()),
        ("capabilities", capabilities(&status)),
        ("seccomp", seccomp(&status)),
        ("kernel", format!("Linux {release} ({machine}), the host's")),
    ];
    cx.out.line("Hello from coracle: no root, no daemon, one static binary.\n")?;
    for (what, text) in lines {
        cx.out.line(format_args!("  {what:<13} {text}"))?;
    }
    cx.out.line("\nNext: coracle run --rm -it debian:12 sh")?;
    Ok(ExitCode::SUCCESS)
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let lines = &mut status.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}

fn ids(status: &str) -> String {
    let first = |name| field(status, name).split_whitespace().next().unwrap_or("?");
    format!("user {}, group {}", first("Uid"), first("Gid"))
}

/// `0 1000 1` and `1 100000 65536` in words.
fn maps(map: &str) -> String {
    let extents = map.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?, words.next()?.parse::<u64>().ok()?))
    });
    let words = extents.map(|(inside, outside, count)| match count {
        4_294_967_295.. => "the same as outside".into(),
        1 => format!("{inside} is {outside} outside"),
        _ => format!("{count} from {inside} are those from {outside} outside"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The file system on / (`proc_pid_mountinfo(5)`); the last one mounted there counts.
fn root(mountinfo: &str) -> String {
    let on_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let Some(line) = mountinfo.lines().rfind(on_root) else { return "unknown".into() };
    let read_only = line.split(' ').nth(5).is_some_and(|all| all.split(',').any(|it| it == "ro"));
    let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
    let layers = line.matches("lowerdir+=").count();
    let layers = match line.split_once("lowerdir=") {
        Some((_, rest)) => rest.split([',', ' ']).next().map_or(0, |it| it.split(':').count()),
        None => layers,
    };
    let mut text = kind.unwrap_or("unknown").to_owned();
    if layers > 0 {
        let _ = write!(text, " over {layers} layer{}", if layers == 1 { "" } else { "s" });
    }
    text.push_str(if read_only { ", read-only" } else { "" });
    text
}

fn namespaces() -> String {
    let kinds = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"];
    let known = kinds.into_iter().filter_map(|kind| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
        let link = String::from_utf8_lossy(link.as_os_str().as_bytes()).into_owned();
        let number = link.split(['[', ']']).nth(1)?.to_owned();
        Some(format!("{kind} {number}"))
    });
    known.collect::<Vec<_>>().join(", ")
}

fn network() -> String {
    let devices = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        devices.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    match names[..] {
        [] => "unknown".into(),
        [ref only] if only == "lo" => "none but loopback".into(),
        _ => names.join(", "),
    }
}

fn capabilities(status: &str) -> String {
    let set = u64::from_str_radix(field(status, "CapEff"), 16).unwrap_or(0);
    match set.count_ones() {
        0 => "none".into(),
        count => format!("{count} of {}, over this container only", last_capability() + 1),
    }
}

fn last_capability() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    text.trim().parse().unwrap_or(40)
}

fn seccomp(status: &str) -> String {
    let new_privileges = field(status, "NoNewPrivs") == "1";
    let filter = match field(status, "Seccomp") {
        "2" => "system calls are filtered",
        "0" => "system calls are not filtered",
        _ => "unknown",
    };
    format!("{filter}{}", if new_privileges { ", no new privileges" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_last_mount_on_it() {
        let text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    40 22 0:44 / / ro,relatime - overlay overlay rw,lowerdir=/a:/b,upperdir=/c\n\
                    41 40 0:45 / /proc rw - proc proc rw\n";
        assert_eq!(root(text), "overlay over 2 layers, read-only");
    }

    #[test]
    fn maps_are_told() {
        assert_eq!(maps("         0       1000          1\n"), "0 is 1000 outside");
        assert_eq!(
            maps("0 1000 1\n1 100000 65536\n"),
            "0 is 1000 outside, 65536 from 1 are those from 100000 outside"
        );
    }
}
