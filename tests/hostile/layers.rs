//! Archives that want out of their tree, or to drown their reader.

use std::fmt::Write as _;
use std::fs;

use super::Victim;
use crate::support::image::{Entry, Image, Tar};

fn climb(path: &str) -> String {
    format!("{}{path}", "../".repeat(12))
}

#[test]
fn names_that_climb() {
    let victim = Victim::new();
    let secret = victim.path("/secret");
    let under = secret.trim_start_matches('/');
    for name in [
        format!("../{under}"),
        climb(under),
        secret.clone(),
        format!("//{under}"),
        format!("a/../../{}", climb(under)),
        format!("./{}", climb(under)),
        "..".into(),
        "a/..".into(),
        "../escaped".into(),
    ] {
        // Longer than the 100 bytes of a header: by PAX too.
        let tar = Tar::new().pax(&[("path", name.as_bytes())]).file("x", "overwritten\n");
        victim.pull(&[Tar::new().file(&name, "overwritten\n").finish()]);
        victim.pull(&[tar.finish()]);
        victim.pull(&[Tar::new().directory(&name, 0o777).finish()]);
    }
}

#[test]
fn writing_through_links() {
    let victim = Victim::new();
    let relative = climb(victim.path("").trim_start_matches('/'));
    for target in [
        victim.path(""),
        relative,
        "/proc/self/cwd/canary".into(),
        format!("/proc/self/root{}", victim.path("")),
    ] {
        let link =
            |name: &str| Tar::new().pax(&[("linkpath", target.as_bytes())]).symlink(name, "x");
        for through in ["secret", "new", "directory/inside", "directory/new"] {
            let inside = format!("l/{through}");
            // In one layer, and from a layer below.
            victim.pull(&[link("l").file(&inside, "overwritten\n").finish()]);
            victim.pull(&[link("l").finish(), Tar::new().file(&inside, "overwritten\n").finish()]);
            victim.pull(&[link("l").finish(), Tar::new().directory(&inside, 0o777).finish()]);
            victim.pull(&[link("l").hardlink("h", &inside).file("h", "overwritten\n").finish()]);
        }
        // A directory entry on top of the link must not reach what it names.
        victim.pull(&[link("l").directory("l", 0o777).finish()]);
        victim.pull(&[link("l").directory("l/", 0o777).finish()]);
        victim.pull(&[link("l").finish(), Tar::new().directory("l/", 0).finish()]);
        victim.pull(&[link("l/").file("l/secret", "overwritten\n").finish()]);
        // The root itself as a link.
        for root in [".", "./", "/", ""] {
            victim.pull(&[link(root).file("secret", "overwritten\n").finish()]);
        }
    }
    // Straight onto a link to a file: the link is replaced, not followed.
    let file = victim.path("/secret");
    let link = Tar::new().pax(&[("linkpath", file.as_bytes())]).symlink("f", "x");
    victim.pull(&[link.clone().file("f", "overwritten\n").finish()]);
    victim.pull(&[link.clone().finish(), Tar::new().file("f", "overwritten\n").finish()]);
    victim.pull(&[link
        .entry(&Entry { name: b"f", kind: b'6', mode: 0o777, ..Entry::default() })
        .finish()]);
}

#[test]
fn hard_links_to_the_host() {
    let victim = Victim::new();
    let secret = victim.path("/secret");
    for target in
        [secret.clone(), climb(secret.trim_start_matches('/')), format!("/proc/self/root{secret}")]
    {
        let link = || Tar::new().pax(&[("linkpath", target.as_bytes())]).hardlink("h", "x");
        victim.pull(&[link().finish()]);
        victim.pull(&[link().file("h", "overwritten\n").finish()]);
        victim.pull(&[link().finish(), Tar::new().file("h", "overwritten\n").finish()]);
    }
    let metadata = fs::metadata(&secret).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::nlink(&metadata),
        1,
        "the host's file was linked into the store"
    );
}

#[test]
fn whiteouts_that_reach_out() {
    let victim = Victim::new();
    for name in [
        ".wh...",
        ".wh..",
        ".wh.",
        "a/.wh...",
        ".wh.../x",
        ".wh..wh..opq/x",
        ".wh.a/b",
        "..wh.x",
        ".wh..wh.plnk/1",
    ] {
        victim.pull(&[Tar::new().file("a/b", "b\n").finish(), Tar::new().file(name, "").finish()]);
    }
    let target = victim.path("");
    let link = || Tar::new().pax(&[("linkpath", target.as_bytes())]).symlink("l", "x");
    for name in ["l/.wh.secret", "l/.wh.directory", "l/.wh..wh..opq", "l/directory/.wh..wh..opq"] {
        victim.pull(&[link().file(name, "").finish()]);
        victim.pull(&[link().finish(), Tar::new().file(name, "").finish()]);
    }
}

#[test]
fn links_in_a_circle() {
    let victim = Victim::new();
    victim.pull(&[Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "x\n").finish()]);
    victim.pull(&[Tar::new().symlink("a", "a").hardlink("h", "a").finish()]);
    victim.pull(&[Tar::new().hardlink("h", "h").finish()]);
    victim.pull(&[Tar::new().hardlink("h", "i").hardlink("i", "h").finish()]);
    victim.pull(&[Tar::new().hardlink("d", ".").finish()]);
}

/// Opening a fifo for writing waits for a reader for ever.
#[test]
fn a_fifo_in_the_way() {
    let victim = Victim::new();
    let fifo = Entry { name: b"f", kind: b'6', ..Entry::default() };
    victim.pull(&[Tar::new().entry(&fifo).file("f", "x\n").finish()]).ok();
    victim.pull(&[Tar::new().entry(&fifo).finish(), Tar::new().file("f", "x\n").finish()]).ok();
    victim.pull(&[Tar::new().entry(&fifo).hardlink("g", "f").file("g", "x\n").finish()]);
}

#[test]
fn headers_that_lie() {
    let victim = Victim::new();
    let sized = |size: &[u8]| {
        let entry = Entry { name: b"f", size: Some(size), data: b"data", ..Entry::default() };
        Image::of(&[Tar::new().entry(&entry).finish()])
    };
    let sizes: [&[u8]; 6] = [
        b"77777777777\0",
        b"-0000000001\0",
        b"garbage here",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00",
        b"\x80\x00\x00\x00\x00\x00\x00\x00\x7f\xff\xff\xff",
    ];
    for size in sizes {
        victim.refuses(&sized(size));
    }
    // A size on what has no content consumes nothing, or the archive is refused.
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        let entry = Entry {
            name: b"f",
            kind,
            link: b"x",
            size: Some(b"00000001000\0"),
            ..Entry::default()
        };
        victim.pull(&[Tar::new().file("x", "x\n").entry(&entry).file("g", "g\n").finish()]);
    }
    // The checksum of a header is wrong.
    let mut tar = Tar::new().file("f", "x\n").finish();
    tar[0] = b'g';
    victim.refuses(&Image::of(&[tar]));
}

/// Two readers of one archive that see different files: smuggling past a scanner.
#[test]
fn pax_size_against_header_size() {
    let victim = Victim::new();
    let hidden = Tar::new().file("smuggled", "x\n").finish();
    let entry = Entry { name: b"carrier", size: Some(b"00000000000\0"), ..Entry::default() };
    let size = hidden.len().to_string();
    let tar = Tar::new().pax(&[("size", size.as_bytes())]).entry(&entry).raw(&hidden).finish();
    victim.pull(&[tar]).ok();
    let listed = victim.home.listing();
    assert!(!listed.contains("smuggled"), "the PAX size must win:\n{listed}");
    for size in ["-1", "99999999999999999999", "0x10", "", "1e3"] {
        let tar = Tar::new().pax(&[("size", size.as_bytes())]).file("f", "data").finish();
        victim.pull(&[tar]);
    }
}

#[test]
fn records_without_end() {
    let victim = Victim::new();
    let big = vec![b'x'; 3 << 20];
    victim.refuses(&Image::of(&[Tar::new().pax(&[("comment", &big)]).file("f", "x\n").finish()]));
    for kind in [b'L', b'K'] {
        let long = Entry { name: b"././@LongLink", kind, data: &big, ..Entry::default() };
        victim.refuses(&Image::of(&[Tar::new().entry(&long).file("f", "x\n").finish()]));
    }
    let name = "d/".repeat(5000) + "f";
    victim.refuses(&Image::of(&[Tar::new()
        .pax(&[("path", name.as_bytes())])
        .file("f", "x\n")
        .finish()]));
    let component = "n".repeat(256);
    victim.refuses(&Image::of(&[Tar::new()
        .pax(&[("path", component.as_bytes())])
        .file("f", "x\n")
        .finish()]));
    victim.pull(&[Tar::new().pax(&[("path", b"a\0b")]).file("f", "x\n").finish()]);
    victim.pull(&[Tar::new().pax(&[("path", b"")]).file("f", "x\n").finish()]);
    victim
        .pull(&[Tar::new().pax(&[("path", b"not \xff\xfe utf-8")]).file("f", "x\n").finish()])
        .ok();
    // Broken records.
    for text in
        ["0 a=b\n", "9999 a=b\n", "a=b\n", "5 a=b", "-7 a=b\n", "18446744073709551616 a=b\n"]
    {
        let entry = Entry { name: b"p", kind: b'x', data: text.as_bytes(), ..Entry::default() };
        victim.pull(&[Tar::new().entry(&entry).file("f", "x\n").finish()]);
    }
}

#[test]
fn owners_that_wrap() {
    let victim = Victim::new();
    let ids: [&[u8]; 3] = [
        b"\x80\x00\x00\x00\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x00\x00\x01\x00\x00\x00\x00",
    ];
    for id in ids {
        let entry = Entry { name: b"f", uid: id, mode: 0o4755, data: b"x", ..Entry::default() };
        victim.refuses(&Image::of(&[Tar::new().entry(&entry).finish()]));
    }
    for id in ["4294967295", "4294967296", "-1", "18446744073709551616", "garbage"] {
        victim.refuses(&Image::of(&[Tar::new()
            .pax(&[("uid", id.as_bytes())])
            .file("f", "x")
            .finish()]));
    }
}

#[test]
fn sparse_maps_that_lie() {
    let victim = Victim::new();
    for map in [
        "0,99999999999999999999",
        "5,1,0,1",
        "-1,5",
        "0,10,5,10",
        "1",
        "a,b",
        "9223372036854775807,9223372036854775807",
    ] {
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.size", b"1048576"),
            ("GNU.sparse.map", map.as_bytes()),
        ];
        victim.pull(&[Tar::new().pax(&records).file("f", "data").finish()]);
    }
    // A tebibyte of hole costs nothing or is refused; it must not be written.
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"0"),
        ("GNU.sparse.minor", b"1"),
        ("GNU.sparse.size", b"1099511627776"),
        ("GNU.sparse.map", b"0,4"),
    ];
    victim.pull(&[Tar::new().pax(&records).file("f", "data").finish()]);
}

#[test]
fn cut_and_padded_archives() {
    let victim = Victim::new();
    let whole = Tar::new().file("f", &"x".repeat(2000)).finish();
    for length in [1, 511, 513, 1000, 1536] {
        victim.refuses(&Image::of(&[whole[..length].to_vec()]));
    }
    // Bytes after the end belong to the digest and do no harm.
    let mut padded = whole;
    padded.extend_from_slice(&[0; 10_240]);
    victim.pull(&[padded]).ok();
}

/// A bomb is a stream like any other: it costs disk as told, and never memory.
#[test]
fn a_bomb_costs_no_memory() {
    let victim = Victim::new();
    let zeros = vec![0u8; 200 << 20];
    let tar =
        Tar::new().entry(&Entry { name: b"zeros", data: &zeros, ..Entry::default() }).finish();
    drop(zeros);
    let reference = victim.registry.push("bomb", "1", &Image::of(&[tar]));
    let mut running = victim.home.coracle(["pull", "-q", &reference]).spawn();
    let mut peak_kib = 0;
    while running.child.try_wait().unwrap().is_none() {
        peak_kib = peak_kib.max(resident_kib(running.child.id()));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.wait().ok();
    assert!(peak_kib > 0 && peak_kib < 64 << 10, "{peak_kib} KiB resident");
}

/// The highest resident size so far of a process and of those it started.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below =
        children.split_whitespace().filter_map(|child| child.parse().ok()).map(resident_kib).max();
    own.unwrap_or(0).max(below.unwrap_or(0))
}

#[test]
fn many_entries_and_deep_trees() {
    let victim = Victim::new();
    let mut tar = Tar::new();
    for n in 0..3000 {
        tar = tar.file(&format!("d{}/f{n}", n % 50), "x");
    }
    victim.pull(&[tar.finish()]).ok();
    let mut name = String::new();
    for n in 0..500 {
        write!(name, "d{n}/").unwrap();
    }
    victim.pull(&[Tar::new()
        .pax(&[("path", format!("{name}f").as_bytes())])
        .file("f", "x")
        .finish()]);
}

/// What was a directory a moment ago is a link by now, and back: nothing is remembered of it.
#[test]
fn directories_swapped_for_links() {
    let victim = Victim::new();
    let target = victim.path("");
    let link = |tar: Tar| tar.pax(&[("linkpath", target.as_bytes())]).symlink("d", "x");
    let filled = || Tar::new().directory("d", 0o755).file("d/f", "x\n");
    victim.pull(&[link(filled()).file("d/secret", "overwritten\n").finish()]);
    victim.pull(&[link(filled()).file("d/directory/inside", "overwritten\n").finish()]);
    victim.pull(&[link(filled()).directory("d", 0o755).file("d/secret", "mine\n").finish()]).ok();
    victim.pull(&[
        filled().finish(),
        link(Tar::new()).finish(),
        Tar::new().file("d/secret", "overwritten\n").finish(),
    ]);
    victim.pull(&[filled().finish(), link(Tar::new()).file("d/.wh.secret", "").finish()]);
}

/// A hard link onto a link, then a mode, an owner and times for it: they must not reach through.
#[test]
fn modes_through_hard_links() {
    let victim = Victim::new();
    for target in [victim.path("/secret"), victim.path("/directory")] {
        let link = || Tar::new().pax(&[("linkpath", target.as_bytes())]).symlink("l", "x");
        let hard = |tar: Tar| {
            tar.entry(&Entry {
                name: b"h",
                kind: b'1',
                mode: 0o6777,
                link: b"l",
                ..Entry::default()
            })
        };
        victim.pull(&[hard(link()).finish()]);
        victim.pull(&[link().finish(), hard(Tar::new()).finish()]);
        let file = Entry { name: b"h", mode: 0o6777, data: b"overwritten\n", ..Entry::default() };
        victim.pull(&[hard(link()).entry(&file).finish()]);
    }
}

/// Attributes that a union file system, or we ourselves, would obey.
#[test]
fn attributes_that_steer() {
    let victim = Victim::new();
    let path = victim.path("");
    let records: Vec<(String, &[u8])> = [
        "user.overlay.redirect",
        "user.overlay.metacopy",
        "user.overlay.opaque",
        "user.overlay.origin",
        "trusted.overlay.redirect",
        "trusted.overlay.opaque",
        "user.fuseoverlayfs.opaque",
        "user.containers.override_stat",
        "user.coracle.xattr.security.capability",
        "security.selinux",
    ]
    .iter()
    .map(|name| (format!("SCHILY.xattr.{name}"), path.as_bytes()))
    .collect();
    let records: Vec<(&str, &[u8])> =
        records.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    victim
        .pull(&[Tar::new()
            .pax(&records)
            .directory("d", 0o755)
            .pax(&records)
            .file("f", "x")
            .finish()])
        .ok();
    let mut left = vec![victim.home.store().join("layers")];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
            seen += 1;
            let mut names = vec![0_u8; 64 << 10];
            let length = rustix::fs::llistxattr(entry.path(), &mut names).unwrap_or(0);
            let names = String::from_utf8_lossy(&names[..length]).into_owned();
            for bad in ["overlay", "fuseoverlayfs", "xattr.security.capability", "trusted"] {
                assert!(!names.contains(bad), "{}: {names:?}", entry.path().display());
            }
        }
    }
    assert!(seen > 3, "the layer was not found");
}

/// Names with a newline, an escape or what overlay's options are made of, in errors too.
#[test]
fn names_for_the_terminal() {
    let victim = Victim::new();
    let names: [&[u8]; 5] =
        [b"a\x1b[2Jb", b"new\nline", b"comma,colon:back\\slash", b"\xff\xfe", b"\x9b31m"];
    for name in names {
        let path = [name, b"/f"].concat();
        let tar = Tar::new().pax(&[("path", &path)]).file("x", "x\n");
        victim.pull(&[tar.clone().finish()]).ok();
        // A file where a directory would be needed, and a name that climbs.
        for bad in [[&path[..], b"/g"].concat(), [name, b"/../../../x"].concat()] {
            let output = victim.pull(&[tar.clone().pax(&[("path", &bad)]).file("x", "x").finish()]);
            assert!(!output.stderr.contains(['\u{1b}', '\u{9b}']), "{output}");
        }
    }
}
