//! `coracle runtime`: any bundle, and podman with coracle as its runtime.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::home_with_busybox;
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, Run, has, image, until};

/// A bundle with busybox as its root, and its configuration changed as the test wants it.
pub fn bundle(home: &Home, image: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let bundle = home.path().join("bundle");
    let root = bundle.join("rootfs");
    if !root.exists() {
        std::fs::create_dir_all(&root).unwrap();
        let tree = "cd / && tar cf - bin etc lib usr var 2>/dev/null || tar cf - bin etc";
        let packed = home
            .coracle(
                ["run", "--rm", "-v", &format!("{}:/out", bundle.display()), image, "sh", "-c"]
                    .iter()
                    .copied()
                    .chain([format!("({tree}) >/out/root.tar").as_str()]),
            )
            .output();
        drop(packed);
        let mut unpack = Command::new("/usr/bin/tar");
        unpack.arg("xf").arg(bundle.join("root.tar")).arg("-C").arg(&root);
        assert!(unpack.status().unwrap().success());
    }
    let _ = std::fs::remove_file(bundle.join("config.json"));
    home.coracle(["runtime", "spec", "--rootless", "--bundle", bundle.to_str().unwrap()]).ok();
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
    bundle
}

pub fn runtime(home: &Home, arguments: &[&str]) -> Run {
    home.coracle(["runtime"].iter().chain(arguments).copied())
}

/// `create`, whose container keeps the streams: none of the test's, which would wait for their end.
fn create(home: &Home, arguments: &[&str]) -> Run {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" >/dev/null 2>&1", "sh"]).arg(crate::support::binary());
    command.args(["runtime", "create"]).args(arguments);
    home.run(command)
}

fn script(config: &mut Value, script: &str) {
    config["process"]["args"] = json!(["sh", "-c", script]);
}

#[test]
fn a_bundle_runs_to_its_end() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        script(config, "echo out; hostname; id -u; cat /proc/sys/kernel/domainname; exit 7");
        config["hostname"] = json!("named");
        config["domainname"] = json!("dom");
    });
    let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "one"]).output();
    assert_eq!(run.code(), 7, "{run}");
    assert_eq!(run.stdout, "out\nnamed\n0\ndom\n");
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
}

/// As podman writes them for a systemd on control groups of version 1, and for --tmpfs.
#[test]
fn mounts_lie_on_read_only_ones_and_keep_their_mode() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        script(
            config,
            "touch /t/x 2>&1; cat /t/deep/file; stat -c %a /lib /bin; : >/lib/x && touch /b/x",
        );
        let mounts = config["mounts"].as_array_mut().unwrap();
        let own = home.write("file", "text\n");
        mounts.push(json!({"destination": "/t", "type": "tmpfs", "options": ["ro", "mode=711"]}));
        mounts.push(json!({"destination": "/t/deep/file", "source": own, "options": ["bind"]}));
        let options = ["rw", "tmpcopyup", "mode=700"];
        mounts.push(json!({"destination": "/lib", "type": "tmpfs", "options": options}));
        mounts.push(json!({"destination": "/b", "type": "tmpfs", "options": ["tmpcopyup"]}));
        config["root"]["readonly"] = json!(false);
    });
    let said = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "one"]).ok();
    assert_eq!(said, "touch: /t/x: Read-only file system\ntext\n700\n755");
}

#[test]
fn created_started_seen_and_deleted() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let out = home.path().join("out");
    let bundle = bundle(&home, &image, |config| {
        script(config, "echo started >/out/word; trap 'exit 3' TERM; while :; do sleep 0.05; done");
        let mount = json!({"destination": "/out", "source": out, "options": ["rbind", "rw"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
        config["annotations"] = json!({"a": "b"});
    });
    std::fs::create_dir(&out).unwrap();
    let bundle = bundle.to_str().unwrap();
    let pid_file = home.path().join("pid");
    let two = ["--bundle", bundle, "--pid-file", pid_file.to_str().unwrap(), "two"];
    create(&home, &two).ok();
    let state =
        || -> Value { serde_json::from_str(&runtime(&home, &["state", "two"]).ok()).unwrap() };
    let made = state();
    assert_eq!(made["status"], "created");
    assert_eq!(made["annotations"]["a"], "b");
    assert_eq!(made["pid"].to_string(), std::fs::read_to_string(&pid_file).unwrap());
    assert!(!out.join("word").exists(), "nothing runs before its start");
    let again: Vec<&str> = ["create"].iter().chain(&two).copied().collect();
    has(&runtime(&home, &again).fails(1), &["container with id exists"]);
    runtime(&home, &["start", "two"]).ok();
    until("the program", || out.join("word").exists());
    assert_eq!(state()["status"], "running");
    has(&runtime(&home, &["start", "two"]).fails(1), &["it is running"]);
    has(&runtime(&home, &["delete", "two"]).fails(1), &["it is running"]);
    let exec = runtime(
        &home,
        &["exec", "-e", "A=b", "--cwd", "/etc", "two", "sh", "-c", "echo $A; pwd; exit 9"],
    );
    let exec = exec.output();
    assert_eq!((exec.code(), exec.stdout.as_str()), (9, "b\n/etc\n"), "{exec}");
    has(&runtime(&home, &["ps", "two"]).ok(), &["sleep 0.05"]);
    let listed = runtime(&home, &["list"]).ok();
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let (pid, created) = (state()["pid"].to_string(), state()["created"].clone());
    assert_eq!(lines[1][..5], ["two", &pid, "running", bundle, created.as_str().unwrap()]);
    runtime(&home, &["kill", "two", "0"]).ok(); // it lives
    let nope = runtime(&home, &["exec", "two", "nosuch"]);
    has(&nope.fails(255), &["nosuch", "not found in $PATH"]);
    runtime(&home, &["kill", "two", "TERM"]).ok();
    until("the end", || state()["status"] == "stopped");
    has(&runtime(&home, &["kill", "two", "0"]).fails(1), &["it is stopped"]);
    has(&runtime(&home, &["exec", "two", "true"]).fails(255), &["it is stopped"]);
    runtime(&home, &["delete", "two"]).ok();
    has(&runtime(&home, &["state", "two"]).fails(1), &["container does not exist"]);
    runtime(&home, &["delete", "--force", "two"]).ok();
}

/// A group that is asked for by its path is made, or nothing is.
#[test]
fn a_cgroups_path_is_honoured_or_refused() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let path = format!("/coracle-path-{}", std::process::id());
    let bundle = bundle(&home, &image, |config| {
        script(config, "true");
        config["linux"]["cgroupsPath"] = json!(path);
    });
    let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]).output();
    if run.code() != 0 {
        assert_eq!(run.code(), 1, "{run}");
        has(&run.stderr, &["the control group", "linux.cgroupsPath"]);
        assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
    }
    assert!(pass() == "root" || run.code() == 1, "{run}");
}

/// What is wrong with a bundle is told in its own words, and none of `coracle run`'s flags with it.
#[test]
fn what_a_bundle_lacks_is_told_in_its_words() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let refused = |change: &dyn Fn(&mut Value)| {
        let bundle = bundle(&home, &image, |config| {
            script(config, "true");
            change(config);
        });
        let said = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]).fails(1);
        for flag in ["--userns", "--uidmap", "--cgroups", "--network", "--hostname", "--uts"] {
            assert!(!said.contains(flag), "{said}");
        }
        said
    };
    let said = refused(&|config| config["root"]["path"] = json!("config.json"));
    has(&said, &["root.path", "bundle/config.json is no directory"]);
    has(&refused(&|config| config["root"]["path"] = json!("nosuch")), &["nosuch is not there"]);
    let said = refused(&|config| config["process"]["user"] = json!({"uid": 4321, "gid": 0}));
    has(&said, &["4321", "linux.uidMappings", "process.user"]);
    if pass() != "root" {
        let said = refused(&|config| {
            let linux = config["linux"].as_object_mut().unwrap();
            linux.remove("uidMappings");
            linux.remove("gidMappings");
            let namespaces = linux["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "user");
        });
        has(&said, &["takes a user namespace", "linux.namespaces", "spec --rootless"]);
    }
    let said = refused(&|config| {
        config["linux"]["resources"] = json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}});
    });
    has(&said, &["cannot limit rdma", "linux.resources"]);
}

/// Root looks into a container that waits for its start; others are told what to do first.
#[test]
fn exec_in_what_is_created_works_or_says_how() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| script(config, "sleep 60"));
    create(&home, &["--bundle", bundle.to_str().unwrap(), "x"]).ok();
    let exec = runtime(&home, &["exec", "x", "echo", "said"]).output();
    match exec.code() {
        0 => assert_eq!(exec.stdout, "said\n"),
        _ => has(&exec.fails(255), &["it is created", "hint: coracle runtime start x"]),
    }
    runtime(&home, &["start", "x"]).ok();
    assert_eq!(runtime(&home, &["exec", "x", "echo", "said"]).ok(), "said");
    runtime(&home, &["delete", "--force", "x"]).ok();
}

/// Version 1 as a directory of hierarchies, version 2 as it is; and podman's and docker's options with it.
#[test]
fn control_groups_are_shown() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let is_v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for (kind, own) in [("cgroup", true), ("cgroup", false), ("cgroup2", true)] {
        if is_v2 && !own {
            continue; // the kernel shows a namespace its own groups alone
        }
        let bundle = bundle(&home, &image, |config| {
            script(config, "cd /sys/fs/cgroup; ls . *; mkdir x 2>&1; grep cgroup /proc/mounts");
            let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
            let mount = json!({"destination": "/sys/fs/cgroup", "type": kind, "source": "cgroup",
                "options": options});
            config["mounts"].as_array_mut().unwrap().push(mount);
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| own || namespace["type"] != "cgroup");
        });
        let said = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]).output();
        let file = if is_v2 || kind == "cgroup2" { "cgroup.controllers" } else { "pids:\n" };
        has(&said.stdout, &["cgroup.procs", file, "Read-only file system"]);
    }
}

#[test]
fn a_directory_on_a_file_is_told_of() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let file = home.write("file", "text");
    for (source, target, words) in [
        (home.path(), "/bin/busybox", ["it is a directory", "/bin/busybox is a file"]),
        (&file, "/bin", ["it is a file", "/bin is a directory"]),
        (&file, "/bin/busybox/x", ["mount point /bin/busybox/x", "a part of that path is a file"]),
    ] {
        let bundle = bundle(&home, &image, |config| {
            let mount = json!({"destination": target, "source": source, "options": ["bind"]});
            config["mounts"].as_array_mut().unwrap().push(mount);
        });
        let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]).fails(1);
        has(&run, &words);
        has(&run, &[source.to_str().unwrap()][..usize::from(target != "/bin/busybox/x")]);
    }
}

/// Nobody would hold the one, nothing be sent to the other. As runc has it.
#[test]
fn terminals_and_sockets_for_them_go_together() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let with = |terminal: bool| {
        let bundle = bundle(&home, &image, |config| {
            script(config, "true");
            config["process"]["terminal"] = json!(terminal);
        });
        bundle.to_str().unwrap().to_owned()
    };
    let bundle = with(true);
    for first in [&["create"][..], &["run", "--detach"]] {
        let run = runtime(&home, &[first, &["--bundle", &bundle, "x"]].concat());
        has(&run.fails(1), &["process.terminal takes --console-socket", "\"terminal\": false"]);
    }
    let run = ["run", "--console-socket", "/nosuch", "--bundle", &bundle, "x"];
    has(&runtime(&home, &run).fails(1), &["--console-socket /nosuch", "no --detach"]);
    with(false);
    let made = ["create", "--console-socket", "/nosuch", "--bundle", &bundle, "x"];
    has(&runtime(&home, &made).fails(1), &["--console-socket /nosuch", "process.terminal is not"]);
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
}

/// What is promised to the program is there, and no other descriptor in its place.
#[test]
fn descriptors_that_are_passed_on_are_open() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| script(config, "echo word >&4; sleep 60"));
    let passed = |flags: &str| {
        let mut command = Command::new("/bin/sh");
        let line = format!("exec \"$@\" 4>{} {flags}", home.path().join("word").display());
        command.args(["-c", &line, "sh"]).arg(crate::support::binary()).arg("runtime");
        command.args(["run", "--detach", "--preserve-fds", "2", "--bundle"]).arg(&bundle).arg("x");
        home.run(command)
    };
    has(&passed("3>&-").fails(125), &["no descriptor 3 to pass on"]);
    passed("3</dev/null >/dev/null 2>&1").ok();
    let word = || std::fs::read_to_string(home.path().join("word")).unwrap();
    until("the word", || word() == "word\n");
    let exec = ["exec", "--preserve-fds", "1", "x", "true"];
    has(&runtime(&home, &exec).fails(125), &["no descriptor 3 to pass on"]);
    runtime(&home, &["delete", "--force", "x"]).ok();
}

#[test]
fn what_cannot_start_leaves_nothing() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle =
        bundle(&home, &image, |config| config["process"]["args"] = json!(["no-such-program"]));
    let bundle = bundle.to_str().unwrap();
    let log = home.path().join("log");
    let failed = runtime(
        &home,
        &[
            "--log",
            log.to_str().unwrap(),
            "--log-format",
            "json",
            "create",
            "--bundle",
            bundle,
            "x",
        ],
    );
    has(&failed.fails(1), &["no-such-program", "executable file not found in $PATH"]);
    let line: Value = serde_json::from_slice(&std::fs::read(&log).unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    has(line["msg"].as_str().unwrap(), &["no-such-program"]);
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
    has(
        &runtime(&home, &["create", "--bundle", bundle, "../x"]).fails(1),
        &["invalid container ID"],
    );
}

#[test]
fn hooks_run_at_their_points() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/bin/sh"));
    let (home, image) = home_with_busybox();
    let told = home.path().join("told");
    let hook = |name: &str| {
        let line = format!(
            "echo {name} $(cat | tr -d '\\n' | sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') >>{}",
            told.display()
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"]}])
    };
    let bundle = bundle(&home, &image, |config| {
        script(config, "true");
        config["hooks"] = json!({
            "prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
            "createContainer": hook("createContainer"), "poststart": hook("poststart"),
            "poststop": hook("poststop"),
        });
        // In the container: the root is its own, so that the word is said there.
        config["root"]["readonly"] = json!(false);
        config["hooks"]["startContainer"] =
            json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer >/said"]}]);
    });
    let name = bundle.to_str().unwrap();
    runtime(&home, &["run", "--bundle", name, "hooked"]).ok();
    let text = std::fs::read_to_string(&told).unwrap();
    let said = "prestart creating\ncreateRuntime creating\ncreateContainer creating\n\
        poststart running\npoststop stopped\n";
    assert_eq!(text, said);
    assert_eq!(std::fs::read_to_string(bundle.join("rootfs/said")).unwrap(), "startContainer\n");

    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for kind in ["createContainer", "startContainer"] {
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 9"]}]);
        config["hooks"] = json!({ kind: hook });
        std::fs::write(&path, config.to_string()).unwrap();
        let run = runtime(&home, &["run", "--bundle", name, "hooked"]).fails(1);
        has(&run, &["why", "the hook /bin/sh failed: it ended with status 9"]);
    }
    config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]});
    std::fs::write(&path, config.to_string()).unwrap();
    has(&runtime(&home, &["run", "--bundle", name, "hooked"]).fails(1), &["/bin/false", "hook"]);
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
}

/// One that fails behind the program ends nothing; one that fails beside it ends the container.
#[test]
fn failing_hooks_end_what_they_are_to() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/bin/sh"));
    let (home, image) = home_with_busybox();
    let told = home.path().join("told");
    let hooks = |name: &str| {
        let line = |end: &str| format!("echo {name} >>{}; {end}", told.display());
        let hook = |end| json!({"path": "/bin/sh", "args": ["sh", "-c", line(end)]});
        json!([hook("exit 1"), hook("exit 0")])
    };
    let bundle = |kind: &str| {
        bundle(&home, &image, |config| {
            script(config, "sleep 0.3; exit 5");
            config["hooks"] = json!({ kind: hooks(kind) });
        })
    };
    let said = || std::fs::read_to_string(&told).unwrap_or_default();
    let stops = bundle("poststop");
    let run = runtime(&home, &["run", "--bundle", stops.to_str().unwrap(), "one"]);
    has(&run.fails(5), &["/bin/sh", "it ended with status 1"]);
    assert_eq!(said(), "poststop\npoststop\n");
    let starts = bundle("poststart");
    let starts = starts.to_str().unwrap();
    has(&runtime(&home, &["run", "--bundle", starts, "one"]).fails(1), &["/bin/sh"]);
    create(&home, &["--bundle", starts, "two"]).ok();
    has(&runtime(&home, &["start", "two"]).fails(1), &["/bin/sh"]);
    let state: Value = serde_json::from_str(&runtime(&home, &["state", "two"]).ok()).unwrap();
    assert_eq!(state["status"], "stopped");
    runtime(&home, &["delete", "two"]).ok();
    assert_eq!(said(), "poststop\npoststop\npoststart\npoststart\n");
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
}

/// What no kernel has cannot be given; the rest is (config.md, "Linux Process").
#[test]
fn unknown_capabilities_are_left_out_and_told_of() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        script(config, "grep CapBnd /proc/self/status");
        config["process"]["capabilities"] =
            json!({"bounding": ["CAP_CHOWN", "CAP_FLY"], "permitted": ["CAP_CHOWN"]});
    });
    let log = home.path().join("log");
    let run = ["run", "--bundle", bundle.to_str().unwrap(), "one"];
    let words = [&["--log", log.to_str().unwrap()], &run[..]].concat();
    let run = runtime(&home, &words).output();
    assert_eq!(run.stdout, "CapBnd:\t0000000000000001\n", "{run}");
    // What has a log has the container's stderr beside it.
    assert_eq!(run.stderr, "");
    let logged = std::fs::read_to_string(&log).unwrap();
    has(&logged, &["level=warning", "unknown capabilities: CAP_FLY"]);
    let run = ["run", "--bundle", bundle.to_str().unwrap(), "one"];
    has(&runtime(&home, &run).output().stderr, &["unknown capabilities: CAP_FLY"]);
    has(&runtime(&home, &["--log", "/nosuch/log", "list"]).fails(1), &["open the log", "/nosuch"]);
}

/// podman gives the first where a volume is shared, and the second for images as mounts.
#[test]
fn a_root_may_be_shared_and_options_long() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let long = "long-".repeat(30);
    let layers = ["one", "two"].map(|name| home.path().join(&long).join(name));
    for layer in &layers {
        std::fs::create_dir_all(layer).unwrap();
        std::fs::write(layer.join(layer.file_name().unwrap()), "x").unwrap();
    }
    let bundle = bundle(&home, &image, |config| {
        script(
            config,
            "grep -c ' / rw[^ ]* shared:' /proc/self/mountinfo; ls /both; stat -c %a /two",
        );
        config["linux"]["rootfsPropagation"] = json!("rshared");
        config["root"]["readonly"] = json!(false);
        let lowers = format!("lowerdir={}:{}", layers[0].display(), layers[1].display());
        assert!(lowers.len() > 300);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/both", "type": "overlay", "source": "overlay",
            "options": [lowers, "userxattr", "ro"]}));
        mounts.push(json!({"destination": "/two", "type": "tmpfs", "source": "tmpfs",
            "options": ["mode=711,size=64k"]}));
    });
    let said = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "one"]).ok();
    assert_eq!(said, "1\none\ntwo\n711");
}

#[test]
fn fields_that_cannot_be_honoured_are_named() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        config["linux"]["resources"] = json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}});
    });
    let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]);
    has(&run.fails(1), &["cannot limit rdma"]);
    self::bundle(&home, &image, |config| {
        let mount =
            json!({"destination": "/m", "source": home.path(), "options": ["bind", "idmap"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    if pass() != "root" {
        let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]);
        has(&run.fails(1), &["mounts (/m): an idmapped", "user namespace", "EPERM"]);
    }
    for (name, why) in
        [("vm.swappiness", "the whole machine's"), ("net.ipv4.ip_forward", "a network that is not")]
    {
        self::bundle(&home, &image, |config| {
            config["linux"]["sysctl"] = json!({ name: "1" });
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "network");
        });
        let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]);
        has(&run.fails(1), &["sysctl", name, why]);
    }
    // By its path the caller's own network is the host's all the same.
    for (kind, name) in
        [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.shmmax"), ("uts", "kernel.domainname")]
    {
        self::bundle(&home, &image, |config| {
            config["linux"]["sysctl"] = json!({ name: "1" });
            config.as_object_mut().unwrap().remove("hostname");
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != kind);
            let file = if kind == "network" { "net" } else { kind };
            namespaces.push(json!({"type": kind, "path": format!("/proc/self/ns/{file}")}));
        });
        let run = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "x"]).fails(1);
        has(&run, &["sysctl", name, "not the host's", &format!("\"type\": \"{kind}\"")]);
        assert!(!run.contains("--"), "{run}");
    }
    let features: Value = serde_json::from_str(&runtime(&home, &["features"]).ok()).unwrap();
    assert_eq!(features["ociVersionMax"], "1.2.0");
}

/// `listenerPath`: what the profile notifies is answered by another's agent, in the container and in exec.
#[test]
fn an_agent_answers_for_the_profile() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/python3"));
    let (home, image) = home_with_busybox();
    let (socket, told) = (home.path().join("agent"), home.path().join("told"));
    let bundle = bundle(&home, &image, |config| {
        script(
            config,
            "mkdir /x || echo refused >/out/word; ls /proc/self/fd >>/out/word; exec sleep 60",
        );
        let mount =
            json!({"destination": "/out", "source": home.path(), "options": ["rbind", "rw"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "canary",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
    let bundle = bundle.to_str().unwrap();
    let made = ["--bundle", bundle, "watched"];
    let refused = runtime(&home, &[&["run"], &made[..]].concat()).fails(1);
    has(&refused, &["seccomp agent", "agent (listenerPath)"]);
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
    let mut agent = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("../support/agent.py")])
        .arg(&socket)
        .stdout(std::fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    until("the agent", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    create(&home, &made).ok();
    runtime(&home, &["start", "watched"]).ok();
    let word = || std::fs::read_to_string(home.path().join("word")).unwrap_or_default();
    until("the container's word", || word().lines().count() >= 5);
    // Its three streams, and the directory that lists them: no listener.
    assert_eq!(word(), "refused\n0\n1\n2\n3\n");
    let exec = runtime(&home, &["exec", "watched", "mkdir", "/y"]).output();
    assert_eq!(exec.code(), 1, "{exec}");
    has(&exec.stderr, &["umerical argument out of domain"]);
    runtime(&home, &["delete", "--force", "watched"]).ok();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let told = std::fs::read_to_string(told).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for one in &told {
        assert_eq!((&one["fds"][0], &one["metadata"]), (&json!("seccompFd"), &json!("canary")));
        assert_eq!(
            (&one["state"]["id"], &one["state"]["bundle"]),
            (&json!("watched"), &json!(bundle))
        );
        assert_eq!(one["state"]["pid"], told[0]["pid"]);
    }
    assert_eq!(told[0]["state"]["status"], "creating");
    assert_eq!(told[1]["state"]["status"], "running");
    assert_ne!(told[0]["pid"], told[1]["pid"]);
}

/// Emulated ids have the one listener there is.
#[test]
fn an_agent_and_emulated_ids_exclude_each_other() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": home.path().join("agent"),
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let profile = home.write("profile.json", profile.to_string());
    let option = format!("seccomp={}", profile.display());
    let run = |userns: &str| {
        let flags =
            ["run", "--rm", "--network", "none", "--userns", userns, "--security-opt", &option];
        home.coracle(flags.iter().copied().chain([&*image, "true"])).fails(125)
    };
    has(&run("single"), &["the one that the kernel gives", "--userns nomap"]);
    has(&run("nomap"), &["seccomp agent", "No such file"]);
}

/// What a program asks of the kernel besides its limits.
#[test]
fn programs_are_scheduled_and_told_the_time_as_asked() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        let script_text = "cut -d' ' -f19,41 /proc/self/stat; cat /proc/self/personality; ionice
            cut -d. -f1 /proc/uptime; exec sleep 60";
        script(config, &format!("({script_text}) >/out/told"));
        let out = json!({"destination": "/out", "source": home.path(), "options": ["rbind", "rw"]});
        config["mounts"].as_array_mut().unwrap().push(out);
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 5});
        config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] =
            json!({"boottime": {"secs": 1_000_000_000}, "monotonic": {"secs": 5}});
    });
    create(&home, &["--bundle", bundle.to_str().unwrap(), "tuned"]).ok();
    runtime(&home, &["start", "tuned"]).ok();
    let told = || std::fs::read_to_string(home.path().join("told")).unwrap_or_default();
    until("what it was told", || told().lines().count() == 4);
    let told = told();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..3], ["7 3", "00000008", "best-effort: prio 5"], "{told}");
    assert!(lines[3].parse::<u64>().unwrap() >= 1_000_000_000, "{told}");
    let exec = "grep Cpus_allowed_list /proc/self/status; cut -d. -f1 /proc/uptime; cat /proc/self/personality";
    let exec = runtime(&home, &["exec", "tuned", "sh", "-c", exec]).ok();
    let mut lines = exec.lines();
    assert_eq!(lines.next(), Some("Cpus_allowed_list:\t0"), "{exec}");
    assert!(lines.next().unwrap().parse::<u64>().unwrap() >= 1_000_000_000, "{exec}");
    assert_eq!(lines.next(), Some("00000008"), "{exec}");
    // Another container is told the same time, where it has the same user namespace.
    let state: Value = serde_json::from_str(&runtime(&home, &["state", "tuned"]).ok()).unwrap();
    let told = joined_time(&home, &image, &state["pid"], true).ok();
    assert!(told.parse::<u64>().unwrap() >= 1_000_000_000, "{told}");
    let refused = joined_time(&home, &image, &state["pid"], false).fails(1);
    has(&refused, &["join the time namespace", "join the user namespace"]);
    runtime(&home, &["delete", "--force", "tuned"]).ok();
}

/// A container in the time namespace of process `pid`, and in its user namespace or one of its own.
fn joined_time(home: &Home, image: &str, pid: &Value, user: bool) -> Run {
    let bundle = bundle(home, image, |config| {
        script(config, "cut -d. -f1 /proc/uptime");
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let path = |kind: &str| json!({"type": kind, "path": format!("/proc/{pid}/ns/{kind}")});
        namespaces.push(path("time"));
        if user {
            namespaces.retain(|one| one["type"] != "user");
            namespaces.push(path("user"));
            for maps in ["uidMappings", "gidMappings"] {
                config["linux"].as_object_mut().unwrap().remove(maps);
            }
        }
    });
    runtime(home, &["run", "--bundle", bundle.to_str().unwrap(), "later"])
}

/// As containerd's shim calls it, word for word (go-runc).
#[test]
fn the_calls_of_go_runc_are_understood() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        script(config, "trap 'exit 3' TERM; while :; do sleep 0.05; done");
    });
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (root, log, pid) = (path("states"), path("log.json"), path("pid"));
    let first = ["--root", &root, "--log", &log, "--log-format", "json"];
    let call = |arguments: &[&str]| -> Vec<String> {
        first.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
    };
    let runtime = |arguments: &[&str]| {
        home.coracle(["runtime".to_owned()].into_iter().chain(call(arguments)))
    };
    let made =
        ["create", "--bundle", bundle.to_str().unwrap(), "--pid-file", &pid, "--no-pivot", "shim"];
    let made = &made[..]; // a root that is no initramfs takes --no-pivot too
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" >/dev/null 2>&1", "sh"]).arg(crate::support::binary());
    command.arg("runtime").args(call(made));
    home.run(command).ok();
    let first_pid: u32 = std::fs::read_to_string(&pid).unwrap().parse().unwrap();
    runtime(&["start", "shim"]).ok();
    let state: Value = serde_json::from_str(&runtime(&["state", "shim"]).ok()).unwrap();
    assert_eq!(
        (state["status"].as_str(), state["pid"].as_u64()),
        (Some("running"), Some(first_pid.into()))
    );
    for ps in [["ps", "--format", "json", "shim"], ["ps", "shim", "--format", "json"]] {
        let pids: Vec<u32> = serde_json::from_str(&runtime(&ps).ok()).unwrap();
        assert!(pids.contains(&first_pid), "{pids:?}");
    }
    let listed: Value = serde_json::from_str(&runtime(&["list", "--format=json"]).ok()).unwrap();
    assert_eq!(listed[0]["id"], "shim");
    let process = json!({
        "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "echo $A >&3"], "cwd": "/",
        "env": ["PATH=/bin", "A=b"], "terminal": false,
    });
    let process = home.write("process.json", process.to_string());
    let script = format!(
        "exec {} runtime {} exec --process {} --detach --pid-file {} --preserve-fds 1 shim 3>{} >/dev/null 2>&1",
        crate::support::binary().display(),
        first.join(" "),
        process.display(),
        path("exec.pid"),
        path("three"),
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script]);
    home.run(command).ok();
    until("its word", || std::fs::read_to_string(path("three")).unwrap_or_default() == "b\n");
    assert!(std::fs::read_to_string(path("exec.pid")).unwrap().parse::<u32>().unwrap() > first_pid);
    runtime(&["update", "--resources", "-", "shim"]).stdin("{}").ok();
    has(&runtime(&["checkpoint", "--image-path", "/x", "shim"]).fails(125), &["cannot be made"]);
    has(&runtime(&["update", "--l3-cache-schema", "L3:0=f", "shim"]).fails(125), &["resctrl"]);
    runtime(&["kill", "shim", "15"]).ok();
    until("its end", || {
        let state: Value = serde_json::from_str(&runtime(&["state", "shim"]).ok()).unwrap();
        state["status"] == "stopped"
    });
    runtime(&["kill", "--all", "shim", "9"]).output();
    runtime(&["delete", "shim"]).ok();
    runtime(&["delete", "--force", "shim"]).ok();
    runtime(&["state", "shim"]).fails(1);
    let last = std::fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    has(last["msg"].as_str().unwrap(), &["does not exist"]);
    has(&home.coracle(["runtime", "--version"]).ok(), &["coracle"]);
}

/// Also the flags that mean nothing here, and nothing is written that means nothing.
#[test]
fn what_runc_takes_is_taken() {
    let home = Home::new();
    for flags in [&["--rootless", "auto"][..], &["--rootless=true"], &["--criu", "/x", "--debug"]] {
        assert_eq!(runtime(&home, &[flags, &["list", "-q"]].concat()).ok(), "");
    }
    has(&runtime(&home, &["--rootless", "perhaps", "list"]).fails(125), &["perhaps"]);
    let bundle = home.path().to_str().unwrap();
    for rootless in [&["--rootless"][..], &[]] {
        runtime(&home, &[&["spec", "--bundle", bundle], rootless].concat()).ok();
        let text = std::fs::read_to_string(home.path().join("config.json")).unwrap();
        assert!(!text.contains("null"), "{text}");
        std::fs::remove_file(home.path().join("config.json")).unwrap();
    }
}

/// Options may stand behind what they belong to.
#[test]
fn options_stand_anywhere() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| script(config, "sleep 60"));
    create(&home, &["behind", "--bundle", bundle.to_str().unwrap()]).ok();
    runtime(&home, &["kill", "behind", "KILL", "--all"]).ok();
    runtime(&home, &["delete", "behind", "--force"]).ok();
    let run = ["run", "here", "--bundle", bundle.to_str().unwrap(), "--detach", "--no-subreaper"];
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" >/dev/null 2>&1", "sh"]).arg(crate::support::binary());
    command.arg("runtime").args(run);
    home.run(command).ok();
    runtime(&home, &["delete", "-f", "here"]).ok();
}

/// A container that counts, with limits; `create` and `start` of it.
fn limited(home: &Home, image: &str) {
    let bundle = bundle(home, image, |config| {
        script(config, "while :; do echo >>/out/count; sleep 0.02; done");
        let mount =
            json!({"destination": "/out", "source": home.path(), "options": ["rbind", "rw"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
        config["linux"]["resources"] =
            json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 30}});
    });
    create(home, &["--bundle", bundle.to_str().unwrap(), "lim"]).ok();
    runtime(home, &["start", "lim"]).ok();
}

fn statistics(home: &Home) -> Value {
    serde_json::from_str(&runtime(home, &["events", "--stats", "lim"]).ok()).unwrap()
}

#[test]
fn a_bundles_limits_hold_and_can_be_changed() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("memory"), Controller("pids"));
    let (home, image) = home_with_busybox();
    limited(&home, &image);
    let before = statistics(&home);
    assert_eq!(before["type"], "stats");
    assert_eq!(before["data"]["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(before["data"]["pids"]["limit"], 30);
    runtime(&home, &["update", "--memory", "32m", "--pids-limit", "20", "lim"]).ok();
    let resources = home.path().join("resources");
    std::fs::write(&resources, r#"{"memory": {"reservation": 1048576}}"#).unwrap();
    runtime(&home, &["update", "-r", resources.to_str().unwrap(), "lim"]).ok();
    let after = statistics(&home);
    assert_eq!(after["data"]["memory"]["usage"]["limit"], 32 << 20);
    assert_eq!(after["data"]["pids"]["limit"], 20);
    // A program that joins is in the same group.
    let fork = "i=0; while [ $i -lt 30 ]; do sleep 1 & i=$((i+1)); done; wait";
    let exec = runtime(&home, &["exec", "lim", "sh", "-c", fork]).output();
    has(&exec.stderr, &["can't fork"]);
    runtime(&home, &["delete", "--force", "lim"]).ok();
}

#[test]
fn a_container_pauses_and_goes_on() {
    requires!(UserNamespaces, Image("busybox", "latest"), Controller("freezer"));
    let (home, image) = home_with_busybox();
    limited(&home, &image);
    let count = home.path().join("count");
    let length = || std::fs::metadata(&count).map_or(0, |metadata| metadata.len());
    until("the count", || length() > 2);
    runtime(&home, &["pause", "lim"]).ok();
    let state =
        || -> Value { serde_json::from_str(&runtime(&home, &["state", "lim"]).ok()).unwrap() };
    assert_eq!(state()["status"], "paused");
    has(&runtime(&home, &["exec", "lim", "true"]).fails(255), &["it is paused"]);
    has(&runtime(&home, &["pause", "lim"]).fails(1), &["it is paused"]);
    let stopped = length();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(length(), stopped);
    runtime(&home, &["resume", "lim"]).ok();
    until("the count to go on", || length() > stopped);
    has(&runtime(&home, &["resume", "lim"]).fails(1), &["it is running"]);
    // Also a paused one can be deleted.
    runtime(&home, &["pause", "lim"]).ok();
    runtime(&home, &["delete", "--force", "lim"]).ok();
    assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
}

#[test]
fn a_kill_on_the_way_leaves_what_can_be_deleted() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| script(config, "sleep 60"));
    let bundle = bundle.to_str().unwrap();
    for pause_ms in [1, 2, 4, 6, 9, 13] {
        let id = format!("killed-{pause_ms}");
        let mut running = create(&home, &["--bundle", bundle, &id]).spawn();
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        let _ = running.child.kill();
        let _ = running.child.wait();
        runtime(&home, &["delete", "--force", &id]).ok();
        assert_eq!(runtime(&home, &["list", "-q"]).ok(), "");
    }
}

/// podman with this runtime, in a store of its own.
fn podman(home: &Home, arguments: &[&str]) -> Run {
    let link = home.path().join("coracle-runtime");
    if !link.exists() {
        std::os::unix::fs::symlink(crate::support::binary(), &link).unwrap();
    }
    let mut command = Command::new("/usr/bin/podman");
    command.args(["--log-level=error", "--cgroup-manager=cgroupfs", "--storage-driver=overlay"]);
    command.arg(format!("--runtime={}", link.display())).args(arguments);
    home.run(command)
        .env("XDG_RUNTIME_DIR", std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default())
}

#[test]
fn podman_runs_containers_with_it() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/podman"));
    if pass() != "range" {
        return; // podman needs newuidmap
    }
    // Leaked: the store holds other ids' files, which `tests/run` removes.
    let home: &'static Home = Box::leak(Box::new(Home::new()));
    let busybox = image("busybox", "latest");
    podman(home, &["pull", "-q", "--tls-verify=false", &busybox]).ok();
    let run = |flags: &[&str], command: &[&str]| {
        let first = ["run", "--network=none"];
        let all: Vec<&str> =
            first.iter().chain(flags).chain([&busybox.as_str()]).chain(command).copied().collect();
        podman(home, &all)
    };
    let once = run(&["--rm", "-e", "A=b"], &["sh", "-c", "echo $A; id -u; exit 4"]).output();
    assert_eq!((once.code(), once.stdout.as_str()), (4, "b\n0\n"), "{once}");
    has(&run(&["--rm"], &["nope"]).fails(127), &["nope"]);
    assert_eq!(run(&["--rm", "-i"], &["cat"]).stdin("typed").ok(), "typed");
    has(&run(&["--rm", "-t"], &["sh", "-c", "test -t 1 && tty"]).ok(), &["/dev/"]);
    has(&run(&["--rm", "--user", "33:44"], &["id"]).ok(), &["uid=33", "gid=44"]);
    has(&run(&["--rm", "--read-only", "--tmpfs", "/x"], &["mount"]).ok(), &["/x type tmpfs"]);

    let script = "echo said; trap 'exit 5' TERM; while :; do sleep 0.05; done";
    run(&["-d", "--name", "kept"], &["sh", "-c", script]).ok();
    until("the log", || podman(home, &["logs", "kept"]).ok() == "said");
    let exec = podman(home, &["exec", "-e", "X=y", "kept", "sh", "-c", "echo $X; exit 6"]).output();
    assert_eq!((exec.code(), exec.stdout.as_str()), (6, "y\n"), "{exec}");
    has(
        &podman(home, &["exec", "-t", "kept", "sh", "-c", "test -t 1 && echo terminal"]).ok(),
        &["terminal"],
    );
    has(&podman(home, &["top", "kept"]).ok(), &["sleep"]);
    podman(home, &["stop", "-t", "5", "kept"]).ok();
    let code = podman(home, &["inspect", "kept", "--format", "{{.State.ExitCode}}"]).ok();
    assert_eq!(code, "5");
    podman(home, &["start", "kept"]).ok();
    podman(home, &["kill", "kept"]).ok();
    podman(home, &["rm", "-f", "kept"]).ok();
}
