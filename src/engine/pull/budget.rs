//! How much an image may unpack to: one count for all of its layers, however many come at once.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of tar archives that may still come.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The bytes that came so far.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts what is read through it, and fails with `FileTooLarge` where it is too much.
    pub(super) fn meter<R: BufRead>(&self, input: R) -> impl BufRead {
        Metered { input, budget: self }
    }
}

struct Metered<'a, R> {
    input: R,
    budget: &'a Budget,
}

impl<R: BufRead> BufRead for Metered<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.budget.used.load(Ordering::Relaxed) > self.budget.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.budget.used.fetch_add(amount as u64, Ordering::Relaxed);
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for Metered<'_, R> {
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
    fn layers_share_one_budget() {
        let budget = Budget::new(10);
        let mut all = Vec::new();
        budget.meter(&[0; 6][..]).read_to_end(&mut all).expect("below the limit");
        budget.meter(&[0; 4][..]).read_to_end(&mut all).expect("at the limit");
        let error = budget.meter(&[0; 1][..]).read_to_end(&mut all).expect_err("above it");
        assert_eq!((error.kind(), all.len()), (io::ErrorKind::FileTooLarge, 11));
    }
}
