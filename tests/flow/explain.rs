//! A run is a value first: it can be shown without being done.

use serde_json::Value;

use super::home_with_busybox;
use crate::requires;
use crate::support::has;

#[test]
fn explain_shows_and_does_nothing() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let flags = [
        "-e",
        "A=b",
        "-v",
        "/usr:/host:ro",
        "--hostname",
        "box",
        "--ulimit",
        "nofile=64",
        "--cap-drop",
        "all",
    ];
    let explained = |how: &str| {
        let first = ["run", how, "--network", "none"];
        let all: Vec<&str> =
            first.into_iter().chain(flags).chain([image.as_str(), "touch", "/host/x"]).collect();
        home.coracle(all).ok()
    };
    has(&explained("--explain"), &["/usr", "/host", "touch", "box"]);
    let config: Value = serde_json::from_str(&explained("--explain=json")).unwrap();
    assert!(config["ociVersion"].is_string(), "{config:#}");
    assert_eq!(config["process"]["args"], serde_json::json!(["touch", "/host/x"]));
    assert_eq!(config["hostname"], "box");
    assert!(config["process"]["env"].as_array().unwrap().contains(&"A=b".into()));
    let namespaces: Vec<&str> = config["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["type"].as_str())
        .collect();
    for kind in ["user", "mount", "pid", "ipc", "uts", "network"] {
        assert!(namespaces.contains(&kind), "{namespaces:?}");
    }
    let bind =
        config["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == "/host");
    assert_eq!(bind.unwrap()["source"], "/usr", "{config:#}");
    assert!(config["linux"]["uidMappings"][0]["size"].as_u64().unwrap() >= 1);
    assert_eq!(home.coracle(["ps", "-a", "-q"]).ok(), "");
}

#[test]
fn timing_names_the_phases() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let output = home
        .coracle(["run", "--rm", "--timing", "--network", "none", &image, "echo", "out"])
        .output();
    assert_eq!((output.code(), output.stdout.as_str()), (0, "out\n"), "{output}");
    has(&output.stderr, &["ms"]);
}
