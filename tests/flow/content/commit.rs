//! Images of containers.

use super::{home_with_tree, run, sh};
use crate::requires;
use crate::support::has;
use crate::support::needs::pass;

#[test]
fn an_image_says_what_its_container_was() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    let flags = ["--name", "c", "-e", "A=from run", "-w", "/t", "--label", "l=v", "-u", "7:8"];
    run(&home, &flags, &image, "echo $A");
    let iidfile = home.path().join("iid");
    let id = home
        .coracle([
            "commit",
            "-a",
            "me",
            "-m",
            "a word",
            "-c",
            "ENV B=two C=\"3 4\"",
            "-c",
            "EXPOSE 80",
            "-c",
            "CMD echo $A $B $C; id -u; pwd",
            "-c",
            "STOPSIGNAL INT",
            "-c",
            "VOLUME /v",
            "--iidfile",
            iidfile.to_str().unwrap(),
            "--format",
            "docker",
            "c",
            "local/said",
        ])
        .ok();
    assert_eq!(std::fs::read_to_string(iidfile).unwrap(), id);
    let field =
        |field: &str| home.coracle(["inspect", "--format", field, "local/said:latest"]).ok();
    assert_eq!(field("{{.Id}} {{.Author}} {{.Config.User}}"), format!("{id} me 7:8"));
    assert_eq!(field("{{json .Config.Labels}}"), r#"{"l":"v"}"#);
    assert_eq!(
        field("{{.Config.StopSignal}} {{json .Config.ExposedPorts}}"),
        r#"INT {"80/tcp":{}}"#
    );
    let told = home.coracle(["run", "--rm", "--network", "none", "local/said"]).ok();
    assert_eq!(told, "from run two 3 4\n7\n/t");
    // Nothing was changed: the layers are the parent's.
    let layers = "{{json .RootFS.Layers}}";
    let parents = home.coracle(["inspect", "--format", layers, &image]).ok();
    assert_eq!(field(layers), parents);
    // An image without a name is there too.
    home.coracle(["start", "-a", "c"]).ok();
    let bare = home.coracle(["commit", "c"]).ok();
    has(&home.coracle(["images", "-q", "--no-trunc"]).ok(), &[&bare]);
    has(
        &home.coracle(["commit", "-c", "RUN x", "c"]).fails(125),
        &["RUN is not a valid change command"],
    );
    home.coracle(["commit", "nobody"]).fails(1);
}

#[test]
fn a_running_container_is_committed_and_goes_on() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    let script = "while :; do date +%N >/t/tick; done";
    let first = ["run", "-d", "--network", "none", "--name", "ticks"];
    home.coracle(first.iter().chain(&[image.as_str(), "sh", "-c", script])).ok();
    home.coracle(["exec", "ticks", "sh", "-c", "echo kept >/t/word"]).ok();
    for pause in ["--pause=true", "--pause=false"] {
        home.coracle(["commit", pause, "ticks", "local/ticks:1"]).ok();
        assert_eq!(sh(&home, &[], "local/ticks:1", "cat /t/word"), "kept");
        let status = home.coracle(["inspect", "--format", "{{.State.Status}}", "ticks"]).ok();
        assert_eq!(status, "running");
    }
    home.coracle(["rm", "-f", "ticks"]).ok();
}

#[test]
fn owners_are_the_same_in_either_mode() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let modes: &[&str] = if pass() == "range" { &["single", "auto"] } else { &["single"] };
    let (home, image) = home_with_tree();
    let script = "cd /t; touch f; chown 33:42 f; mkdir d; chown 1000:1000 d; ln -s x l; \
        chown -h 12:13 l; mkfifo p; chown 14:15 p";
    let look = "cd /t; stat -c '%n %u:%g' f d l p link kept";
    for made in modes {
        let name = format!("made-{made}");
        run(&home, &["--userns", made, "--name", &name], &image, script);
        let name = format!("local/{name}:1");
        home.coracle(["commit", &format!("made-{made}"), &name]).ok();
        for runs in modes {
            let told = sh(&home, &["--userns", runs], &name, look);
            let expected = "f 33:42\nd 1000:1000\nl 12:13\np 14:15\nlink 5:6\nkept 7:8";
            assert_eq!(told, expected, "made in {made}, run in {runs}");
        }
    }
}
