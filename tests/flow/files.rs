//! Mounts: binds, tmpfs, read-only, volumes of the image, containers' own layers.

use std::fs;

use super::{home_with_busybox, pulled, run, run_image, sh};
use crate::requires;
use crate::support::{Home, has};

fn bound(name: &str) -> (std::path::PathBuf, String) {
    let directory = Home::shared().path().join(name);
    fs::create_dir_all(&directory).unwrap();
    let text = directory.to_str().unwrap().to_owned();
    (directory, text)
}

#[test]
fn binds_go_both_ways() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (directory, text) = bound("bind");
    fs::write(directory.join("from-host"), "host\n").unwrap();
    assert_eq!(
        sh(&["-v", &format!("{text}:/b")], "cat /b/from-host; echo inside >/b/from-inside"),
        "host"
    );
    assert_eq!(fs::read_to_string(directory.join("from-inside")).unwrap(), "inside\n");
    let refused = "(touch /b/x) 2>/dev/null || echo refused";
    assert_eq!(sh(&["-v", &format!("{text}:/b:ro")], refused), "refused");
    assert_eq!(
        sh(&["--mount", &format!("type=bind,source={text},target=/b,readonly")], refused),
        "refused"
    );
    assert_eq!(
        sh(&["--mount", &format!("type=bind,src={text},dst=/b")], "cat /b/from-host"),
        "host"
    );
    assert_eq!(sh(&["-v", &format!("{text}/from-host:/one/file:ro")], "cat /one/file"), "host");
}

#[test]
fn read_only_reaches_mounts_below() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    // /dev has mounts below it on every host.
    let script = "for d in $(grep ' /host' /proc/mounts | cut -d' ' -f2); do touch $d/coracle-was-here 2>/dev/null && echo wrote $d; done; true";
    assert_eq!(sh(&["-v", "/dev:/host:ro"], script), "");
}

#[test]
fn a_missing_source_is_made_by_v_and_refused_by_mount() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (directory, text) = bound("missing");
    assert_eq!(sh(&["-v", &format!("{text}/made:/b")], "ls -d /b"), "/b");
    assert!(directory.join("made").is_dir());
    let error = run(&["--mount", &format!("type=bind,source={text}/nowhere,target=/b")], &["true"])
        .fails(125);
    has(&error, &["bind source path does not exist", "nowhere"]);
    assert!(!directory.join("nowhere").exists());
}

#[test]
fn tmpfs_has_its_size_and_mode() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    has(&sh(&["--tmpfs", "/t"], "grep ' /t ' /proc/mounts"), &["tmpfs"]);
    assert_eq!(
        sh(
            &["--tmpfs", "/t:size=1m,mode=1770"],
            "df -k /t | tail -1 | awk '{print $2}'; stat -c %a /t"
        ),
        "1024\n1770"
    );
    assert_eq!(
        sh(
            &["--mount", "type=tmpfs,target=/t,tmpfs-size=2m"],
            "df -k /t | tail -1 | awk '{print $2}'"
        ),
        "2048"
    );
}

#[test]
fn a_read_only_root() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(
        sh(
            &["--read-only"],
            "(touch /x) 2>/dev/null || echo refused; echo y >/dev/shm/y && cat /dev/shm/y"
        ),
        "refused\ny"
    );
    assert_eq!(sh(&["--read-only", "--tmpfs", "/tmp"], "touch /tmp/x && echo written"), "written");
}

#[test]
fn image_volumes_bring_their_files() {
    requires!(UserNamespaces, Image("busybox", "volume"));
    let image = pulled("busybox", "volume");
    assert_eq!(run_image(&image, &[], &["cat", "/data/kept"]).ok(), "from the image");
    assert_eq!(
        run_image(&image, &[], &["sh", "-c", "echo x >/fresh/volume/x && cat /fresh/volume/x"])
            .ok(),
        "x"
    );
}

#[test]
fn writes_are_the_containers_own() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let script = "echo changed >/etc/passwd; rm -rf /home; mkdir /home; cat /etc/passwd";
    assert_eq!(sh(&[], script), "changed");
    has(&sh(&[], "cat /etc/passwd; ls /home"), &["root:x:0:0", "nonroot"]);
}

#[test]
fn directories_of_the_image_can_be_replaced_and_renamed() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(
        sh(
            &[],
            "mv /home /house && ls /house && rm -r /house && mkdir /house && ls -A /house | wc -l"
        ),
        "nonroot\n0"
    );
    assert_eq!(
        sh(&[], "ln /etc/group /etc/group2 && echo x >>/etc/group2 && tail -1 /etc/group"),
        "x"
    );
}

/// The same with files copied instead of an overlay.
#[test]
fn the_copying_driver_works_too() {
    requires!(UserNamespaces, Image("edge", "opaque"), Image("edge", "whiteout"));
    for tag in ["opaque", "whiteout"] {
        let image = pulled("edge", tag);
        let list = ["sh", "-c", "find /t | sort; cat /t/keep"];
        let shown = |driver| run_image(&image, &["--storage-driver", driver], &list).ok();
        assert_eq!(shown("copy"), shown("overlay"), "{tag}");
    }
    let text = sh(&["--storage-driver", "copy"], "echo >/etc/passwd; rm -r /home; ls /");
    assert!(!text.contains("home"), "{text}");
    has(&sh(&[], "cat /etc/passwd; ls /"), &["root:x:0", "home"]);
    run(&["--storage-driver", "nonsense"], &["true"]).fails(125);
}

#[test]
fn rm_leaves_nothing() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (home, image) = home_with_busybox();
    let before = home.listing();
    // Deep, closed and foreign-owned files must not outlive --rm.
    let script = "mkdir -p /a/b/c && touch /a/b/c/d && chmod 0 /a/b/c /a/b && exit 3";
    home.coracle(["run", "--rm", "--network", "none", &image, "sh", "-c", script]).fails(3);
    home.coracle(["run", "--rm", "--network", "none", &image, "no-such-command"]).fails(127);
    let after = home.listing();
    let kept = |text: &str| -> Vec<String> {
        let leave = ["/locks", "/probe.json", "/skeleton", "/tmp "];
        text.lines()
            .filter(|line| !leave.iter().any(|part| line.contains(part)))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(kept(&before), kept(&after));
}
