//! Random operations on a tree, the same for the same seed. Two file systems that began alike and
//! tell the same did the same.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Gid, Mode, OFlags, RawDir, RenameFlags,
    Stat, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, copy_file_range, fallocate,
    fchmod, fcntl_getfl, flock, fstat, ftruncate, lgetxattr, linkat, llistxattr, lremovexattr,
    lsetxattr, lstat, mkdir, mknodat, open, readlink, renameat_with, rmdir, stat, symlink, unlink,
    utimensat,
};
use rustix::io::{Errno, pread, pwrite};

use super::mapped;

type Told = Result<String, Errno>;

pub const DIRECTORIES: u64 = 5;
pub const FILES: u64 = 8;
const ATTRIBUTES: [&str; 3] = ["user.a", "user.b", "user.overlay.opaque"];
/// Directories below it are made by the operations, so that every file system can rename them.
const OWN: &str = "d4";

/// `splitmix64`
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A tree that is being worked on: the process's working directory.
pub struct Operations {
    random: Random,
    held: Vec<OwnedFd>,
    digest: u64,
    /// The paths of the operation that is being done.
    paths: Vec<String>,
}

/// What an operation is called, how often it is chosen, and what it does.
type Operation = (&'static str, u64, fn(&mut Operations) -> Told);

const ALL: &[Operation] = &[
    ("make", 8, Operations::make),
    ("write", 8, Operations::write),
    ("read", 6, Operations::read),
    ("remove", 7, Operations::remove),
    ("make directory", 5, Operations::make_directory),
    ("remove directory", 3, |this| rmdir(this.path()).map(nothing)),
    ("empty directory", 1, Operations::empty_directory),
    ("rename", 7, Operations::rename),
    ("rename directory", 3, Operations::rename_directory),
    ("link", 4, Operations::link),
    ("symlink", 3, Operations::symlink),
    ("read link", 2, |this| readlink(this.path(), Vec::new()).map(|text| format!("{text:?}"))),
    ("look", 6, |this| lstat(this.path()).map(|stat| told(&stat))),
    ("follow", 3, |this| stat(this.path()).map(|stat| told(&stat))),
    ("names", 3, |this| names(&this.path()).map(|names| format!("{names:?}"))),
    ("change mode", 3, Operations::change_mode),
    ("change owner", 2, Operations::change_owner),
    ("set times", 2, Operations::set_times),
    ("truncate", 3, Operations::truncate),
    ("set attribute", 3, Operations::set_attribute),
    ("attribute", 2, Operations::attribute),
    ("attributes", 2, |this| attributes(&this.path()).map(|names| format!("{names:?}"))),
    ("remove attribute", 1, Operations::remove_attribute),
    ("pipe", 1, Operations::make_pipe),
    ("hold", 5, Operations::hold),
    ("write held", 4, Operations::write_held),
    ("read held", 3, |this| this.on_held(|_, file| whole(file))),
    ("look held", 3, Operations::look_held),
    ("change held", 1, Operations::change_held),
    ("map held", 1, Operations::map_held),
    ("allocate held", 1, Operations::allocate_held),
    ("copy held", 1, Operations::copy_held),
    ("lock held", 1, Operations::lock_held),
];

impl Operations {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            held: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            paths: Vec::new(),
        }
    }

    /// The first paths of a seed.
    pub fn paths(seed: u64) -> Vec<String> {
        let mut operations = Self::new(seed);
        (0..100).map(|_| operations.path()).collect()
    }

    /// Performs `count` operations; gives a line of digest for each thousand, or with `every` one
    /// for each operation.
    pub fn perform(&mut self, count: u64, every: bool) -> Vec<String> {
        let weights = ALL.iter().map(|(_, weight, _)| weight).sum();
        let mut lines = Vec::new();
        for number in 1..=count {
            let mut at = self.random.below(weights);
            let (name, _, work) = ALL
                .iter()
                .find(|(_, weight, _)| match at.checked_sub(*weight) {
                    Some(rest) => {
                        at = rest;
                        false
                    }
                    None => true,
                })
                .unwrap();
            self.paths.clear();
            let result = match work(self) {
                Ok(text) => text,
                Err(errno) => format!("{:?}", std::io::Error::from(errno)),
            };
            for byte in format!("{name} {result}\n").bytes() {
                self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            if every {
                lines.push(format!("{number} {name} {:?} {result}", self.paths));
            } else if number % 1000 == 0 {
                lines.push(format!("{number} {:016x}", self.digest));
            }
        }
        lines
    }

    /// One of a few hundred: what is there is met often.
    fn path(&mut self) -> String {
        let mut path = String::new();
        for _ in 0..self.random.pick(&[0, 1, 1, 2, 2, 2]) {
            write!(path, "d{}/", self.random.below(DIRECTORIES)).unwrap();
        }
        match self.random.below(100) {
            0..65 => write!(path, "f{}", self.random.below(FILES)).unwrap(),
            _ => write!(path, "d{}", self.random.below(DIRECTORIES)).unwrap(),
        }
        self.paths.push(path.clone());
        path
    }

    fn data(&mut self) -> Vec<u8> {
        let byte = u8::try_from(1 + self.random.below(255)).unwrap();
        vec![byte; self.random.pick(&[0, 1, 10, 100, 4096, 5000, 70_000])]
    }

    fn offset(&mut self) -> u64 {
        self.random.pick(&[0, 0, 1, 100, 4095, 4096, 8192, 60_000, 200_000])
    }

    fn open(&mut self, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        open(self.path(), flags, Mode::from_raw_mode(mode))
    }

    fn make(&mut self) -> Told {
        let (data, mode) = (self.data(), self.random.pick(&[0o644, 0o600, 0o755]));
        let file = self.open(OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, mode)?;
        rustix::io::write(file, &data).map(|count| count.to_string())
    }

    fn write(&mut self) -> Told {
        let truncate = OFlags::CREATE | OFlags::TRUNC;
        let more = [OFlags::empty(), OFlags::CREATE, OFlags::TRUNC, OFlags::APPEND, truncate];
        let more = self.random.pick(&more);
        let (data, offset) = (self.data(), self.offset());
        let file = self.open(OFlags::WRONLY | more, 0o644)?;
        // Where a pipe has no reader that is said, and its buffer is no file's business.
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => pwrite(file, &data, offset).map(|count| count.to_string()),
            _ => Ok("no file".into()),
        }
    }

    fn read(&mut self) -> Told {
        whole(&self.open(OFlags::RDONLY, 0)?)
    }

    fn remove(&mut self) -> Told {
        unlink(self.path()).map(nothing)
    }

    fn make_directory(&mut self) -> Told {
        let mode = self.random.pick(&[0o755, 0o700, 0o2775]);
        mkdir(self.path(), Mode::from_raw_mode(mode)).map(nothing)
    }

    /// What `rm -r` does, one level deep.
    fn empty_directory(&mut self) -> Told {
        let top = self.path();
        for name in names(&top)? {
            let inner = format!("{top}/{name}");
            if !is_directory(&inner) {
                unlink(&*inner)?;
            }
        }
        rmdir(top).map(nothing)
    }

    fn rename(&mut self) -> Told {
        let (old, new) = (self.path(), self.path());
        let plain = RenameFlags::empty();
        let flags =
            self.random.pick(&[plain, plain, plain, RenameFlags::NOREPLACE, RenameFlags::EXCHANGE]);
        if flags == RenameFlags::EXCHANGE || flags == RenameFlags::NOREPLACE {
            self.paths.push(format!("{flags:?}"));
        }
        // A lower directory is not renamed by overlayfs, nor by fuse, but by copy.
        if [&old, &new].iter().any(|path| is_directory(path) && !is_own(path)) {
            return Ok("a directory".into());
        }
        let renamed = renameat_with(CWD, &old, CWD, &new, flags);
        if flags == RenameFlags::NOREPLACE { renamed.map(nothing) } else { full(renamed) }
    }

    fn rename_directory(&mut self) -> Told {
        let (old, new) = (self.path(), self.path());
        if !is_own(&old) || is_directory(&new) && !is_own(&new) {
            return Ok("another".into());
        }
        full(renameat_with(CWD, &old, CWD, &new, RenameFlags::empty()))
    }

    fn link(&mut self) -> Told {
        linkat(CWD, self.path(), CWD, self.path(), AtFlags::empty()).map(nothing)
    }

    fn symlink(&mut self) -> Told {
        let target = match self.random.below(4) {
            0 => self.path(),
            1 => format!("../{}", self.path()),
            2 => "nowhere".into(),
            _ => "/t/d0/f1".into(),
        };
        let path = self.path();
        if path == OWN {
            return Ok("its own".into()); // what lies below a link is another's
        }
        symlink(target, path).map(nothing)
    }

    fn change_mode(&mut self) -> Told {
        // No set-id bits: which of a file's writers take them away from which of its names overlayfs
        // does not know well. `contract` looks at them one by one.
        let mode = self.random.pick(&[0o644, 0o600, 0o755, 0o711, 0o1777, 0o777]);
        chmod(self.path(), Mode::from_raw_mode(mode)).map(nothing)
    }

    fn change_owner(&mut self) -> Told {
        let id = |one: u64| (one > 0).then_some(0);
        let (uid, gid) = (id(self.random.below(2)), id(self.random.below(2)));
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        chownat(CWD, self.path(), uid, gid, AtFlags::SYMLINK_NOFOLLOW).map(nothing)
    }

    fn set_times(&mut self) -> Told {
        let (path, seconds) = (self.path(), self.random.below(3_000_000_000).cast_signed());
        let time = Timespec {
            tv_sec: seconds - 1_000_000_000,
            tv_nsec: self.random.pick(&[0, 1, 500_000_000, 999_999_999]),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        let stat = lstat(path)?;
        Ok(format!("{}.{} {}", stat.st_mtime, stat.st_mtime_nsec, stat.st_atime))
    }

    fn truncate(&mut self) -> Told {
        let size = self.offset();
        let file = self.open(OFlags::WRONLY, 0)?;
        ftruncate(&file, size)?;
        Ok(fstat(file)?.st_size.to_string())
    }

    fn set_attribute(&mut self) -> Told {
        let (plain, name) = (XattrFlags::empty(), self.random.pick(&ATTRIBUTES));
        let flags =
            self.random.pick(&[plain, plain, plain, XattrFlags::CREATE, XattrFlags::REPLACE]);
        let mut data = self.data();
        data.truncate(200);
        lsetxattr(self.path(), name, &data, flags).map(nothing)
    }

    fn attribute(&mut self) -> Told {
        let name = self.random.pick(&ATTRIBUTES);
        attribute(&self.path(), name)
    }

    fn remove_attribute(&mut self) -> Told {
        let name = self.random.pick(&ATTRIBUTES);
        lremovexattr(self.path(), name).map(nothing)
    }

    fn make_pipe(&mut self) -> Told {
        mknodat(CWD, self.path(), FileType::Fifo, Mode::from_raw_mode(0o644), 0).map(nothing)
    }

    fn hold(&mut self) -> Told {
        if self.held.len() > 12 {
            self.held.remove(0);
        }
        let flags = [OFlags::RDONLY, OFlags::RDWR, OFlags::RDWR | OFlags::CREATE];
        let flags = self.random.pick(&flags);
        let file = self.open(flags, 0o644)?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Ok("no file".into());
        }
        self.held.push(file);
        Ok("held".into())
    }

    fn on_held(&mut self, work: impl FnOnce(&mut Self, &OwnedFd) -> Told) -> Told {
        if self.held.is_empty() {
            return Ok("none".into());
        }
        let index = usize::try_from(self.random.below(self.held.len() as u64)).unwrap();
        let file = self.held.remove(index);
        let result = work(self, &file);
        self.held.insert(index, file);
        result
    }

    fn write_held(&mut self) -> Told {
        let (data, offset) = (self.data(), self.offset());
        self.on_held(|_, file| pwrite(file, &data, offset).map(|count| count.to_string()))
    }

    fn look_held(&mut self) -> Told {
        self.on_held(|_, file| {
            let mut stat = fstat(file)?;
            // overlayfs counts the name of a lower file that is removed.
            stat.st_nlink = stat.st_nlink.max(1);
            Ok(told(&stat))
        })
    }

    fn change_held(&mut self) -> Told {
        let (mode, size) = (self.random.pick(&[0o600, 0o640]), self.offset());
        self.on_held(|_, file| {
            // overlayfs looks for a removed lower file where its name was (EEXIST, ENOENT); who may
            // write has had it copied up.
            if !fcntl_getfl(file)?.contains(OFlags::RDWR) {
                return Ok("read-only".into());
            }
            fchmod(file, Mode::from_raw_mode(mode))?;
            ftruncate(file, size).map(nothing)
        })
    }

    fn map_held(&mut self) -> Told {
        let at = usize::try_from(self.random.below(4096)).unwrap();
        self.on_held(|_, file| {
            if fstat(file)?.st_size < 4096 {
                return Ok("short".into());
            }
            mapped::write_byte(file, at, 77)?;
            whole(file)
        })
    }

    fn allocate_held(&mut self) -> Told {
        let keep = FallocateFlags::KEEP_SIZE;
        let modes = [FallocateFlags::empty(), keep, keep | FallocateFlags::PUNCH_HOLE];
        let (mode, offset) = (self.random.pick(&modes), self.offset());
        let length = self.random.pick(&[1, 4096, 70_000]);
        self.on_held(|_, file| {
            fallocate(file, mode, offset, length)?;
            whole(file)
        })
    }

    fn copy_held(&mut self) -> Told {
        let (offset, length) = (self.offset(), self.random.pick(&[1, 4096, 70_000]));
        self.on_held(|this, from| {
            let Some(to) = this.held.first() else { return Ok("itself".into()) };
            let (mut from_at, mut to_at) = (offset, 0);
            // What one file is under two descriptors may not overlap.
            let (a, b) = (fstat(from)?, fstat(to)?);
            if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
                return Ok("itself".into());
            }
            let (mut left, mut buffer) = (length, vec![0; length]);
            while left > 0 {
                match copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), left)? {
                    // overlayfs now and then says that the source ends, long before it does.
                    0 => match pread(from, &mut buffer[..left], from_at)? {
                        0 => break,
                        count => {
                            let count = pwrite(to, &buffer[..count], to_at)?;
                            (from_at, to_at) = (from_at + count as u64, to_at + count as u64);
                            left -= count;
                        }
                    },
                    count => left -= count,
                }
            }
            Ok(format!("{} {} {}", length - left, whole(from)?, whole(to)?))
        })
    }

    fn lock_held(&mut self) -> Told {
        self.on_held(|_, file| {
            flock(file, FlockOperation::NonBlockingLockExclusive)?;
            flock(file, FlockOperation::Unlock).map(nothing)
        })
    }
}

fn nothing((): ()) -> String {
    String::new()
}

/// What is in the way is not empty: two errors say so (POSIX, rename).
fn full(renamed: Result<(), Errno>) -> Told {
    match renamed {
        Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
        other => other.map(nothing),
    }
}

fn is_own(path: &str) -> bool {
    path.len() > OWN.len() && path.starts_with(OWN)
}

fn is_directory(path: &str) -> bool {
    lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// What every file system must tell alike.
pub fn told(stat: &Stat) -> String {
    let (size, links) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (0, 0),
        _ => (stat.st_size, stat.st_nlink),
    };
    format!("{:o} {size} {links} {}:{}", stat.st_mode, stat.st_uid, stat.st_gid)
}

/// The length of a file and the digest of what is in it.
pub fn whole(file: impl AsFd) -> Told {
    let size = usize::try_from(fstat(&file)?.st_size).unwrap().min(1 << 20);
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        // A pipe without a writer, or a directory.
        return rustix::io::read(file, &mut [0; 1][..]).map(|count| count.to_string());
    }
    let mut buffer = vec![0; size];
    let mut done = 0;
    while done < size {
        match pread(&file, &mut buffer[done..], done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    // By words: the suite is not optimised.
    for bytes in buffer[..done].chunks(8) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        digest = (digest ^ u64::from_le_bytes(word)).rotate_left(5).wrapping_mul(0x0100_0000_01b3);
    }
    Ok(format!("{done} {digest:016x}"))
}

/// The names in a directory, sorted.
pub fn names(path: &str) -> Result<Vec<String>, Errno> {
    let directory = open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(File::from(directory), &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_str().unwrap().to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn attribute(path: &str, name: &str) -> Told {
    let mut buffer = [0; 256];
    let length = lgetxattr(path, name, &mut buffer[..])?;
    Ok(format!("{:?}", &buffer[..length]))
}

/// The names of the user's attributes; what the id supervisor keeps there is not the user's.
fn attributes(path: &str) -> Result<Vec<String>, Errno> {
    let mut buffer = [0; 4096];
    let length = llistxattr(path, &mut buffer[..])?;
    let mut names: Vec<String> = buffer[..length]
        .split(|byte| *byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| name.starts_with("user.") && !name.starts_with("user.containers."))
        .collect();
    names.sort();
    Ok(names)
}

/// A line for every file below the working directory.
pub fn tree(below: &str, lines: &mut Vec<String>) {
    for name in names(below).unwrap() {
        let path = format!("{below}/{name}");
        let stat = lstat(&*path).unwrap();
        let mut line = format!("{path} {}", told(&stat));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = open(&*path, OFlags::RDONLY, Mode::empty()).and_then(whole).unwrap();
                write!(line, " {file}").unwrap();
            }
            FileType::Symlink => {
                write!(line, " {:?}", readlink(&*path, Vec::new()).unwrap()).unwrap();
            }
            _ => {}
        }
        for name in attributes(&path).unwrap() {
            write!(line, " {name}={}", attribute(&path, &name).unwrap()).unwrap();
        }
        lines.push(line);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            tree(&path, lines);
        }
    }
}
