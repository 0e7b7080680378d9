//! A bounded pipe of buffers between two threads. Buffers go round: memory stays what it is.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Bytes in a buffer: large enough to make switches rare, small enough for the cache.
pub(super) const CHUNK: usize = 128 << 10;
/// Buffers that wait between the two ends.
const WAITING: usize = 6;

/// The end that is written to.
pub(super) struct Writer {
    full: SyncSender<Option<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    made: usize,
}

/// The end that is read from.
pub(super) struct Reader {
    full: Receiver<Option<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    ended: bool,
}

pub(super) fn pipe() -> (Writer, Reader) {
    let (full, from_writer) = sync_channel(WAITING);
    let (empty, from_reader) = channel();
    let writer = Writer { full, empty: from_reader, made: 0 };
    let reader =
        Reader { full: from_writer, empty, current: Vec::new(), position: 0, ended: false };
    (writer, reader)
}

/// The other end is gone; it knows why.
fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Writer {
    /// A buffer of [`CHUNK`] bytes to fill.
    pub(super) fn buffer(&mut self) -> io::Result<Vec<u8>> {
        if self.made < WAITING + 2 {
            self.made += 1;
            return Ok(vec![0; CHUNK]);
        }
        let mut buffer = self.empty.recv().map_err(|_| broken())?;
        buffer.resize(CHUNK, 0);
        Ok(buffer)
    }

    /// Passes on the first `length` bytes of a buffer.
    pub(super) fn send(&mut self, mut buffer: Vec<u8>, length: usize) -> io::Result<()> {
        buffer.truncate(length);
        self.full.send(Some(buffer)).map_err(|_| broken())
    }

    /// Says that all is written. Without it the reader meets an error, not an end.
    pub(super) fn finish(self) -> io::Result<()> {
        self.full.send(None).map_err(|_| broken())
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.current.len() && !self.ended {
            match self.full.recv().map_err(|_| broken())? {
                Some(next) => {
                    let old = std::mem::replace(&mut self.current, next);
                    self.position = 0;
                    if old.capacity() > 0 {
                        let _ = self.empty.send(old); // a writer that ended needs none
                    }
                }
                None => self.ended = true,
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl Read for Reader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(target.len());
        target[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_an_end_is_said() {
        let (mut writer, mut reader) = pipe();
        let sender = std::thread::spawn(move || {
            for round in 0..100_u8 {
                let mut buffer = writer.buffer()?;
                buffer[0] = round;
                writer.send(buffer, 1)?;
            }
            writer.finish()
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).expect("all bytes");
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        sender.join().expect("no panic").expect("no error");
    }

    #[test]
    fn a_writer_that_dies_is_no_end() {
        let (mut writer, mut reader) = pipe();
        let buffer = writer.buffer().expect("a buffer");
        writer.send(buffer, 3).expect("room");
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_reader_that_dies_stops_the_writer() {
        let (mut writer, reader) = pipe();
        drop(reader);
        let buffer = writer.buffer().expect("a buffer");
        assert!(writer.send(buffer, 1).is_err());
    }
}
