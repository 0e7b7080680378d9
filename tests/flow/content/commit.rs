//! Images of containers.

use super::{home_with_tree, run, sh};
use crate::requires;
use crate::support::has;
use crate::support::needs::pass;

#[test]
fn an_image_says_what_its_container_was() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_tree();
    // Without an account for its user, which would be a change.
    let user = ["-u", "7:8", "--passwd=false"];
    let flags = ["--name", "cc", "-e", "A=from run", "-w", "/t", "--label", "l=v", "-v", "/data"];
    let flags = [&flags[..], &user].concat();
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
            "cc",
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
    assert_eq!(field("{{json .Config.Volumes}}"), r#"{"/v":{}}"#);
    let words = ["commit", "--squash", "--include-volumes", "-f", "docker", "cc", "local/volumes"];
    home.coracle(words).ok();
    let volumes = ["inspect", "--format", "{{json .Config.Volumes}}", "local/volumes"];
    assert_eq!(home.coracle(volumes).ok(), r#"{"/data":{}}"#);
    // Nothing was changed: the layers are the parent's.
    let layers = "{{json .RootFS.Layers}}";
    let parents = home.coracle(["inspect", "--format", layers, &image]).ok();
    assert_eq!(field(layers), parents);
    // An image without a name is there too.
    home.coracle(["start", "-a", "cc"]).ok();
    let bare = home.coracle(["commit", "cc"]).ok();
    has(&home.coracle(["images", "-q", "--no-trunc"]).ok(), &[&bare]);
    has(
        &home.coracle(["commit", "-c", "RUN x", "cc"]).fails(125),
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

/// An OCI layout of an image in the store, for other programs.
fn layout(home: &crate::support::Home, id: &str) -> String {
    let hex = id.strip_prefix("sha256:").unwrap();
    let record = std::fs::read(home.store().join("images").join(format!("{hex}.json"))).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let manifest = record["manifest"].as_str().unwrap();
    let blobs = home.store().join("blobs");
    let size = blobs.join(manifest.replace(':', "/")).metadata().unwrap().len();
    let directory = home.path().join("layout");
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::symlink(&blobs, directory.join("blobs")).unwrap();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": size,
        "annotations": {"org.opencontainers.image.ref.name": "made"}}]});
    home.write("layout/index.json", index.to_string());
    home.write("layout/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    format!("{}:made", directory.display())
}

#[test]
fn others_read_what_is_written() {
    requires!(
        UserNamespaces,
        Image("busybox", "latest"),
        Program("/usr/bin/podman"),
        Program("/usr/bin/umoci")
    );
    if pass() != "range" {
        return; // podman needs newuidmap
    }
    let (home, image) = home_with_tree();
    let script = "cd /t; mkdir d; echo x >d/f; chown 33:42 d/f; chmod 4755 d/f; ln d/f d/h; ln -s f d/l; \
        chown -h 5:6 d/l; mkfifo d/p; chown 7:8 d/p; rm emptied/1 emptied/2 emptied/3; rm -r gone; \
        truncate -s 9M d/sparse; echo end >>d/sparse; echo y >$(head -c 200 /dev/zero | tr '\\0' n); \
        rm -r dir; ln -s kept dir; touch -d @1700000000 d/f kept";
    run(&home, &["--name", "cc"], &image, script);
    let id = home.coracle(["commit", "cc"]).ok();
    let layout = layout(&home, &id);
    // podman makes a name of the path, which is to have small letters only.
    let small = std::env::temp_dir().join(format!("layout-{}", std::process::id()));
    let _ = std::fs::remove_file(&small);
    std::os::unix::fs::symlink(home.path().join("layout"), &small).unwrap();
    let look = "cd /t; find . | sort | xargs stat -c '%n %a %u:%g %F %Y'; cat d/h kept/f; md5sum d/sparse; \
        [ d/f -ef d/h ] && echo one; readlink d/l; readlink dir";
    let ours = sh(&home, &[], &id, look);
    let source = format!("oci:{}:made", small.display());
    let theirs = crate::flow::podman::in_podman(&source, &[], &["sh", "-c", look]).ok();
    std::fs::remove_file(&small).unwrap();
    assert_eq!(ours, theirs, "coracle, podman");
    has(&ours, &["./d/f 4755 33:42", "./d/l 777 5:6", "./d/p 644 7:8 fifo", "one"]);
    let mut umoci = std::process::Command::new("/usr/bin/umoci");
    umoci.args(["unpack", "--rootless", "--image", &layout, "bundle"]);
    home.run(umoci).ok();
    let root = home.path().join("bundle/rootfs/t");
    assert!(!root.join("gone").exists() && !root.join("emptied/1").exists());
    assert!(root.join("emptied").is_dir() && root.join("dir").is_symlink());
    assert_eq!(std::fs::read_to_string(root.join("d/h")).unwrap(), "x\n");
    assert_eq!(root.join("d/sparse").metadata().unwrap().len(), (9 << 20) + 4);
}
