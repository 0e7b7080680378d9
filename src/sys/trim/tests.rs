use std::io::{Read, Write};
use std::os::fd::AsFd;

use rustix::event::PollFlags;

use super::relocated::{Rela, reproducible};
use super::*;
use crate::sys::fork;

const SMAPS: &str = "\
1000-3000 r--p 00000000 08:01 42 /bin/coracle\nRss: 8 kB\nAnonymous:             0 kB\n\
3000-9000 r-xp 00002000 08:01 42 /bin/coracle\nAnonymous:             0 kB\n\
9000-a000 r--p 00008000 08:01 42 /bin/coracle\nAnonymous:             4 kB\n\
a000-b000 rw-p 00009000 08:01 42 /bin/coracle\nAnonymous:             0 kB\n\
b000-f000 rw-p 00000000 00:00 0 [heap]\nAnonymous:             0 kB\n\
f000-f800 r--s 00000000 08:01 42 /shared\nAnonymous:             0 kB\n\
20000-40000 rw-p 00000000 00:00 0 [stack]\nAnonymous:            12 kB\n\
50000-52000 r-xp 00000000 00:00 0 [vdso]\nAnonymous:             0 kB\n";

fn range(start: usize, end: usize) -> Range {
    Range { start, length: end - start }
}

#[test]
fn what_was_written_to_stays() {
    let expected = Mapped {
        files: vec![range(0x1000, 0x3000), range(0x3000, 0x9000)],
        stack: Some(0x20000),
        sealed: vec![range(0x9000, 0xa000)],
    };
    assert_eq!(mapped(SMAPS), expected);
}

#[test]
fn the_code_that_waits_stays() {
    let parts = |hole| range(0x3000, 0x9000).without(hole).collect::<Vec<_>>();
    let both = [range(0x3000, 0x5000), range(0x7000, 0x9000)];
    assert_eq!(parts(range(0x5ff0, 0x6010)), both, "on two pages");
    assert_eq!(parts(range(0x3000, 0x3100)), [range(0x4000, 0x9000)]);
    assert_eq!(parts(range(0x10000, 0x10100)), [range(0x3000, 0x9000)]);
    assert_eq!(parts(range(0x100, 0x200)), [range(0x3000, 0x9000)]);
}

/// Four pages from 0x10000 on: pointers in the first three, and what else memory has.
fn program(others: &[usize]) -> (Vec<u8>, Vec<u8>, Vec<Rela>) {
    let bytes = vec![0; 4 * 4096];
    let mut memory = bytes.clone();
    let mut table = Vec::new();
    for at in [8, 4096 + 16, 2 * 4096 + 4088] {
        let addend = at as u64 + 1;
        table.push(Rela { offset: 0x10000 + at as u64, info: 8, addend });
        memory[at..at + 8].copy_from_slice(&(0x7000_0000 + addend).to_ne_bytes());
    }
    for at in others {
        memory[*at] = 1;
    }
    (bytes, memory, table)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn pages_are_taken_that_the_file_makes_again() {
    let found = |others: &[usize]| {
        let (bytes, memory, table) = program(others);
        let found = reproducible(&bytes, &memory, 0x10000, &table, 0x7000_0000);
        found.map(|(range, table)| (range, table.len()))
    };
    assert_eq!(found(&[]), Some((range(0, 4 * 4096), 3)));
    // What nothing in the file explains stays.
    assert_eq!(found(&[4 * 4096 - 1]), Some((range(0, 3 * 4096), 3)));
    assert_eq!(found(&[5]), Some((range(4096, 4 * 4096), 2)));
    assert_eq!(found(&[5, 5000, 9000, 13000]), None);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_table_that_would_do_more_is_refused() {
    let (bytes, memory, mut table) = program(&[5]);
    // Out of order: one of another page between.
    table.swap(0, 1);
    table.push(table[0]);
    assert_eq!(reproducible(&bytes, &memory, 0x10000, &table, 0x7000_0000), None);
    // Another kind of relocation between, which would give what is there.
    let (bytes, memory, mut table) = program(&[]);
    table.insert(1, Rela { offset: 0x10100, info: 37, addend: 0 });
    assert_eq!(reproducible(&bytes, &memory, 0x10000, &table, 0x7000_0000), None);
}

/// The anonymous kilobytes of a process's read-only mappings of files.
fn sealed(pid: rustix::process::Pid) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut sealed = false;
    let mut sum = 0;
    for line in smaps.lines() {
        if let Some((_, _, rest)) = heading(line) {
            sealed = rest.starts_with("r--p") && rest.contains('/');
        } else if let (true, Some(rest)) = (sealed, line.strip_prefix("Anonymous:")) {
            sum += rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
        }
    }
    sum
}

/// Sleeps and wakes, twice; what went wrong.
fn sleeper(reader: &impl AsFd, told: &impl AsFd) -> u8 {
    let trimmer = Trimmer::new();
    for _ in 0..2 {
        let mut polled = [PollFd::new(reader, PollFlags::IN)];
        if trimmer.trim_and_poll(&mut polled, None) != Ok(1) {
            return 1;
        }
        // Tables of functions, texts, the heap: all of it is there.
        let read: Box<dyn std::fmt::Debug> = Box::new(rustix::io::read(reader, &mut [0]));
        if format!("{read:?}") != "Ok(1)" || rustix::io::write(told, b"x") != Ok(1) {
            return 2;
        }
    }
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    u8::from(trimmer.trim_and_poll(&mut [], Some(&at_once)) != Ok(0))
}

#[test]
fn a_process_sleeps_without_what_it_can_make_again_and_goes_on() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let (mut awake, told) = std::io::pipe().expect("a pipe");
    let before = sealed(rustix::process::getpid());
    let child = match fork::old_fork().expect("a child") {
        fork::Side::Parent(child) => child,
        fork::Side::Child => fork::exit(sleeper(&reader, &told)),
    };
    for _ in 0..2 {
        if cfg!(target_arch = "x86_64") && before > 100 {
            let slept = (0..6000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                sealed(child.pid) < before / 4
            });
            assert!(slept, "it has {} kB of {before} kB", sealed(child.pid));
        }
        writer.write_all(b"x").expect("told");
        awake.read_exact(&mut [0]).expect("it is awake");
    }
    assert_eq!(child.wait(), Ok(0));
}
