//! As the host's real root: the last pass of `tests/run`, which runs these, and more that is for anybody.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::background::Background;
use super::home_with_busybox;
use super::oci::{bundle, runtime};
use crate::requires;
use crate::support::has;

#[test]
fn it_has_all_ids_and_files_keep_them() {
    requires!(Root, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let out = home.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let volume = format!("{}:/out", out.display());
    let script =
        "cat /proc/self/uid_map; touch /out/file; chown 1234:5678 /out/file; ls -ln /etc/shadow";
    let flags = ["run", "--rm", "--network", "none", "-v", &volume, &image, "sh", "-c", script];
    let said = home.coracle(flags).ok();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!((&words[..3], words[6]), (&["0", "0", "4294967295"][..], "42"), "{said}");
    let file = out.join("file").metadata().unwrap();
    assert_eq!((file.uid(), file.gid()), (1234, 5678));
    let user = ["run", "--rm", "--network", "none", "-u", "1000", &image];
    let writes = home.coracle([&user[..], &["sh", "-c", "id -u; : >/etc/passwd"]].concat());
    has(&writes.output().stdout, &["1000"]);
    let writes = home.coracle([&user[..], &["sh", "-c", ": >/etc/passwd"]].concat());
    has(&writes.fails(1), &["ermission denied"]);
}

#[test]
fn containers_live_and_are_limited() {
    requires!(Root, Image("busybox", "latest"), Controller("pids"), Controller("freezer"));
    let (home, image) = home_with_busybox();
    let container = Background::start(
        &home,
        "box",
        &["--network", "none", "--pids-limit", "8"],
        &["sleep", "600"],
    );
    let forks = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done";
    has(&container.exec(&[], &["sh", "-c", forks]).output().stderr, &["can't fork"]);
    let confined = "grep -E '^(CapBnd|Seccomp):' /proc/self/status";
    let said = container.exec(&[], &["sh", "-c", confined]).ok();
    assert_eq!(said.split_whitespace().collect::<Vec<_>>()[..2], ["CapBnd:", "00000000a80425fb"]);
    has(&said, &["Seccomp:\t2"]);
    home.coracle(["pause", "box"]).ok();
    has(&home.coracle(["ps"]).ok(), &["(Paused)"]);
    home.coracle(["unpause", "box"]).ok();
    drop(container);
    has(&home.coracle(["run", "--rm", "--network", "none", &image, "id", "-u"]).ok(), &["0"]);
}

/// In no user namespace of its own, as engines of root's write their bundles.
#[test]
fn a_bundle_of_roots_runs() {
    requires!(Root, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let bundle = bundle(&home, &image, |config| {
        config["process"]["args"] = json!(["sh", "-c", "readlink /proc/self/ns/user; hostname"]);
        config["hostname"] = json!("roots");
        let linux = config["linux"].as_object_mut().unwrap();
        linux["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "user");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    let own = std::fs::read_link("/proc/self/ns/user").unwrap();
    let said = runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "one"]).ok();
    assert_eq!(said, format!("{}\nroots", own.display()));
}

/// A bind has ids of its own, or those that the container's user namespace has.
#[test]
fn the_ids_of_binds_are_mapped() {
    requires!(Root, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let files = home.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for (name, id) in [("a", 1000), ("b", 7)] {
        std::fs::write(files.join(name), "").unwrap();
        std::os::unix::fs::chown(files.join(name), Some(id), Some(id)).unwrap();
    }
    let said = |mount: Value, user: bool| {
        let bundle = bundle(&home, &image, |config| {
            config["process"]["args"] = json!(["stat", "-c", "%u:%g", "/m/a", "/m/b"]);
            let mut bind = json!({"destination": "/m", "source": files, "options": ["bind"]});
            for (key, value) in mount.as_object().unwrap() {
                bind[key] = value.clone();
            }
            config["mounts"].as_array_mut().unwrap().push(bind);
            let linux = config["linux"].as_object_mut().unwrap();
            if user {
                // Root stays itself, or it could not reach the home.
                let maps = json!([{"containerID": 0, "hostID": 0, "size": 1},
                    {"containerID": 1, "hostID": 300_001, "size": 1000}]);
                linux["uidMappings"] = maps.clone();
                linux["gidMappings"] = maps;
            } else {
                linux["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "user");
                linux.remove("uidMappings");
                linux.remove("gidMappings");
            }
        });
        runtime(&home, &["run", "--bundle", bundle.to_str().unwrap(), "one"]).ok()
    };
    let maps = json!([{"containerID": 1000, "hostID": 33, "size": 1}]);
    let own = json!({"uidMappings": maps, "gidMappings": maps});
    assert_eq!(said(own, false), "33:33\n65534:65534");
    // Without, root's files are nobody's there.
    assert_eq!(said(json!({}), true), "65534:65534\n65534:65534");
    for word in ["idmap", "ridmap"] {
        let mapped = said(json!({"options": ["rbind", word]}), true);
        assert_eq!(mapped, "1000:1000\n7:7");
    }
}
