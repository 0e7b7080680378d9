//! The keys that leave a container's terminal without ending it (docker attach(1)).

/// A sequence of keys, and how far the input has come in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// A sequence that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid detach keys {0:?}: want letters and ctrl-<letter>, with commas between them")]
pub struct InvalidDetachKeys(pub String);

impl std::str::FromStr for DetachKeys {
    type Err = InvalidDetachKeys;

    /// `a`, `ctrl-p,ctrl-q`, or nothing for none.
    fn from_str(text: &str) -> Result<Self, InvalidDetachKeys> {
        let key = |word: &str| match (word.as_bytes(), word.strip_prefix("ctrl-")) {
            (&[byte], _) => Some(byte),
            (_, Some(control)) => match control.as_bytes() {
                // @, A to Z, [, \, ], ^ and _ less 64 are the control characters.
                &[byte] if matches!(byte.to_ascii_uppercase(), b'@'..=b'_') => {
                    Some(byte.to_ascii_uppercase() - b'@')
                }
                _ => None,
            },
            _ => None,
        };
        let words = text.split(',').filter(|_| !text.is_empty());
        let keys: Option<Vec<u8>> = words.map(key).collect();
        let keys = keys.ok_or_else(|| InvalidDetachKeys(text.to_owned()))?;
        Ok(Self { keys, matched: 0 })
    }
}

impl DetachKeys {
    /// Takes typed bytes. What has begun like the sequence is held back until it is known to be
    /// none, and then let through; `true` when the sequence is complete.
    pub(super) fn filter(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for &byte in typed {
            if self.keys.is_empty() {
                passed.push(byte);
                continue;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(byte == self.keys[0]);
            if self.matched == 0 {
                passed.push(byte);
            }
        }
        false
    }

    /// Whether there is anything to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &str, typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys: DetachKeys = keys.parse().expect("keys");
        let mut passed = Vec::new();
        let found = typed.iter().any(|typed| keys.filter(typed, &mut passed));
        (passed, found)
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_not_passed_on() {
        assert_eq!(run("ctrl-p,ctrl-q", &[b"a\x10", b"\x11b"]), (b"a".to_vec(), true));
        assert_eq!(run("ctrl-p,ctrl-q", &[b"\x10\x10", b"x"]), (b"\x10\x10x".to_vec(), false));
        assert_eq!(run("", &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
        assert_eq!(run("a", &[b"ba"]), (b"b".to_vec(), true));
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for bad in ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "alt-x"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }
}
