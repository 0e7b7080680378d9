//! How slow a body may come. No I/O.

use std::time::Duration;

/// Slower than this over `SPAN`, a connection is given up: a blob is resumed by another.
const SLOWEST: u64 = 64 << 10;
const SPAN: Duration = Duration::from_secs(60);

/// The pace of one body. Of the time, what its reader takes does not count.
#[derive(Default)]
pub(super) struct Pace {
    waited: Duration,
    brought: u64,
}

impl Pace {
    /// Notes that so many bytes came after so long; whether that crawls.
    pub(super) fn crawls(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.brought += bytes as u64;
        if self.waited <= SPAN {
            return false;
        }
        let crawls = self.brought < SLOWEST;
        *self = Self::default();
        crawls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_is_a_crawl_and_a_slow_link_is_none() {
        let after = |seconds: u64, bytes: usize| {
            let mut pace = Pace::default();
            (0..100).any(|_| pace.crawls(Duration::from_secs(seconds), bytes))
        };
        assert!(after(29, 1) && after(1, 1000));
        assert!(!after(1, 2000) && !after(29, 64 << 10) && !after(0, 1));
    }
}
