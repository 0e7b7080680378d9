//! What the image specification and good sense ask of a layer.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::*;
use crate::layer::{OPAQUE, RECORDED};
use crate::owners::OVERRIDE;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it").permissions().mode() & 0o7777
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_char_device() && it.rdev() == 0)
}

#[test]
fn entries_become_files() {
    let mut bench = Bench::new();
    let mut tar = Tar::default();
    tar.directory("./").directory("etc/").file("etc/hosts", b"127.0.0.1\n");
    tar.symlink("etc/link", "../../outside").link("etc/second", "etc/hosts");
    tar.header(b"run/pipe", b'6', 0, b"").end();
    let applied = bench.add(&tar.0).expect("a layer");
    assert_eq!((applied.entries, applied.bytes), (6, 10));
    assert_eq!(fs::read(bench.at("etc/second")).expect("a file"), b"127.0.0.1\n");
    assert_eq!(fs::metadata(bench.at("etc/hosts")).expect("a file").nlink(), 2);
    assert_eq!(link_text(&bench.at("etc/link")), b"../../outside");
    assert!(fs::metadata(bench.at("run/pipe")).expect("a pipe").file_type().is_fifo());
    assert_eq!(fs::metadata(bench.at("etc")).expect("it").mtime(), 1000);
    assert_eq!(mode(&bench.at("run")), 0o755, "a directory no one described");
}

#[test]
fn closed_directories_are_filled_first() {
    let mut bench = Bench::new();
    let mut tar = Tar::default();
    for (name, bits) in [("a/", b"0000000\0"), ("a/b/", b"0000555\0")] {
        tar.header_with(name.as_bytes(), b'5', 0, b"", |block| {
            block[100..108].copy_from_slice(bits);
        });
    }
    tar.file("a/b/c", b"x").end();
    bench.add(&tar.0).expect("a layer");
    assert_eq!(mode(&bench.at("a")), 0);
    fs::set_permissions(bench.at("a"), fs::Permissions::from_mode(0o700)).expect("ours");
    assert_eq!(mode(&bench.at("a/b")), 0o555);
    assert_eq!(fs::read(bench.at("a/b/c")).expect("a file"), b"x");
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_here() {
    let mut bench = Bench::new();
    let mut tar = Tar::default();
    // `kept` comes before its whiteout, `late` behind it: both stay.
    tar.file("kept", b"x").file(".wh.kept", b"").file(".wh.gone", b"");
    tar.file(".wh.late", b"").file("late/file", b"x");
    tar.directory("full").file("full/file", b"x").file(".wh.full", b"");
    tar.file("deep/down/.wh.gone", b"").file("open/.wh..wh..opq", b"").file("open/new", b"x");
    tar.file(".wh..wh.aufs", b"").directory(".wh..wh.plnk").end();
    bench.add(&tar.0).expect("a layer");
    assert!(is_whiteout(&bench.at("gone")) && is_whiteout(&bench.at("deep/down/gone")));
    assert!(bench.at("kept").is_file() && bench.at("late/file").is_file());
    for directory in ["late", "full", "open"] {
        assert_eq!(xattr(&bench.at(directory), OPAQUE).as_deref(), Some(&b"y"[..]), "{directory}");
    }
    assert!(bench.at("open/new").is_file());
    let names = fs::read_dir(bench.at("")).expect("it").count();
    assert_eq!(names, 6, "nothing of aufs");
}

#[test]
fn a_directory_without_entry_looks_as_below() {
    let mut bench = Bench::new();
    let mut below = Tar::default();
    below.header_with(b"srv/", b'5', 0, b"", |block| {
        block[100..108].copy_from_slice(b"0001770\0");
        block[108..116].copy_from_slice(b"0000041\0");
    });
    below.pax(&[("SCHILY.xattr.user.kept", b"1")]).directory("srv/data/");
    bench.add(&below.end().0).expect("a layer");
    let mut above = Tar::default();
    above.file("srv/data/new", b"x").directory("srv/other");
    bench.add(&above.end().0).expect("a layer");
    assert_eq!(mode(&bench.at("srv")), 0o1770);
    assert_eq!(fs::metadata(bench.at("srv")).expect("it").mtime(), 1000);
    assert_eq!(xattr(&bench.at("srv"), OVERRIDE).expect("an owner"), b"33:0:1770:dir");
    assert_eq!(xattr(&bench.at("srv/data"), "user.kept").expect("it"), b"1");
    // Hidden, it is not looked at.
    let mut hiding = Tar::default();
    hiding.file(".wh.srv", b"").file("srv/data/new", b"x");
    bench.add(&hiding.end().0).expect("a layer");
    assert_eq!(mode(&bench.at("srv/data")), 0o755);
}

#[test]
fn hard_links_reach_into_lower_layers() {
    let mut bench = Bench::new();
    let mut below = Tar::default();
    below.header_with(b"bin/tool", b'0', 4, b"", |block| {
        block[100..108].copy_from_slice(b"0004755\0");
    });
    below.body(b"tool").file("gone", b"x");
    bench.add(&below.end().0).expect("a layer");
    let mut above = Tar::default();
    above.link("usr/bin/tool", "bin/tool").link("early", "late").file("late", b"late");
    above.link("dropped", "bin/tool").file("dropped", b"own");
    bench.add(&above.end().0).expect("a layer");
    let (first, second) = (bench.at("bin/tool"), bench.at("usr/bin/tool"));
    let inode = |path: &Path| fs::metadata(path).expect("a file").ino();
    assert_eq!(inode(&first), inode(&second), "one file, copied up");
    assert_eq!(mode(&second), 0o4755);
    assert_eq!(fs::read(bench.at("early")).expect("a file"), b"late");
    assert_eq!(fs::read(bench.at("dropped")).expect("a file"), b"own");
    for (target, also) in [("nowhere", ""), ("gone", ".wh.gone")] {
        let mut broken = Tar::default();
        if !also.is_empty() {
            broken.file(also, b"");
        }
        broken.link("link", target).end();
        let error = bench.add(&broken.0).expect_err("no target");
        assert!(matches!(error, Error::NoLinkTarget { .. }), "{error}");
        bench.layers.truncate(2);
        let _ = fs::remove_dir_all(bench.home.path().join("layer2"));
    }
}

#[test]
fn the_last_of_two_entries_wins() {
    let mut bench = Bench::new();
    let mut tar = Tar::default();
    tar.file("a", b"1").directory("a").file("a/b", b"2");
    tar.directory("c").file("c/d", b"3").file("c", b"4");
    tar.symlink("e", "c").file("e", b"5");
    tar.header(b"f", b'6', 0, b"").file("f", b"6");
    tar.file("g", b"7").link("h", "g").file("g", b"8");
    bench.add(&tar.end().0).expect("a layer");
    let read = |name| fs::read(bench.at(name)).expect("a file");
    assert_eq!([read("a/b"), read("c"), read("e"), read("f")], [b"2", b"4", b"5", b"6"]);
    assert_eq!([read("g"), read("h")], [b"8", b"7"], "the link kept the old file");
}

#[test]
fn a_swapped_directory_is_noticed() {
    let mut bench = Bench::new();
    let mut tar = Tar::default();
    tar.directory("a").file("a/x", b"1").directory("b").symlink("a", "b").file("a/y", b"2");
    bench.add(&tar.end().0).expect("a layer");
    assert_eq!(fs::read(bench.at("b/y")).expect("a file"), b"2");
    assert!(!bench.at("b/x").exists());
}

#[test]
fn what_one_user_cannot_own_is_recorded() {
    let mut bench = Bench::new();
    let owned = |block: &mut [u8]| {
        block[108..116].copy_from_slice(b"0000041\0");
        block[116..124].copy_from_slice(b"0000052\0");
    };
    let mut tar = Tar::default();
    tar.pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n\0\0\0")]);
    tar.header_with(b"file", b'0', 0, b"", owned).header_with(b"link", b'2', 0, b"x", owned);
    tar.header_with(b"null", b'3', 0, b"", |block| {
        block[329..337].copy_from_slice(b"0000001\0");
        block[337..345].copy_from_slice(b"0000003\0");
    });
    tar.file("mine", b"");
    bench.add(&tar.end().0).expect("a layer");
    assert_eq!(xattr(&bench.at("file"), OVERRIDE).expect("it"), b"33:42:0644:file");
    let capability = format!("{RECORDED}security.capability");
    assert_eq!(xattr(&bench.at("file"), &capability).expect("it"), b"\x01\0\0\x02\n\0\0\0");
    assert_eq!(xattr(&bench.at("null"), OVERRIDE).expect("it"), b"0:0:0644:char-1-3");
    assert!(fs::symlink_metadata(bench.at("null")).expect("it").is_file(), "never a node");
    assert_eq!(xattr(&bench.at("mine"), OVERRIDE), None);
    let owners = fs::read_to_string(bench.at("../owners")).expect("records");
    assert_eq!(owners, "{\"name\":\"link\",\"stat\":\"33:42:0644:symlink\"}\n");
}

#[test]
fn steering_attributes_are_dropped() {
    let mut bench = Bench::new();
    let mut tar = Tar::default();
    tar.pax(&[
        ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.containers.override_stat", b"0:0:4755:file"),
        ("SCHILY.xattr.user.mine", b"a\nb"),
    ]);
    tar.directory("dir").pax(&[("SCHILY.xattr.user.other", b"")]).directory("dir");
    bench.add(&tar.end().0).expect("a layer");
    assert_eq!(xattr(&bench.at("dir"), OPAQUE), None);
    assert_eq!(xattr(&bench.at("dir"), OVERRIDE), None);
    assert_eq!(xattr(&bench.at("dir"), "user.mine"), None, "the last entry wins");
    assert_eq!(xattr(&bench.at("dir"), "user.other").as_deref(), Some(&b""[..]));
}

#[test]
fn a_range_owns_for_real() {
    if !rustix::process::geteuid().is_root() {
        return; // a user has one id
    }
    let mut bench = Bench::new();
    bench.owners = Owners::Range { first: 0 };
    let mut tar = Tar::default();
    let owned = |block: &mut [u8]| {
        block[100..108].copy_from_slice(b"0006755\0");
        block[108..116].copy_from_slice(b"0000041\0");
    };
    tar.pax(&[(
        "SCHILY.xattr.security.capability",
        &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )]);
    tar.header_with(b"file", b'0', 0, b"", owned);
    tar.header_with(b"link", b'2', 0, b"x", owned).header_with(b"dir", b'5', 0, b"", owned);
    bench.add(&tar.end().0).expect("a layer");
    for name in ["file", "link", "dir"] {
        let metadata = fs::symlink_metadata(bench.at(name)).expect("it");
        assert_eq!((metadata.uid(), metadata.gid()), (33, 0), "{name}");
    }
    assert_eq!(mode(&bench.at("file")), 0o6755, "the owner was set first");
    assert!(xattr(&bench.at("file"), "security.capability").is_some());
}

#[test]
fn the_root_entry_changes_the_root_only() {
    let mut bench = Bench::new();
    let before = mode(bench.home.path());
    let mut tar = Tar::default();
    tar.header_with(b"./", b'5', 0, b"", |block| block[100..108].copy_from_slice(b"0000711\0"));
    bench.add(&tar.end().0).expect("a layer");
    assert_eq!((mode(&bench.at("")), mode(bench.home.path())), (0o711, before));
    assert!(bench.add(&Tar::default().symlink("./", "/tmp").end().0).is_err());
}

#[test]
fn empty_and_endless_archives() {
    let mut bench = Bench::new();
    assert_eq!(bench.add(b"").expect("an empty layer").entries, 0);
    bench.add(&Tar::default().file("a", b"x").0).expect("no end mark");
    bench.add(&[&Tar::default().end().0[..], b"anything"].concat()).expect("a tail");
}
