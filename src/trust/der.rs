//! As much of DER (ITU-T X.690) as a public key takes: elements of definite length, one behind the
//! other. No I/O.

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OBJECT_ID: u8 = 0x06;

/// What is left of an encoding.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, if it is of this kind and whole.
    pub(super) fn element(&mut self, kind: u8) -> Option<&'a [u8]> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        if *tag != kind {
            return None;
        }
        let (length, rest) = match (length, rest) {
            (0..=0x7f, rest) => (usize::from(*length), rest),
            (0x81, [length, rest @ ..]) => (usize::from(*length), rest),
            (0x82, [high, low, rest @ ..]) => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None, // no key is as long as that
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    /// The same, where nothing may stand behind it.
    pub(super) fn only(mut self, kind: u8) -> Option<&'a [u8]> {
        let content = self.element(kind)?;
        self.0.is_empty().then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_whole_or_none() {
        let mut two = Der(&[INTEGER, 1, 5, OBJECT_ID, 0x81, 2, 1, 2]);
        assert_eq!(two.element(INTEGER), Some(&[5][..]));
        assert_eq!(two.element(INTEGER), None);
        assert_eq!(two.element(OBJECT_ID), Some(&[1, 2][..]));
        for broken in [&[][..], &[INTEGER], &[INTEGER, 2, 1], &[INTEGER, 0x82, 1], &[INTEGER, 0x84]]
        {
            assert_eq!(Der(broken).element(INTEGER), None, "{broken:?}");
        }
        assert_eq!(Der(&[INTEGER, 1, 5, 0]).only(INTEGER), None);
    }
}
