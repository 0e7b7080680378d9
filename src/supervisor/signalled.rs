//! What signals wait for a thread.

use super::status::{field, status};

/// A signal that a thread waits to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signalled {
    /// It alone can take it.
    Itself,
    /// Another thread may take it yet.
    Process,
}

/// Whether a signal waits for a thread.
pub(super) fn signalled(thread: u32) -> Option<Signalled> {
    signal_in(&status(thread)?)
}

fn signal_in(status: &[u8]) -> Option<Signalled> {
    let mask = |name| field(status, name).and_then(|text| u64::from_str_radix(text, 16).ok());
    let held = mask("SigBlk")? | mask("SigIgn")?;
    let alone = field(status, "Threads") == Some("1");
    match (mask("SigPnd")? & !held != 0, mask("ShdPnd")? & !held != 0) {
        (true, _) => Some(Signalled::Itself),
        (false, true) if alone => Some(Signalled::Itself),
        (false, true) => Some(Signalled::Process),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_seen_that_somebody_will_take() {
        let status = |threads: u32, own: &str, shared: &str, blocked: &str, ignored: &str| {
            let text = format!(
                "Name:\tx\nThreads:\t{threads}\nSigPnd:\t{own}\nShdPnd:\t{shared}\n\
                 SigBlk:\t{blocked}\nSigIgn:\t{ignored}\n"
            );
            signal_in(text.as_bytes())
        };
        assert_eq!(status(1, "0", "0", "0", "0"), None);
        assert_eq!(status(1, "0", "2000", "0", "0"), Some(Signalled::Itself));
        assert_eq!(status(4, "0", "2000", "0", "0"), Some(Signalled::Process));
        assert_eq!(status(4, "2000", "0", "0", "0"), Some(Signalled::Itself));
        assert_eq!(status(1, "0", "2000", "2000", "0"), None);
        assert_eq!(status(1, "2000", "0", "0", "2000"), None);
        assert_eq!(signal_in(b"Name:\tx\n"), None);
    }
}
