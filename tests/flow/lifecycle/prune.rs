//! `prune` of each kind, `system df`.

use super::Box;
use crate::requires;
use crate::support::has;

#[test]
fn containers_that_do_not_run_go() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    assert_eq!(b.ok(&["container", "prune", "-f"]), "Total reclaimed space: 0B");
    b.run_d(&["--name", "up"], &["sleep", "600"]);
    let made = b.started("create", &["--name", "made", "-l", "keep=no"], &["true"]).ok();
    let script = "head -c 3000000 /dev/zero >/big; mkdir -m 0 /closed";
    let ended = b.run_d(&["--name", "ended"], &["sh", "-c", script]);
    b.ok(&["wait", "ended"]);
    // Asked, and not answered: nothing goes.
    for answer in ["", "n\n", "yes\n", "\n"] {
        let asked = b.coracle(&["container", "prune"]).stdin(answer).ok();
        has(&asked, &["WARNING! This will remove all stopped containers.", "continue? [y/N] "]);
        assert!(!asked.contains("Total"), "{asked}");
    }
    let unasked = b.coracle(&["container", "prune"]).stdin("").output();
    assert!(unasked.stdout.ends_with("[y/N] \n"), "{unasked}");
    assert_eq!(b.ok(&["ps", "-aq"]).lines().count(), 3);
    assert_eq!(
        b.ok(&["container", "prune", "-f", "--filter", "until=1h"]),
        "Total reclaimed space: 0B"
    );
    let labelled = b.ok(&["container", "prune", "-f", "--filter", "label=keep=no"]);
    assert_eq!(labelled, format!("Deleted Containers:\n{made}\n\nTotal reclaimed space: 0B"));
    let rest = b.coracle(&["container", "prune", "--filter", "label!=keep"]).stdin("y\n").ok();
    has(&rest, &["Deleted Containers:", &ended, "Total reclaimed space: 3MB"]);
    assert_eq!(b.ok(&["ps", "-a", "--format", "{{.Names}}"]), "up");
    b.coracle(&["container", "prune", "-f", "--filter", "colour=red"]).fails(125);
    let told = ["events", "--stream=false", "--since", "1h", "-f", "event=prune"];
    let format = ["--format", "{{.Actor.Attributes.reclaimed}}"];
    assert!(b.ok(&[&told[..], &format].concat()).ends_with("\n3000000"));
}

#[test]
fn images_that_nothing_needs_go() {
    requires!(UserNamespaces, Image("busybox", "latest"), Image("busybox", "user-unknown"));
    let b = Box::new();
    let other = crate::support::layout("busybox", "user-unknown");
    b.ok(&["pull", "-q", &other]);
    let images = || b.ok(&["images", "-q"]).lines().count();
    assert_eq!(images(), 2);
    b.started("create", &["--name", "user"], &["true"]).ok();
    // A layout's image has no tag, and nothing needs it.
    has(&b.ok(&["image", "prune", "-f"]), &["Deleted Images:", "deleted: sha256:"]);
    assert_eq!(images(), 1);
    b.ok(&["pull", "-q", &other]);
    b.ok(&["tag", &other_id(&b), "other:1"]);
    assert_eq!(b.ok(&["image", "prune", "-f"]), "Total reclaimed space: 0B");
    assert_eq!(images(), 2);
    let asked = b.coracle(&["image", "prune", "-a"]).stdin("n\n").ok();
    has(&asked, &["all images without at least one container associated to them"]);
    let pruned = b.ok(&["image", "prune", "-a", "-f"]);
    has(&pruned, &["Deleted Images:", "untagged: other:1", "deleted: sha256:", "Total reclaimed"]);
    assert_eq!(images(), 1, "the one that a container needs");
    b.ok(&["start", "user"]);
}

/// The image that no container was made from.
fn other_id(b: &Box) -> String {
    let used = b.field("user", ".Image");
    let ids = b.ok(&["images", "-q", "--no-trunc"]);
    ids.lines().find(|id| *id != used).unwrap().to_owned()
}

#[test]
fn the_system_is_cleared_and_measured() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "up"], &["sh", "-c", "head -c 2000000 /dev/zero >/big; sleep 600"]);
    b.run_d(&["--name", "ended"], &["sh", "-c", "head -c 1000000 /dev/zero >/big"]);
    b.ok(&["wait", "ended"]);
    crate::support::until("its file", || {
        b.ok(&["ps", "-s", "--format", "{{.Size}}"]).starts_with("2MB")
    });
    let rows = |format: &str| b.ok(&["system", "df", "--format", format]);
    let table = b.ok(&["system", "df"]);
    let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    let sums = rows("{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}");
    has(&sums, &["Images 1 1 ", " 0B (0%)", "Containers 2 1 3MB 1MB (33%)"]);
    let json: serde_json::Value =
        serde_json::from_str(rows("json").lines().next().unwrap()).unwrap();
    assert_eq!((&json["Type"], &json["TotalCount"]), (&"Images".into(), &"1".into()));
    let verbose = b.ok(&["system", "df", "-v"]);
    has(&verbose, &["Images space usage:", "SHARED SIZE   UNIQUE SIZE   CONTAINERS"]);
    has(&verbose, &["Containers space usage:", "LOCAL VOLUMES"]);
    has(&verbose, &["Local Volumes space usage:", "VOLUME NAME   LINKS   SIZE"]);
    // A volume counts as used as long as a container has it.
    let volume = ["create", "--name", "owner", "-v", "kept:/kept", &b.image, "true"];
    b.ok(&volume);
    let volumes = || rows("{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}");
    has(&volumes(), &["Local Volumes 1 1 0B"]);
    b.ok(&["rm", "owner"]);
    has(&volumes(), &["Local Volumes 1 0 0B"]);
    let json: serde_json::Value =
        serde_json::from_str(&b.ok(&["system", "df", "-v", "--format", "json"])).unwrap();
    assert_eq!(
        (&json["Images"][0]["Containers"], &json["Images"][0]["SharedSize"]),
        (&"2".into(), &"0B".into())
    );
    assert_eq!(json["Containers"].as_array().unwrap().len(), 2);
    let asked = b.coracle(&["system", "prune", "-a"]).stdin("n\n").ok();
    has(
        &asked,
        &[
            "WARNING! This will remove:\n  - all stopped containers\n",
            "  - all networks not used by at least one container\n  - all images without",
        ],
    );
    let pruned = b.ok(&["system", "prune", "-f"]);
    has(&pruned, &["Deleted Containers:", "Total reclaimed space: 1"]);
    assert_eq!(b.ok(&["ps", "-a", "--format", "{{.Names}}"]), "up");
    b.ok(&["rm", "-f", "up"]);
    let pruned = b.ok(&["system", "prune", "-af"]);
    has(&pruned, &["deleted: sha256:"]);
    assert!(!pruned.ends_with(" 0B"), "{pruned}");
    assert_eq!(b.ok(&["images", "-q"]), "");
    has(&b.ok(&["system", "info"]), &["store"]);
}
