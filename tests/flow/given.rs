//! What a container is given of its users, names and variables, and a directory in place of an image.

use std::os::unix::fs::MetadataExt;

use super::background::Background;
use super::{home_with_busybox, run, sh};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, busybox, has, until};

fn own_ids() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

#[test]
fn a_user_without_a_name_gets_one() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let lines = "tail -n1 /etc/passwd; tail -n1 /etc/group; whoami; stat -c %a:%u /etc/passwd";
    assert_eq!(
        sh(&["-u", "4321:8765"], lines),
        "4321:*:4321:8765:container user:/:/bin/sh\n8765:x:8765:\n4321\n644:0"
    );
    let entry = "$USERNAME:x:$UID:$GID:me:/home/me:/bin/sh";
    let named = ["-u", "4321", "--passwd-entry", entry, "--group-entry", "crew:x:$GID:$USERLIST"];
    assert_eq!(sh(&named, "tail -n1 /etc/passwd"), "4321:x:4321:0:me:/home/me:/bin/sh");
    let without = sh(&["-u", "4321:8765", "--passwd=false"], "cat /etc/passwd /etc/group");
    assert!(!without.contains("4321") && !without.contains("8765"), "{without}");
    let root = sh(&["--read-only", "-u", "4321"], "whoami; echo >>/etc/passwd || true");
    has(&root, &["4321"]);
    let bad = run(&["-u", "4321", "--passwd-entry", "a:b"], &["true"]).fails(125);
    has(&bad, &["--passwd-entry", "7 fields"]);
}

/// What an image has in the place of passwd(5) is not waited for, and no link leads out.
#[test]
fn a_hostile_passwd_is_left_alone() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bait = home.write("bait", "mine\n");
    let mount = format!("{}:/bait", bait.display());
    for script in [
        "mkfifo /etc/passwd",
        "ln -s /bait /etc/passwd",
        "ln -s /proc/1/root/bait /etc/passwd",
        "mkdir /etc/passwd",
    ] {
        let make = format!("rm /etc/passwd; {script}");
        let first = [
            "create",
            "--network",
            "none",
            "--hostuser",
            "daemon",
            "-v",
            &mount,
            "--name",
            "odd",
            &image,
        ];
        home.coracle(first.iter().copied().chain(["sh", "-c", &make])).ok();
        home.coracle(["start", "odd"]).ok();
        home.coracle(["wait", "odd"]).ok();
        // Now it is what the image's author wants it to be.
        home.coracle(["start", "odd"]).ok();
        home.coracle(["wait", "odd"]).ok();
        home.coracle(["rm", "-f", "odd"]).ok();
    }
    assert_eq!(std::fs::read_to_string(&bait).unwrap(), "mine\n");
}

#[test]
fn an_account_of_the_host_is_taken_over() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "id -un; grep ^daemon: /etc/passwd | cut -d: -f1,3";
    assert_eq!(sh(&["--hostuser", "daemon", "-u", "daemon"], script), "daemon\ndaemon:1");
    has(&run(&["--hostuser", "nobody-here"], &["true"]).fails(125), &["no such user"]);
}

#[test]
fn ids_are_mapped_as_asked() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (uid, gid) = own_ids();
    let map = "while read a b c; do echo $a:$c; done </proc/self/uid_map";
    // The caller itself under another id: the only one that it has, or one of many.
    let one = ["--uidmap", "5:0:1", "--gidmap", "6:0:1", "-u", "5:6"];
    assert_eq!(sh(&one, &format!("id -u; id -g; {map}")), "5\n6\n5:1");
    let two = ["--uidmap", "0:0:1", "--uidmap", "1:1:99"];
    let both = ["--uidmap", "0:0:1", "--userns", "single"];
    has(&run(&both, &["true"]).fails(125), &["leave --userns out"]);
    has(&run(&["--uidmap", "0:1"], &["true"]).fails(125), &[]);
    has(&run(&["--subuidname", "root"], &["true"]).fails(125), &["--subuidname root"]);
    if pass() == "range" {
        assert_eq!(sh(&two, &format!("{map}; stat -c %u /bin/busybox")), "0:1\n1:99\n0");
        let host = format!("+7:@{uid}:1");
        let plus = ["--uidmap", &host, "--gidmap", &format!("+7:@{gid}:1"), "-u", "7:7"];
        // The caller was 0, which is nobody's now; all others are where they were.
        let script = "id -u; touch /tmp/x; stat -c %u /tmp/x /home/nonroot /etc/passwd";
        assert_eq!(sh(&plus, script), "7\n7\n1000\n7");
        has(&run(&["--uidmap", "0:0:99999"], &["true"]).fails(125), &["the caller has 65537"]);
        has(&run(&["--uidmap", "0:1:9"], &["true"]).fails(125), &["leaves the caller itself out"]);
        has(
            &run(&["--uidmap", "0:0:9", "--uidmap", "3:20:1"], &["true"]).fails(125),
            &["another line"],
        );
        let beyond = run(&["--uidmap", "0:0:9", "-u", "20"], &["true"]).fails(126);
        has(&beyond, &["user 20:0 is outside the ids", "which has 9"]);
    } else {
        has(&run(&two, &["true"]).fails(125), &["there is one only, its own", "newuidmap"]);
    }
}

#[test]
fn the_callers_id_is_kept() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (uid, gid) = own_ids();
    let home = Home::shared();
    let data = tempfile::tempdir_in(home.path()).unwrap();
    std::fs::write(data.path().join("mine"), "x").unwrap();
    let mount = format!("{}:/data", data.path().display());
    let keep = ["--userns", "keep-id", "-v", &mount];
    let script = "id -u; id -g; stat -c %u:%g /data/mine; touch /data/new; id -un";
    let told = sh(&keep, script);
    has(&told, &[&format!("{uid}\n{gid}\n{uid}:{gid}\n")]);
    assert_eq!(std::fs::metadata(data.path().join("new")).unwrap().uid(), uid);
    let other = ["--userns", "host-id:uid=77,gid=88", "-v", &mount];
    assert_eq!(sh(&other, "id -u; stat -c %u:%g /data/mine"), "77\n77:88");
    if pass() == "range" {
        // The others are there too: root is another, and the image's files are as in the image.
        let script =
            "id -u; stat -c %u:%g /bin/busybox; stat -c %u /home/nonroot; touch /r; stat -c %u /r";
        assert_eq!(sh(&["--userns", "keep-id", "-u", "0"], script), "0\n0:0\n1000\n0");
        assert_eq!(sh(&["--userns", "keep-id:size=2"], "wc -l </proc/self/uid_map").trim(), "2");
    } else {
        has(&run(&["--userns", "keep-id", "-u", "0"], &["true"]).fails(126), &["outside the ids"]);
    }
}

#[test]
fn any_user_id_can_be_run_as() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "id -u; id -g; touch /tmp/f; stat -c %u:%g /tmp/f; stat -c %u /etc/passwd";
    assert_eq!(
        sh(&["-u", "1000660000:1000660001"], script),
        "1000660000\n1000660001\n1000660000:1000660001\n0"
    );
}

#[test]
fn variables_come_from_many_sides() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let with = |flags: &[&str], script: &str| {
        run(flags, &["sh", "-c", script]).env("HTTPS_PROXY", "http://p:3128").env("MINE_A", "1")
    };
    let shown = "echo $HTTPS_PROXY,$MINE_A";
    assert_eq!(with(&[], shown).ok(), "http://p:3128,");
    assert_eq!(with(&["--http-proxy=false"], shown).ok(), ",");
    assert_eq!(with(&["-e", "HTTPS_PROXY=own"], shown).ok(), "own,");
    assert_eq!(with(&["--env-host", "-e", "MINE_B=2"], "echo $MINE_A$MINE_B").ok(), "12");
    assert_eq!(with(&["-e", "MINE_*"], shown).ok(), "http://p:3128,1");
    let merged = ["--env-merge", "PATH=${PATH}:/more", "--unsetenv", "HOSTNAME"];
    let path = sh(&merged, "echo $PATH; env | grep -c ^HOSTNAME= || true");
    assert!(path.contains("/bin:/more\n0"), "{path}");
    let none = run(&["--unsetenv-all", "-e", "A=b"], &["/bin/busybox", "env"]).ok();
    assert_eq!(none, "A=b");
}

#[test]
fn names_and_hosts_are_as_asked() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let names = sh(&["--domainname", "example.org"], "cat /proc/sys/kernel/domainname");
    assert_eq!(names, "example.org");
    let shared = run(&["--uts", "host", "--domainname", "x"], &["true"]).fails(125);
    has(&shared, &["--domainname", "shares its names"]);
    let mounted = |flags: &[&str]| sh(flags, "grep -c ' /etc/host' /proc/mounts || true");
    assert_eq!(mounted(&[]), "2");
    assert_eq!(mounted(&["--no-hosts"]), "1");
    assert_eq!(mounted(&["--no-hosts", "--no-hostname"]), "0");
    let file = Home::shared().write("hosts-of-mine", "192.0.2.7 special\n");
    let flags = ["--hosts-file", file.to_str().unwrap(), "--add-host", "more:192.0.2.8"];
    let hosts = sh(&flags, "cat /etc/hosts");
    has(&hosts, &["192.0.2.7 special\n", "192.0.2.8\tmore"]);
    assert!(!hosts.contains("localhost"), "{hosts}");
    assert!(!sh(&["--hosts-file", "none"], "cat /etc/hosts").contains("localhost"));
    has(&run(&["--no-hosts", "--add-host", "a:192.0.2.1"], &["true"]).fails(125), &["--no-hosts"]);
    let jail = sh(&["--chrootdirs", "/srv/jail"], "cat /srv/jail/etc/hostname; cat /etc/hostname");
    let (one, other) = jail.split_once('\n').unwrap();
    assert!(!one.is_empty() && one == other, "{jail}");
}

#[test]
fn the_time_zone_is_the_hosts_file() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    for bad in ["../../etc/passwd", "/etc/passwd", "Nowhere/Land"] {
        has(&run(&["--tz", bad], &["true"]).fails(125), &[&format!("--tz {bad}")]);
    }
    let file = std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo");
    if file.exists() {
        assert_eq!(sh(&["--tz", "Asia/Tokyo"], "date +%z"), "+0900");
    } else {
        has(&run(&["--tz", "Asia/Tokyo"], &["true"]).fails(125), &["/usr/share/zoneinfo", "TZ="]);
    }
    if std::fs::read("/etc/localtime").is_ok() {
        has(&sh(&["--timezone", "local"], "head -c4 /etc/localtime"), &["TZif"]);
    }
}

#[test]
fn systemd_finds_what_it_wants() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "echo $container; echo ${#container_uuid}; grep -cE ' (/run|/run/lock|/tmp) tmpfs ' /proc/mounts";
    assert_eq!(sh(&["--systemd=always"], script), "coracle\n36\n3");
    assert_eq!(sh(&[], "echo .$container; grep -c ' /run tmpfs' /proc/mounts || true"), ".\n0");
    let (home, image) = home_with_busybox();
    let make = |flags: &[&str], command: &[&str]| {
        let first = ["create", "--network", "none"];
        let image = [image.as_str()];
        let all = first.iter().chain(flags).chain(&image).chain(command);
        let id = home.coracle(all).ok();
        home.coracle(["inspect", "-f", "{{.Config.StopSignal}}", id.trim()]).ok()
    };
    assert_eq!(make(&[], &["/sbin/init"]), "SIGRTMIN+3");
    assert_eq!(make(&["--systemd=false"], &["/sbin/init"]), "SIGTERM");
    assert_eq!(make(&["--systemd=always", "--stop-signal", "INT"], &["sh"]), "SIGINT");
    let size = ["--systemd=always", "--shm-size-systemd", "1m"];
    has(&sh(&size, "grep ' /run ' /proc/mounts"), &["size=1024k"]);
    has(&run(&["--shm-size-systemd", "1m"], &["true"]).fails(125), &["--systemd=always"]);
}

#[test]
fn streams_and_descriptors_are_chosen() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = ["sh", "-c", "echo out; echo err >&2"];
    let only = run(&["-a", "stdout"], &script).output();
    assert_eq!((only.stdout.as_str(), only.stderr.as_str()), ("out\n", ""));
    let only = run(&["--attach", "stderr"], &script).output();
    assert_eq!((only.stdout.as_str(), only.stderr.as_str()), ("", "err\n"));
    has(&run(&["-d", "-a", "stdout"], &["true"]).fails(125), &["--attach and --detach"]);
    has(&run(&["--preserve-fds", "9"], &["true"]).fails(125), &["no descriptor"]);
    let home = Home::shared();
    let coracle = crate::support::binary();
    let inner = format!("{} run --rm --network none", coracle.display());
    let ask = "for n in 3 4 5; do test -e /proc/self/fd/$n && echo $n; done; cat <&4";
    let shell = |flags: &str| {
        let mut command = std::process::Command::new("/bin/sh");
        let image = super::pulled("busybox", "latest");
        let file = home.write("kept", "kept words");
        let open = format!("exec 3</dev/null 4<{} 5</dev/null;", file.display());
        command.args(["-c", &format!("{open} {inner} {flags} {image} sh -c '{ask}'")]);
        home.run(command).output()
    };
    assert_eq!(shell("--preserve-fds 2").stdout, "3\n4\nkept words");
    assert_eq!(shell("--preserve-fd 4").stdout, "4\nkept words");
}

#[test]
fn pids_are_written_and_others_are_started_first() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let pid = home.path().join("pid");
    let keeper = home.path().join("keeper");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap().trim().to_owned();
    home.coracle(["create", "--network", "none", "--name", "base", &image, "sleep", "600"]).ok();
    let flags = ["run", "-d", "--network", "none", "--name", "top", "--requires", "base"];
    let files =
        ["--pidfile", pid.to_str().unwrap(), "--conmon-pidfile", keeper.to_str().unwrap(), &image];
    home.coracle(flags.iter().copied().chain(files).chain(["sleep", "600"])).ok();
    let running = |name: &str| home.coracle(["inspect", "-f", "{{.State.Running}}", name]).ok();
    assert_eq!(running("base"), "true");
    let shown = || home.coracle(["inspect", "-f", "{{.State.Pid}}", "top"]).ok();
    assert_eq!(read(&pid), shown());
    has(&std::fs::read_to_string(format!("/proc/{}/comm", read(&keeper))).unwrap(), &["coracle"]);
    home.coracle(["stop", "-t", "0", "top", "base"]).ok();
    home.coracle(["start", "top"]).ok();
    assert_eq!((running("base"), read(&pid)), ("true".to_owned(), shown()));
    home.coracle(["rm", "-f", "top", "base"]).ok();
    let none = home.coracle(["run", "--rm", "--requires", "nope", &image, "true"]);
    has(&none.fails(125), &["No such container: nope"]);
}

#[test]
fn a_directory_is_a_root() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let home = Home::new();
    let root = home.path().join("root");
    for directory in ["bin", "etc", "data"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/sh")).unwrap();
    std::fs::write(root.join("etc/passwd"), "ada:x:0:0::/data:/bin/sh\n").unwrap();
    let name = root.to_str().unwrap();
    let over = format!("{name}:O");
    let run = |root: &str, flags: &[&str], script: &str| {
        let first = ["run", "--rm", "--network", "none", "--rootfs"];
        home.coracle(first.iter().chain(flags).copied().chain([root, "sh", "-c", script]))
    };
    let write = "echo $HOME; echo new >/data/word; read word </data/word; echo $word";
    assert_eq!(run(&over, &["-u", "ada"], write).ok(), "/data\nnew");
    assert!(!root.join("data/word").exists(), "what is written lies apart");
    assert_eq!(run(name, &[], "echo kept >/data/word; echo $0").ok(), "sh");
    assert_eq!(std::fs::read_to_string(root.join("data/word")).unwrap(), "kept\n");
    let sealed = run(name, &["--read-only"], "echo x >/data/word").output();
    has(&sealed.stderr, &["Read-only file system"]);
    assert_eq!(std::fs::read_to_string(root.join("data/word")).unwrap(), "kept\n");
    // A name for a user is not written into a directory that is somebody's.
    run(name, &["-u", "77"], "true").ok();
    assert_eq!(std::fs::read_to_string(root.join("etc/passwd")).unwrap().lines().count(), 1);

    let keep = ["run", "-d", "--network", "none", "--name", "kept", "--rootfs", &over];
    home.coracle(keep.iter().copied().chain(["sh", "-c", "echo again >>/data/log"])).ok();
    home.coracle(["wait", "kept"]).ok();
    home.coracle(["start", "kept"]).ok();
    home.coracle(["wait", "kept"]).ok();
    has(&home.coracle(["ps", "-a"]).ok(), &["kept", "Exited (0)"]);
    home.coracle(["rm", "kept"]).ok();
    has(&run("/nope", &[], "true").fails(125), &["/nope"]);
    has(&run(root.join("etc/passwd").to_str().unwrap(), &[], "true").fails(125), &["etc/passwd"]);
    has(&run("/", &[], "true").fails(125), &["--rootfs /", "/:O"]);
    let within = format!("{}:O", home.path().display());
    has(&run(&within, &[], "true").fails(125), &["the store lies in it", "--root"]);
    // Another's directory, which the user may read.
    let word = "echo x >/word; read word </word; echo $word";
    assert_eq!(run("/usr:O", &[], word).ok(), "x");
    assert!(!std::path::Path::new("/usr/word").exists());
    has(&run(&format!("{name}:x"), &[], "true").fails(125), &["want O"]);
}

#[test]
fn the_images_volumes_are_made_as_asked() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let image = volumes_image();
    let kind = |flags: &[&str]| {
        let script = "while read a b c d; do test $b != /vol || echo $c; done </proc/mounts
            for f in /vol/*; do echo ${f##*/}; done";
        super::run_image(&image, flags, &["sh", "-c", script]).output().stdout
    };
    assert_eq!(kind(&["--image-volume", "tmpfs"]), "tmpfs\nfile\n");
    assert_eq!(kind(&["--image-volume", "ignore"]), "file\n");
    has(&run(&["--image-volume", "x"], &["true"]).fails(125), &["bind, tmpfs and ignore"]);
}

/// busybox with a volume at /vol, in a layout of its own registry.
fn volumes_image() -> String {
    use crate::support::image::{Entry, Image, Tar, digest, gzip};
    let program = std::fs::read("/bin/busybox").unwrap();
    let shell = Entry { name: b"bin/sh", mode: 0o755, data: &program, ..Entry::default() };
    let tar = Tar::new().directory("bin", 0o755).directory("vol", 0o755).file("vol/file", "x");
    let tar = tar.entry(&shell).finish();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Volumes": {"/vol": {}}},
        "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]},
    });
    let registry = crate::support::registry::Registry::new();
    let image = Image::with_config(config.to_string().into_bytes(), vec![gzip(&tar)]);
    let reference = registry.push("volumes", "1", &image);
    Home::shared().coracle(["pull", "-q", "--tls-verify=false", &reference]).ok();
    reference
}

#[test]
fn another_interface_and_the_callers_groups() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&["--personality", "LINUX32"], "cat /proc/self/personality"), "00000008");
    has(&run(&["--personality", "VMS"], &["true"]).fails(125), &["no personality"]);
    assert!(sh(&["--group-add", "keep-groups"], "id -u").starts_with('0'));
    let both = run(&["--group-add", "keep-groups", "--group-add", "5"], &["true"]).fails(125);
    has(&both, &["goes with no other group"]);
}

#[test]
fn what_cannot_be_honoured_says_why() {
    requires!(UserNamespaces);
    let home = Home::new();
    for (flags, words) in [
        (
            &["--cpu-count", "2"][..],
            &["--cpu-count cannot be honoured", "Windows", "see --cpus"][..],
        ),
        (&["--storage-opt=size=1g"], &["--storage-opt", "takes root"]),
        (&["--use-api-socket"], &["no daemon"]),
        (&["--device-cgroup-rule", "c 1:3 r"], &["take root"]),
        (&["--kernel-memory", "1m"], &["--memory counts it"]),
        (&["--security-opt", "x=y"], &["want no-new-privileges"]),
    ] {
        let image = busybox();
        for command in ["run", "create"] {
            let all =
                [command].into_iter().chain(flags.iter().copied()).chain([image.as_str(), "true"]);
            has(&home.coracle(all).fails(125), words);
        }
    }
}

#[test]
fn an_unhealthy_container_is_dealt_with() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let check = ["--health-cmd", "false", "--health-interval", "50ms", "--health-retries", "1"];
    let start = |name: &str, action: &str| {
        let first =
            ["run", "-d", "--network", "none", "--name", name, "--health-on-failure", action];
        home.coracle(first.iter().chain(&check).copied().chain([image.as_str(), "sleep", "600"]))
            .ok();
    };
    start("killed", "kill");
    assert_eq!(home.coracle(["wait", "killed"]).ok(), "137");
    start("stopped", "stop");
    assert_eq!(home.coracle(["wait", "stopped"]).ok(), "143");
    start("again", "restart");
    let count = || home.coracle(["inspect", "-f", "{{.RestartCount}}", "again"]).ok();
    until("a restart", || count() != "0");
    home.coracle(["rm", "-f", "killed", "stopped", "again"]).ok();
    has(
        &home.coracle(["run", "--health-on-failure", "x", &image]).fails(125),
        &["restart and stop"],
    );
}

/// An exec is the container's in this too.
#[test]
fn a_later_program_has_the_same() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, _) = home_with_busybox();
    let flags = ["--network", "none", "--personality", "LINUX32", "-u", "4321"];
    let container = Background::start(&home, "same", &flags, &["sleep", "600"]);
    let told = container.exec(&[], &["sh", "-c", "cat /proc/self/personality; whoami"]).ok();
    assert_eq!(told, "00000008\n4321");
}
