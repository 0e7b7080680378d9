//! The odd images of `tests/fixtures/images.py`, as a container sees them.

use super::{pulled, run_image};
use crate::requires;
use crate::support::image::digest;
use crate::support::needs::pass;
use crate::support::{Home, has, image};

fn sh(tag: &str, script: &str) -> String {
    run_image(&pulled("edge", tag), &[], &["sh", "-c", script]).ok()
}

#[test]
fn whiteouts() {
    requires!(UserNamespaces, Image("edge", "whiteout"), Image("edge", "opaque"));
    let list = "find /t | sort | tr '\\n' ' '";
    assert_eq!(sh("whiteout", list), "/t /t/keep /t/sub /t/sub/a ");
    assert_eq!(sh("whiteout-put", "cat /t/gone /t/sub/a /t/sub/deep/b"), "new\nnew\nb");
    assert_eq!(
        sh("whiteout-missing", list),
        "/t /t/gone /t/keep /t/sub /t/sub/a /t/sub/deep /t/sub/deep/b "
    );
    for tag in ["opaque", "opaque-last"] {
        assert_eq!(sh(tag, list), "/t /t/gone /t/keep /t/sub /t/sub/new ", "{tag}");
    }
}

#[test]
fn one_kind_on_top_of_another() {
    requires!(UserNamespaces, Image("edge", "replace"));
    assert_eq!(sh("replace", "cat /t/sub /t/keep/in; readlink /t/gone"), "a file now\nin\nkeep");
    assert_eq!(
        sh("replace-back", "find /t/sub; ls /etc/own 2>/dev/null; true"),
        "/t/sub\n/t/sub/own"
    );
    assert_eq!(
        sh("duplicates", "cat /d /k/in /r; ls -d /k/"),
        "second, longer\nin\nfile at last\n/k/"
    );
}

#[test]
fn hard_links() {
    requires!(UserNamespaces, Image("edge", "hardlink"));
    assert_eq!(
        sh("hardlink", "cat /t/keep2 /t/y; readlink /t/s2; [ /t/x -ef /t/y ] && echo same"),
        "keep\nx\nx\nsame"
    );
    assert_eq!(sh("hardlink-absolute", "cat /t/keep2 /t/keep3"), "keep\nkeep");
}

#[test]
fn directories_without_entries() {
    requires!(UserNamespaces, Image("edge", "implied"));
    assert_eq!(
        sh(
            "implied",
            "stat -c %a /new /new/dirs /new/dirs/nobody; cat /new/dirs/nobody/listed /t/sub/c /t/sub/a"
        ),
        "755\n755\n755\nhere\nc\na"
    );
    assert_eq!(sh("implied-mode", "stat -c %a /p; cat /p/a /p/b"), "2750\na\nb");
    if pass() == "range" {
        assert_eq!(sh("implied-mode", "stat -c %u:%g /p"), "1000:2000");
    }
    assert_eq!(
        sh("order", "stat -c '%a %Y' /o /o/d; [ /o/h -ef /o/d/f ] && cat /o/h"),
        "700 1767225609\n711 1767225607\nf"
    );
    assert_eq!(sh("dot-names", "cd /n; cat *"), "a\nb\nc\nd");
}

#[test]
fn names_are_bytes() {
    requires!(UserNamespaces, Image("edge", "names"));
    let script = "cd /n; for f in * .h* ...; do cat -- \"$f\"; done | sort -n | tr '\\n' ' '";
    assert_eq!(sh("names", script), "1 2 3 4 5 6 7 8 9 10 ");
    for tag in ["long-pax", "long-gnu"] {
        let long = "l".repeat(255);
        let script = format!(
            "cat /{long}; [ /{long} -ef /h{0} ] && echo same; readlink /s{0} | wc -c; cat $(find /deep* -name f)",
            &long[1..]
        );
        assert_eq!(sh(tag, &script), "long\nsame\n3001\ndeep", "{tag}");
    }
}

#[test]
fn sparse_files_of_every_kind() {
    requires!(UserNamespaces, Image("edge", "sparse-gnu"));
    let whole = |parts: &[(usize, &[u8])]| {
        let mut bytes = vec![0u8; 4 << 20];
        for (at, data) in parts {
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        digest(&bytes).split_off("sha256:".len())
    };
    let expected = [
        whole(&[(1 << 20, b"end")]),
        whole(&[]),
        whole(&[(0, b"start"), (3 << 20, b"end")]),
        whole(&[(0, b"start")]),
    ];
    for tag in ["sparse-gnu", "sparse-pax-0-0", "sparse-pax-0-1", "sparse-pax-1-0"] {
        let sums = sh(tag, "cd /sparse; sha256sum front hole middle tail | cut -d' ' -f1");
        assert_eq!(sums.lines().collect::<Vec<_>>(), expected, "{tag}");
        let blocks: u32 = sh(tag, "stat -c %b /sparse/hole").parse().unwrap();
        assert!(blocks < 64, "{tag}: the hole takes {blocks} blocks");
    }
}

#[test]
fn modes_and_times() {
    requires!(UserNamespaces, Image("edge", "modes"));
    assert_eq!(
        sh("modes", "stat -c %a /setuid /setgid /sticky /none /all"),
        "4755\n2755\n1777\n0\n777"
    );
    let script = "stat -c %Y /old /future /dated /dated/in /dated/link /ancient";
    assert_eq!(sh("times", script), "1\n4102444800\n1234567890\n1767225600\n1234567891\n-86400");
    has(&sh("times", "stat -c %y /split"), &[".25"]);
    assert_eq!(
        sh(
            "read-only-dirs",
            "stat -c %a /ro /ro/none /ro/write-only; cat /ro/none/b /ro/none/d /ro/write-only/c; ls /ro/a 2>/dev/null; true"
        ),
        "555\n0\n300\nb\nd\nc"
    );
}

#[test]
fn closed_directories_can_be_removed_again() {
    requires!(Registry, Image("edge", "read-only-dirs"));
    let home = Home::new();
    let reference = image("edge", "read-only-dirs");
    home.coracle(["pull", "-q", &reference]).ok();
    home.coracle(["rmi", &reference]).ok();
    let left = home.listing();
    assert!(!left.contains("write-only"), "{left}");
}

#[test]
fn owners_are_the_images() {
    requires!(UserNamespaces, Image("edge", "owners"));
    assert_eq!(
        sh("owners", "stat -c '%u:%g %a' /u1000 /g42 /l1000 /d65533 /d65533/in /fifo1000"),
        "1000:1000 644\n0:42 640\n1000:2000 777\n65533:65533 700\n1:2 644\n1000:1000 600"
    );
    assert_eq!(
        sh("modes", "stat -c '%u:%g %a' /owned-setuid /setgid-dir"),
        "1000:2000 6755\n0:2000 2775"
    );
    if pass() != "range" {
        return; // with one id any owner can be recorded
    }
    let error = Home::new().coracle(["pull", &image("edge", "owners-huge")]).fails(1);
    has(&error, &["1000660000"]);
}

#[test]
fn an_owner_beyond_a_single_id_is_no_obstacle() {
    requires!(UserNamespaces, Image("edge", "owners-huge"));
    if pass() != "range" {
        assert_eq!(sh("owners-huge", "cat /far"), "f");
    }
}

#[test]
fn devices_are_never_usable() {
    requires!(UserNamespaces, Image("edge", "devices"));
    assert_eq!(sh("devices", "stat -c %F /d/fifo; stat -c %a /d/fifo"), "fifo\n622");
    assert_eq!(
        sh(
            "devices",
            "[ -b /d/sda ] && head -c 1 /d/sda; [ -c /d/null ] && head -c 1 </d/null; echo none"
        ),
        "none"
    );
}

#[test]
fn extended_attributes() {
    requires!(
        UserNamespaces,
        Image("edge", "xattrs"),
        Program("/usr/bin/getfattr"),
        Program("/usr/sbin/getcap")
    );
    // The host's programs, with what they load: busybox has none for this.
    let host = ["-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro"];
    let sh = |tag: &str, script: &str| {
        run_image(&pulled("edge", tag), &host, &["sh", "-c", script]).ok()
    };
    let shown = sh("xattrs", "/usr/bin/getfattr --absolute-names -d -m '^user' /x /xd");
    has(&shown, &["# file: /x\nuser.colour=\"blue\"\n", "# file: /xd\nuser.colour=\"green\""]);
    if pass() == "range" {
        assert_eq!(sh("xattrs", "/usr/sbin/getcap /capable"), "/capable cap_net_bind_service=ep");
    }
    // Another tool's notes in a layer are not believed.
    let shown = sh(
        "xattrs-foreign",
        "cat /o/f; stat -c %a /o/f; /usr/bin/getfattr --absolute-names -d -m - /o /o/f; true",
    );
    assert!(shown.starts_with("f\n644"), "{shown}");
    for name in ["overlay", "override_stat", "selinux"] {
        assert!(!shown.contains(name), "{shown}");
    }
}

#[test]
fn many_layers() {
    requires!(UserNamespaces, Image("edge", "many"));
    assert_eq!(sh("many", "cat /layer/last; ls /layer | wc -l"), "59\n61");
    assert_eq!(sh("empty-layer", "cat /after"), "a");
}

#[test]
fn what_buildah_and_umoci_wrote() {
    requires!(UserNamespaces, Image("edge", "buildah"), Image("edge", "umoci"));
    let script = "cd /t; find . | sort; cat keep owned-linked setuid/in sub/new; stat -c %a keep closed closed/in fifo; \
                  stat -c %Y owned; [ owned -ef owned-linked ] && echo same; tail -c 4 sparse; sha256sum sparse";
    let buildah = sh("buildah", script);
    assert_eq!(buildah, sh("umoci", script));
    has(&buildah, &["./sub/new", "keep\nowned\nin\nnew\n700\n555\n0\n622\n981173106\nsame\nend"]);
    for gone in ["./gone", "./sub/a", "./sub/deep", "./sub/to-keep"] {
        assert!(!buildah.lines().any(|line| line == gone), "{gone} in\n{buildah}");
    }
}

#[test]
fn debian_and_python_run() {
    requires!(UserNamespaces, Image("debian", "12"), Image("python", "3"));
    let debian = pulled("debian", "12");
    has(&run_image(&debian, &[], &["cat", "/etc/os-release"]).ok(), &["Debian GNU/Linux 12"]);
    has(&run_image(&debian, &[], &["dpkg", "-l"]).ok(), &["coreutils"]);
    assert_eq!(run_image(&debian, &[], &["perl", "-e", "print 6 * 7"]).ok(), "42");
    // dpkg renames, links and syncs: a good judge of a root file system.
    let script = "mkdir -p /p/DEBIAN /p/opt && echo x >/p/opt/x && printf 'Package: p\\nVersion: 1\\nArchitecture: all\\n\
                  Maintainer: n <n@example.org>\\nDescription: d\\n' >/p/DEBIAN/control && dpkg-deb -b /p /p.deb >/dev/null \
                  && dpkg -i /p.deb >/dev/null && cat /opt/x && dpkg -r p >/dev/null && [ ! -e /opt/x ]";
    assert_eq!(run_image(&debian, &[], &["sh", "-ec", script]).ok(), "x");
    let python = pulled("python", "3");
    assert_eq!(
        run_image(
            &python,
            &[],
            &["-c", "import os; print(os.getcwd(), os.environ['PYTHONUNBUFFERED'])"]
        )
        .ok(),
        "/srv 1"
    );
}
