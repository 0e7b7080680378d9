//! A blob put together: from the source what is new of it, from blobs of the store what those have.
//!
//! ```text
//! table of the blob ─ pieces ┐ same keys ─ runs that are worth it ─ plan
//! tables of blobs that are here ┘
//! plan ─ fetch: source | blob that is here | source | … ─ hash, partial/, as any other blob
//! ```
//!
//! The blob is what it would have been, byte for byte, and is known by its digest. So nothing here
//! is trusted: where a table lies, or two compressors packed one file in two ways, the digest is
//! another, and the blob is fetched whole.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::{self, Format, LONGEST_FOOTER, Piece, Place};
use crate::registry::{BlobStream, Contents, Descriptor, Error, ImageSource, LayerDescriptor};
use crate::store::Store;

/// The least that a copy must save: below it a request costs more than the bytes.
const LEAST_RUN: u64 = 64 << 10;
/// The smallest blob that is looked into.
const LEAST_BLOB: u64 = 4 * LEAST_RUN;
/// The most blobs that one is compared with: those of the most similar size.
const MOST_COMPARED: usize = 8;
/// The most bytes from the end of what a blob contains to its own; they are kept in memory.
const LONGEST_END: u64 = 16 << 20;

/// A blob that is here and has a table.
#[derive(Debug)]
struct Candidate {
    file: Arc<File>,
    place: Place,
}

/// Where each part of a blob comes from.
#[derive(Debug)]
pub(super) struct Plan {
    /// They cover the blob, from its start on.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    range: Range<u64>,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    /// To be fetched.
    Source,
    /// Here, from that byte on.
    Blob(Arc<File>, u64),
    /// Fetched already.
    Memory(Arc<[u8]>),
}

/// The blobs of the store with a table of this format, as far as their last bytes tell: a few of the
/// most similar size.
fn candidates(store: &Store, format: Format, wanted: u64) -> Vec<Candidate> {
    let look = |path: &Path| {
        let file = File::open(path).ok()?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        if size < LEAST_BLOB {
            return None;
        }
        let mut tail = [0; LONGEST_FOOTER];
        file.read_exact_at(&mut tail, size - LONGEST_FOOTER as u64).ok()?;
        let place = Place::of_footer(size, &tail).filter(|place| place.format == format)?;
        Some((size.abs_diff(wanted), place))
    };
    let blobs = store.blobs_found().unwrap_or_default();
    let mut found: Vec<_> =
        blobs.iter().filter_map(|(path, _)| look(path).map(|found| (found, path))).collect();
    found.sort_by_key(|((apart, _), _)| *apart);
    found.truncate(MOST_COMPARED);
    let open = |((_, place), path): ((u64, Place), &PathBuf)| {
        Some(Candidate { file: Arc::new(File::open(path).ok()?), place })
    };
    found.into_iter().filter_map(open).collect()
}

impl Plan {
    /// How to put a layer's blob together; `None` if it is as well fetched whole, or if anything
    /// about its table is odd.
    pub(super) fn new(
        source: &dyn ImageSource,
        layer: &LayerDescriptor,
        store: &Store,
    ) -> Option<Self> {
        let LayerDescriptor { descriptor, contents, .. } = layer;
        let contents = contents.as_ref().filter(|_| descriptor.size >= LEAST_BLOB)?;
        let candidates = candidates(store, Format::of(contents), descriptor.size);
        if candidates.is_empty() {
            return None; // before anything is asked for
        }
        let (place, ending) = ending(source, descriptor, contents).ok().flatten()?;
        let mut wanted = Wanted::default();
        let mut add = |piece| wanted.pieces.push((piece, None));
        contents::read(place, place.table_in(&ending)?, Some(contents), &mut add).ok()?;
        wanted.index();
        for (at, candidate) in candidates.iter().enumerate() {
            // A damaged one is as good as none.
            let _ = candidate.read(&mut |piece| wanted.found(piece, at));
        }
        let mut segments = wanted.segments(&candidates);
        if segments.is_empty() {
            return None;
        }
        let known = place.contents_end()..descriptor.size;
        let between = segments.last().map_or(0, |segment| segment.range.end)..known.start;
        if !between.is_empty() {
            segments.push(Segment { range: between, from: From::Source });
        }
        segments.push(Segment { range: known, from: From::Memory(ending.into()) });
        Some(Self { segments })
    }

    /// The bytes from `at` on, and where they end; `None` where the source gives no parts any more.
    pub(super) fn open(
        &self,
        source: &dyn ImageSource,
        blob: &Descriptor,
        at: u64,
    ) -> Result<Option<(BlobStream, u64)>, Error> {
        let Some(segment) = self.segments.iter().find(|it| it.range.contains(&at)) else {
            return Ok(None);
        };
        let Range { start, end } = segment.range;
        let stream = match &segment.from {
            From::Source => return Ok(source.part(blob, at..end)?.map(|stream| (stream, end))),
            From::Blob(file, offset) => {
                let part = Part { file: file.clone(), at: offset + (at - start), left: end - at };
                BlobStream::new(at, part)
            }
            From::Memory(bytes) => {
                let mut bytes = Cursor::new(bytes.clone());
                bytes.set_position(at - start);
                BlobStream::new(at, bytes)
            }
        };
        Ok(Some((stream, end)))
    }

    /// Whether the byte `at` is here.
    pub(super) fn has(&self, at: u64) -> bool {
        let segment = self.segments.iter().find(|segment| segment.range.contains(&at));
        segment.is_some_and(|segment| !matches!(segment.from, From::Source))
    }

    /// The bytes that need not be fetched.
    pub(super) fn saved(&self) -> u64 {
        let here = |segment: &&Segment| matches!(segment.from, From::Blob(..));
        self.segments.iter().filter(here).map(|it| it.range.end - it.range.start).sum()
    }
}

impl Candidate {
    fn read(&self, each: &mut dyn FnMut(Piece)) -> io::Result<()> {
        let Place { start, end, .. } = self.place;
        let mut table = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut table, start)?;
        contents::read(self.place, &table, None, each)
    }
}

/// Fetches what follows a blob's contents, the table first; `None` from a source that gives no parts.
fn ending(
    source: &dyn ImageSource,
    blob: &Descriptor,
    contents: &Contents,
) -> Result<Option<(Place, Vec<u8>)>, Error> {
    let io = |source| Error::Io { what: format!("the table of {}", blob.digest), source };
    let read = |range: Range<u64>| -> Result<Option<Vec<u8>>, Error> {
        let length = range.end - range.start;
        let Some(stream) = source.part(blob, range)? else { return Ok(None) };
        let mut bytes = Vec::new();
        stream.take(length).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 != length {
            return Err(io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Some(bytes))
    };
    let place = if let Some(place) = Place::told(contents, blob.size) {
        place.map_err(io)?
    } else {
        let tail = read(blob.size - LONGEST_FOOTER as u64..blob.size)?;
        let Some(tail) = tail else { return Ok(None) };
        let place = Place::of_footer(blob.size, &tail);
        let place = place.filter(|place| place.format == Format::of(contents));
        place.ok_or_else(|| io(io::ErrorKind::InvalidData.into()))?
    };
    if blob.size - place.contents_end() > LONGEST_END {
        return Ok(None);
    }
    Ok(read(place.contents_end()..blob.size)?.map(|bytes| (place, bytes)))
}

/// The pieces of a blob, and which of them are here: the candidate, and where in it.
#[derive(Default)]
struct Wanted {
    pieces: Vec<(Piece, Option<(usize, u64)>)>,
    /// Their places in the list, by their keys.
    by_key: Vec<(u64, usize)>,
}

impl Wanted {
    fn index(&mut self) {
        let keys = self.pieces.iter().enumerate().map(|(at, (piece, _))| (piece.key, at));
        self.by_key = keys.collect();
        self.by_key.sort_unstable();
    }

    fn found(&mut self, here: Piece, candidate: usize) {
        let first = self.by_key.partition_point(|(key, _)| *key < here.key);
        let same = self.by_key[first..].iter().take_while(|(key, _)| *key == here.key);
        for &(_, at) in same {
            let (piece, from) = &mut self.pieces[at];
            if piece.end - piece.start == here.end - here.start {
                from.get_or_insert((candidate, here.start));
            }
        }
    }

    /// The parts in their order, up to the last that is here; none if nothing is worth it.
    fn segments(&self, candidates: &[Candidate]) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for run in runs(&self.pieces) {
            let start = segments.last().map_or(0, |segment| segment.range.end);
            let first = run.first().map_or(start, |(piece, _)| piece.start);
            if first > start {
                segments.push(Segment { range: start..first, from: From::Source });
            }
            for (piece, (candidate, offset)) in run {
                let file = &candidates[candidate].file;
                match segments.last_mut() {
                    // On and on in one blob, as in most of it.
                    Some(Segment { range, from: From::Blob(same, from) })
                        if Arc::ptr_eq(same, file)
                            && *from + (range.end - range.start) == offset =>
                    {
                        range.end = piece.end;
                    }
                    _ => segments.push(Segment {
                        range: piece.start..piece.end,
                        from: From::Blob(file.clone(), offset),
                    }),
                }
            }
        }
        segments
    }
}

/// Pieces in a row that are here, where they are long enough to be worth another request.
fn runs(pieces: &[(Piece, Option<(usize, u64)>)]) -> Vec<Vec<(Piece, (usize, u64))>> {
    let here = pieces.chunk_by(|one, next| one.1.is_some() == next.1.is_some());
    let run = |run: &[(Piece, Option<_>)]| -> Vec<_> {
        run.iter().filter_map(|&(piece, from)| Some((piece, from?))).collect()
    };
    let worth = |run: &Vec<(Piece, _)>| {
        let length = run.iter().map(|(piece, _)| piece.end - piece.start).sum::<u64>();
        length >= LEAST_RUN
    };
    here.map(run).filter(worth).collect()
}

/// A part of a file.
struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(lengths: &[(u64, Option<u64>)]) -> Vec<(Piece, Option<(usize, u64)>)> {
        let mut start = 0;
        let piece = |&(length, from): &(u64, Option<u64>)| {
            let piece = Piece { start, end: start + length, key: length };
            start += length;
            (piece, from.map(|from| (0, from)))
        };
        lengths.iter().map(piece).collect()
    }

    #[test]
    fn only_what_is_worth_a_request_is_copied() {
        let short = LEAST_RUN / 2;
        let pieces = pieces(&[
            (short, Some(0)),
            (10, None),
            (short, Some(900)),
            (short, Some(70)),
            (short - 1, None),
            (LEAST_RUN - 1, Some(5)),
        ]);
        let runs = runs(&pieces);
        let starts: Vec<u64> = runs.iter().flatten().map(|(piece, _)| piece.start).collect();
        assert_eq!(starts, [short + 10, 2 * short + 10]);
    }

    #[test]
    fn what_lies_in_a_row_is_one_segment() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let place = Place { format: Format::Chunked, start: 8, end: 9 };
        let candidates = [Candidate { file, place }];
        let run = LEAST_RUN;
        let pieces = pieces(&[
            (7, None),
            (run, Some(100)),
            (5, Some(100 + run)),
            (run, Some(0)),
            (9, None),
            (run, Some(0)),
            (9, None),
        ]);
        let wanted = Wanted { pieces, by_key: Vec::new() };
        let segments: Vec<(Range<u64>, Option<u64>)> = wanted
            .segments(&candidates)
            .into_iter()
            .map(|segment| match segment.from {
                From::Blob(_, offset) => (segment.range, Some(offset)),
                _ => (segment.range, None),
            })
            .collect();
        let (first, second) = (12 + run, 12 + 2 * run);
        assert_eq!(
            segments,
            [
                (0..7, None),
                (7..first, Some(100)),
                (first..second, Some(0)),
                (second..second + 9, None),
                (second + 9..second + 9 + run, Some(0)),
            ]
        );
    }

    #[test]
    fn the_same_piece_may_be_wanted_twice_and_must_be_as_long() {
        let mut wanted = Wanted::default();
        for (start, end, key) in [(0, 10, 1), (10, 20, 2), (20, 30, 1), (30, 31, 1)] {
            wanted.pieces.push((Piece { start, end, key }, None));
        }
        wanted.index();
        wanted.found(Piece { start: 50, end: 60, key: 1 }, 3);
        wanted.found(Piece { start: 90, end: 100, key: 1 }, 4); // the first one stays
        wanted.found(Piece { start: 50, end: 60, key: 9 }, 3);
        let from: Vec<_> = wanted.pieces.iter().map(|(_, from)| *from).collect();
        assert_eq!(from, [Some((3, 50)), None, Some((3, 50)), None]);
    }
}
