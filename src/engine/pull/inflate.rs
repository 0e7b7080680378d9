//! A layer as shipped to its tar archive.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::gzip::Gzip;
use super::pipe::Writer;
use crate::registry::Compression;

/// The largest window a zstd frame may ask for: 128 MiB, the most that zstd itself takes unasked.
const WINDOW_LOG_MAX: u32 = 27;

/// The compression's name, for messages.
pub(super) fn name(format: Compression) -> &'static str {
    match format {
        Compression::None => "tar",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

/// The tar archive in `input`, which begins with a layer's first byte.
pub(in crate::engine) fn inflated<'a>(
    format: Compression,
    input: impl BufRead + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Inflates all of `input` into `output`, whose reader checks the digest of it.
pub(super) fn inflate(format: Compression, input: impl BufRead, output: Writer) -> io::Result<()> {
    match format {
        Compression::Gzip => pump(Gzip::new(input), output),
        format => pump(inflated(format, input)?, output),
    }
}

fn pump(mut input: impl Read, mut output: Writer) -> io::Result<()> {
    loop {
        let mut buffer = output.buffer()?;
        let length = fill(&mut input, &mut buffer)?;
        if length == 0 {
            return output.finish();
        }
        output.send(buffer, length)?;
    }
}

/// Reads until the buffer is full or the input ends.
pub(super) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::pipe::pipe;
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn inflate_all(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (writer, mut reader) = pipe();
        let bytes = bytes.to_vec();
        let format = Compression::of(&bytes);
        let inflating = std::thread::spawn(move || inflate(format, &bytes[..], writer));
        let mut all = Vec::new();
        let read = reader.read_to_end(&mut all);
        inflating.join().expect("no panic")?;
        read.map(|_| all)
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let text = vec![b'a'; 300_000];
        let twice = [&text[..], b"end"].concat();
        let members = [gzip(&text), gzip(b"end")].concat();
        assert_eq!(inflate_all(&members).expect("gzip"), twice);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory");
        let frames = [zstd(&text), zstd(b"end")].concat();
        assert_eq!(inflate_all(&frames).expect("zstd"), twice);
        assert_eq!(inflate_all(&text).expect("plain"), text);
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let whole = gzip(&vec![7; 100_000]);
        assert!(inflate_all(&whole[..whole.len() - 9]).is_err());
        assert!(inflate_all(&[&whole[..], b"junk"].concat()).is_err());
    }
}
