//! Archives made to do harm.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;

/// A home with a canary that no archive may touch.
fn bench() -> Bench {
    let bench = Bench::new();
    fs::write(bench.home.path().join("canary"), "alive").expect("a file");
    bench
}

fn check(bench: &Bench) {
    let canary = bench.home.path().join("canary");
    assert_eq!(fs::read(&canary).expect("the canary"), b"alive");
    let names = fs::read_dir(bench.home.path()).expect("it");
    let names: Vec<_> = names.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    assert!(
        names.iter().all(|name| name == "canary" || name.as_bytes().starts_with(b"layer")),
        "{names:?}"
    );
}

fn refused(tar: &Tar) -> Error {
    let mut bench = bench();
    let error = bench.add(&tar.0).expect_err("it must be refused");
    check(&bench);
    error
}

#[test]
fn names_that_climb_are_refused() {
    for name in ["../canary", "a/../../canary", "/../canary", ".."] {
        refused(Tar::default().file(name, b"dead").end());
        refused(Tar::default().link("x", name).end());
    }
    refused(Tar::default().pax(&[("path", b"../canary")]).file("x", b"dead").end());
    refused(Tar::default().pax(&[("path", b"x\0y")]).file("x", b"dead").end());
}

#[test]
fn links_lead_nowhere_outside() {
    let mut bench = bench();
    let above = bench.home.path().to_str().expect("text").to_owned();
    let mut tar = Tar::default();
    tar.symlink("up", "../..").file("up/canary", b"dead");
    tar.symlink("root", "/").file("root/canary", b"dead");
    tar.directory(above.trim_start_matches('/'));
    tar.symlink("there", &above).file("there/canary", b"dead").directory("up");
    bench.add(&tar.end().0).expect("harmless");
    check(&bench);
    assert_eq!(fs::read(bench.at("canary")).expect("inside"), b"dead");
}

#[test]
fn last_parts_are_replaced_and_not_followed() {
    let mut bench = bench();
    let canary = bench.home.path().join("canary");
    let mut tar = Tar::default();
    for name in ["file", "dir", "dir2/"] {
        tar.symlink(name.trim_end_matches('/'), canary.to_str().expect("text"));
    }
    tar.file("file", b"dead").directory("dir").directory("dir2/").file("dir2/x", b"x");
    bench.add(&tar.end().0).expect("harmless");
    check(&bench);
    assert!(bench.at("dir").is_dir() && bench.at("dir2/x").is_file());
}

#[test]
fn hard_links_do_not_reach_through_links() {
    // The link is linked, not what it points to.
    let mut bench = bench();
    let canary = bench.home.path().join("canary");
    let mut tar = Tar::default();
    tar.symlink("soft", canary.to_str().expect("text")).link("hard", "soft").file("hard", b"dead");
    bench.add(&tar.end().0).expect("harmless");
    check(&bench);
    refused(Tar::default().directory("d").link("hard", "d").end());
    refused(Tar::default().link("hard", "/etc/passwd").end());
    refused(Tar::default().link("hard", "/").end());
    refused(Tar::default().symlink("up", "../..").link("hard", "up/../canary").end());
}

#[test]
fn whiteouts_do_not_reach_outside() {
    let mut bench = bench();
    let mut tar = Tar::default();
    tar.symlink("up", "../..").file("up/.wh.canary", b"").file("up/.wh..wh..opq", b"");
    bench.add(&tar.end().0).expect("harmless");
    check(&bench);
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..", ".wh.a/b"] {
        refused(Tar::default().file(name, b"").end());
    }
}

#[test]
fn a_dangling_or_looping_parent_is_refused() {
    refused(Tar::default().symlink("a", "nowhere").file("a/b", b"x").end());
    refused(Tar::default().symlink("a", "a").file("a/b", b"x").end());
    refused(Tar::default().file("a", b"x").file("a/b", b"x").end());
}

#[test]
fn a_pax_size_is_the_files_alone() {
    // "TARmageddon": a long name stands between the size and its file.
    let inner = Tar::default().file("smuggled", b"x").0.clone();
    let mut tar = Tar::default();
    tar.pax(&[("size", inner.len().to_string().as_bytes())]);
    tar.header(b"longlink", b'L', 6, b"").body(b"outer\0");
    tar.header(b"outer", b'0', 0, b"").body(&inner).end();
    let mut bench = bench();
    let applied = bench.add(&tar.0).expect("a layer");
    assert_eq!((applied.entries, applied.bytes), (1, inner.len() as u64));
    assert!(!bench.at("smuggled").exists());
    // Binary values before it do not hide it.
    let mut tar = Tar::default();
    let size = inner.len().to_string();
    tar.pax(&[("SCHILY.xattr.user.a", b"\n\n9 x"), ("size", size.as_bytes())]);
    tar.header(b"outer", b'0', 0, b"").body(&inner).end();
    assert_eq!(bench.add(&tar.0).expect("a layer").entries, 1);
    // On what has no data it consumes nothing.
    let mut tar = Tar::default();
    tar.pax(&[("size", b"1024")]).directory("d").file("after", b"x").end();
    assert_eq!(bench.add(&tar.0).expect("a layer").entries, 2);
}

#[test]
fn odd_archives_are_refused() {
    let long = vec![b'a'; 5000];
    refused(Tar::default().pax(&[("path", &long)]).file("x", b"").end());
    refused(Tar::default().header(b"L", b'L', 2 << 20, b""));
    refused(Tar::default().header(b"x", b'x', 1 << 32, b""));
    refused(Tar::default().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", b"").end());
    refused(Tar::default().pax(&[("path", b"a")]).end());
    refused(Tar::default().header(b"x", b'V', 0, b"").end());
    refused(Tar::default().symlink("x", "").end());
    refused(Tar::default().file("", b"").end());
    let mut cut = Tar::default();
    cut.file("x", b"cut").0.truncate(600);
    refused(&cut);
    for size in [&b"-0000000001\0"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"99"]
    {
        let mut tar = Tar::default();
        tar.header_with(b"x", b'0', 0, b"", |block| {
            block[124..124 + size.len()].copy_from_slice(size);
        });
        refused(tar.end());
    }
    let mut global = Tar::default();
    let record = b"9 size=1\n";
    global.header(b"g", b'g', record.len() as u64, b"").body(record).file("x", b"");
    refused(global.end());
    let mut sum = Tar::default();
    sum.file("x", b"").end();
    sum.0[0] = b'y';
    refused(&sum);
}

#[test]
fn ids_do_not_wrap() {
    for id in ["4294967295", "4294967296", "-1", "1e3"] {
        let error = refused(Tar::default().pax(&[("uid", id.as_bytes())]).file("x", b"").end());
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
    let mut tar = Tar::default();
    tar.header_with(b"x", b'0', 0, b"", |block| block[116..124].fill(0xff));
    refused(tar.end());
}

#[test]
fn what_a_layer_may_cost_is_limited() {
    let limits = Limits { bytes: 4096, entries: 3, directories: 3 };
    let mut bench = bench();
    let error = bench.add_within(&Tar::default().file("x", &[0; 8192]).0, &limits);
    assert!(matches!(error, Err(Error::TooLarge { .. })));
    let mut bench = Bench::new();
    let four = ["a", "b", "c", "d"].iter().fold(Tar::default(), |mut tar, name| {
        tar.file(name, b"");
        tar
    });
    assert!(matches!(bench.add_within(&four.0, &limits), Err(Error::TooMany { .. })));
    let mut bench = Bench::new();
    let deep = Tar::default().file("a/b/c/d", b"").0.clone();
    assert!(matches!(bench.add_within(&deep, &limits), Err(Error::TooMany { .. })));
    let deep = "d/".repeat(300) + "f";
    refused(Tar::default().pax(&[("path", deep.as_bytes())]).file("x", b"").end());
}

#[test]
fn a_tebibyte_of_holes_takes_no_room() {
    let mut tar = Tar::default();
    tar.pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"big"),
        ("GNU.sparse.realsize", b"1099511627776"),
    ]);
    tar.header(b"GNUSparseFile.0/big", b'0', 512 + 3, b"");
    let mut map = b"1\n1099511627773\n3\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"end");
    tar.body(&map).end();
    let mut bench = bench();
    bench.add(&tar.0).expect("a layer");
    let metadata = fs::metadata(bench.at("big")).expect("a file");
    assert_eq!(metadata.len(), 1 << 40);
    assert!(metadata.blocks() < 64);
    // A map that does not fit its data.
    for map in ["2\n0\n3\n", "1\n0\n4\n", "1\n5\n", "99999999\n0\n0\n", "x\n"] {
        let mut tar = Tar::default();
        tar.pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"3"),
        ]);
        let mut body = map.as_bytes().to_vec();
        body.resize(512, 0);
        body.extend_from_slice(b"end");
        tar.header(b"x", b'0', body.len() as u64, b"").body(&body).end();
        refused(&tar);
    }
}
