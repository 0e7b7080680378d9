//! Data of the program that its start relocated: in no file as it is, and yet to be had again.
//!
//! A static-pie program is linked for address 0. Its start adds the address that it got to every
//! pointer in its data, which writes to nearly all of these pages, and seals them (`PT_GNU_RELRO`).
//! What was done to a page is in the file: its bytes, and the table of relocations. A page is
//! taken only where doing that again gives, byte for byte, what is in memory; sealed as it is,
//! nobody changes it afterwards.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;

use super::doze::{PAGE, Range};

/// Pages that can be made again.
#[derive(Debug)]
pub(super) struct Relocated {
    /// Where they lie.
    pub(super) range: Range,
    /// Those relocations that make them what they are, in the program's read-only mapping.
    pub(super) table: &'static [Rela],
    /// The address that the program got.
    pub(super) bias: usize,
}

/// `Elf64_Rela` (elf(5)).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rela {
    pub(super) offset: u64,
    pub(super) info: u64,
    pub(super) addend: u64,
}

/// `*(bias + offset) = bias + addend`
#[cfg(target_arch = "x86_64")]
const RELATIVE: u64 = 8; // R_X86_64_RELATIVE
/// `*(bias + offset) = bias + addend`
#[cfg(target_arch = "aarch64")]
const RELATIVE: u64 = 1027; // R_AARCH64_RELATIVE

impl Relocated {
    /// The pages of this process; `None` where there are none, or it cannot be told. `sealed` are its
    /// read-only mappings of written pages.
    pub(super) fn find(sealed: &[Range]) -> Option<Self> {
        // Nothing below puts them back elsewhere (doze.rs).
        if !cfg!(target_arch = "x86_64") {
            return None;
        }
        Self::look(sealed).ok().flatten()
    }

    fn look(sealed: &[Range]) -> Result<Option<Self>> {
        let file = File::open("/proc/self/exe")?;
        let program = Program::read(&file)?;
        let Some(program) = program else { return Ok(None) };
        // SAFETY: getauxval(3) takes any number.
        let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
        let bias = number(headers)?.wrapping_sub(number(program.headers)?);
        let Some((first, pages)) = program.sealed_pages() else { return Ok(None) };
        let range = Range { start: bias.wrapping_add(number(first)?), length: number(pages)? };
        if !sealed.iter().any(|mapping| mapping.holds(range)) {
            return Ok(None);
        }
        let mut bytes = vec![0; range.length];
        file.read_exact_at(&mut bytes, program.offset_of(first))?;
        let table = Range {
            start: bias.wrapping_add(number(program.table)?),
            length: number(program.table_length)?,
        };
        // SAFETY: the dynamic section has the table there, in a segment that is mapped read-only for as
        // long as the process lives (Program::read checks that); it is aligned as the format wants it.
        let table: &'static [Rela] = unsafe {
            let start = std::ptr::with_exposed_provenance(table.start);
            std::slice::from_raw_parts(start, table.length / size_of::<Rela>())
        };
        // SAFETY: a part of one of this process's mappings, by the check above, which is sealed.
        let memory: &[u8] = unsafe {
            let start = std::ptr::with_exposed_provenance(range.start);
            std::slice::from_raw_parts(start, range.length)
        };
        let Some((found, table)) = reproducible(&bytes, memory, first, table, bias as u64) else {
            return Ok(None);
        };
        let start = range.start + found.start;
        Ok(Some(Self { range: Range { start, length: found.length }, table, bias }))
    }
}

/// The longest row of whole pages, as a range of `memory`, that the file's `bytes` and a slice of
/// the table make. `first` is what the file calls the address of the first byte.
pub(super) fn reproducible<'a>(
    bytes: &[u8],
    memory: &[u8],
    first: u64,
    table: &'a [Rela],
    bias: u64,
) -> Option<(Range, &'a [Rela])> {
    let mut made = bytes.to_vec();
    for rela in table.iter().filter(|rela| rela.info == RELATIVE) {
        apply(rela, &mut made, first, bias);
    }
    let same = |(made, memory): (&[u8], &[u8])| made == memory;
    let pages: Vec<bool> = made.chunks(PAGE).zip(memory.chunks(PAGE)).map(same).collect();
    let (page, count) = longest_row(&pages)?;
    let range = Range { start: page * PAGE, length: count * PAGE };
    let (from, to) = (range.start, range.start + range.length);
    let first = first + from as u64;
    let within =
        |rela: &Rela| rela.offset.checked_sub(first).is_some_and(|at| at < range.length as u64);
    let begin = table.iter().position(within)?;
    let end = table.iter().rposition(within)? + 1;
    let table = &table[begin..end];
    // Just what will be done, done to a copy: whatever the table looks like, this is the proof.
    let mut made = bytes[from..to].to_vec();
    let sound =
        table.iter().all(|rela| rela.info == RELATIVE && apply(rela, &mut made, first, bias));
    (sound && made == memory[from..to]).then_some((range, table))
}

/// Does one relocation to a copy of the bytes from `first` on; whether it lies in them.
fn apply(rela: &Rela, bytes: &mut [u8], first: u64, bias: u64) -> bool {
    let at = rela.offset.checked_sub(first).and_then(|at| usize::try_from(at).ok());
    let Some(place) = at.and_then(|at| bytes.get_mut(at..at.checked_add(8)?)) else { return false };
    place.copy_from_slice(&bias.wrapping_add(rela.addend).to_ne_bytes());
    true
}

/// First and length of the longest row of pages that are the same.
fn longest_row(pages: &[bool]) -> Option<(usize, usize)> {
    let (mut best, mut at) = ((0, 0), 0);
    for row in pages.split(|same| !same) {
        if row.len() > best.1 {
            best = (at, row.len());
        }
        at += row.len() + 1;
    }
    (best.1 > 0).then_some(best)
}

/// What the program's file says of itself, in its own addresses.
#[derive(Clone, Copy, Debug, Default)]
struct Program {
    /// Where its program headers are.
    headers: u64,
    /// The segment with the sealed part: address, offset in the file, bytes from the file.
    segment: (u64, u64, u64),
    /// The sealed part: address and length.
    sealed: (u64, u64),
    /// The table of relocations: address and bytes.
    table: u64,
    table_length: u64,
}

const PT_PHDR: u32 = 6;
const PT_GNU_RELRO: u32 = 0x6474_e552;
const WRITABLE: u32 = 2;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;

impl Program {
    /// `None`: it is not relocated, or in a way that is not known here.
    fn read(file: &File) -> Result<Option<Self>> {
        let mut head = [0; 64];
        file.read_exact_at(&mut head, 0)?;
        if !head.starts_with(b"\x7fELF\x02\x01") || half(&head, 54)? != 56 {
            return Ok(None);
        }
        let mut headers = vec![0; usize::from(half(&head, 56)?) * 56];
        file.read_exact_at(&mut headers, long(&head, 32)?)?;
        let headers: Vec<Header> =
            headers.chunks_exact(56).map(Header::read).collect::<Result<_>>()?;
        let of = |kind| headers.iter().find(|header| header.kind == kind);
        let (Some(own), Some(dynamic), Some(sealed)) =
            (of(PT_PHDR), of(libc::PT_DYNAMIC), of(PT_GNU_RELRO))
        else {
            return Ok(None);
        };
        let loads = |address, length| {
            let mut loads = headers.iter().filter(|header| header.kind == libc::PT_LOAD);
            loads.find(|header| header.holds(address, length))
        };
        let Some(segment) = loads(sealed.address, 1) else { return Ok(None) };
        let mut entries = vec![0; number(dynamic.in_file)?];
        file.read_exact_at(&mut entries, dynamic.offset)?;
        let mut found = Self {
            headers: own.address,
            segment: (segment.address, segment.offset, segment.in_file),
            sealed: (sealed.address, sealed.length),
            ..Self::default()
        };
        let mut each = 0;
        for entry in entries.chunks_exact(16) {
            match long(entry, 0)? {
                DT_RELA => found.table = long(entry, 8)?,
                DT_RELASZ => found.table_length = long(entry, 8)?,
                DT_RELAENT => each = long(entry, 8)?,
                _ => {}
            }
        }
        let is_constant = loads(found.table, found.table_length)
            .is_some_and(|segment| segment.flags & WRITABLE == 0 && found.table.is_multiple_of(8));
        Ok((each == size_of::<Rela>() as u64 && is_constant).then_some(found))
    }

    /// Address and length of the sealed part's whole pages that come from the file.
    fn sealed_pages(&self) -> Option<(u64, u64)> {
        let page = PAGE as u64;
        let (start, _, in_file) = self.segment;
        let first = self.sealed.0.next_multiple_of(page);
        let end = (self.sealed.0 + self.sealed.1).min(start + in_file) / page * page;
        (end > first).then(|| (first, end - first))
    }

    fn offset_of(&self, address: u64) -> u64 {
        let (start, offset, _) = self.segment;
        address - start + offset
    }
}

/// `Elf64_Phdr` (elf(5)).
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    in_file: u64,
    length: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self> {
        Ok(Self {
            kind: word(bytes, 0)?,
            flags: word(bytes, 4)?,
            offset: long(bytes, 8)?,
            address: long(bytes, 16)?,
            in_file: long(bytes, 32)?,
            length: long(bytes, 40)?,
        })
    }

    fn holds(&self, address: u64, length: u64) -> bool {
        let end = address.checked_add(length);
        self.address <= address && end.is_some_and(|end| end <= self.address + self.length)
    }
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N]> {
    let found = from.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))
}

fn half(from: &[u8], at: usize) -> Result<u16> {
    bytes(from, at).map(u16::from_ne_bytes)
}

fn word(from: &[u8], at: usize) -> Result<u32> {
    bytes(from, at).map(u32::from_ne_bytes)
}

fn long(from: &[u8], at: usize) -> Result<u64> {
    bytes(from, at).map(u64::from_ne_bytes)
}

fn number(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(Error::other)
}
