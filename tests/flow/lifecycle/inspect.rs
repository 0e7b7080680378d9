//! `inspect`: docker's shape, field by field.

use std::process::Command;

use serde_json::Value;

use super::Box;
use crate::requires;
use crate::support::needs::pass;
use crate::support::{has, until};

/// The fields of `docker inspect CONTAINER` (28.2) that scripts look at, with what JSON makes of
/// their type: `s`tring, `n`umber, `b`ool, `a`rray or null, `o`bject, and `?` for any.
const CONTAINER: &str = "Id:s Created:s Path:s Args:a State:o State.Status:s State.Running:b \
    State.Paused:b State.Restarting:b State.OOMKilled:b State.Dead:b State.Pid:n State.ExitCode:n \
    State.Error:s State.StartedAt:s State.FinishedAt:s Image:s ResolvConfPath:s HostnamePath:s \
    HostsPath:s LogPath:s Name:s RestartCount:n Driver:s Platform:s MountLabel:s ProcessLabel:s \
    AppArmorProfile:s ExecIDs:a HostConfig.Binds:a HostConfig.ContainerIDFile:s \
    HostConfig.LogConfig.Type:s HostConfig.LogConfig.Config:o HostConfig.NetworkMode:s \
    HostConfig.PortBindings:o HostConfig.RestartPolicy.Name:s \
    HostConfig.RestartPolicy.MaximumRetryCount:n HostConfig.AutoRemove:b HostConfig.VolumesFrom:a \
    HostConfig.CapAdd:a HostConfig.CapDrop:a HostConfig.CgroupnsMode:s HostConfig.Dns:a \
    HostConfig.DnsOptions:a HostConfig.DnsSearch:a HostConfig.ExtraHosts:a HostConfig.GroupAdd:a \
    HostConfig.IpcMode:s HostConfig.OomScoreAdj:n HostConfig.PidMode:s HostConfig.Privileged:b \
    HostConfig.PublishAllPorts:b HostConfig.ReadonlyRootfs:b HostConfig.SecurityOpt:a \
    HostConfig.UTSMode:s HostConfig.UsernsMode:s HostConfig.ShmSize:n HostConfig.Runtime:s \
    HostConfig.CpuShares:n HostConfig.Memory:n HostConfig.NanoCpus:n HostConfig.CgroupParent:s \
    HostConfig.BlkioWeight:n HostConfig.BlkioWeightDevice:a HostConfig.BlkioDeviceReadBps:a \
    HostConfig.CpuPeriod:n HostConfig.CpuQuota:n HostConfig.CpusetCpus:s HostConfig.CpusetMems:s \
    HostConfig.Devices:a HostConfig.MemoryReservation:n HostConfig.MemorySwap:n \
    HostConfig.MemorySwappiness:? HostConfig.OomKillDisable:? HostConfig.PidsLimit:? \
    HostConfig.Ulimits:a HostConfig.MaskedPaths:a HostConfig.ReadonlyPaths:a GraphDriver.Name:s \
    GraphDriver.Data:o Mounts:a Config.Hostname:s Config.Domainname:s Config.User:s \
    Config.AttachStdin:b Config.AttachStdout:b Config.AttachStderr:b Config.Tty:b \
    Config.OpenStdin:b Config.StdinOnce:b Config.Env:a Config.Cmd:a Config.Image:s \
    Config.Volumes:? Config.WorkingDir:s Config.Entrypoint:a Config.OnBuild:a Config.Labels:o \
    Config.StopSignal:s NetworkSettings.Bridge:s NetworkSettings.SandboxID:s \
    NetworkSettings.SandboxKey:s NetworkSettings.Ports:o NetworkSettings.Gateway:s \
    NetworkSettings.IPAddress:s NetworkSettings.IPPrefixLen:n NetworkSettings.MacAddress:s \
    NetworkSettings.Networks:o";

const IMAGE: &str = "Id:s RepoTags:a RepoDigests:a Parent:s Comment:s Created:s DockerVersion:s \
    Author:s Architecture:s Os:s Size:n GraphDriver.Name:s GraphDriver.Data:o RootFS.Type:s \
    RootFS.Layers:a Metadata.LastTagTime:s Config.User:s Config.Env:a Config.Cmd:a \
    Config.Entrypoint:a Config.WorkingDir:s Config.Labels:o Config.Volumes:? Config.OnBuild:a";

fn check(value: &Value, shape: &str) {
    for field in shape.split_whitespace() {
        let (path, kind) = field.split_once(':').unwrap();
        let pointer = format!("/{}", path.replace('.', "/"));
        let found = value.pointer(&pointer).unwrap_or_else(|| panic!("no {path}"));
        let right = match kind {
            "s" => found.is_string(),
            "n" => found.is_number(),
            "b" => found.is_boolean(),
            "a" => found.is_array() || found.is_null(),
            "o" => found.is_object(),
            _ => true,
        };
        assert!(right, "{path}: {found}");
    }
}

fn parse(text: &str) -> Value {
    let all: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    all[0].clone()
}

#[test]
fn a_container_has_dockers_fields() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let flags = [
        "--name",
        "web",
        "-l",
        "tier=front",
        "-e",
        "A=1",
        "-v",
        "/etc:/host:ro",
        "--cap-add",
        "net_admin",
        "--restart",
        "on-failure:3",
        "--add-host",
        "db:10.0.0.1",
        "--entrypoint",
        "/bin/sh",
        "--health-cmd",
        "true",
        "--health-interval",
        "20ms",
        "--ulimit",
        "nofile=64:128",
        "--stop-timeout",
        "3",
        "-w",
        "/tmp",
        "--security-opt",
        "no-new-privileges",
    ];
    let id = b.run_d(&flags, &["-c", "sleep 600"]);
    let value = parse(&b.ok(&["inspect", "web"]));
    check(&value, CONTAINER);
    let is = |path: &str, wanted: Value| {
        let found = value.pointer(&format!("/{}", path.replace('.', "/")));
        assert_eq!(found, Some(&wanted), "{path}");
    };
    is("Name", "/web".into());
    is("State.Status", "running".into());
    is("State.FinishedAt", "0001-01-01T00:00:00Z".into());
    is("Path", "/bin/sh".into());
    is("Args", serde_json::json!(["-c", "sleep 600"]));
    is("Config.Entrypoint", serde_json::json!(["/bin/sh"]));
    is("Config.Cmd", serde_json::json!(["-c", "sleep 600"]));
    is("Config.Labels.tier", "front".into());
    is("Config.StopSignal", "SIGTERM".into());
    is("Config.StopTimeout", 3.into());
    is("Config.Healthcheck.Test", serde_json::json!(["CMD-SHELL", "true"]));
    is("HostConfig.Binds", serde_json::json!(["/etc:/host:ro"]));
    is("HostConfig.CapAdd", serde_json::json!(["CAP_NET_ADMIN"]));
    is("HostConfig.CapDrop", Value::Null);
    is("HostConfig.ExtraHosts", serde_json::json!(["db:10.0.0.1"]));
    is("HostConfig.SecurityOpt", serde_json::json!(["no-new-privileges"]));
    is("HostConfig.RestartPolicy.MaximumRetryCount", 3.into());
    is("HostConfig.Ulimits", serde_json::json!([{"Name": "nofile", "Hard": 128, "Soft": 64}]));
    is("Mounts.0.Destination", "/host".into());
    is("Mounts.0.RW", false.into());
    let log = value["LogPath"].as_str().unwrap();
    assert!(std::path::Path::new(log).exists() && log.contains(&id), "{log}");
    until("a check", || b.field("web", ".State.Health.Status") == "healthy");
    assert_ne!(b.field("web", "len .State.Health.Log | printf \"%d\""), "0");
    let networks =
        "{{range $name, $it := .NetworkSettings.Networks}}{{$name}}{{$it.IPAddress}}{{end}}";
    assert_eq!(b.ok(&["inspect", "-f", networks, "web"]), "none");
    assert_eq!(b.ok(&["container", "inspect", "-f", "{{.State.Running}}", "web"]), "true");
    // Sizes where they are asked for.
    assert!(value.get("SizeRw").is_none());
    let sized = parse(&b.ok(&["inspect", "-s", "web"]));
    assert!(sized["SizeRw"].is_u64() && sized["SizeRootFs"].as_u64() > Some(1_000_000), "{sized}");
    b.ok(&["stop", "-t", "0", "web"]);
    let times = b.field("web", ".State.StartedAt}} {{.State.FinishedAt");
    for time in times.split(' ') {
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{times}");
    }
}

#[test]
fn images_kinds_and_what_is_missing() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.started("create", &["--name", "one"], &["true"]).ok();
    let image = parse(&b.ok(&["inspect", "--type", "image", &b.image]));
    check(&image, IMAGE);
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(b.field("one", ".Image"), image["Id"].as_str().unwrap());
    let upper = image["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert!(std::path::Path::new(upper).join("bin").exists(), "{upper}");
    let both = b.output(&["inspect", "-f", "{{.Id}}", "one", "nobody", &b.image]);
    assert_eq!((both.code(), both.stdout.lines().count()), (1, 2), "{both}");
    has(&both.stderr, &["No such object: nobody"]);
    let none = b.output(&["inspect", "nobody"]);
    assert_eq!((none.code(), none.stdout.trim()), (1, "[]"));
    let wrong = b.output(&["inspect", "--type", "image", "one"]);
    assert_eq!((wrong.code(), wrong.stdout.trim()), (1, "[]"));
    has(&b.coracle(&["inspect", "--type", "container", &b.image]).fails(1), &["No such container"]);
    assert_eq!(b.ok(&["inspect", "-f", "json", "one"]).lines().count(), 1);
    b.coracle(&["inspect", "-f", "{{.Nothing}}", "one"]).fails(1);
}

/// The same container by podman: what both tell of it is the same.
#[test]
fn podman_says_the_same() {
    requires!(UserNamespaces, Image("busybox", "latest"), Program("/usr/bin/podman"));
    if pass() != "range" {
        return; // podman wants ids
    }
    let b = Box::new();
    let flags = [
        "--name",
        "same",
        "--network",
        "none",
        "-e",
        "A=1",
        "-l",
        "tier=front",
        "-w",
        "/tmp",
        "--stop-signal",
        "USR1",
        "--restart",
        "on-failure:3",
    ];
    let command = ["sh", "-c", "exit 7"];
    b.coracle(
        &[&["run", "-d"], &flags[..8], &flags[8..10], &flags[10..12], &[&b.image[..]], &command]
            .concat(),
    )
    .ok();
    b.ok(&["wait", "same"]);
    let storage = b.home.path().join("podman").display().to_string();
    let podman = |words: &[&str]| {
        let mut command = Command::new("/usr/bin/podman");
        command.args([
            "--log-level=error",
            "--cgroup-manager=cgroupfs",
            "--runtime=runc",
            "--root",
            &storage,
        ]);
        command.args(words);
        b.home.run(command)
    };
    let source = match b.image.starts_with("oci:") {
        true => b.image.clone(),
        false => format!("docker://{}", b.image),
    };
    podman(&["pull", "-q", "--tls-verify=false", &source]).ok();
    let image = podman(&["images", "-q"]).ok();
    let image = image.lines().next().unwrap();
    podman(&[&["run", "-d"], &flags[..12], &[image], &command].concat()).ok();
    // "stopped" until its conmon has cleared up, which may be for good where there is no session.
    until("its end", || {
        let status = podman(&["inspect", "--format", "{{.State.Status}}", "same"]).ok();
        ["exited", "stopped"].contains(&status.as_str())
    });
    let ours = parse(&b.ok(&["inspect", "same"]));
    let theirs = parse(&podman(&["inspect", "--type", "container", "same"]).ok());
    podman(&["rm", "-fa"]).ok();
    assert_eq!(ours.pointer("/State/Status"), Some(&"exited".into()));
    for path in [
        "State.Running",
        "State.ExitCode",
        "State.OOMKilled",
        "State.Pid",
        "Path",
        "Args",
        "Config.Cmd",
        "Config.WorkingDir",
        "Config.Labels.tier",
        "Config.Tty",
        "HostConfig.NetworkMode",
        "HostConfig.AutoRemove",
        "HostConfig.Privileged",
        "HostConfig.ReadonlyRootfs",
        "HostConfig.Memory",
    ] {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert_eq!(ours.pointer(&pointer), theirs.pointer(&pointer), "{path}");
    }
}

/// `create -a`: what is not attached to at the start does not end the container's input.
#[test]
fn input_ends_with_that_of_whom_it_was_made_for() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let made = [(&["-i"][..], "true"), (&["-i", "-a", "stdout", "-a", "STDERR"], "false")];
    for (flags, once) in made {
        let id = b.started("create", flags, &["cat"]).ok();
        assert_eq!(b.field(&id, ".Config.StdinOnce"), once);
        assert_eq!(b.field(&id, ".Config.AttachStdin"), once);
    }
    has(&b.started("create", &["-a", "stdfoo"], &["cat"]).fails(125), &["stdfoo"]);
    has(&b.started("create", &["--gpus", "all"], &["cat"]).fails(125), &["--gpus", "--device"]);
}
