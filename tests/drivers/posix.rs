//! What POSIX and Linux say of names, times and rights, rule by rule; each tells what is broken.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::thread;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, Uid, chmod, chownat, linkat, lstat, mkdir, mknodat, open, readlink, renameat_with,
    rmdir, setxattr, stat, unlink, utimensat,
};
use rustix::io::Errno;

use crate::support::needs::pass;

type Told = Result<String, Box<dyn std::error::Error>>;

/// The rules that do not hold, or how many do.
#[derive(Default)]
struct Rules {
    held: usize,
    broken: Vec<String>,
}

impl Rules {
    fn rule(&mut self, name: &str, holds: bool) {
        if holds { self.held += 1 } else { self.broken.push(name.to_owned()) }
    }

    fn refuses(&mut self, name: &str, done: Result<(), Errno>, want: Errno) {
        match done {
            Err(errno) if errno == want => self.held += 1,
            Err(errno) => self.broken.push(format!("{name} ({errno:?})")),
            Ok(()) => self.broken.push(format!("{name} (done)")),
        }
    }

    fn told(self) -> Told {
        if self.broken.is_empty() {
            return Ok(format!("{} rules hold", self.held));
        }
        Err(format!("broken: {}", self.broken.join(", ")).into())
    }
}

fn opened(path: &str, flags: OFlags) -> Result<(), Errno> {
    open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)).map(drop)
}

fn renamed(old: &str, new: &str, flags: RenameFlags) -> Result<(), Errno> {
    match renameat_with(CWD, old, CWD, new, flags) {
        // Of a full directory in the way xfs says this; POSIX lets both mean it.
        Err(Errno::EXIST) if flags.is_empty() => Err(Errno::NOTEMPTY),
        other => other,
    }
}

fn linked(old: &str, new: &str) -> Result<(), Errno> {
    linkat(CWD, old, CWD, new, AtFlags::empty())
}

fn pipe(path: &str) -> Result<(), Errno> {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)
}

fn made(path: &str) -> Result<(), Errno> {
    mkdir(path, Mode::from_raw_mode(0o755))
}

/// On what the image has and on what is made now alike.
pub fn names() -> Told {
    let mut rules = Rules::default();
    fs::create_dir("names")?;
    fs::create_dir_all("names/full/in")?;
    fs::create_dir("names/empty")?;
    fs::write("names/file", "text")?;
    for top in ["names", "lower"] {
        names_in(&mut rules, top)?;
    }
    rules.told()
}

fn names_in(rules: &mut Rules, top: &str) -> Result<(), Box<dyn std::error::Error>> {
    let at = |name: &str| format!("{top}/{name}");
    let plain = RenameFlags::empty();
    let (full, file) = match top {
        "names" => (at("full"), at("file")),
        _ => (at("shared"), at("kept")),
    };
    rules.refuses("a directory over a directory", made(&full), Errno::EXIST);
    rules.refuses("a directory over a file", made(&file), Errno::EXIST);
    rules.refuses("a directory below a file", made(&format!("{file}/x")), Errno::NOTDIR);
    rules.refuses("a directory below nothing", made(&at("no/x")), Errno::NOENT);
    rules.refuses("a file taken for a directory", rmdir(&*file), Errno::NOTDIR);
    rules.refuses("a full directory removed", rmdir(&*full), Errno::NOTEMPTY);
    rules.refuses("the directory itself removed", rmdir(&*format!("{full}/.")), Errno::INVAL);
    rules.refuses("the one above removed", rmdir(&*format!("{full}/..")), Errno::NOTEMPTY);
    rules.refuses("nothing removed", rmdir(&*at("no")), Errno::NOENT);
    rules.refuses("a directory unlinked", unlink(&*full), Errno::ISDIR);
    rules.refuses("nothing unlinked", unlink(&*at("no")), Errno::NOENT);
    rules.refuses("a file with a slash unlinked", unlink(&*format!("{file}/")), Errno::NOTDIR);

    made(&at("own"))?;
    made(&at("own/below"))?;
    made(&at("own-empty"))?;
    fs::write(at("own-file"), "own")?;
    let (own, own_file) = (at("own"), at("own-file"));
    rules.refuses("a directory onto a file", renamed(&own, &file, plain), Errno::NOTDIR);
    rules.refuses("a file onto a directory", renamed(&own_file, &full, plain), Errno::ISDIR);
    rules.refuses("a directory onto a full one", renamed(&own, &full, plain), Errno::NOTEMPTY);
    rules.refuses("a directory into itself", renamed(&own, &at("own/x"), plain), Errno::INVAL);
    let above = renamed(&at("own/below"), &own, plain);
    rules.refuses("a directory onto the one above", above, Errno::NOTEMPTY);
    rules.refuses("nothing renamed", renamed(&at("no"), &at("x"), plain), Errno::NOENT);
    let exchange = RenameFlags::EXCHANGE;
    rules.refuses("exchanged with nothing", renamed(&own, &at("no"), exchange), Errno::NOENT);
    let keep = RenameFlags::NOREPLACE;
    rules.refuses("renamed over what stays", renamed(&own_file, &file, keep), Errno::EXIST);
    linked(&own_file, &at("own-second"))?;
    renamed(&own_file, &at("own-second"), plain)?;
    let both = fs::metadata(&own_file).is_ok_and(|stat| stat.nlink() == 2);
    rules.rule("two names of one file both stay", both);
    renamed(&own, &at("own-empty"), plain)?;
    rules.rule("a directory onto an empty one", fs::metadata(at("own-empty/below")).is_ok());
    renamed(&at("own-empty"), &own_file, exchange)?;
    rules.rule("a directory and a file exchanged", fs::metadata(at("own-file/below")).is_ok());
    renamed(&at("own-empty"), &own_file, exchange)?;

    rules.refuses("another name of a directory", linked(&full, &at("x")), Errno::PERM);
    rules.refuses("a name that is there", linked(&file, &own_file), Errno::EXIST);
    rules.refuses("a name for nothing", linked(&at("no"), &at("x")), Errno::NOENT);
    let long = "l".repeat(256);
    rules.refuses("a name too long", opened(&at(&long), OFlags::CREATE), Errno::NAMETOOLONG);
    let longer = format!("{top}/{}x", "./".repeat(2100));
    rules.refuses("a path too long", stat(&*longer).map(drop), Errno::NAMETOOLONG);

    symlink("loop", at("loop"))?;
    symlink("to-be-made", at("dangling"))?;
    let write = OFlags::WRONLY;
    rules.refuses("a loop of links", stat(&*at("loop")).map(drop), Errno::LOOP);
    let link = opened(&at("dangling"), OFlags::NOFOLLOW);
    rules.refuses("a link that is not to be followed", link, Errno::LOOP);
    rules.refuses("a file as a directory", opened(&file, OFlags::DIRECTORY), Errno::NOTDIR);
    rules.refuses("a directory to write to", opened(&full, write), Errno::ISDIR);
    let exclusive = opened(&at("dangling"), write | OFlags::CREATE | OFlags::EXCL);
    rules.refuses("a link is a name that is there", exclusive, Errno::EXIST);
    opened(&at("dangling"), write | OFlags::CREATE)?;
    rules.rule("made where a link leads", lstat(&*at("to-be-made")).is_ok());
    rules.rule("a link's size is its text's", lstat(&*at("dangling"))?.st_size == 10);
    rules.refuses("a file read as a link", readlink(&*file, Vec::new()).map(drop), Errno::INVAL);
    rules.refuses("a link to nowhere at all", rustix::fs::symlink("", at("x")), Errno::NOENT);
    let slash = opened(&at("slash/"), write | OFlags::CREATE);
    rules.refuses("a file made with a slash", slash, Errno::ISDIR);
    pipe(&at("pipe"))?;
    let nobody = opened(&at("pipe"), write | OFlags::NONBLOCK);
    rules.refuses("a pipe that nobody reads", nobody, Errno::NXIO);
    rules.refuses("a pipe that is there", pipe(&at("pipe")), Errno::EXIST);
    rules.refuses("a directory cut", truncate_path(&full), Errno::ISDIR);
    let read_only = File::open(&own_file)?;
    rules.refuses("cut by a reader", rustix::fs::ftruncate(&read_only, 0), Errno::INVAL);

    // Names come and go, in any order.
    for round in 0..3 {
        let name = at("turn");
        made(&name)?;
        fs::write(format!("{name}/in"), "x")?;
        rules.refuses("full again", rmdir(&*name), Errno::NOTEMPTY);
        unlink(&*format!("{name}/in"))?;
        rmdir(&*name)?;
        fs::write(&name, round.to_string())?;
        rules.rule("a file again", fs::read_to_string(&name)? == round.to_string());
        unlink(&*name)?;
        rules.refuses("gone again", lstat(&*name).map(drop), Errno::NOENT);
    }
    Ok(())
}

fn truncate_path(path: &str) -> Result<(), Errno> {
    match fs::OpenOptions::new().write(true).truncate(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

const LONG_AGO: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 },
    last_modification: Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 },
};

fn age(path: &str) -> Result<(), Errno> {
    utimensat(CWD, path, &LONG_AGO, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_old(path: &str) -> bool {
    lstat(path).is_ok_and(|stat| stat.st_mtime == 1_000_000_000)
}

/// Whose times change with what.
pub fn changes() -> Told {
    type Work<'a> = (&'a str, bool, &'a dyn Fn() -> Result<(), Errno>);
    let mut rules = Rules::default();
    fs::create_dir("times")?;
    fs::create_dir("times/other")?;
    let plain = RenameFlags::empty();
    let works: &[Work] = &[
        ("made", true, &|| opened("times/file", OFlags::CREATE | OFlags::WRONLY)),
        ("written", false, &|| put("times/file", b"text")),
        ("its mode", false, &|| chmod("times/file", Mode::from_raw_mode(0o600))),
        ("linked", true, &|| linked("times/file", "times/second")),
        ("a link", true, &|| rustix::fs::symlink("file", "times/link")),
        ("a pipe", true, &|| pipe("times/pipe")),
        ("a directory", true, &|| made("times/directory")),
        ("in a directory", false, &|| pipe("times/directory/in")),
        ("renamed", true, &|| renamed("times/second", "times/third", plain)),
        ("moved away", true, &|| renamed("times/third", "times/other/third", plain)),
        ("unlinked", true, &|| unlink("times/link")),
        ("a directory removed", true, &|| {
            unlink("times/directory/in")?;
            age("times")?;
            rmdir("times/directory")
        }),
        ("refused", false, &|| made("times/other").or(Ok(()))),
    ];
    for (name, changes, work) in works {
        age("times")?;
        work()?;
        rules.rule(&format!("the directory's time: {name}"), is_old("times") != *changes);
    }
    age("times/other")?;
    renamed("times/file", "times/other/fourth", plain)?;
    rules.rule("the time where it comes to", !is_old("times/other"));

    let file = "times/other/third";
    let plain_write = || put(file, b"more");
    let own: &[Work] = &[
        ("written", true, &plain_write),
        ("cut", true, &|| truncate_to(file, 1)),
        ("its mode", false, &|| chmod(file, Mode::from_raw_mode(0o640))),
        ("renamed", false, &|| renamed(file, file, plain)),
        ("linked", false, &|| linked(file, "times/fifth")),
        ("read", false, &|| fs::read(file).map(drop).map_err(|_| Errno::IO)),
        ("nothing written", false, &|| put(file, b"")),
    ];
    for (name, changes, work) in own {
        age(file)?;
        work()?;
        rules.rule(&format!("the file's time: {name}"), is_old(file) != *changes);
    }
    age(file)?;
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let only_access = Timestamps { last_access: now, last_modification: omit };
    utimensat(CWD, file, &only_access, AtFlags::empty())?;
    let stat = lstat(file)?;
    rules.rule("one time alone", stat.st_mtime == 1_000_000_000 && stat.st_atime > 1_000_000_000);

    let changed = |work: &dyn Fn() -> Result<(), Errno>| -> Result<bool, Errno> {
        let time = |stat: rustix::fs::Stat| (stat.st_ctime, stat.st_ctime_nsec);
        let before = time(lstat(file)?);
        thread::sleep(Duration::from_millis(12)); // a tick of the kernel's clock
        work()?;
        Ok(time(lstat(file)?) != before)
    };
    let nobody = |gid| chownat(CWD, file, None, Some(Gid::from_raw(gid)), AtFlags::empty());
    let touched: &[Work] = &[
        ("its mode", true, &|| chmod(file, Mode::from_raw_mode(0o604))),
        ("its owner", true, &|| nobody(0)),
        ("an attribute", true, &|| setxattr(file, "user.x", b"1", rustix::fs::XattrFlags::empty())),
        ("linked", true, &|| linked(file, "times/sixth")),
        ("unlinked elsewhere", true, &|| unlink("times/sixth")),
        ("written", true, &|| put(file, b"again")),
        ("read", false, &|| fs::read(file).map(drop).map_err(|_| Errno::IO)),
    ];
    for (name, changes, work) in touched {
        rules.rule(&format!("the time of change: {name}"), changed(work)? == *changes);
    }
    rules.told()
}

fn put(path: &str, data: &[u8]) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, data).map(drop)
}

fn truncate_to(path: &str, size: u64) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::ftruncate(file, size)
}

/// How names are counted.
pub fn counts() -> Told {
    let mut rules = Rules::default();
    fs::create_dir("counts")?;
    fs::write("counts/file", "x")?;
    let count = |path: &str| lstat(path).map_or(0, |stat| stat.st_nlink);
    let file = File::open("counts/file")?;
    for number in 2..6 {
        linked("counts/file", &format!("counts/{number}"))?;
        rules.rule("one more", count("counts/file") == number);
    }
    renamed("counts/2", "counts/moved", RenameFlags::empty())?;
    rules.rule("moved", count("counts/moved") == 5);
    fs::write("counts/over", "other")?;
    renamed("counts/over", "counts/3", RenameFlags::empty())?;
    rules.rule("replaced", count("counts/file") == 4 && count("counts/3") == 1);
    for name in ["moved", "4", "5", "file"] {
        unlink(&*format!("counts/{name}"))?;
    }
    rules.rule("none left", file.metadata()?.nlink() == 0);
    rules.told()
}

/// Who may do what: root's files, and another's attempts.
pub fn rights() -> Told {
    if pass() != "range" {
        return Ok("one id".into()); // the others are emulated, and root to the kernel
    }
    fs::create_dir("rights")?;
    fs::set_permissions("rights", fs::Permissions::from_mode(0o755))?;
    for (name, mode) in [("secret", 0o600), ("read", 0o644), ("open", 0o666), ("group", 0o640)] {
        fs::write(format!("rights/{name}"), "text")?;
        chmod(format!("rights/{name}"), Mode::from_raw_mode(mode))?;
    }
    for (name, mode) in [("closed", 0o700), ("sticky", 0o1777), ("theirs", 0o755)] {
        fs::create_dir(format!("rights/{name}"))?;
        chmod(format!("rights/{name}"), Mode::from_raw_mode(mode))?;
    }
    fs::write("rights/closed/in", "x")?;
    fs::write("rights/sticky/roots", "x")?;
    chown("rights/theirs", 1000, 1000)?;
    chown("rights/group", 0, 1000)?;
    let told = thread::spawn(|| {
        // This thread alone becomes another, and has no power any more.
        let (uid, gid) = (Uid::from_raw(1000), Gid::from_raw(1000));
        rustix::thread::set_thread_groups(&[]).map_err(|errno| errno.to_string())?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|errno| errno.to_string())?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|errno| errno.to_string())?;
        another().map_err(|error| error.to_string())
    });
    Ok(told.join().map_err(|_| "a panic")??)
}

fn chown(path: &str, uid: u32, gid: u32) -> Result<(), Errno> {
    chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::empty())
}

fn another() -> Told {
    let mut rules = Rules::default();
    let (read, write) = (OFlags::RDONLY, OFlags::WRONLY);
    rules.refuses("a secret read", opened("rights/secret", read), Errno::ACCESS);
    rules.rule("a text read", opened("rights/read", read).is_ok());
    rules.refuses("a text written", opened("rights/read", write), Errno::ACCESS);
    rules.rule("an open one written", put("rights/open", b"more").is_ok());
    rules.rule("read by its group", opened("rights/group", read).is_ok());
    rules.refuses("written by its group", opened("rights/group", write), Errno::ACCESS);
    rules.refuses("through a closed one", stat("rights/closed/in").map(drop), Errno::ACCESS);
    rules.refuses("made in root's", opened("rights/x", write | OFlags::CREATE), Errno::ACCESS);
    rules.refuses("removed from root's", unlink("rights/open"), Errno::ACCESS);
    let plain = RenameFlags::empty();
    rules.refuses("renamed in root's", renamed("rights/open", "rights/x", plain), Errno::ACCESS);
    let mode = Mode::from_raw_mode(0o777);
    rules.refuses("another's mode", chmod("rights/open", mode), Errno::PERM);
    rules.refuses("another's owner", chown("rights/open", 1000, 1000), Errno::PERM);
    rules.refuses("another's times", age("rights/open"), Errno::PERM);
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rules.rule("now, by who may write", {
        utimensat(CWD, "rights/open", &times, AtFlags::empty()).is_ok()
    });
    rules.refuses("removed where it sticks", unlink("rights/sticky/roots"), Errno::PERM);
    let stuck = renamed("rights/sticky/roots", "rights/sticky/x", plain);
    rules.refuses("renamed where it sticks", stuck, Errno::PERM);
    opened("rights/sticky/own", write | OFlags::CREATE)?;
    rules.rule("its own where it sticks", unlink("rights/sticky/own").is_ok());
    opened("rights/theirs/own", write | OFlags::CREATE)?;
    let own = lstat("rights/theirs/own")?;
    rules.rule("what it makes is its own", (own.st_uid, own.st_gid) == (1000, 1000));
    rules.refuses("given away", chown("rights/theirs/own", 1001, 1000), Errno::PERM);
    chmod("rights/theirs/own", Mode::from_raw_mode(0o4755))?;
    put("rights/theirs/own", b"text")?;
    let bits = lstat("rights/theirs/own")?.st_mode & 0o7777;
    rules.rule("who writes loses the set-user-ID bit", bits == 0o755);
    chmod("rights/theirs/own", Mode::from_raw_mode(0o000))?;
    rules.refuses("closed to its owner", opened("rights/theirs/own", read), Errno::ACCESS);
    rules.rule("removed all the same", unlink("rights/theirs/own").is_ok());
    rules.told()
}
