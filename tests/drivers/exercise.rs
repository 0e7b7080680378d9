//! One file of the image and a model of it in memory, worked on at random: after each operation both
//! are the same.

use std::error::Error;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek};
use rustix::io::Errno;

use super::mapped;
use super::operations::Random;

/// A lower file of some ten pages.
const FILE: &str = "/t/d0/d0/f1";
const ROOM: usize = 200_000;
const OPERATIONS: u32 = 1500;

struct Exercise {
    random: Random,
    file: File,
    model: Vec<u8>,
    path: String,
    /// What the file system cannot do at all.
    unable: Vec<&'static str>,
}

pub fn one_file() -> Result<String, Box<dyn Error>> {
    let mut exercise = Exercise {
        random: Random(7),
        file: File::options().read(true).write(true).open(FILE)?,
        model: fs::read(FILE)?,
        path: FILE.to_owned(),
        unable: Vec::new(),
    };
    for number in 0..OPERATIONS {
        let name = exercise.step()?;
        exercise.check().map_err(|error| format!("operation {number}, {name}: {error}"))?;
    }
    Ok(format!("{} bytes, {:?}", exercise.model.len(), exercise.unable))
}

impl Exercise {
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random.below(limit as u64)).unwrap()
    }

    fn step(&mut self) -> Result<&'static str, Box<dyn Error>> {
        let at = match self.below(3) {
            0 => self.below(ROOM),
            1 => self.below(ROOM) & !4095,
            _ => self.below(self.model.len() + 1),
        };
        let (length, byte) = (1 + self.below(20_000), u8::try_from(1 + self.below(255))?);
        let end = (at + length).min(ROOM);
        let length = end - at;
        let whole = self.model.len();
        Ok(match self.below(12) {
            0..3 => {
                self.file.write_all_at(&vec![byte; length], at as u64)?;
                self.fill(at, end, byte);
                "write"
            }
            3 => {
                let more = fs::OpenOptions::new().append(true).open(&self.path)?;
                let length = length.min(ROOM - whole);
                std::io::Write::write_all(&mut &more, &vec![byte; length])?;
                self.model.resize(whole + length, byte);
                "append"
            }
            4 => {
                self.file.set_len(at as u64)?;
                self.model.resize(at, 0);
                "truncate"
            }
            5 if whole >= 4096 => {
                let at = self.below(4096);
                mapped::write_byte(&OwnedFd::from(self.file.try_clone()?), at, byte)?;
                self.model[at] = byte;
                "map"
            }
            6 => self.allocate("allocate", FallocateFlags::empty(), at, length)?,
            7 => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                self.allocate("punch", hole, at, length)?
            }
            8 => self.allocate("zero", FallocateFlags::ZERO_RANGE, at, length)?,
            9 if whole > 0 => {
                let (from, to) = (self.below(whole), ROOM + self.below(1000));
                let (mut from_at, mut to_at) = (from as u64, to as u64);
                let length = length.min(whole - from);
                let count = copy_file_range(
                    &self.file,
                    Some(&mut from_at),
                    &self.file,
                    Some(&mut to_at),
                    length,
                )?;
                let copied = self.model[from..from + count].to_vec();
                if count > 0 {
                    self.model.resize(to + count, 0);
                    self.model[to..].copy_from_slice(&copied);
                }
                self.check().map_err(|error| format!("copy: {error}"))?;
                self.file.set_len(whole as u64)?;
                self.model.truncate(whole);
                "copy"
            }
            10 => {
                let new = format!("/t/d0/d0/exercise-{byte}");
                fs::rename(&self.path, &new)?;
                self.path = new;
                self.file = File::options().read(true).write(true).open(&self.path)?;
                "rename and open"
            }
            // Now and then, as a disk takes its time.
            _ if self.below(4) == 0 => {
                self.file.sync_all()?;
                "sync"
            }
            _ => "nothing",
        })
    }

    fn fill(&mut self, at: usize, end: usize, byte: u8) {
        if self.model.len() < end {
            self.model.resize(end, 0);
        }
        self.model[at..end].fill(byte);
    }

    fn allocate(
        &mut self,
        name: &'static str,
        mode: FallocateFlags,
        at: usize,
        length: usize,
    ) -> Result<&'static str, Errno> {
        if length == 0 {
            return Ok(name);
        }
        match fallocate(&self.file, mode, at as u64, length as u64) {
            Err(Errno::OPNOTSUPP) => {
                if !self.unable.contains(&name) {
                    self.unable.push(name);
                }
                return Ok(name);
            }
            other => other?,
        }
        let keeps = mode.contains(FallocateFlags::KEEP_SIZE);
        let end = at + length;
        if !keeps && self.model.len() < end {
            self.model.resize(end, 0);
        }
        let whole = self.model.len();
        if mode.intersects(FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE) {
            self.model[at.min(whole)..end.min(whole)].fill(0);
        }
        Ok(name)
    }

    /// By what is open, by its name, and what holes there are said to be.
    fn check(&mut self) -> Result<(), Box<dyn Error>> {
        let told = self.file.metadata()?.len();
        if told != self.model.len() as u64 {
            return Err(format!("{told} bytes, not {}", self.model.len()).into());
        }
        let mut found = vec![0; self.model.len()];
        self.file.read_exact_at(&mut found, 0)?;
        // At once: byte by byte it takes seconds all together, as the suite is not optimised.
        if found != self.model {
            let at = (0..found.len()).find(|at| found[*at] != self.model[*at]).unwrap_or_default();
            return Err(format!("byte {at} is {}, not {}", found[at], self.model[at]).into());
        }
        if self.below(20) == 0 {
            let by_name = fs::read(&self.path)?;
            if by_name != self.model {
                return Err("by its name it is another".into());
            }
            self.holes()?;
        }
        if self.file.metadata()?.nlink() != 1 {
            return Err("its names are counted wrong".into());
        }
        Ok(())
    }

    fn holes(&self) -> Result<(), Box<dyn Error>> {
        let mut at = 0;
        while at < self.model.len() {
            let data = match seek(&self.file, SeekFrom::Data(at as u64)) {
                Err(Errno::NXIO) => self.model.len(),
                data => usize::try_from(data?)?,
            };
            if self.model[at..data.min(self.model.len())].iter().any(|byte| *byte != 0) {
                return Err(format!("no hole is at {at}").into());
            }
            if data >= self.model.len() {
                break;
            }
            at = usize::try_from(seek(&self.file, SeekFrom::Hole(data as u64))?)?.max(data + 1);
        }
        Ok(())
    }
}
