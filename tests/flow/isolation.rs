//! What a container sees of itself and does not see of the host.

use std::fs;
use std::path::Path;

use super::{pulled, run, run_image, sh};
use crate::requires;
use crate::support::has;
use crate::support::needs::has_real_ids;

#[test]
fn namespaces_are_its_own() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let seen =
        sh(&[], "for n in user mnt pid ipc uts cgroup net; do readlink /proc/self/ns/$n; done");
    for line in seen.lines() {
        let kind = line.split(':').next().unwrap();
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(line, host.to_str().unwrap());
    }
    assert_eq!(seen.lines().count(), 7, "{seen}");
}

#[test]
fn host_network_is_the_hosts() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let image = pulled("busybox", "latest");
    let home = crate::support::Home::shared();
    let command = ["run", "--rm", "--network", "host", &image, "readlink", "/proc/self/ns/net"];
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(home.coracle(command).ok(), host.to_str().unwrap());
}

#[test]
fn without_network_there_is_a_loopback_that_is_up() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&[], "sed 1,2d /proc/net/dev | cut -d: -f1").trim(), "lo");
    has(&sh(&[], "ifconfig lo || ip addr show lo"), &["127.0.0.1", "UP"]);
}

#[test]
fn capabilities_are_dockers() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let effective = "grep CapEff /proc/self/status | cut -f2";
    assert_eq!(sh(&[], effective), "00000000a80425fb");
    assert_eq!(sh(&["--cap-drop", "all"], effective), "0000000000000000");
    assert_eq!(sh(&["--cap-drop", "ALL", "--cap-add", "chown"], effective), "0000000000000001");
    assert_eq!(sh(&["--cap-add", "CAP_SYS_PTRACE"], effective), "00000000a80c25fb");
    assert_eq!(sh(&["-u", "1000"], effective), "0000000000000000");
    // Neither inheritable nor ambient sets are left: they outlive an exec.
    assert_eq!(
        sh(&[], "grep -E 'CapInh|CapAmb' /proc/self/status | cut -f2 | sort -u"),
        "0000000000000000"
    );
    assert_eq!(sh(&[], "grep CapBnd /proc/self/status | cut -f2"), "00000000a80425fb");
    has(&run(&["--cap-add", "nonsense"], &["true"]).fails(125), &["nonsense"]);
    let all = sh(&["--privileged"], effective);
    assert!(all.ends_with("1ffffffffff"), "{all}");
    let both = run(&["--cap-add", "all", "--cap-drop", "ALL"], &["true"]).fails(125);
    has(&both, &["--cap-add and --cap-drop both name ALL"]);
    has(
        &run(&["--cap-add", "KILL", "--cap-drop", "cap_kill"], &["true"]).fails(125),
        &["CAP_KILL"],
    );
    let flags = ["--privileged", "--cap-drop", "KILL"];
    let said = run(&flags, &["sh", "-c", effective]).output();
    assert_eq!((said.stdout.trim(), said.code()), (all.as_str(), 0));
    has(&said.stderr, &["note: --cap-drop drops nothing: --privileged gives all capabilities"]);
}

#[test]
fn seccomp_and_no_new_privileges() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let state = "grep -E '^(Seccomp_filters|NoNewPrivs):' /proc/self/status | tr -d '\\n\\t '";
    // Emulated ids take a filter too, which refuses nothing; with the default profile it is one.
    let own = u8::from(!has_real_ids());
    let filters = |count: u8| format!("Seccomp_filters:{count}");
    assert_eq!(
        sh(&["--security-opt", "no-new-privileges"], state),
        format!("NoNewPrivs:1{}", filters(own + 1))
    );
    has(&sh(&[], state), &[&filters(1)]);
    has(&sh(&["--security-opt", "seccomp=unconfined"], state), &[&filters(own)]);
    has(&sh(&["--privileged"], state), &[&filters(own)]);
}

#[test]
fn the_hosts_files_and_processes_are_not_there() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    // pid 1 is the shell; the others are what it started to count.
    let processes: u32 = sh(&[], "ls -d /proc/[0-9]* | wc -l").trim().parse().unwrap();
    assert!(processes <= 4, "{processes} processes");
    let mounts = sh(&[], "cut -d' ' -f2 /proc/mounts");
    for line in mounts.lines() {
        let known = ["/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"]
            .contains(&line)
            || ["/proc", "/sys", "/dev"]
                .iter()
                .any(|top| line == *top || line.starts_with(&format!("{top}/")));
        assert!(known, "an unexpected mount: {line}\n{mounts}");
    }
}

#[test]
fn open_descriptors_do_not_leak() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    // 0, 1, 2 and what ls opens to list them.
    assert_eq!(sh(&[], "ls /proc/self/fd | wc -l").trim(), "4");
    assert_eq!(sh(&["--init"], "ls /proc/self/fd | wc -l").trim(), "4");
    assert_eq!(sh(&[], "readlink /proc/self/cwd"), "/");
}

#[test]
fn devices_are_dockers() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let listed = sh(&[], "ls /dev");
    for name in [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ] {
        assert!(listed.lines().any(|line| line == name), "no /dev/{name} in\n{listed}");
    }
    assert_eq!(
        sh(&[], "stat -c %t,%T /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty"),
        "1,3\n1,5\n1,7\n1,8\n1,9\n5,0"
    );
    assert_eq!(
        sh(&[], "echo x >/dev/null; head -c 2 /dev/zero | wc -c; head -c 9 /dev/urandom | wc -c"),
        "2\n9"
    );
    assert_eq!(
        sh(&[], "for f in fd stdin stdout stderr; do readlink /dev/$f; done"),
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2"
    );
    assert_eq!(sh(&[], "echo 1 >/dev/full 2>/dev/null || echo full"), "full");
    assert_eq!(sh(&[], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "65536");
    has(&sh(&[], "grep ' /dev/mqueue ' /proc/mounts"), &["mqueue"]);
    assert_eq!(sh(&["-u", "1000"], "echo x >/dev/null && touch /dev/shm/mine && echo yes"), "yes");
}

#[test]
fn kernel_files_are_masked_and_read_only() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(
        sh(&[], "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c").trim(),
        "0"
    );
    assert_eq!(
        sh(
            &[],
            "ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c . || true"
        ),
        "0"
    );
    assert_eq!(
        sh(&[], "(echo x >/proc/sys/kernel/core_pattern) 2>/dev/null || echo refused"),
        "refused"
    );
    assert_eq!(sh(&[], "(echo b >/proc/sysrq-trigger) 2>/dev/null || echo refused"), "refused");
    assert_eq!(sh(&[], "mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused"), "refused");
    has(&sh(&[], "grep ' /sys ' /proc/mounts"), &["ro,"]);
}

/// podman's `--security-opt proc-opts=`
/// What is below the root is made before the arguments are parsed, by what they look like.
#[test]
fn what_was_made_for_a_usual_container_does_not_stay_in_another() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let places = "cut -d' ' -f2 /proc/mounts | sort; ls /sys/firmware; ls -l /proc/acpi";
    let usual = sh(&[], places);
    for other in [&["--tmpfs", "/dev/shm:size=1m"][..], &["--init"]] {
        assert_eq!(sh(other, places), usual, "{other:?}");
    }
    assert_eq!(usual.lines().filter(|line| *line == "/dev/shm").count(), 1, "{usual}");
    let own = sh(&["--tmpfs", "/dev/shm:size=1m"], "grep ' /dev/shm ' /proc/mounts");
    has(&own, &["size=1024k"]);
    let read_only = "touch /proc/sys/kernel/x 2>&1; grep -c ' /proc' /proc/mounts";
    assert_eq!(sh(&["--tmpfs", "/dev/shm"], read_only), sh(&[], read_only));
}

#[test]
fn proc_has_the_options_that_are_asked_for() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/dev/net/tun"));
    let with = |options| format!("proc-opts={options}");
    let subset = sh(&["--security-opt", &with("subset=pid")], "ls /proc | grep -vc '^[0-9]'");
    assert!(subset.parse::<u32>().unwrap() < 6, "{subset}"); // links to its own process
    // There is no place then for what a private network sets.
    let private = ["--network", "private", "--security-opt", &with("subset=pid")];
    run(&private, &["true"]).ok();
    let hidden = with("hidepid=2");
    let script = "echo nobody:x:5:5::/:/bin/sh >>/etc/passwd; test -d /proc/1 && echo seen; \
        su -s /bin/sh -c 'test -d /proc/1 || echo hidden' nobody; true";
    let output = run(&["--security-opt", &hidden], &["sh", "-c", script]).output();
    // To the kernel all who have emulated ids are one.
    let (shown, told) = if has_real_ids() { ("seen\nhidden\n", false) } else { ("seen\n", true) };
    assert_eq!(
        (&*output.stdout, output.stderr.contains("hides nothing")),
        (shown, told),
        "{output}"
    );
    has(&run(&["--pid", "host", "--security-opt", &hidden], &["true"]).fails(125), &["own"]);
    has(&run(&["--security-opt", &with("rw")], &["true"]).fails(125), &["hidepid"]);
}

#[test]
fn privileged_says_what_it_is_not() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&["--privileged"], "mount -t tmpfs none /tmp && echo mounted"), "mounted");
    assert_eq!(sh(&[], "mount -t tmpfs none /tmp 2>/dev/null || echo refused"), "refused");
    // Root there is not root here.
    assert_eq!(
        sh(
            &["--privileged"],
            "mknod /sda b 8 0 2>/dev/null; test $(head -c 1 /sda 2>/dev/null | wc -c) = 0 && echo held"
        ),
        "held"
    );
}

#[test]
fn names_of_the_container() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(
        sh(&["--hostname", "box"], "hostname; echo $(cat /etc/hostname); grep -c box /etc/hosts"),
        "box\nbox\n1"
    );
    let id = sh(&[], "hostname");
    assert!(id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    has(
        &sh(&["--add-host", "db:10.1.2.3"], "cat /etc/hosts"),
        &["10.1.2.3", "db", "127.0.0.1", "localhost"],
    );
    let image = pulled("busybox", "latest");
    let resolver = [
        "run",
        "--rm",
        "--network",
        "host",
        "--dns",
        "192.0.2.53",
        &image,
        "cat",
        "/etc/resolv.conf",
    ];
    has(&crate::support::Home::shared().coracle(resolver).ok(), &["nameserver 192.0.2.53"]);
}

/// With one id or with a range, root inside may use what its capabilities promise.
#[test]
fn root_inside_owns_what_it_makes() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&[], "touch /f && stat -c %u:%g /f"), "0:0");
    assert_eq!(sh(&[], "mkdir -m 0 /closed && touch /closed/in && ls /closed"), "in");
}

#[test]
fn chown_reaches_every_id() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&[], "touch /f && chown 999:65000 /f && stat -c %u:%g /f"), "999:65000");
    assert_eq!(
        run(&["-u", "1000"], &["stat", "-c", "%U:%G %a", "/home/nonroot"]).ok(),
        "nonroot:nonroot 750"
    );
}

#[test]
fn an_image_of_one_file_runs() {
    requires!(UserNamespaces, Image("busybox", "bare"));
    let bare = pulled("busybox", "bare");
    assert_eq!(run_image(&bare, &[], &[]).ok(), "bare");
    assert_eq!(
        run_image(
            &bare,
            &[],
            &["while read -r h; do echo $h; done </etc/hostname; echo ok >/dev/null && echo $$"]
        )
        .ok()
        .lines()
        .last(),
        Some("1")
    );
}

/// Links in the image where the tool covers or reads files lead nowhere on the host.
#[test]
fn links_at_covered_places_stay_inside() {
    requires!(UserNamespaces, Image("busybox", "linked-etc"), Image("busybox", "linked-dev"));
    has(
        &run_image(&pulled("busybox", "linked-etc"), &[], &["cat", "/etc/hosts"]).ok(),
        &["localhost"],
    );
    let output = run_image(
        &pulled("busybox", "linked-dev"),
        &[],
        &["sh", "-c", "echo x >/dev/null; ls /proc/self/fd | wc -l"],
    )
    .output();
    assert!([0, 125].contains(&output.code()), "{output}");
    // /dev, /proc and /sys are links to /tmp there. Others write to the host's: only names tell.
    for name in ["null", "pts", "shm", "mqueue", "fd", "stdin", "self", "fs"] {
        let made = Path::new("/tmp").join(name);
        assert!(made.symlink_metadata().is_err(), "{} is on the host: {output}", made.display());
    }
}
