//! gzip (RFC 1952) to what is in it, without its checksum: of a layer that is a tenth of the work,
//! and the digest of what comes out tells more.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8]; // 8: deflate
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Reads what the members of a gzip stream hold, one after the other. Only for who checks a digest
/// of it: of the checksums nothing but the length is looked at.
pub(super) struct Gzip<R> {
    input: R,
    inflate: Decompress,
    /// Between a header and a trailer.
    inside: bool,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, inflate: Decompress::new(false), inside: false }
    }

    /// Takes the header of the next member; `false` at the end.
    fn header(&mut self) -> io::Result<bool> {
        if available(&mut self.input)?.is_empty() {
            return Ok(false);
        }
        let mut fixed = [0; 10];
        self.input.read_exact(&mut fixed)?;
        let flags = fixed[3];
        if fixed[..3] != MAGIC || flags & RESERVED != 0 {
            return Err(invalid("what follows is no gzip header"));
        }
        if flags & EXTRA != 0 {
            let mut length = [0; 2];
            self.input.read_exact(&mut length)?;
            self.pass(u16::from_le_bytes(length).into())?;
        }
        for _ in 0..(flags & (NAME | COMMENT)).count_ones() {
            self.pass_text()?;
        }
        if flags & HEADER_CRC != 0 {
            self.pass(2)?;
        }
        self.inflate.reset(false);
        Ok(true)
    }

    fn pass(&mut self, count: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        if passed == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Passes over bytes up to a zero, without keeping them.
    fn pass_text(&mut self) -> io::Result<()> {
        loop {
            let buffer = available(&mut self.input)?;
            let end = buffer.iter().position(|&byte| byte == 0);
            let length = end.map_or(buffer.len(), |end| end + 1);
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.consume(length);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        self.input.read_exact(&mut trailer)?;
        let [.., a, b, c, d] = trailer;
        // RFC 1952: the length modulo 2³².
        if u64::from(u32::from_le_bytes([a, b, c, d])) != self.inflate.total_out() & 0xffff_ffff {
            return Err(invalid("its length is not the one that it says"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                self.inside = self.header()?;
                if !self.inside {
                    return Ok(0);
                }
            }
            let buffer = available(&mut self.input)?;
            let at_end = buffer.is_empty();
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(buffer, target, FlushDecompress::None);
            let taken =
                usize::try_from(self.inflate.total_in() - taken).map_err(io::Error::other)?;
            let made =
                usize::try_from(self.inflate.total_out() - made).map_err(io::Error::other)?;
            self.input.consume(taken);
            if let Status::StreamEnd = status.map_err(|_| invalid("corrupt deflate stream"))? {
                self.trailer()?;
                self.inside = false;
            } else if at_end && made == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if made > 0 {
                return Ok(made);
            }
        }
    }
}

/// What is at hand; nothing at the end.
fn available(input: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    input.fill_buf() // it is filled: nothing is read and nothing fails
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    fn member(bytes: &[u8], builder: flate2::GzBuilder) -> Vec<u8> {
        let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn all(bytes: &[u8], at_once: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let input = BufReader::with_capacity(at_once, bytes);
        Gzip::new(input).read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn headers_of_every_kind_and_empty_members() {
        let text = b"some text ".repeat(20_000);
        let odd = flate2::GzBuilder::new().extra(vec![7; 300]).filename("a name").comment("words");
        let mut with_crc = member(b"checked", flate2::GzBuilder::new());
        with_crc[3] |= HEADER_CRC;
        with_crc.splice(10..10, [1, 2]);
        let stream = [
            member(&text, odd),
            member(b"", flate2::GzBuilder::new()),
            with_crc,
            member(b"end", flate2::GzBuilder::new()),
        ]
        .concat();
        let wanted = [&text[..], b"checked", b"end"].concat();
        for at_once in [1, 7, 4096, 1 << 20] {
            assert_eq!(all(&stream, at_once).expect("a stream"), wanted, "{at_once} at once");
        }
        assert_eq!(all(b"", 16).expect("nothing"), b"");
    }

    #[test]
    fn what_is_cut_or_wrong_is_an_error() {
        let whole = member(&b"text".repeat(9000), flate2::GzBuilder::new().filename("name"));
        for cut in [1, 9, 12, 20, whole.len() - 9, whole.len() - 1] {
            assert!(all(&whole[..cut], 64).is_err(), "cut after {cut}");
        }
        let mut long = whole.clone();
        let last = long.len() - 4;
        long[last] ^= 1;
        assert!(all(&long, 64).is_err(), "a wrong length");
        assert!(all(&[&whole[..], &[0; 512]].concat(), 64).is_err(), "filler");
        let mut reserved = whole.clone();
        reserved[3] |= 0x20;
        assert!(all(&reserved, 64).is_err(), "a reserved flag");
        let mut corrupt = whole;
        corrupt[16] = 0xff;
        assert!(all(&corrupt, 64).is_err(), "a wrong block");
    }
}
