use std::io::{self, Read, Write};

use super::{Algorithm, Digest, Hasher};

/// A reader or a writer that hashes and counts what passes.
pub struct Hashed<T> {
    inner: T,
    hasher: Hasher,
    count: u64,
}

impl<T> Hashed<T> {
    /// Hashes by SHA-256.
    pub fn new(inner: T) -> Self {
        Self::by(Algorithm::Sha256, inner)
    }

    /// Hashes by this algorithm.
    pub fn by(algorithm: Algorithm, inner: T) -> Self {
        Self { inner, hasher: Hasher::new(algorithm), count: 0 }
    }

    /// The reader or writer, the digest of what passed, and how many bytes that were.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.count)
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_hashed_and_counted_either_way() {
        let mut reader = Hashed::new(&b"some bytes"[..]);
        let mut writer = Hashed::by(Algorithm::Sha512, Vec::new());
        assert_eq!(io::copy(&mut reader, &mut writer).expect("copied"), 10);
        let (_, read, count) = reader.finish();
        assert_eq!((read, count), (Digest::of(b"some bytes"), 10));
        let (bytes, written, count) = writer.finish();
        assert_eq!((bytes.as_slice(), count), (&b"some bytes"[..], 10));
        assert_eq!(written.algorithm(), Algorithm::Sha512);
    }
}
