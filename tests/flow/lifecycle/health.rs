//! Health checks.

use super::Box;
use crate::requires;
use crate::support::{has, until};

#[test]
fn a_container_becomes_well_and_falls_ill() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let check = ["--health-cmd", "echo looked; cat /well", "--health-interval", "100ms"];
    let flags = [&["--name", "web", "--health-retries", "2"][..], &check].concat();
    b.run_d(&flags, &["sleep", "600"]);
    has(&b.ok(&["ps"]), &["(health: starting)"]);
    until("failures", || b.ok(&["ps"]).contains("(unhealthy)"));
    b.ok(&["exec", "web", "touch", "/well"]);
    until("health", || b.ok(&["ps"]).contains("(healthy)"));
    assert_eq!(b.ok(&["ps", "-q", "--filter", "health=healthy"]).lines().count(), 1);
    assert_eq!(b.ok(&["healthcheck", "run", "web"]), "");
    b.ok(&["exec", "web", "rm", "/well"]);
    assert_eq!(b.coracle(&["healthcheck", "run", "web"]).output().code(), 1);
    until("failures again", || b.ok(&["ps"]).contains("(unhealthy)"));
    // The last ones are kept, with what they said.
    let id = b.ok(&["ps", "-q", "--no-trunc"]);
    let path = b.home.store().join("containers").join(id).join("health.json");
    let health: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let last = health["Log"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["ExitCode"], 1);
    has(last["Output"].as_str().unwrap(), &["looked", "/well"]);
    assert!(health["FailingStreak"].as_u64().unwrap() >= 2);
    b.ok(&["stop", "web"]);
    has(&b.coracle(&["healthcheck", "run", "web"]).fails(125), &["is not running"]);
}

#[test]
fn a_check_that_takes_too_long_has_failed() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let flags = [
        "--name",
        "web",
        "--health-cmd",
        "sleep 600",
        "--health-timeout",
        "200ms",
        "--health-interval",
        "50ms",
        "--health-retries",
        "1",
    ];
    b.run_d(&flags, &["sleep", "600"]);
    until("a failure", || b.ok(&["ps"]).contains("(unhealthy)"));
    let id = b.ok(&["ps", "-q", "--no-trunc"]);
    let path = b.home.store().join("containers").join(id).join("health.json");
    has(
        &std::fs::read_to_string(path).unwrap(),
        &["Health check exceeded timeout (0.2s)", "\"ExitCode\":-1"],
    );
}

#[test]
fn none_where_none_is_wanted() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "web", "--no-healthcheck"], &["sleep", "600"]);
    has(&b.coracle(&["healthcheck", "run", "web"]).fails(125), &["has no defined healthcheck"]);
    let both = ["--no-healthcheck", "--health-cmd", "true"];
    b.started("run", &both, &["true"]).fails(125);
    assert_eq!(b.ok(&["ps", "-aq", "--filter", "health=none"]).lines().count(), 1);
}
