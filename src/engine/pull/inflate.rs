//! A layer as shipped to its tar archive.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::pipe::Writer;

/// The largest window a zstd frame may ask for: 128 MiB, the most that zstd itself takes unasked.
const WINDOW_LOG_MAX: u32 = 27;

/// How a layer is compressed, by its first bytes.
///
/// docker and containerd look at these and not at the media type, and images rely on it. The
/// `DiffId` tells in the end whether it was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// Looks at the beginning of a stream.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that is skipped and comes before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Inflates all of `input` into `output`.
pub(super) fn inflate(format: Format, input: impl BufRead, output: Writer) -> io::Result<()> {
    match format {
        Format::Plain => pump(input, output),
        Format::Gzip => pump(MultiGzDecoder::new(input), output),
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            pump(decoder, output)
        }
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

    fn inflated(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (writer, mut reader) = pipe();
        let bytes = bytes.to_vec();
        let inflating = std::thread::spawn(move || inflate(Format::of(&bytes), &bytes[..], writer));
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
        assert_eq!(inflated(&members).expect("gzip"), twice);
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory");
        let frames = [zstd(&text), zstd(b"end")].concat();
        assert_eq!(inflated(&frames).expect("zstd"), twice);
        assert_eq!(inflated(&text).expect("plain"), text);
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let whole = gzip(&vec![7; 100_000]);
        assert!(inflated(&whole[..whole.len() - 9]).is_err());
        assert!(inflated(&[&whole[..], b"junk"].concat()).is_err());
    }
}
