//! Bodies of entries to files.

use std::fs::File;
use std::io::BufRead;
use std::os::unix::fs::FileExt;

use super::archive::Body;
use super::error::{At, Error};
use super::name::Name;

/// Writes the whole body; gives its length.
pub(super) fn write_plain<R: BufRead>(
    file: &File,
    body: &mut Body<'_, R>,
    name: &Name,
) -> Result<u64, Error> {
    let mut written = 0;
    loop {
        let step = step(file, body, written, u64::MAX, name)?;
        if step == 0 {
            return Ok(written);
        }
        written += step;
    }
}

/// Writes `length` bytes of the body at `offset`.
pub(super) fn write_run<R: BufRead>(
    file: &File,
    body: &mut Body<'_, R>,
    mut offset: u64,
    mut length: u64,
    name: &Name,
) -> Result<(), Error> {
    while length > 0 {
        let step = step(file, body, offset, length, name)?;
        if step == 0 {
            return Err(body.malformed("it ends in an entry"));
        }
        offset += step;
        length -= step;
    }
    Ok(())
}

/// Writes what is at hand, `most` bytes of it; 0 at the end of the body.
fn step<R: BufRead>(
    file: &File,
    body: &mut Body<'_, R>,
    offset: u64,
    most: u64,
    name: &Name,
) -> Result<u64, Error> {
    let length = loop {
        match body.fill_buf() {
            Ok(buffer) => {
                let length = usize::try_from(most).map_or(buffer.len(), |n| n.min(buffer.len()));
                file.write_all_at(&buffer[..length], offset).at("write", name)?;
                break length;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(body.error(error)),
        }
    };
    body.consume(length);
    Ok(length as u64)
}
