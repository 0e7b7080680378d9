//! A tar stream cut into headers and bodies. Every byte of it goes through the hash.
//!
//! The tar crate gives the layout of a header; its reader of entries is not used: it believes
//! declared sizes of long names, and loses the size in a PAX header behind a binary value.

use std::io::{self, BufRead, Read};

use tar::Header;

use crate::oci::{Algorithm, Digest, Hasher};

use super::error::Error;

/// The unit of a tar archive.
pub(super) const BLOCK: usize = 512;

/// The most bytes that one header record (long name, PAX) may hold.
const LONGEST_RECORD: u64 = 1 << 20;

/// A tar stream.
pub(super) struct Archive<R> {
    stream: Hashed<R>,
    /// Bytes of the current body that were not read yet.
    left: u64,
    /// Filler behind the current body.
    filler: u64,
}

impl<R: BufRead> Archive<R> {
    pub(super) fn new(stream: R, algorithm: Algorithm, limit: u64) -> Self {
        let stream = Hashed { inner: stream, hasher: Hasher::new(algorithm), count: 0, limit };
        Self { stream, left: 0, filler: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.stream.count
    }

    /// An error at the current place.
    pub(super) fn malformed(&self, what: &'static str) -> Error {
        Error::Malformed { what, at: self.position() }
    }

    /// Skips what is left of the body and reads the next header; `None` at the end.
    pub(super) fn header(&mut self) -> Result<Option<Header>, Error> {
        self.skip(self.left + self.filler)?;
        (self.left, self.filler) = (0, 0);
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None); // no end mark: GNU, Go and we let it pass
        }
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            // One zero block and more entries: some readers stop here, some go on.
            let mut second = [0; BLOCK];
            if self.block(&mut second)? && second.iter().any(|&byte| byte != 0) {
                return Err(self.malformed("an entry behind the end mark"));
            }
            return Ok(None);
        }
        if checksum_fits(header.as_bytes()) {
            Ok(Some(header))
        } else {
            Err(self.malformed("a header with a wrong checksum"))
        }
    }

    /// Says how long the body behind the last header is.
    pub(super) fn set_body(&mut self, size: u64) -> Result<(), Error> {
        if size > i64::MAX as u64 - BLOCK as u64 {
            return Err(self.malformed("an impossible size"));
        }
        self.left = size;
        self.filler = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// Bytes of the body that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Reads a whole header record: a long name, PAX.
    pub(super) fn record(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LONGEST_RECORD {
            return Err(self.malformed("a header record above 1 MiB"));
        }
        self.set_body(size)?;
        let mut record = Vec::new();
        let read = Body(self).read_to_end(&mut record);
        read.map_err(|error| self.read_error(error))?;
        Ok(record)
    }

    /// Reads one block outside of any body: what continues an old GNU header.
    pub(super) fn continuation(&mut self, block: &mut [u8]) -> Result<(), Error> {
        if self.block(block)? { Ok(()) } else { Err(self.malformed("it ends in an entry")) }
    }

    /// Reads to the end of the stream: a digest covers every byte. Gives their number too.
    pub(super) fn finish(mut self) -> Result<(Digest, u64), Error> {
        loop {
            match self.stream.fill_buf() {
                Ok([]) => return Ok((self.stream.hasher.finish(), self.stream.count)),
                Ok(buffer) => {
                    let length = buffer.len();
                    self.stream.consume(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// Fills `block`; `false` when the stream ends before its first byte.
    fn block(&mut self, block: &mut [u8]) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < block.len() {
            match self.stream.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.malformed("it ends in a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
        Ok(true)
    }

    fn skip(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0 {
            let available = match self.stream.fill_buf() {
                Ok([]) => return Err(self.malformed("it ends in an entry")),
                Ok(buffer) => buffer.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_error(error)),
            };
            let step = usize::try_from(count).map_or(available, |count| count.min(available));
            self.stream.consume(step);
            count -= step as u64;
        }
        Ok(())
    }

    /// What a failed read of a body means.
    pub(super) fn read_error(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed("it ends in an entry"),
            io::ErrorKind::FileTooLarge if self.stream.is_exhausted() => {
                Error::TooLarge { limit: self.stream.limit }
            }
            _ => Error::Read(error),
        }
    }
}

/// The body of the current entry.
pub(super) struct Body<'a, R>(pub(super) &'a mut Archive<R>);

impl<R: BufRead> Body<'_, R> {
    /// What a failed read means.
    pub(super) fn error(&self, error: io::Error) -> Error {
        self.0.read_error(error)
    }

    /// An error at the current place.
    pub(super) fn malformed(&self, what: &'static str) -> Error {
        self.0.malformed(what)
    }
}

impl<R: BufRead> BufRead for Body<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.left == 0 {
            return Ok(&[]);
        }
        let buffer = self.0.stream.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(self.0.left).map_or(buffer.len(), |n| n.min(buffer.len()));
        Ok(&buffer[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.0.stream.consume(amount);
        self.0.left -= amount as u64;
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(target.len());
        target[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// Hashes what is consumed, and counts it against a limit.
struct Hashed<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
    limit: u64,
}

impl<R> Hashed<R> {
    fn is_exhausted(&self) -> bool {
        self.count > self.limit
    }
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_exhausted() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if amount == 0 {
            return;
        }
        // What was filled is still there: no read happens and nothing fails.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hasher.update(&buffer[..amount]);
        }
        self.inner.consume(amount);
        self.count += amount as u64;
    }
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(target.len());
        target[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// Old writers summed signed bytes.
fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let Some(stored) = number(&block[148..156]) else { return false };
    let sum = |value: fn(u8) -> i64| -> i64 {
        let spaces = 8 * i64::from(b' ');
        block[..148].iter().chain(&block[156..]).map(|&byte| value(byte)).sum::<i64>() + spaces
    };
    stored == sum(i64::from) || stored == sum(|byte| i64::from(byte.cast_signed()))
}

/// A numeric field: octal digits, or GNU's big-endian two's complement.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // The first byte is a mark with the sign in its next bit.
        let sign = if first & 0x40 == 0 { 0 } else { -1 };
        let start = i128::from(first & 0x3f) | (sign << 6);
        let mut value = start;
        for &byte in &field[1..] {
            value = value.checked_mul(256)? | i128::from(byte);
            i64::try_from(value).ok()?;
        }
        return i64::try_from(value).ok();
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(blank) && digits[end] == b' ' {
        return None;
    }
    digits[..end].iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Some(-1));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        for odd in [&b"-1\0"[..], b"9", b"0x1", b"7 7", b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(number(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn nothing_may_follow_the_end_mark() {
        let mut bytes = vec![0; BLOCK];
        bytes.extend_from_slice(Header::new_gnu().as_bytes());
        let mut archive = Archive::new(&bytes[..], Algorithm::Sha256, u64::MAX);
        assert!(archive.header().is_err());
    }

    #[test]
    fn the_tail_is_hashed_too() {
        let bytes = [&[0; 2 * BLOCK][..], b"tail"].concat();
        let mut archive = Archive::new(&bytes[..], Algorithm::Sha256, u64::MAX);
        assert!(archive.header().is_ok_and(|header| header.is_none()));
        let length = bytes.len() as u64;
        assert_eq!(archive.finish().expect("a digest"), (Digest::of(&bytes), length));
    }
}
