//! Both drivers show the same image; so does what reads it without either.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::layer::{Limits, Tree, apply};
use crate::oci::Algorithm;
use crate::owners::Owners;

use super::*;

const LISTING: &str =
    "find . -printf '%p %y %m %T@ %l ' -type f -exec md5sum -b {} ';' -o -printf '\n'";

struct Bench {
    home: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

type File<'a> = (&'a str, tar::EntryType, u32, &'a str);

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { home, layers: Vec::new() }
    }

    /// One more layer: name, kind, mode, and content or target.
    fn add(&mut self, files: &[File]) {
        let mut builder = tar::Builder::new(Vec::new());
        for (time, (name, kind, mode, text)) in files.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1000 + time as u64);
            match kind {
                tar::EntryType::Link | tar::EntryType::Symlink => {
                    header.set_size(0);
                    builder.append_link(&mut header, name, text).expect("memory");
                }
                _ => {
                    header.set_size(text.len() as u64);
                    builder.append_data(&mut header, name, text.as_bytes()).expect("memory");
                }
            }
        }
        let bytes = builder.into_inner().expect("memory");
        let place = self.home.path().join(self.layers.len().to_string());
        fs::create_dir(&place).expect("a directory");
        let limits = Limits::of(1);
        let mut tree = Tree::create(&place, Owners::Recorded, &limits).expect("a tree");
        apply(&bytes[..], &mut tree, Algorithm::Sha256, &limits).expect("a layer");
        tree.settle(&self.layers).expect("a layer");
        self.layers.push(place.join("fs"));
    }

    fn prepare(&self, driver: Driver, read_only: bool) -> RootMount {
        let container = self.home.path().join(format!("{driver}-{read_only}"));
        fs::create_dir(&container).expect("a directory");
        prepare(driver, &self.layers, &container, read_only).expect("a root")
    }

    fn read(&self, path: &str) -> Option<String> {
        let bytes = read_file(&self.layers, Path::new(path), 100).expect("no error");
        bytes.map(|bytes| String::from_utf8(bytes).expect("text"))
    }
}

/// Three layers with all that layers do to each other.
fn image() -> Bench {
    use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};
    let mut bench = Bench::new();
    bench.add(&[
        ("./", Directory, 0o755, ""),
        ("etc/", Directory, 0o755, ""),
        ("etc/passwd", Regular, 0o644, "root"),
        ("etc/shadow", Regular, 0o000, "secret"),
        ("etc/alternatives/", Directory, 0o750, ""),
        ("etc/alternatives/x", Symlink, 0o777, "../passwd"),
        ("opt/", Directory, 0o700, ""),
        ("opt/one", Regular, 0o4755, "one"),
        ("opt/two", Link, 0o4755, "opt/one"),
        ("var/", Directory, 0o755, ""),
        ("var/run", Symlink, 0o777, "/run"),
        ("run/user", Regular, 0o600, "user"),
        ("closed/", Directory, 0o000, ""),
        ("closed/inside", Regular, 0o644, "inside"),
        ("pipe", Fifo, 0o640, ""),
        ("was-file", Regular, 0o644, "file"),
        ("was-dir/", Directory, 0o755, ""),
        ("was-dir/file", Regular, 0o644, "x"),
        ("loop", Symlink, 0o777, "loop"),
    ]);
    bench.add(&[
        ("etc/.wh.passwd", Regular, 0o644, ""),
        ("opt/.wh..wh..opq", Regular, 0o644, ""),
        ("opt/three", Regular, 0o555, "three"),
        ("was-file/", Directory, 0o711, ""),
        ("was-file/now", Regular, 0o644, "now"),
        ("was-dir", Regular, 0o644, "no longer"),
        ("hard", Link, 0o644, "run/user"),
    ]);
    bench.add(&[
        ("etc/passwd", Regular, 0o644, "later"),
        (".wh.was-dir", Regular, 0o644, ""),
        ("closed/second", Regular, 0o644, "second"),
        ("loop2", Symlink, 0o777, "../../etc/passwd"),
    ]);
    bench
}

fn list(directory: &Path) -> String {
    let script = format!("{LISTING} | sort");
    let output = Command::new("sh").args(["-c", &script]).current_dir(directory).output();
    String::from_utf8_lossy(&output.expect("a shell").stdout).into_owned()
}

#[test]
fn a_copy_looks_as_the_kernels_overlay_does() {
    let bench = image();
    let RootMount::Overlay { lowers, upper, work, .. } = bench.prepare(Driver::Overlay, false)
    else {
        panic!("an overlay");
    };
    let RootMount::Directory(copy) = bench.prepare(Driver::Copy, false) else {
        panic!("a directory");
    };
    assert_eq!(fs::metadata(&upper).expect("it").permissions().mode() & 0o7777, 0o755);
    // `closed` must be listed by the kernel's root; listing the copy too needs that power.
    let lowers: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
    let target = bench.home.path().join("mounted");
    fs::create_dir(&target).expect("a directory");
    let script = format!(
        "mount -t overlay overlay -o userxattr,lowerdir={},upperdir={},workdir={} {} || exit 77\n\
         cd {} && {{ {LISTING}; }} | sort; echo ----; cd {} && {{ {LISTING}; }} | sort",
        lowers.join(":"),
        upper.display(),
        work.display(),
        target.display(),
        target.display(),
        copy.display()
    );
    let output = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output();
    let Ok(output) = output else { return };
    if output.status.code() == Some(77) || output.stdout.is_empty() {
        return; // no overlayfs for users here
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (overlay, copied) = text.split_once("----\n").expect("two lists");
    let without_root_time = |list: &str| {
        let lines = list.lines().filter(|line| !line.starts_with(". "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_root_time(overlay), without_root_time(copied));
    assert!(overlay.contains("./closed/second") && overlay.contains("./closed/inside"));
}

#[test]
fn a_copy_keeps_hard_links_and_shares_only_when_read_only() {
    let mut bench = Bench::new();
    bench.add(&[
        ("one", tar::EntryType::Regular, 0o644, "one"),
        ("dir/two", tar::EntryType::Link, 0o644, "one"),
    ]);
    let inodes = |root: &RootMount| {
        let RootMount::Directory(path) = root else { panic!("a directory") };
        ["one", "dir/two"].map(|name| fs::metadata(path.join(name)).expect("it").ino())
    };
    let layer = fs::metadata(bench.layers[0].join("one")).expect("it").ino();
    let [one, two] = inodes(&bench.prepare(Driver::Copy, false));
    assert!(one == two && one != layer);
    assert_eq!(inodes(&bench.prepare(Driver::Copy, true)), [layer, layer]);
}

#[test]
fn a_tree_of_metadata_says_where_the_data_is() {
    let mut bench = Bench::new();
    bench.add(&[
        ("dir/one", tar::EntryType::Regular, 0o4750, "one"),
        ("dir/two", tar::EntryType::Link, 0o4750, "dir/one"),
        ("empty", tar::EntryType::Regular, 0o644, ""),
    ]);
    bench.add(&[("three", tar::EntryType::Regular, 0o400, "three")]);
    let described = |name: &str, data: &Path| {
        let place = bench.home.path().join(name);
        describe(&bench.layers, data, &place).expect("a tree");
        place.join("fs")
    };
    let redirect = |path: &Path| {
        let mut value = [0; 100];
        let length = rustix::fs::getxattr(path, crate::layer::REDIRECT, &mut value[..]).ok()?;
        Some(String::from_utf8_lossy(&value[..length]).into_owned())
    };
    let looks = |path: PathBuf| {
        let metadata = fs::metadata(&path).expect("it");
        (metadata.len(), metadata.permissions().mode() & 0o7777, metadata.nlink())
    };
    let tree = described("all", bench.home.path());
    assert_eq!(looks(tree.join("dir/two")), (3, 0o4750, 2));
    assert_eq!(looks(tree.join("three")), (5, 0o400, 1));
    // The name of a file that was met first is the one that is told.
    let told = redirect(&tree.join("dir/one"));
    assert!(matches!(told.as_deref(), Some("/0/fs/dir/one" | "/0/fs/dir/two")), "{told:?}");
    assert_eq!(redirect(&tree.join("three")).as_deref(), Some("/1/fs/three"));
    assert_eq!(fs::read(tree.join("three")).expect("no data"), [0; 5]);
    assert_eq!(redirect(&tree.join("empty")), None);

    // A layer that lies elsewhere is copied.
    let tree = described("one", &bench.home.path().join("1"));
    assert_eq!(redirect(&tree.join("dir/one")), None);
    assert_eq!(fs::read(tree.join("dir/one")).expect("a copy"), b"one");
    assert_eq!(redirect(&tree.join("three")).as_deref(), Some("/fs/three"));
}

#[test]
fn holes_are_not_copied() {
    let mut bench = Bench::new();
    bench.add(&[("file", tar::EntryType::Regular, 0o644, "x")]);
    let file = fs::OpenOptions::new().write(true).open(bench.layers[0].join("file")).expect("it");
    file.set_len(64 << 20).expect("a hole");
    let RootMount::Directory(copy) = bench.prepare(Driver::Copy, false) else {
        panic!("a directory");
    };
    let metadata = fs::metadata(copy.join("file")).expect("it");
    assert_eq!(metadata.len(), 64 << 20);
    assert!(metadata.blocks() < 1024);
}

#[test]
fn files_are_read_as_the_container_sees_them() {
    let bench = image();
    for (path, want) in [
        ("/etc/passwd", Some("later")),
        ("etc/alternatives/x", Some("later")),
        ("loop2", Some("later")),
        ("../../etc/./passwd", Some("later")),
        ("var/run/user", Some("user")),
        ("opt/one", None),
        ("opt/three", Some("three")),
        ("was-file", None),
        ("was-file/now", Some("now")),
        ("was-dir", None),
        ("was-dir/file", None),
        ("loop", None),
        ("pipe", None),
        ("etc", None),
        ("etc/passwd/x", None),
        ("etc/shadow", Some("secret")),
        ("closed/inside", Some("inside")),
    ] {
        assert_eq!(bench.read(path).as_deref(), want, "{path}");
    }
    let error = read_file(&bench.layers, Path::new("etc/passwd"), 3).expect_err("too long");
    assert!(matches!(error, Error::TooLarge { limit: 3, .. }));
}

#[test]
fn an_opaque_root_hides_all_layers_below() {
    let mut bench = Bench::new();
    bench.add(&[("old", tar::EntryType::Regular, 0o644, "old")]);
    bench.add(&[(".wh..wh..opq", tar::EntryType::Regular, 0o644, "")]);
    assert_eq!(bench.read("old"), None);
    let RootMount::Overlay { lowers, .. } = bench.prepare(Driver::Overlay, false) else {
        panic!("an overlay");
    };
    assert_eq!(lowers.len(), 1);
    let RootMount::Directory(copy) = bench.prepare(Driver::Copy, false) else {
        panic!("a directory");
    };
    assert_eq!(list(&copy).lines().count(), 1);
}

#[test]
fn an_image_of_nothing_has_a_root() {
    let bench = Bench::new();
    let RootMount::Overlay { lowers, upper, .. } = bench.prepare(Driver::Overlay, false) else {
        panic!("an overlay");
    };
    assert_eq!(lowers.len(), 1);
    assert_eq!(fs::metadata(upper).expect("it").permissions().mode() & 0o7777, 0o755);
    bench.prepare(Driver::Copy, false);
}
