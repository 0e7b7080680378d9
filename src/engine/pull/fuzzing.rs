//! What a hostile layer reaches before its digest is known, for `fuzz/`.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::contents::{self, LONGEST_FOOTER, Place};
use super::gzip::Gzip;

/// Bytes of a stream that are looked at: a few can stand for many.
const MOST: u64 = 1 << 20;

/// Reads a stream as gzip: what flate2 takes is taken here, and comes out the same.
pub fn gzip(bytes: &[u8]) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let taken = Gzip::new(bytes).take(MOST).read_to_end(&mut ours).is_ok();
    if MultiGzDecoder::new(bytes).take(MOST).read_to_end(&mut theirs).is_ok() {
        assert!(taken && ours == theirs, "{} bytes and {}", ours.len(), theirs.len());
    }
}

/// Reads a blob's footer, and the table of contents that it names.
pub fn table(blob: &[u8]) {
    let size = blob.len() as u64;
    let tail = &blob[blob.len().saturating_sub(LONGEST_FOOTER)..];
    let Some(place) = Place::of_footer(size, tail) else { return };
    let range = usize::try_from(place.contents_end()).ok();
    let Some(ending) = range.and_then(|start| blob.get(start..)) else { return };
    let Some(table) = place.table_in(ending) else { return };
    let mut end = 0;
    let _ = contents::read(place, table, None, &mut |piece| {
        assert!(piece.start == end && piece.end >= end && piece.end <= place.contents_end());
        end = piece.end;
    });
}
