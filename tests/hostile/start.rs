//! Images that attack the one who starts them.

use std::fs;

use serde_json::{Value, json};

use super::Victim;
use crate::requires;
use crate::support::image::{Entry, Image, Tar};
use crate::support::{Home, Output, binary, fixtures};

/// An image with busybox as /sh and what else the attack needs.
fn image(victim: &Victim, attack: Tar, change: impl Fn(&mut Value)) -> String {
    let program = fs::read("/usr/bin/busybox").or_else(|_| fs::read("/bin/busybox")).unwrap();
    let shell = Entry { name: b"sh", mode: 0o755, data: &program, ..Entry::default() };
    let links = ["cat", "ls", "id", "pwd", "stat", "touch"];
    let base = links
        .iter()
        .fold(Tar::new().entry(&shell), |tar, name| tar.symlink(&format!("bin/{name}"), "/sh"));
    let mut image = Image::of(&[base.finish(), attack.finish()]);
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["config"] = json!({"Env": ["PATH=/bin"], "Entrypoint": ["/sh", "-c"]});
    change(&mut config);
    image = Image::with_config(config.to_string().into_bytes(), image.layers);
    victim.registry.push("evil", "1", &image)
}

fn run(victim: &Victim, reference: &str, flags: &[&str], script: &str) -> Output {
    let first = ["run", "--rm", "--network", "none"];
    let all: Vec<&str> = first.iter().chain(flags).chain([&reference, &script]).copied().collect();
    let output = victim.home.coracle(all).timeout_s(30).output();
    victim.unharmed(&output);
    output
}

macro_rules! needs_busybox {
    () => {
        requires!(UserNamespaces, Fixture("oci/busybox/index.json"));
        let _ = fixtures();
    };
}

#[test]
fn passwd_is_not_a_file() {
    needs_busybox!();
    let fifo = |name: &'static [u8]| Entry { name, kind: b'6', mode: 0o666, ..Entry::default() };
    let victim = Victim::new();
    let reference =
        image(&victim, Tar::new().entry(&fifo(b"etc/passwd")).entry(&fifo(b"etc/group")), |_| {});
    run(&victim, &reference, &["-u", "someone"], "id").fails(125);
    assert_eq!(run(&victim, &reference, &[], "echo ran").ok(), "ran");

    let victim = Victim::new();
    let reference = image(
        &victim,
        Tar::new().symlink("etc/passwd", "/dev/zero").directory("etc/group", 0o755),
        |_| {},
    );
    run(&victim, &reference, &["-u", "someone"], "id").fails(125);

    // A link to the host's file must find the image's, which is not there.
    let victim = Victim::new();
    victim.home.coracle(["version"]).ok();
    let host = victim.path("/secret");
    let reference = image(
        &victim,
        Tar::new().pax(&[("linkpath", host.as_bytes())]).symlink("etc/passwd", "x"),
        |_| {},
    );
    let output = run(&victim, &reference, &["-u", "the host's own"], "id");
    assert_ne!(output.code(), 0, "{output}");

    let victim = Victim::new();
    let line = "x:x:0:0:".repeat(400_000);
    let entry = Entry { name: b"etc/passwd", data: line.as_bytes(), ..Entry::default() };
    let reference = image(&victim, Tar::new().entry(&entry), |_| {});
    run(&victim, &reference, &["-u", "someone"], "id").fails(125);
}

/// A user must be read strictly: what is no number and no name is nobody, least of all root.
#[test]
fn users_that_are_read_as_root() {
    needs_busybox!();
    let victim = Victim::new();
    let reference = image(&victim, Tar::new(), |_| {});
    for user in [
        "4294967295",
        "4294967296",
        "-1",
        "0x0",
        " 0",
        "1:4294967295",
        "0:-1",
        "99999999999999999999",
    ] {
        let output = run(&victim, &reference, &["-u", user], "id -u");
        assert_eq!(output.code(), 125, "{user}: {output}");
    }
}

#[test]
fn mount_targets_through_links() {
    needs_busybox!();
    let victim = Victim::new();
    let target = victim.path("");
    let attack = |name: &str| Tar::new().pax(&[("linkpath", target.as_bytes())]).symlink(name, "x");
    for name in [
        "l",
        "dev",
        "proc",
        "sys",
        "tmp",
        "etc",
        "run",
        "dev/shm",
        "dev/pts",
        "proc/self",
        "etc/hosts",
        "etc/resolv.conf",
        "sys/fs",
    ] {
        let reference = image(&victim, attack(name), |_| {});
        victim.home.coracle(["pull", "-q", &reference]).output();
        run(
            &victim,
            &reference,
            &["-v", "/usr:/l/secret:ro", "--tmpfs", "/l/directory", "--tmpfs", "/tmp/x"],
            "echo x >/l/y; ls /l; :",
        );
        run(&victim, &reference, &["-w", "/l/new/directory"], "echo x >y; :");
        run(&victim, &reference, &["--pull", "never"], "echo x >/etc/hosts; echo y >/dev/null; :");
    }
    // VOLUME lines and the working directory come from the image too.
    for path in
        ["../../../../../../..", "/l", "/l/directory", "/../canary", "relative", "/proc", "/", ""]
    {
        let reference = image(&victim, attack("l"), |config| {
            config["config"]["Volumes"] = json!({path: {}});
        });
        run(&victim, &reference, &["--pull", "always"], "echo x >/l/volume; :");
        let reference =
            image(&victim, attack("l"), |config| config["config"]["WorkingDir"] = json!(path));
        run(&victim, &reference, &["--pull", "always"], "echo x >here; :");
    }
}

/// CVE-2024-21626: a working directory on a descriptor that leaked from the host.
#[test]
fn a_working_directory_on_a_leaked_descriptor() {
    needs_busybox!();
    let victim = Victim::new();
    let reference = image(&victim, Tar::new().symlink("fd", "/proc/self/fd"), |_| {});
    let secret = victim.path("/secret");
    for number in 0..16 {
        for directory in [
            format!("/proc/self/fd/{number}"),
            format!("/fd/{number}"),
            format!("/proc/1/fd/{number}/../.."),
        ] {
            let climb = format!(
                "cat ../../../../../../..{secret} /proc/self/cwd/../../../../../..{secret}"
            );
            let output = run(&victim, &reference, &["-w", &directory], &climb);
            assert!(!output.stdout.contains("host's own"), "{directory}: {output}");
        }
    }
}

/// CVE-2019-5736: with --init pid 1 is the tool's own program.
#[test]
fn the_tool_cannot_be_overwritten() {
    needs_busybox!();
    let before = fs::read(binary()).unwrap();
    let victim = Victim::new();
    let reference = image(&victim, Tar::new(), |_| {});
    let script = "for p in 1 self; do (echo owned >/proc/$p/exe) 2>/dev/null && echo wrote $p; done; \
                  for f in /proc/1/fd/*; do (echo owned >$f/x) 2>/dev/null && echo wrote $f; done; echo end";
    for flags in
        [&[][..], &["--init"], &["--init", "--cap-add", "ALL"], &["--init", "--privileged"]]
    {
        assert_eq!(run(&victim, &reference, flags, script).ok(), "end", "{flags:?}");
    }
    assert!(fs::read(binary()).unwrap() == before, "the tool was changed");
}

#[test]
fn configs_with_odd_values() {
    needs_busybox!();
    for (field, value) in [
        ("Env", json!(["NO_EQUALS", "=x", "A=\u{0}b", "", "A=1", "A=2"])),
        ("Env", json!("not a list")),
        ("Entrypoint", json!(["a\u{0}b"])),
        ("Entrypoint", json!([""])),
        ("Cmd", json!([1, 2])),
        ("User", json!("0\n0")),
        ("User", json!("../../etc")),
        ("StopSignal", json!("SIGNONSENSE")),
        ("Labels", json!({"a": 1})),
        ("Volumes", json!({"a\u{0}b": {}})),
    ] {
        let victim = Victim::new();
        let reference =
            image(&victim, Tar::new(), |config| config["config"][field] = value.clone());
        run(&victim, &reference, &[], "echo ran");
    }
}

/// The filter refuses what has been the way out of containers.
#[test]
fn calls_that_lead_out() {
    requires!(UserNamespaces, Image("debian", "12"));
    let home = Home::shared();
    let debian = crate::support::image("debian", "12");
    let script = r#"
sub call {
    my ($name, $number, @arguments) = @_;
    $! = 0;
    print "$name ", (syscall($number, @arguments) >= 0 ? "allowed" : "$!"), "\n";
}
$| = 1;
call("unshare", 272, 0x10000000);
call("setns", 308, 0, 0);
call("mount", 165, "none", "/tmp", "tmpfs", 0, 0);
call("umount2", 166, "/proc", 2);
call("open_tree", 428, -100, "/", 1);
call("keyctl", 250, 0, -3, 1);
call("io_uring_setup", 425, 1, 0);
call("clone3", 435, 0, 0);
call("bpf", 321, 0, 0, 0);
call("userfaultfd", 323, 0);
call("perf_event_open", 298, 0, 0, -1, -1, 0);
call("kexec_load", 246, 0, 0, 0, 0);
call("vsock", 41, 40, 1, 0);
call("alg", 41, 38, 5, 0);
call("inet", 41, 2, 1, 0);
"#;
    let seen =
        home.coracle(["run", "--rm", "--network", "none", &debian, "perl", "-e", script]).ok();
    for line in seen.lines() {
        match line.split_once(' ').unwrap() {
            ("inet", result) => assert_eq!(result, "allowed"),
            ("clone3", result) => assert_eq!(result, "Function not implemented"),
            (name, result) => assert_ne!(result, "allowed", "{name}\n{seen}"),
        }
    }
    assert_eq!(seen.lines().count(), 15, "{seen}");
}

/// CVE-2018-15664, CVE-2022-23648: what fills a volume follows no link of the image out of it.
#[test]
fn volumes_are_filled_from_the_image_alone() {
    needs_busybox!();
    let victim = Victim::new();
    let secret = victim.path("");
    let attack = Tar::new()
        .symlink("up", "../../../../../../../..")
        .symlink("host", &secret)
        .symlink("v/link", &secret)
        .directory("real", 0o755)
        .file("real/file", "the image's")
        .symlink("inner", "/real");
    let reference = image(&victim, attack, |config| {
        let volumes = json!({format!("/up{secret}"): {}, "/../../..": {}, "/v": {}, "/inner": {}});
        config["config"]["Volumes"] = volumes;
    });
    let looked = format!("ls /up{secret} /host/ /v /inner; cat /v/link/secret");
    let output = run(&victim, &reference, &[], &looked);
    assert!(!output.stdout.contains("secret") && !output.stdout.contains("own"), "{output}");
    assert!(output.stdout.contains("file"), "{output}");
    for flags in [["-v", "own:/host"], ["-v", "own:/v/link"], ["-v", "own:/inner/../host"]] {
        let output = run(&victim, &reference, &flags, "ls /host /v/link");
        assert!(!output.stdout.contains("secret"), "{output}");
    }
    // What a container leaves in a volume leads no later one out of it.
    run(&victim, &reference, &["-v", "trap:/t"], ":").ok();
    let store = victim.home.store().join("volumes/trap/_data");
    let _ = std::os::unix::fs::symlink(&secret, store.join("out"));
    let _ = std::os::unix::fs::symlink("../volume.json", store.join("above"));
    for path in ["out", "above"] {
        let mount = format!("src=trap,dst=/x,volume-subpath={path}");
        let refused = run(&victim, &reference, &["--mount", &mount], "ls /x").fails(125);
        assert!(refused.contains("leads out of the volume"), "{refused}");
    }
}
