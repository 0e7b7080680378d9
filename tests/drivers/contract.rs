//! What a container's root must do, looked at one by one: each check tells a line.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Gid, Mode, OFlags, RawDir, RenameFlags,
    Timespec, Timestamps, Uid, XattrFlags, chownat, fallocate, fcntl_lock, flock, getxattr,
    mknodat, open, renameat_with, setxattr, utimensat,
};
use rustix::io::Errno;

use super::operations::names;
use super::{exercise, mapped, posix};

type Check = fn() -> Result<String, Box<dyn std::error::Error>>;

const CHECKS: &[(&str, Check)] = &[
    ("a copied-up file keeps what it was", copied_up),
    ("lower links stay one file", lower_links),
    ("a removed file lives on while it is open", removed_while_open),
    ("a directory made anew is empty", made_anew),
    ("directories are renamed", renamed_directories),
    ("names are replaced and exchanged", renamed),
    ("memory and file are one", memory),
    ("locks hold", locks),
    ("files without a name, where offered", without_name),
    ("attributes", attributes),
    ("inherited access lists", access_lists),
    ("who reads a directory misses nothing", read_while_changing),
    ("inode numbers agree and stay", inode_numbers),
    ("room, holes and ranges", ranges),
    ("times", times),
    ("set-id bits", set_id),
    ("groups are inherited", inherited_group),
    ("owners", owners),
    ("depth and length", depth),
    ("sockets and pipes", sockets),
    ("devices are no whiteouts", no_whiteouts),
    ("many at once", many_at_once),
    ("rules of names", posix::names),
    ("rules of times", posix::changes),
    ("rules of counts", posix::counts),
    ("rules of rights", posix::rights),
    ("a file and its model", exercise::one_file),
];

/// Performs all checks in `/c`; gives a line for each.
pub fn perform() -> Vec<String> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    std::env::set_current_dir("/c").unwrap();
    let line = |(name, check): &(&str, Check)| match check() {
        Ok(text) => format!("{name}: {text}"),
        Err(error) => format!("{name}: error: {error}"),
    };
    CHECKS.iter().map(line).collect()
}

fn make(path: &str, text: &str) -> std::io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn mode(path: &str) -> std::io::Result<u32> {
    Ok(fs::symlink_metadata(path)?.mode() & 0o7777)
}

fn copied_up() -> Result<String, Box<dyn std::error::Error>> {
    let before = fs::metadata("lower/kept")?;
    fs::set_permissions("lower/kept", fs::Permissions::from_mode(0o640))?;
    let after = fs::metadata("lower/kept")?;
    let same = before.mtime() == after.mtime() && before.len() == after.len();
    let mut value = [0; 16];
    let length = getxattr("lower/kept", "user.colour", &mut value[..])?;
    let parent = fs::metadata("lower")?.mtime();
    Ok(format!("{same} {:o} {:?} {parent}", after.mode(), &value[..length]))
}

fn lower_links() -> Result<String, Box<dyn std::error::Error>> {
    fs::write("links/a", "changed")?;
    let (first, second) = (fs::metadata("links/a")?, fs::metadata("links/sub/b")?);
    let text = fs::read_to_string("links/sub/b")?;
    fs::remove_file("links/a")?;
    let left = fs::metadata("links/sub/b")?.nlink();
    Ok(format!("{} {text} {} {left}", first.ino() == second.ino(), first.nlink()))
}

fn removed_while_open() -> Result<String, Box<dyn std::error::Error>> {
    let mut told = Vec::new();
    make("removed", "upper")?;
    for path in ["removed", "lower/removed"] {
        let mut file = File::options().read(true).write(true).open(path)?;
        fs::remove_file(path)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(b" and more")?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.rewind()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let stat = file.metadata()?;
        told.push(format!(
            "{text} {:o} {} {}",
            stat.mode(),
            stat.nlink(),
            Path::new(path).exists()
        ));
    }
    let here = "dead";
    fs::create_dir(here)?;
    let directory = File::open(here)?;
    fs::remove_dir(here)?;
    let inside = rustix::fs::openat(&directory, c"x", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR);
    Ok(format!("{told:?} {:?} {:?}", directory.metadata()?.nlink(), inside.map(drop)))
}

fn made_anew() -> Result<String, Box<dyn std::error::Error>> {
    fs::remove_dir_all("lower/anew")?;
    let between = Path::new("lower/anew").exists();
    fs::create_dir("lower/anew")?;
    fs::write("lower/anew/x", "x")?;
    fs::remove_file("lower/gone")?;
    make("lower/gone", "back")?;
    fs::remove_file("lower/gone")?;
    fs::create_dir("lower/gone")?;
    let found = (names("lower/anew")?, names("lower/gone")?);
    Ok(format!("{between} {found:?} {:?}", fs::remove_dir("lower").map_err(|e| e.raw_os_error())))
}

fn renamed_directories() -> Result<String, Box<dyn std::error::Error>> {
    fs::create_dir_all("own/deep/er")?;
    fs::write("own/deep/er/file", "text")?;
    fs::create_dir("taken")?;
    // EEXIST means the same, and is what xfs says (POSIX, rename).
    let full = fs::rename("taken", "own").map_err(|error| match error.raw_os_error() {
        Some(libc::EEXIST) => Some(libc::ENOTEMPTY),
        other => other,
    });
    fs::rename("own", "taken")?;
    // Over an empty directory that hides one below.
    fs::remove_file("lower/covered/in")?;
    fs::rename("taken", "lower/covered")?;
    let text = fs::read_to_string("lower/covered/deep/er/file")?;
    let within = fs::rename("lower/covered", "lower/covered/deep/x");
    let within = within.map_err(|error| error.raw_os_error());
    Ok(format!("{full:?} {text} {:?} {within:?}", names("lower/covered")?))
}

fn renamed() -> Result<String, Box<dyn std::error::Error>> {
    make("one", "1")?;
    make("two", "2")?;
    let kept = renameat_with(CWD, "one", CWD, "two", RenameFlags::NOREPLACE);
    renameat_with(CWD, "one", CWD, "lower/exchanged", RenameFlags::EXCHANGE)?;
    let exchanged = (fs::read_to_string("one")?, fs::read_to_string("lower/exchanged")?);
    fs::rename("two", "one")?;
    fs::rename("lower/moved", "one")?;
    let left = (Path::new("two").exists(), Path::new("lower/moved").exists());
    std::os::unix::fs::symlink("nowhere", "link")?;
    fs::rename("link", "one")?;
    Ok(format!("{kept:?} {exchanged:?} {left:?} {}", fs::read_link("one")?.display()))
}

fn memory() -> Result<String, Box<dyn std::error::Error>> {
    let text = "m".repeat(5000);
    let file = OwnedFd::from(make("memory", &text)?);
    mapped::write_byte(&file, 10, b'A')?;
    let by_map = fs::read("memory")?[10];
    let file = File::from(file);
    file.write_all_at(b"B", 11)?;
    file.sync_all()?;
    Ok(format!("{by_map} {}", &fs::read_to_string("memory")?[8..14]))
}

fn locks() -> Result<String, Box<dyn std::error::Error>> {
    make("locked", "x")?;
    let (one, two) = (File::open("locked")?, File::options().write(true).open("locked")?);
    flock(&one, FlockOperation::LockExclusive)?;
    let taken = flock(&two, FlockOperation::NonBlockingLockShared);
    flock(&one, FlockOperation::Unlock)?;
    let free = flock(&two, FlockOperation::NonBlockingLockShared);
    let record = fcntl_lock(&two, FlockOperation::NonBlockingLockExclusive);
    Ok(format!("{taken:?} {free:?} {record:?}"))
}

fn without_name() -> Result<String, Box<dyn std::error::Error>> {
    match open(".", OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
        Ok(file) => {
            let mut file = File::from(file);
            file.write_all(b"x")?;
            assert_eq!(file.metadata()?.nlink(), 0);
        }
    }
    Ok("fine".into())
}

fn attributes() -> Result<String, Box<dyn std::error::Error>> {
    make("attributes", "")?;
    let set = |name: &str, value: &[u8], flags| setxattr("attributes", name, value, flags);
    set("user.a", b"1", XattrFlags::CREATE)?;
    set("user.overlay.opaque", b"y", XattrFlags::empty())?;
    let again = set("user.a", b"2", XattrFlags::CREATE);
    let missing = set("user.b", b"2", XattrFlags::REPLACE);
    let foreign = set("trusted.a", b"2", XattrFlags::empty());
    let mut value = [0; 4];
    let length = getxattr("attributes", "user.overlay.opaque", &mut value[..])?;
    let short = getxattr("attributes", "user.a", &mut [0; 0][..]).map(|length| length == 1);
    let lower = getxattr("lower/anew", "user.overlay.opaque", &mut [0; 4][..]);
    let long = set("user.long", &vec![b'x'; 70_000], XattrFlags::empty());
    Ok(format!(
        "{again:?} {missing:?} {foreign:?} {:?} {short:?} {lower:?} {}",
        &value[..length],
        long.is_err()
    ))
}

fn access_lists() -> Result<String, Box<dyn std::error::Error>> {
    // Version 2: user rwx, group r-x, mask rwx, other none (posix_acl_xattr.h).
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights) in [(1u16, 7u16), (4, 5), (0x10, 7), (0x20, 0)] {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&u32::MAX.to_le_bytes());
    }
    fs::create_dir("listed")?;
    setxattr("listed", "system.posix_acl_default", &list, XattrFlags::empty())?;
    make("listed/file", "")?;
    fs::create_dir("listed/directory")?;
    let mut value = [0; 64];
    let inherited = getxattr("listed/directory", "system.posix_acl_default", &mut value[..])?;
    // Where something was before, too.
    fs::rename("listed", "listed-too")?;
    Ok(format!("{:o} {:o} {inherited}", mode("listed-too/file")?, mode("listed-too/directory")?))
}

fn read_while_changing() -> Result<String, Box<dyn std::error::Error>> {
    fs::create_dir("many")?;
    for number in 0..600 {
        make(&format!("many/stays-{number}"), "")?;
        make(&format!("many/goes-{number}"), "")?;
    }
    let directory = open("many", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(File::from(directory), &mut buffer);
    let (mut seen, mut number) = (Vec::new(), 0);
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_str()?.to_owned();
        if name.starts_with("stays") {
            seen.push(name);
        } else if name.starts_with("goes") {
            fs::remove_file(format!("many/{name}"))?;
            number += 1;
            make(&format!("many/new-{number}"), "")?;
        }
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    Ok(format!("{all} {} {}", seen.len(), names("many")?.len()))
}

fn inode_numbers() -> Result<String, Box<dyn std::error::Error>> {
    let mut wrong = 0;
    for directory in ["/t", "/t/d0", "/t/d1", "/c/lower"] {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            wrong += usize::from(entry.ino() != fs::symlink_metadata(entry.path())?.ino());
        }
    }
    let number = || fs::metadata("lower/numbered").map(|stat| stat.ino());
    let before = number()?;
    fs::write("lower/numbered", "changed")?;
    let kept = number()? == before;
    fs::rename("lower/numbered", "lower/renumbered")?;
    Ok(format!("{wrong} {kept} {}", fs::metadata("lower/renumbered")?.ino() == before))
}

fn ranges() -> Result<String, Box<dyn std::error::Error>> {
    let file = make("ranges", &"r".repeat(200_000))?;
    fallocate(&file, FallocateFlags::empty(), 190_000, 20_000)?;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, 65_536, 65_536)?;
    file.sync_all()?;
    let at = |from| rustix::fs::seek(&file, from);
    let (hole, data) =
        (at(rustix::fs::SeekFrom::Hole(0))?, at(rustix::fs::SeekFrom::Data(70_000))?);
    let beyond = at(rustix::fs::SeekFrom::Data(1 << 30));
    let copy = File::create_new("ranges-copied")?;
    let (mut from, mut to) = (60_000, 0);
    let count = rustix::fs::copy_file_range(&file, Some(&mut from), &copy, Some(&mut to), 10_000)?;
    let room = rustix::fs::statvfs(".")?;
    let told = room.f_blocks > 0 && room.f_bavail > 0 && room.f_namemax == 255;
    Ok(format!("{} {hole} {data} {beyond:?} {count} {told}", file.metadata()?.len()))
}

fn times() -> Result<String, Box<dyn std::error::Error>> {
    make("timed", "x")?;
    let mut told = Vec::new();
    for (tv_sec, tv_nsec) in [(-1, 500_000_000), (0, 1), (4_102_444_800, 999_999_999)] {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, "timed", &times, AtFlags::empty())?;
        let stat = fs::metadata("timed")?;
        told.push((stat.mtime(), stat.mtime_nsec(), stat.atime()));
    }
    let before = fs::metadata("timed")?.mtime();
    File::options().append(true).open("timed")?.write_all(b"y")?;
    Ok(format!("{told:?} {}", fs::metadata("timed")?.mtime() != before))
}

fn set_id() -> Result<String, Box<dyn std::error::Error>> {
    let mut told = Vec::new();
    for bits in [0o4755, 0o2755, 0o6711] {
        let path = "set-id";
        let works: [&dyn Fn() -> std::io::Result<()>; 6] = [
            &|| File::options().write(true).open(path)?.write_all(b"x"),
            &|| File::options().append(true).open(path)?.write_all(b""),
            &|| File::options().write(true).open(path)?.set_len(3),
            &|| Ok(chownat(CWD, path, None, None, AtFlags::empty())?),
            &|| Ok(chownat(CWD, path, Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::empty())?),
            &|| {
                // Written before, and on disk only later.
                let mut file = File::options().write(true).open(path)?;
                file.set_permissions(fs::Permissions::from_mode(0o644))?;
                file.write_all(b"late")?;
                file.set_permissions(fs::Permissions::from_mode(bits))?;
                file.sync_all()
            },
        ];
        make(path, "text")?;
        for work in works {
            fs::set_permissions(path, fs::Permissions::from_mode(bits))?;
            work()?;
            told.push(format!("{:o}", mode(path)?));
        }
        fs::remove_file(path)?;
    }
    Ok(told.join(" "))
}

fn inherited_group() -> Result<String, Box<dyn std::error::Error>> {
    fs::create_dir("grouped")?;
    chownat(CWD, "grouped", None, Some(Gid::from_raw(7)), AtFlags::empty())?;
    fs::set_permissions("grouped", fs::Permissions::from_mode(0o2775))?;
    make("grouped/file", "")?;
    fs::create_dir("grouped/directory")?;
    let group =
        |path: &str| fs::metadata(path).map(|stat| format!("{} {:o}", stat.gid(), stat.mode()));
    // Under one id the file system below knows one group only.
    Ok(match std::env::var("CORACLE_TEST_PASS").as_deref() {
        Ok("range") => format!("{} {}", group("grouped/file")?, group("grouped/directory")?),
        _ => "one id".into(),
    })
}

fn owners() -> Result<String, Box<dyn std::error::Error>> {
    make("owned", "x")?;
    std::os::unix::fs::symlink("owned", "owned-link")?;
    for path in ["owned", "owned-link"] {
        let (uid, gid) = (Uid::from_raw(33), Gid::from_raw(42));
        chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let owner = |path| fs::symlink_metadata(path).map(|stat| (stat.uid(), stat.gid()));
    Ok(format!("{:?} {:?}", owner("owned")?, owner("owned-link")?))
}

fn depth() -> Result<String, Box<dyn std::error::Error>> {
    let top = std::env::current_dir()?;
    for _ in 0..100 {
        let name = "n".repeat(100);
        fs::create_dir(&name)?;
        std::env::set_current_dir(&name)?;
    }
    fs::write("bottom", "x")?;
    let found = fs::read_to_string("bottom")?;
    std::env::set_current_dir(top)?;
    let longest = make(&"l".repeat(255), "").map(drop);
    let longer = make(&"l".repeat(256), "").map(drop).map_err(|error| error.raw_os_error());
    fs::remove_dir_all("n".repeat(100))?;
    Ok(format!("{found} {} {longer:?}", longest.is_ok()))
}

fn sockets() -> Result<String, Box<dyn std::error::Error>> {
    let listener = UnixListener::bind("socket")?;
    let mut client = UnixStream::connect("socket")?;
    client.write_all(b"hi")?;
    let mut text = [0; 2];
    listener.accept()?.0.read_exact(&mut text)?;
    mknodat(CWD, "pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let both = File::options().read(true).write(true).open("pipe")?;
    (&both).write_all(b"ho")?;
    let mut more = [0; 2];
    (&both).read_exact(&mut more)?;
    Ok(format!("{text:?} {more:?} {:o}", fs::symlink_metadata("socket")?.mode()))
}

fn no_whiteouts() -> Result<String, Box<dyn std::error::Error>> {
    if mknodat(CWD, "device", FileType::CharacterDevice, Mode::RUSR, 0).is_ok() {
        fs::symlink_metadata("device")?; // it is there, whatever it is
    }
    Ok("fine".into())
}

fn many_at_once() -> Result<String, Box<dyn std::error::Error>> {
    fs::create_dir("at-once")?;
    let work = |number: u32| -> std::io::Result<()> {
        for turn in 0..100 {
            let (one, two) = (format!("at-once/{number}"), format!("at-once/shared-{}", turn % 7));
            fs::write(&one, turn.to_string())?;
            fs::rename(&one, &two)?;
            let _ = fs::read_dir("at-once")?.count();
            let _ = fs::remove_file(&two); // another may have been first
            let name = CString::new(format!("lower/shared/{}", turn % 5)).unwrap_or_default();
            let file = rustix::fs::open(&name, OFlags::WRONLY | OFlags::APPEND, Mode::empty())?;
            File::from(file).write_all(b"+")?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let mut length = 0;
    for number in 0..5 {
        length += fs::metadata(format!("lower/shared/{number}"))?.len();
    }
    Ok(format!("{length}"))
}
