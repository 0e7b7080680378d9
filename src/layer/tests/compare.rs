//! Archives by other writers, and how other readers read them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use super::*;

/// A tree with a bit of everything, made by a shell.
const MAKE: &str = r#"
set -e
umask 022
mkdir -p usr/bin usr/share/doc empty sticky "with space"
echo binary > usr/bin/tool; chmod 4755 usr/bin/tool
ln usr/bin/tool usr/bin/hard; ln -s tool usr/bin/soft; ln -s /nowhere usr/dangling
ln -P usr/bin/soft usr/bin/softhard
mkfifo usr/pipe; chmod 1777 sticky; chmod 0500 empty
long=$(printf 'n%.0s' $(seq 200)); echo long > "usr/share/doc/$long"
mkdir "$long" && echo deep > "$long/$long"
ln -s "$long/$long/$long" usr/longlink
printf 'odd' > "$(printf 'usr/odd\nname\t\x01')"; printf 'latin' > "$(printf 'usr/caf\xe9')"
dd if=/dev/urandom of=sparse bs=4096 count=3 seek=10 2>/dev/null
dd if=/dev/urandom of=sparse bs=4096 count=1 seek=90 conv=notrunc 2>/dev/null
truncate -s 1M sparse; truncate -s 300k holes
dd if=/dev/urandom of=many bs=1 count=0 2>/dev/null
for i in $(seq 0 3 120); do dd if=/dev/urandom of=many bs=4096 count=1 seek=$i conv=notrunc 2>/dev/null; done
touch -d '1969-12-31T23:00:00.25Z' old; touch -d '2040-01-01T00:00:00.123456789Z' new
touch -d '2001-02-03T04:05:06.7Z' usr usr/bin empty
"#;

#[derive(Debug, PartialEq)]
struct File {
    mode: u32,
    size: u64,
    mtime: (i64, i64),
    links: u64,
    text: Vec<u8>,
    sparse: bool,
}

fn listing(root: &Path, nanoseconds: bool) -> BTreeMap<Vec<u8>, File> {
    fn walk(root: &Path, at: &Path, nanoseconds: bool, found: &mut BTreeMap<Vec<u8>, File>) {
        for entry in fs::read_dir(at).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("it");
            let kind = metadata.file_type();
            let text = if kind.is_symlink() {
                link_text(&path)
            } else if kind.is_file() {
                fs::read(&path).expect("a file")
            } else {
                assert!(kind.is_dir() || kind.is_fifo());
                Vec::new()
            };
            let name = path.strip_prefix(root).expect("below").as_os_str().as_bytes().to_vec();
            let nanos = if nanoseconds { metadata.mtime_nsec() } else { 0 };
            let file = File {
                mode: metadata.mode(),
                size: if kind.is_dir() { 0 } else { metadata.size() },
                mtime: (metadata.mtime(), nanos),
                links: if kind.is_dir() { 0 } else { metadata.nlink() },
                text,
                sparse: metadata.blocks() * 512 < metadata.size(),
            };
            found.insert(name, file);
            if kind.is_dir() {
                walk(root, &path, nanoseconds, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, nanoseconds, &mut found);
    found
}

fn run(command: &mut Command) -> bool {
    let output = command.output();
    output.is_ok_and(|output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        true
    })
}

fn original() -> Option<tempfile::TempDir> {
    let home = tempfile::tempdir().expect("a directory");
    run(Command::new("sh").arg("-c").arg(MAKE).current_dir(home.path())).then_some(home)
}

fn compare(original: &Path, archive: &Path, nanoseconds: bool, sparse: bool, what: &str) {
    let mut bench = Bench::new();
    let bytes = fs::read(archive).expect("an archive");
    bench.add(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let want = listing(original, nanoseconds);
    let mut got = listing(&bench.at(""), nanoseconds);
    for (name, want) in &want {
        let mut got = got.remove(name).unwrap_or_else(|| panic!("{what}: no {name:?}"));
        if !sparse {
            got.sparse = want.sparse;
        }
        assert_eq!(&got, want, "{what}: {}", String::from_utf8_lossy(name));
    }
    assert!(got.is_empty(), "{what}: {:?}", got.keys());
}

#[test]
fn gnu_tar_writes_and_we_read() {
    let Some(original) = original() else { return };
    let archive = tempfile::NamedTempFile::new().expect("a file");
    let forms: &[(&[&str], bool, bool)] = &[
        (&["--format=gnu"], false, false),
        (&["--format=gnu", "--sparse"], false, true),
        (&["--format=posix"], true, false),
        (&["--format=posix", "--sparse", "--sparse-version=0.0"], true, true),
        (&["--format=posix", "--sparse", "--sparse-version=0.1"], true, true),
        (&["--format=posix", "--sparse", "--sparse-version=1.0"], true, true),
        (&["--format=posix", "--sparse", "--hole-detection=raw"], true, true),
    ];
    for (arguments, nanoseconds, sparse) in forms {
        let mut tar = Command::new("tar");
        tar.args(*arguments).args(["--owner=0", "--group=0", "-cf"]).arg(archive.path());
        if !run(tar.args(["-C"]).arg(original.path()).arg(".")) {
            return;
        }
        let what = arguments.join(" ");
        compare(original.path(), archive.path(), *nanoseconds, *sparse, &what);
    }
}

#[test]
fn python_writes_and_we_read() {
    let Some(original) = original() else { return };
    let archive = tempfile::NamedTempFile::new().expect("a file");
    for form in ["GNU_FORMAT", "PAX_FORMAT"] {
        let script = format!(
            "import tarfile,sys\nt=tarfile.open(sys.argv[1],'w',format=tarfile.{form},\
             encoding='utf-8',errors='surrogateescape')\n\
             def root(i): i.uid=i.gid=0; return i\nt.add(sys.argv[2],'.',filter=root)\nt.close()"
        );
        let mut python = Command::new("python3");
        if !run(python.arg("-c").arg(script).arg(archive.path()).arg(original.path())) {
            return;
        }
        // Its times are floats: the last digits are its own.
        compare_names(original.path(), archive.path(), form);
    }
}

fn compare_names(original: &Path, archive: &Path, what: &str) {
    let mut bench = Bench::new();
    bench.add(&fs::read(archive).expect("an archive")).expect(what);
    let strip = |mut list: BTreeMap<Vec<u8>, File>| {
        for file in list.values_mut() {
            (file.mtime, file.sparse) = ((0, 0), false);
            // Python reads a link to a link as a link.
            file.links = if file.mode & 0o170_000 == 0o120_000 { 1 } else { file.links };
        }
        list
    };
    let (got, want) = (listing(&bench.at(""), false), listing(original, false));
    assert_eq!(strip(got), strip(want), "{what}");
}
