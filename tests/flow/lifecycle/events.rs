//! `events`

use std::io::Write as _;

use super::Box;
use crate::requires;
use crate::support::until;

impl Box {
    /// What has happened, a line `ACTION` each, where `filter` holds.
    pub(super) fn happened(&self, filters: &[&str], format: &str) -> Vec<String> {
        let first = ["events", "--stream=false", "--since", "1h", "--format", format];
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        let words: Vec<&str> = first.into_iter().chain(filters).collect();
        self.ok(&words).lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_life_is_told_of() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    let id = b.run_d(&["--name", "web", "-l", "tier=front"], &["sh", "-c", script]);
    until("it to be ready", || b.ok(&["logs", "web"]) == "ready");
    b.ok(&["exec", "web", "true"]);
    b.coracle(&["exec", "web", "false"]).fails(1);
    b.ok(&["rename", "web", "shop"]);
    b.ok(&["stop", "shop"]);
    b.ok(&["start", "shop"]);
    until("it to be ready again", || b.ok(&["logs", "shop"]) == "ready\nready");
    b.ok(&["restart", "shop"]);
    b.ok(&["kill", "shop"]);
    b.ok(&["rm", "shop"]);
    b.started("run", &["--rm", "--name", "short"], &["sh", "-c", "exit 3"]).fails(3);
    let actions = b.happened(&[&format!("container={id}")], "{{.Action}}");
    let life = [
        "create",
        "start",
        "exec_create: true",
        "exec_start: true",
        "exec_die",
        "exec_create: false",
        "exec_start: false",
        "exec_die",
        "rename",
        "kill",
        "die",
        "stop",
        "start",
        "kill",
        "die",
        "stop",
        "start",
        "restart",
        "kill",
        "die",
        "destroy",
    ];
    assert_eq!(actions, life);
    let died = b.happened(
        &["event=die", "label=tier=front"],
        "{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}} {{.From}}",
    );
    let image = b.field_of_image();
    assert_eq!(died, ["7", "7", "137"].map(|code| format!("shop {code} {image}")));
    let short = b.happened(&["container=short"], "{{.Type}} {{.Status}}");
    let life = ["create", "attach", "start", "die", "destroy"];
    assert_eq!(short, life.map(|action| format!("container {action}")));
    let renamed = b.happened(&["event=rename"], "{{index .Actor.Attributes \"oldName\"}}");
    assert_eq!(renamed, ["/web"]);
    // A line each, the times in order.
    let lines = b.ok(&["events", "--since", "1h", "--until", "0.001s"]);
    let times: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.len() == 30), "{lines}");
    b.coracle(&["events", "--filter", "type=boat"]).fails(125);
    b.coracle(&["events", "--since", "yesterday"]).fails(125);
}

impl Box {
    /// The image's name as lists show it.
    fn field_of_image(&self) -> String {
        self.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
            .lines()
            .next()
            .unwrap()
            .to_owned()
    }
}

#[test]
fn images_are_told_of() {
    requires!(Image("busybox", "latest"));
    let b = Box::new();
    b.ok(&["tag", &b.image, "other:1"]);
    b.ok(&["rmi", "other:1"]);
    let actions = b.happened(&["type=image"], "{{.Action}}");
    assert_eq!(actions, ["pull", "tag", "untag"]);
    let json = b.happened(&["event=tag"], "json");
    let event: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!((&event["Type"], &event["Action"]), (&"image".into(), &"tag".into()));
    assert_eq!(event["Actor"]["Attributes"]["name"], "other:1");
    let id = event["Actor"]["ID"].as_str().unwrap();
    assert_eq!(id, b.ok(&["images", "-q", "--no-trunc"]).lines().next().unwrap());
    assert_eq!(
        event["timeNano"].as_i64().unwrap() / 1_000_000_000,
        event["time"].as_i64().unwrap()
    );
}

#[test]
fn they_come_as_they_happen() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.started("create", &["--name", "before"], &["true"]).ok();
    let follow =
        |words: &[&str]| b.coracle(&[&["events", "--format", "{{.Action}}"], words].concat());
    let of_one = ["--since", "1h", "--until", "2099-01-01", "-f", "container=before"];
    let followers: Vec<_> = [&["-f", "event=die"][..], &["-f", "container=later"], &of_one]
        .into_iter()
        .map(|words| follow(words).spawn())
        .collect();
    for one in &followers {
        until("it to watch", || watches(one.child.id()));
    }
    for _ in 0..3 {
        b.started("run", &["--rm", "--name", "later"], &["true"]).ok();
    }
    b.ok(&["rm", "before"]);
    let mut said = Vec::new();
    for one in followers {
        until("it to have told all", || sleeps(one.child.id()));
        one.signal(nix::sys::signal::Signal::SIGTERM);
        said.push(one.wait().stdout);
    }
    assert_eq!(said[0], "die\n".repeat(3));
    assert!(said[1].ends_with("create\nattach\nstart\ndie\ndestroy\n"), "{said:?}");
    assert_eq!(said[2], "create\ndestroy\n");
}

/// Whether a process waits for the kernel's word of changed files.
fn watches(pid: u32) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.any(|link| link.to_string_lossy().contains("inotify")) && sleeps(pid)
}

fn sleeps(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
}

/// Nothing fails for want of a place to write events to, and the log has its bounds.
#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let directory = b.home.store().join("events");
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    b.started("run", &["--rm"], &["true"]).ok();
    b.run_d(&["--name", "web"], &["true"]);
    b.ok(&["wait", "web"]);
    b.ok(&["rm", "web"]);
    std::fs::remove_file(&directory).unwrap();
    // One that is full is put aside, by whoever comes next.
    std::fs::create_dir(&directory).unwrap();
    let mut log = std::fs::File::create(directory.join("log")).unwrap();
    log.write_all(&b"x\n".repeat(1 << 20)).unwrap();
    b.started("create", &["--name", "one"], &["true"]).ok();
    b.started("create", &["--name", "two"], &["true"]).ok();
    assert_eq!(b.happened(&[], "{{.Action}}"), ["create", "create"]);
    assert!(std::fs::metadata(directory.join("log")).unwrap().len() < 10_000);
}
