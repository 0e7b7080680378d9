//! Maps of sparse files: GNU's own header, and PAX forms 0.0, 0.1 and 1.0.
//!
//! All say the same: which bytes of the file the body holds, in order. The rest are holes.

use std::io::{BufRead, Read};

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::archive::{Archive, BLOCK, Body, number};
use super::error::Error;
use super::pax::{Records, decimal};

/// The most extents a file may have.
const MOST_EXTENTS: usize = 1 << 16;

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it lies in the file.
    pub(super) offset: u64,
    /// How long it is.
    pub(super) length: u64,
}

/// The length of a sparse file and where its data lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) size: u64,
    pub(super) extents: Vec<Extent>,
}

impl Map {
    /// Checks that the extents are in order, inside the file, and exactly what the body holds.
    fn check(size: u64, mut extents: Vec<Extent>, body: u64) -> Result<Self, &'static str> {
        let (mut end, mut data) = (0_u64, 0_u64);
        for &Extent { offset, length } in &extents {
            if offset < end {
                return Err("a sparse map out of order");
            }
            end = offset.checked_add(length).ok_or("an impossible sparse map")?;
            data += length; // at most `end`
        }
        if end > size || size > i64::MAX as u64 {
            return Err("a sparse map beyond the end of its file");
        }
        if data != body {
            return Err("a sparse map that does not fit its data");
        }
        extents.retain(|extent| extent.length > 0);
        Ok(Self { size, extents })
    }
}

/// The map in PAX records, or behind them in the body; `None` for a plain file.
pub(super) fn from_pax<R: BufRead>(
    records: &Records,
    archive: &mut Archive<R>,
) -> Result<Option<Map>, Error> {
    let version = (records.get("GNU.sparse.major"), records.get("GNU.sparse.minor"));
    let number = |key| records.number(key).map_err(|what| archive.malformed(what));
    let size = match number("GNU.sparse.realsize")? {
        Some(size) => Some(size),
        None => number("GNU.sparse.size")?,
    };
    let extents = match (version, size) {
        ((None, None), None) if records.get("GNU.sparse.map").is_none() => return Ok(None),
        ((None | Some(b"0"), None | Some(b"0" | b"1")), Some(_)) => {
            in_records(records).map_err(|what| archive.malformed(what))?
        }
        ((Some(b"1"), Some(b"0")), Some(_)) => in_body(archive)?,
        _ => return Err(archive.malformed("a sparse file of unknown form")),
    };
    let map = Map::check(size.unwrap_or_default(), extents, archive.left());
    map.map(Some).map_err(|what| archive.malformed(what))
}

/// Forms 0.0 (a record each) and 0.1 (one record with commas).
fn in_records(records: &Records) -> Result<Vec<Extent>, &'static str> {
    let wrong = "a sparse map that is none";
    let mut numbers = Vec::new();
    if let Some(map) = records.get("GNU.sparse.map") {
        for text in map.split(|&byte| byte == b',') {
            numbers.push(decimal(text).ok_or(wrong)?);
        }
    } else {
        for (key, value) in records.iter() {
            // They must take turns, or readers pair them differently.
            match (key, numbers.len() % 2) {
                (b"GNU.sparse.offset", 0) | (b"GNU.sparse.numbytes", 1) => {
                    numbers.push(decimal(value).ok_or(wrong)?);
                }
                (b"GNU.sparse.offset" | b"GNU.sparse.numbytes", _) => return Err(wrong),
                _ => {}
            }
        }
    }
    let count = records.number("GNU.sparse.numblocks")?;
    if count.is_some_and(|count| count != numbers.len() as u64 / 2) {
        return Err(wrong);
    }
    pair(&numbers)
}

/// Form 1.0: decimal lines at the start of the body, filled up to a block.
fn in_body<R: BufRead>(archive: &mut Archive<R>) -> Result<Vec<Extent>, Error> {
    let before = archive.left();
    let count = line(archive)?;
    if count > MOST_EXTENTS as u64 {
        return Err(archive.malformed("a sparse file of too many pieces"));
    }
    let mut numbers = Vec::new();
    for _ in 0..2 * count {
        numbers.push(line(archive)?);
    }
    let used = before - archive.left();
    let filler = used.next_multiple_of(BLOCK as u64) - used;
    let mut body = Body(archive);
    let skipped = std::io::copy(&mut body.by_ref().take(filler), &mut std::io::sink())
        .map_err(|error| body.error(error))?;
    if skipped != filler {
        return Err(archive.malformed("a sparse map that ends early"));
    }
    pair(&numbers).map_err(|what| archive.malformed(what))
}

fn line<R: BufRead>(archive: &mut Archive<R>) -> Result<u64, Error> {
    let mut text = Vec::new();
    let mut body = Body(archive);
    loop {
        let mut byte = [0];
        match body.read(&mut byte) {
            Ok(1) if byte[0] == b'\n' => break,
            Ok(1) if text.len() < 20 => text.push(byte[0]),
            Ok(_) => return Err(body.malformed("a sparse map that is none")),
            Err(error) => return Err(body.error(error)),
        }
    }
    decimal(&text).ok_or_else(|| archive.malformed("a sparse map that is none"))
}

/// The map of a GNU sparse entry: four extents in the header, more in blocks behind it.
pub(super) fn from_gnu<R: BufRead>(
    header: &Header,
    size: u64,
    archive: &mut Archive<R>,
) -> Result<Map, Error> {
    let wrong = "a sparse map that is none";
    let Some(gnu) = header.as_gnu() else { return Err(archive.malformed(wrong)) };
    let mut numbers = Vec::new();
    let mut more = gnu.is_extended();
    let mut collect = |headers: &[GnuSparseHeader]| -> Option<()> {
        for header in headers.iter().filter(|header| header.offset[0] != 0) {
            numbers.push(u64::try_from(number(&header.offset)?).ok()?);
            numbers.push(u64::try_from(number(&header.numbytes)?).ok()?);
        }
        (numbers.len() <= 2 * MOST_EXTENTS).then_some(())
    };
    collect(&gnu.sparse).ok_or_else(|| archive.malformed(wrong))?;
    while more {
        let mut next = GnuExtSparseHeader::new();
        archive.continuation(next.as_mut_bytes())?;
        collect(&next.sparse).ok_or_else(|| archive.malformed(wrong))?;
        more = next.is_extended();
    }
    // The blocks above stand between header and body.
    archive.set_body(size)?;
    let real = number(&gnu.realsize).and_then(|size| u64::try_from(size).ok());
    real.ok_or(wrong)
        .and_then(|real| Map::check(real, pair(&numbers)?, size))
        .map_err(|what| archive.malformed(what))
}

fn pair(numbers: &[u64]) -> Result<Vec<Extent>, &'static str> {
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MOST_EXTENTS {
        return Err("a sparse map that is none");
    }
    let pairs = numbers.chunks_exact(2);
    Ok(pairs.map(|pair| Extent { offset: pair[0], length: pair[1] }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn a_map_covers_its_data_exactly() {
        let map = Map::check(100, vec![extent(0, 10), extent(50, 5), extent(100, 0)], 15);
        assert_eq!(map.map(|map| map.extents), Ok(vec![extent(0, 10), extent(50, 5)]));
        for (extents, body) in [
            (vec![extent(0, 10)], 11),
            (vec![extent(20, 5), extent(10, 5)], 10),
            (vec![extent(0, 10), extent(5, 5)], 15),
            (vec![extent(99, 2)], 2),
            (vec![extent(u64::MAX, 2)], 2),
        ] {
            assert!(Map::check(100, extents, body).is_err());
        }
    }
}
