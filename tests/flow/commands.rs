//! Images and containers as things: list, name, show, remove.

use serde_json::Value;

use super::home_with_busybox;
use crate::requires;
use crate::support::{Home, has, image};

fn hex(text: &str, length: usize) -> bool {
    text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit())
}

#[test]
fn an_empty_store() {
    let home = Home::new();
    assert_eq!(home.coracle(["images", "-q"]).ok(), "");
    assert_eq!(home.coracle(["ps", "-a", "-q"]).ok(), "");
    has(&home.coracle(["images"]).ok(), &["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    has(
        &home.coracle(["ps"]).ok(),
        &["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"],
    );
}

#[test]
fn images_are_listed_tagged_and_removed() {
    requires!(Registry, Image("busybox", "latest"));
    let (home, busybox) = home_with_busybox();
    let table = home.coracle(["images"]).ok();
    has(&table, &[busybox.rsplit_once(':').unwrap().0, "latest"]);
    let id = home.coracle(["images", "-q"]).ok();
    assert!(hex(&id, 12), "{id}");
    let long = home.coracle(["images", "-q", "--no-trunc"]).ok();
    assert!(long.starts_with(&format!("sha256:{id}")) && long.len() == 71, "{long}");
    let json: Value = serde_json::from_str(
        home.coracle(["images", "--format", "json"]).ok().lines().next().unwrap(),
    )
    .unwrap();
    assert!(json.is_object() || json.is_array());
    assert_eq!(home.coracle(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok(), busybox);

    home.coracle(["tag", &busybox, "mine:1"]).ok();
    home.coracle(["tag", &id, "other"]).ok();
    let names = home.coracle(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    has(&names, &["mine:1", "other:latest", &busybox]);
    assert_eq!(home.coracle(["images", "-q", "mine"]).ok(), id);
    let by_name = ["images", "-n", "--sort", "repository", "--format", "table {{.Repository}}"];
    let by_name = home.coracle(by_name).ok();
    assert!(by_name.lines().is_sorted() && by_name.lines().count() == 3, "{by_name}");
    assert_eq!(home.coracle(["rmi", "mine:1"]).ok(), "Untagged: mine:1");
    // With two names left, an id alone is ambiguous.
    home.coracle(["rmi", &id]).fails(1);
    home.coracle(["rmi", "other"]).ok();
    let gone = home.coracle(["rmi", &busybox]).ok();
    has(&gone, &["Untagged: ", "Deleted: sha256:"]);
    assert_eq!(home.coracle(["images", "-q"]).ok(), "");
    has(&home.coracle(["rmi", &busybox]).fails(1), &["No such image"]);
    has(&home.coracle(["tag", "nothing", "x"]).fails(1), &["No such image"]);
    // Its layers went with it.
    let left = home.listing();
    assert!(!left.contains("busybox"), "{left}");
}

#[test]
fn an_image_in_use_stays() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = home_with_busybox();
    home.coracle(["run", "--name", "user", "--network", "none", &busybox, "true"]).ok();
    has(&home.coracle(["rmi", &busybox]).fails(1), &["container"]);
    home.coracle(["rm", "user"]).ok();
    home.coracle(["rmi", &busybox]).ok();
}

#[test]
fn inspect_shows_dockers_fields() {
    requires!(Registry, Image("busybox", "labels"));
    let home = Home::new();
    let labels = image("busybox", "labels");
    home.coracle(["pull", "-q", &labels]).ok();
    let shown: Value = serde_json::from_str(&home.coracle(["inspect", &labels]).ok()).unwrap();
    let image = &shown[0];
    assert!(image["Id"].as_str().unwrap().starts_with("sha256:"), "{image:#}");
    assert_eq!(image["Config"]["Labels"]["org.example.name"], "labelled");
    assert_eq!(image["Config"]["Labels"]["empty"], "");
    assert_eq!(image["Architecture"], "amd64");
    assert_eq!(image["Os"], "linux");
    assert_eq!(image["RepoTags"][0], labels.as_str());
    assert!(image["RepoDigests"][0].as_str().unwrap().contains("@sha256:"));
    let format = |template: &str| home.coracle(["inspect", "--format", template, &labels]).ok();
    assert_eq!(format("{{.Config.Cmd}}"), "[true]");
    assert_eq!(format("{{json .Config.Cmd}}"), "[\"true\"]");
    assert_eq!(format("{{index .Config.Labels \"org.example.name\"}}"), "labelled");
    assert_eq!(format("{{range .RepoTags}}<{{.}}>{{end}}"), format!("<{labels}>"));
    let output = home.coracle(["inspect", "nothing"]).output();
    assert_eq!(output.stdout.trim(), "[]");
    has(&output.fails(1), &["No such object: nothing"]);
    home.coracle(["inspect", "--format", "{{.NoSuchField}}", &labels]).fails(1);
}

#[test]
fn containers_are_kept_listed_and_removed() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = home_with_busybox();
    let run = |name: &str, script: &str| {
        let output = home
            .coracle([
                "run",
                "--name",
                name,
                "--label",
                "kind=test",
                "--network",
                "none",
                &busybox,
                "sh",
                "-c",
                script,
            ])
            .output();
        output.code()
    };
    assert_eq!(run("first", "exit 3"), 3);
    assert_eq!(run("second", "echo out"), 0);
    assert_eq!(home.coracle(["ps", "-q"]).ok(), "", "none runs");
    let table = home.coracle(["ps", "-a"]).ok();
    has(&table, &["first", "second", "Exited (3)", "Exited (0)", &busybox]);
    assert_eq!(
        home.coracle(["ps", "-a", "--format", "{{.Names}} {{.Status}}", "--filter", "name=first"])
            .ok()
            .split(')')
            .next(),
        Some("first Exited (3")
    );
    assert_eq!(home.coracle(["ps", "-aq", "--filter", "label=kind=test"]).ok().lines().count(), 2);
    assert_eq!(home.coracle(["ps", "-aq", "--filter", "label=kind=other"]).ok(), "");
    assert_eq!(home.coracle(["ps", "-aq", "--filter", "status=exited"]).ok().lines().count(), 2);
    let id = home.coracle(["ps", "-aq", "--no-trunc", "--filter", "name=second"]).ok();
    assert!(hex(&id, 64), "{id}");
    let state = |template: &str| home.coracle(["inspect", "--format", template, "first"]).ok();
    assert_eq!(state("{{.State.ExitCode}} {{.State.Running}} {{.State.Status}}"), "3 false exited");
    assert_eq!(state("{{.Name}}"), "/first");
    assert_eq!(state("{{.Config.Labels.kind}}"), "test");

    let again =
        home.coracle(["run", "--name", "first", "--network", "none", &busybox, "true"]).fails(125);
    has(&again, &["is already in use by container", "first"]);
    assert_eq!(home.coracle(["rm", "first", &id[..12]]).ok(), format!("first\n{}", &id[..12]));
    has(&home.coracle(["rm", "first"]).fails(1), &["No such container: first"]);
    assert_eq!(home.coracle(["ps", "-aq"]).ok(), "");
    home.coracle(["run", "--rm", "--name", "bad name", &busybox, "true"]).fails(125);
}

#[test]
fn a_running_container_is_seen_and_not_removed() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = home_with_busybox();
    let cid = home.path().join("cid");
    let file = cid.to_str().unwrap();
    let running = home
        .coracle([
            "run",
            "--rm",
            "--name",
            "busy",
            "--cidfile",
            file,
            "--init",
            "--network",
            "none",
            &busybox,
            "sleep",
            "60",
        ])
        .spawn();
    crate::support::until("the container in ps", || home.coracle(["ps", "-q"]).ok() != "");
    let id = std::fs::read_to_string(&cid).unwrap();
    assert!(hex(id.trim(), 64), "{id}");
    has(&home.coracle(["ps"]).ok(), &["busy", "Up "]);
    assert_eq!(home.coracle(["inspect", "--format", "{{.State.Running}}", "busy"]).ok(), "true");
    has(&home.coracle(["rm", "busy"]).fails(1), &["busy"]);
    has(&home.coracle(["run", "--cidfile", file, &busybox, "true"]).fails(125), &["cid"]);
    assert_eq!(home.coracle(["rm", "-f", "busy"]).ok(), "busy");
    assert_eq!(running.wait().code(), 137);
    assert_eq!(home.coracle(["ps", "-aq"]).ok(), "");
}

#[test]
fn version_and_info() {
    let home = Home::new();
    has(&home.coracle(["version"]).ok(), &[env!("CARGO_PKG_VERSION")]);
    has(&home.coracle(["--version"]).ok(), &["coracle", env!("CARGO_PKG_VERSION")]);
    let json: Value =
        serde_json::from_str(&home.coracle(["version", "--format", "json"]).ok()).unwrap();
    assert!(json.to_string().contains(env!("CARGO_PKG_VERSION")), "{json}");
    let json: Value =
        serde_json::from_str(&home.coracle(["info", "--format", "json"]).ok()).unwrap();
    assert!(json.to_string().contains(home.store().to_str().unwrap()), "{json:#}");
}

#[test]
fn doctor_tries_and_tells() {
    requires!(UserNamespaces);
    let home = Home::new();
    let text = home.coracle(["doctor"]).output().stdout.to_lowercase();
    for check in ["user namespace", "overlay", "fuse", "cgroup", "network", "disk"] {
        assert!(text.contains(check), "no {check} in\n{text}");
    }
    let json: Value =
        serde_json::from_str(&home.coracle(["doctor", "--json"]).output().stdout).unwrap();
    assert!(json.is_object() || json.is_array(), "{json}");
}

#[test]
fn help_is_there_for_every_command() {
    let home = Home::new();
    let help = home.coracle(["--help"]).ok();
    for command in
        ["run", "pull", "images", "rmi", "tag", "inspect", "ps", "rm", "info", "version", "doctor"]
    {
        has(&help, &[command]);
        has(&home.coracle([command, "--help"]).ok(), &["Usage:"]);
    }
}

/// Output into a closed pipe is not a panic.
#[test]
fn a_closed_pipe_is_quiet() {
    let home = Home::new();
    let mut run = home.coracle(["run", "--help"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    run.command.stdout(writer);
    let output = run.command.stderr(std::process::Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
}
