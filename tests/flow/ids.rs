//! Ids that are not mapped: what a process is told of itself and of files, and what it may become.
//!
//! With a range the kernel itself answers, and all must be the same; where it cannot be (device
//! nodes), a test says so.

use std::fs;

use super::background::Background;
use super::{pulled, run, run_image, sh};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, children_of, has, until};

/// What a Python script prints; it asks the kernel's questions without a C library's opinions.
fn python(flags: &[&str], script: &str) -> String {
    let script = format!("import os, socket, struct, sys\n{script}");
    run_image(&pulled("python", "3"), flags, &["-c", &script]).ok()
}

#[test]
fn an_owner_that_is_given_is_told() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "mkdir -p /d/e; touch /d/f; ln -s f /d/l; mkfifo /d/p; \
        chown 33:42 /d/f; chown -h 5:6 /d/l; chown 7:8 /d/p; chown :9 /d/e; \
        cd /d; stat -c '%n %u:%g' f l p e; chown -R 1:2 /d; stat -c %u:%g f p e .; stat -c %u:%g l; \
        chown 0:0 f l; stat -c %u:%g f l";
    let expected = "f 33:42\nl 5:6\np 7:8\ne 0:9\n1:2\n1:2\n1:2\n1:2\n1:2\n0:0\n1:2";
    assert_eq!(sh(&[], script), expected);
}

#[test]
fn every_way_to_a_file_tells_its_owner() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
os.makedirs("/d/sub"); open("/d/f", "w").close(); os.symlink("f", "/d/l")
os.chown("/d/f", 33, 42)
fd = os.open("/d/f", os.O_RDONLY); directory = os.open("/d", os.O_RDONLY); os.chdir("/d/sub")
ways = [os.stat("/d/f"), os.stat("/d/l"), os.stat("../f"), os.stat("f", dir_fd=directory), os.fstat(fd),
        os.stat("/proc/self/fd/%d" % fd), os.stat("/dev/fd/%d" % fd), os.stat("/proc/self/root/d/f"),
        os.stat("/proc/self/cwd/../f"), os.stat("/d/sub/.././/f")]
print({(way.st_uid, way.st_gid, way.st_ino == ways[0].st_ino) for way in ways})
os.fchown(fd, 1, -1); os.chown("f", -1, 2, dir_fd=directory)
print(os.stat("/d/f").st_uid, os.stat("/d/f").st_gid)
os.chown("/proc/self/fd/%d" % fd, 3, 3); os.unlink("/d/f")
print(os.fstat(fd).st_uid)
reader, writer = os.pipe(); os.fchown(writer, 9, 9); print(os.fstat(reader).st_uid)
for path in ["/none", "/d/f/x", "/d/sub/none/x"]:
    try: os.chown(path, 1, 1)
    except OSError as error: print(error.strerror)
"#;
    let expected = "{(33, 42, True)}\n1 2\n3\n9\nNo such file or directory\n\
        No such file or directory\nNo such file or directory";
    assert_eq!(python(&[], script), expected);
}

/// What was given an owner first is known though tens of thousands came after it, and most of them have
/// been removed; with emulated ids that is more than is kept in memory.
#[test]
fn links_without_end_keep_their_owners() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
os.mkdir("/d")
def make(name):
    os.symlink("x", name); os.lchown(name, 5, 6); return name
first = [make("/d/first%d" % n) for n in range(100)]
for n in range(20_000): os.unlink(make("/d/l"))
last = [make("/d/last%d" % n) for n in range(100)]
os.lchown("/d/first0", 0, 0); os.lchown("/d/last0", 0, 0); os.rename("/d/first1", "/d/moved")
first[1] = "/d/moved"
print({(os.lstat(name).st_uid, os.lstat(name).st_gid) for name in first[1:] + last[1:]})
print({os.lstat(name).st_uid for name in (first[0], last[0], make("/d/first1"))})
"#;
    assert_eq!(python(&[], script), "{(5, 6)}\n{0, 5}");
}

/// Who answers for a path looks for it by the host's /proc, and the host is above that.
#[test]
fn no_path_by_proc_leads_to_the_host() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let home = Home::new();
    home.write("file", "");
    let up = format!("/proc/self/../..{}", home.path().display());
    let deep = format!("/proc/thread-self/../../../..{}", home.path().display());
    let listed = format!("/proc/self/fd/../../..{}", home.path().display());
    let named = format!("/dev/fd/../../../..{}", home.path().display());
    // Its root's own are found by these words where they are the container's.
    let script = "mkdir -p $1 2>/dev/null; touch /own; chown 5:6 /own; stat -c %u:%g /proc/self/cwd/../own
        for path; do chown 5 $path/file; mkdir $path/new; : >$path/made; ln -s x $path/link; mkfifo $path/pipe; done
        adduser -D -H -u 33 web; for path; do su web -s /bin/sh -c \"mkdir $path/new; : >$path/made\"; done";
    let said = run(&[], &["sh", "-c", script, "sh", &up, &deep, &listed, &named]).output();
    has(&said.stdout, &["5:6"]);
    let names: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["new", "made", "link", "pipe"] {
        assert!(!names.contains(&name.to_owned()), "{name} is on the host: {said}");
    }
    let known = rustix::fs::getxattr(
        home.path().join("file"),
        "user.containers.override_stat",
        &mut [0; 80][..],
    );
    assert!(known.is_err(), "an owner was written to the host's file: {said}");
}

/// In a root of its own a program may have anything below /proc.
#[test]
fn a_proc_that_is_none_is_not_read() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script =
        "mkdir -p /j/bin /j/proc/1 /j/lib; cp -a /lib/. /j/lib 2>/dev/null; cp /bin/busybox /j/bin
        chown 5:6 /j/proc/1; mkfifo /j/proc/1/limits
        chroot /j /bin/busybox stat -c %u:%g /proc/1; rm /j/proc/1/limits
        truncate -s 64M /j/proc/1/limits; chroot /j /bin/busybox stat -c %u:%g /proc/1";
    assert_eq!(sh(&[], script), "5:6\n5:6");
}

#[test]
fn chown_takes_the_set_id_bits() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "cp /bin/true /t; chmod 6755 /t; chown 5 /t; stat -c %a /t; chmod 4711 /t; stat -c '%a %u' /t; \
        mkdir -m 2755 /d; chown 5 /d; stat -c '%a %u' /d";
    assert_eq!(sh(&[], script), "755\n4711 5\n2755 5");
}

#[test]
fn a_process_becomes_who_it_says() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
def ids(): return os.getresuid(), os.getresgid(), os.getgroups()
def tries(what, *arguments):
    try: what(*arguments); return "done"
    except OSError as error: return error.strerror
print(ids())
os.setgroups([7, 4]); os.setresgid(42, 42, 42); os.setresuid(33, 33, 0)
print(ids(), os.getuid(), os.geteuid(), os.getgid(), os.getegid())
print(tries(os.setgroups, []), tries(os.setgid, 0), tries(os.setuid, 5), tries(os.chown, "/etc", 1, 1))
child = os.fork()
if child == 0:
    os.seteuid(0); print(ids(), tries(os.setuid, 1000), ids(), tries(os.seteuid, 0), flush=True); os._exit(0)
os.wait()
print(ids())
"#;
    let expected = "((0, 0, 0), (0, 0, 0), [])\n\
        ((33, 33, 0), (42, 42, 42), [4, 7]) 33 33 42 42\n\
        Operation not permitted Operation not permitted Operation not permitted Operation not permitted\n\
        ((33, 0, 0), (42, 42, 42), [4, 7]) done ((1000, 1000, 1000), (42, 42, 42), [4, 7]) Operation not permitted\n\
        ((33, 33, 0), (42, 42, 42), [4, 7])";
    assert_eq!(python(&[], script), expected);
}

#[test]
fn what_a_user_makes_is_its_own() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
os.mkdir("/d"); os.chown("/d", 33, 33); os.mkdir("/shared"); os.chown("/shared", 0, 50); os.chmod("/shared", 0o2777)
os.setgroups([50]); os.setresgid(42, 42, 42); os.setresuid(33, 33, 33); os.umask(0o027); os.chdir("/d")
open("f", "w").write("text"); os.mkdir("sub"); os.symlink("f", "l"); os.mkfifo("p"); open("/shared/g", "w").close()
socket.socket(socket.AF_UNIX).bind("/d/s")
exclusive = os.open("x", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666); os.write(exclusive, b"y")
for name in ["f", "sub", "l", "p", "s", "x", "/shared/g"]:
    it = os.lstat(name); print(name, "%o" % it.st_mode, it.st_uid, it.st_gid)
try: os.open("x", os.O_CREAT | os.O_EXCL | os.O_RDWR)
except OSError as error: print(error.strerror)
print(open("f", "a+").tell(), os.get_inheritable(exclusive), open("x").read())
os.chown("f", -1, 50); print(os.stat("f").st_gid)
for arguments in [("f", 0, -1), ("f", -1, 51), ("/shared", -1, 50)]:
    try: os.chown(*arguments); print("done")
    except OSError as error: print(error.strerror)
"#;
    let expected = "f 100640 33 42\nsub 40750 33 42\nl 120777 33 42\np 10640 33 42\ns 140750 33 42\n\
        x 100640 33 42\n/shared/g 100640 33 50\nFile exists\n4 False y\n50\n\
        Operation not permitted\nOperation not permitted\nOperation not permitted";
    assert_eq!(python(&[], script), expected);
}

/// As below Debian's /var/mail and /var/local.
#[test]
fn what_root_makes_below_a_directory_of_a_group_is_the_groups() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
os.mkdir("/shared"); os.chown("/shared", 0, 50); os.chmod("/shared", 0o2775); os.umask(0o027); os.chdir("/shared")
open("f", "w").write("text"); os.mkdir("sub/"); os.symlink("f", "l"); os.mkfifo("p"); open("/shared/sub/g", "w").close()
socket.socket(socket.AF_UNIX).bind("/shared/s"); os.mkdir("sub/sub", 0o700); os.open("x", os.O_CREAT | os.O_EXCL)
open("f", "a").write("!"); os.mkdir("/plain"); os.chown("/plain", 0, 50); open("/plain/f", "w").close()
for name in ["f", "sub", "l", "p", "s", "x", "sub/g", "sub/sub", "/plain/f"]:
    it = os.lstat(name); print(name, "%o" % it.st_mode, it.st_uid, it.st_gid)
print(open("f").read())
"#;
    let expected = "f 100640 0 50\nsub 42750 0 50\nl 120777 0 50\np 10640 0 50\ns 140750 0 50\n\
        x 100750 0 50\nsub/g 100640 0 50\nsub/sub 42700 0 50\n/plain/f 100640 0 0\ntext!";
    assert_eq!(python(&[], script), expected);
}

#[test]
fn a_device_is_what_mknod_said() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    if pass() != "plain" {
        return; // the kernel refuses devices to a user who has a range as well
    }
    let script = "mknod -m 640 /d c 10 200; mknod /b b 8 17; chown 3:4 /d; stat -c '%F %t:%T %a %u:%g' /d /b; \
        rm /d; touch /d; stat -c '%F %u' /d";
    let expected = "character special file a:c8 640 3:4\nblock special file 8:11 644 0:0\n\
        regular empty file 0";
    assert_eq!(sh(&[], script), expected);
}

#[test]
fn a_set_user_id_program_raises_a_user() {
    requires!(UserNamespaces, Image("python", "3"));
    // A copy of the interpreter: what a script asks for does not count (execve(2)).
    let script = r##"
for name, uid, gid, mode in [("/raise", 0, 42, 0o6755), ("/other", 77, 0, 0o4755)]:
    open(name, "wb").write(open(os.path.realpath(sys.executable), "rb").read())
    os.chown(name, uid, gid); os.chmod(name, mode)
open("/script", "w").write("#!/bin/sh\nid -u\n"); os.chmod("/script", 0o4755)
os.setresgid(33, 33, 33); os.setresuid(33, 33, 33)
ask = "import os; print(os.getresuid(), os.getresgid())"
sys.stdout.flush()
for program in ["/raise", "/other", "/script"]: os.spawnl(os.P_WAIT, program, program, "-S", "-E", "-c", ask)
"##;
    let told = "(33, 0, 0) (33, 42, 42)\n(33, 77, 77) (33, 33, 33)\n33";
    assert_eq!(python(&[], script), told);
    let held = "(33, 33, 33) (33, 33, 33)\n(33, 33, 33) (33, 33, 33)\n33";
    assert_eq!(python(&["--security-opt", "no-new-privileges"], script), held);
}

#[test]
fn a_socket_tells_who_is_at_its_other_end() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
server = socket.socket(socket.AF_UNIX); server.bind("/s"); server.listen(); os.chmod("/s", 0o777)
child = os.fork()
if child == 0:
    os.setresgid(42, 42, 42); os.setresuid(33, 33, 33)
    client = socket.socket(socket.AF_UNIX); client.connect("/s"); client.recv(1); os._exit(0)
peer, _ = server.accept()
told = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12); peer.send(b"x")
pid, uid, gid = struct.unpack("iII", told); print(pid == child, uid, gid); os.wait()
"#;
    // Root's socket, made before, is for everyone: the test is of the ids alone.
    assert_eq!(python(&[], script), "True 33 42");
}

#[test]
fn another_root_directory_is_seen_from_within() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "mkdir -p /r/bin /r/etc /r/d; cp /bin/busybox /r/bin/; ln -s busybox /r/bin/sh; \
        touch /f; chroot /r /bin/sh -c 'cd /d; busybox touch /f g; busybox chown 33 /f; busybox chown 34 g ../etc; \
        busybox stat -c %u /f g /d/g /etc'; stat -c %u /f /r/f /r/d/g /r/etc /etc";
    assert_eq!(sh(&[], script), "33\n34\n34\n34\n0\n33\n34\n34\n0");
}

#[test]
fn a_container_starts_as_a_user_it_has_no_id_for() {
    requires!(UserNamespaces, Image("python", "3"));
    let script = r#"
print(os.getresuid(), os.getresgid(), os.getgroups(), os.stat("/proc/%d" % os.getpid()).st_uid)
print(os.stat("/etc/passwd").st_uid)
try: os.setuid(0)
except OSError as error: print(error.strerror)
open("/tmp/f", "w").close(); print(os.stat("/tmp/f").st_uid)
"#;
    let expected = "(4321, 4321, 4321) (99, 99, 99) [] 4321\n0\nOperation not permitted\n4321";
    assert_eq!(python(&["-u", "4321:99"], script), expected);
}

#[test]
fn capabilities_that_were_dropped_stay_dropped() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let flags = ["--cap-drop", "CHOWN", "--cap-drop", "SETUID"];
    let failed = run(&flags, &["sh", "-c", "touch /f; chown 5 /f"]).fails(1);
    has(&failed, &["Operation not permitted"]);
    let script = "chroot --userspec 33:33 / id 2>&1 || setuidgid nonroot id";
    assert_ne!(run(&flags, &["sh", "-c", script]).output().code(), 0);
}

#[test]
fn without_a_map_there_is_one_id() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let flags = ["--userns", "nomap"];
    has(&run(&flags, &["sh", "-c", "touch /f; chown 5 /f"]).fails(1), &["Invalid argument"]);
    assert_eq!(
        sh(&["--userns", "nomap", "-u", "1000"], "awk '/^Uid/ {print $2}' /proc/self/status"),
        "1000"
    );
}

#[test]
fn accounts_are_made_and_taken_on() {
    requires!(UserNamespaces, Image("debian", "12"));
    let script = "set -e; useradd -m -s /bin/bash joe; groupadd crew; usermod -aG crew joe; \
        stat -c %U:%G /home/joe /home/joe/.profile; su joe -c 'id -un; id -Gn; touch ~/f; stat -c %U ~/f'; \
        install -o joe -g crew -m 640 /etc/hostname /tmp/i; stat -c '%U:%G %a' /tmp/i; \
        tar -C / -cf /tmp/t.tar home/joe; mkdir /tmp/x; tar -C /tmp/x -xpf /tmp/t.tar; stat -c %U /tmp/x/home/joe/f; \
        su joe -c 'tar -C /tmp -xf /tmp/t.tar home/joe/f && stat -c %U /tmp/home/joe/f; passwd -S joe | cut -c1-5; ulimit -x'";
    let told = run_image(&pulled("debian", "12"), &[], &["sh", "-c", script]).ok();
    let expected = "joe:joe\njoe:joe\njoe\njoe crew\njoe\njoe:crew 640\njoe\njoe\njoe L\nunlimited";
    assert_eq!(told, expected);
}

#[test]
fn a_later_program_means_the_same_ids() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = super::home_with_busybox();
    let script = "while sleep .1; do stat -c %u /proc/[0-9]* | sort -un | tr '\\n' ' ' >/tmp/.seen; mv /tmp/.seen /tmp/seen; done";
    let flags = ["--network", "none", "-u", "nonroot", "--tmpfs", "/tmp:mode=1777"];
    let container = Background::start(&home, "box", &flags, &["sh", "-c", script]);
    let script = "touch /tmp/mine; ln -s x /tmp/link; stat -c %u:%g /tmp/mine /tmp/link; stat -c %u /proc/2; \
        for i in $(seq 100); do sleep .1; grep -q 4321 /tmp/seen && break; done; cat /tmp/seen";
    let told = container.exec(&["-u", "4321:99"], &["sh", "-c", script]).ok();
    // The process of --init is the user too.
    assert_eq!(told.trim(), "4321:99\n4321:99\n1000\n1000 4321");
}

#[test]
fn what_the_image_says_of_owners_is_told() {
    requires!(UserNamespaces, Image("debian", "12"));
    let script = "stat -c '%U:%G %a' /var/mail /usr/bin/chage /etc/shadow";
    let told = run_image(&pulled("debian", "12"), &[], &["sh", "-c", script]).ok();
    assert_eq!(told, "root:mail 2775\nroot:shadow 2755\nroot:shadow 640");
}

#[test]
fn servers_install_and_run() {
    requires!(UserNamespaces, Image("debian", "12"), Fixture("debs/Packages"));
    let debs = format!("{}:/debs:ro", crate::support::fixtures().join("debs").display());
    let script = r#"set -e
export DEBIAN_FRONTEND=noninteractive
rm -f /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/debs ./' >/etc/apt/sources.list
(apt-get update && apt-get install -y postgresql nginx openssh-server sudo) >/tmp/log 2>&1 || { tail -20 /tmp/log; exit 1; }
stat -c '%U %a' /var/lib/postgresql/15/main
dpkg --audit
pg_ctlcluster 15 main start
su postgres -c 'psql -Atc "select current_user"'
pg_ctlcluster 15 main stop
nginx; stat -c %U /var/lib/nginx/body; nginx -s quit
useradd -m -s /bin/bash joe; echo 'joe ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/joe
su joe -c 'sudo -u postgres whoami; sudo whoami; mkdir -m 700 ~/.ssh; ssh-keygen -qt ed25519 -N "" -f ~/.ssh/id_ed25519; cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys'
mkdir -p /run/sshd; /usr/sbin/sshd -p 2222
su joe -c 'ssh -qp 2222 -o StrictHostKeyChecking=no joe@127.0.0.1 whoami'
"#;
    let image = pulled("debian", "12");
    let told = run_image(&image, &["-v", &debs], &["bash", "-c", script]).timeout_s(300).ok();
    assert_eq!(told, "postgres 700\npostgres\nwww-data\npostgres\nroot\njoe");
}

/// Looking a name up on PATH asks nothing, and neither does a program that only asks who it is.
#[test]
fn a_program_found_on_the_path_needs_no_supervisor() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let image = pulled("busybox", "latest");
    let running = Home::shared()
        .coracle(["run", "--rm", "-i", "--network", "none", &image, "cat"])
        .spawn_open();
    let coracle = running.child.id();
    let children = || {
        let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        children_of(coracle).split_whitespace().map(name).collect::<Vec<_>>()
    };
    until("the program runs", || children().contains(&"cat\n".to_owned()));
    assert_eq!(children(), ["cat\n"]);
    drop(running);
}
