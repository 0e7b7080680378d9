//! PAX extended header records: `LENGTH KEY=VALUE\n`.
//!
//! The tar crate splits the records at newlines; a value may hold one (a file capability does,
//! one time in twelve), and what follows, a size included, would be lost. So they are read here.

use super::entry::Time;

/// The records of one extended header, in their order.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Reads a whole header body.
    pub(super) fn parse(mut body: &[u8]) -> Result<Self, &'static str> {
        let mut records = Vec::new();
        while !body.is_empty() {
            let space = body.iter().take(8).position(|&byte| byte == b' ');
            let length = space
                .and_then(|end| decimal(&body[..end]))
                .and_then(|length| usize::try_from(length).ok());
            let (Some(space), Some(length)) = (space, length) else {
                return Err("a PAX record without a length");
            };
            if length <= space + 1 || length > body.len() || body[length - 1] != b'\n' {
                return Err("a PAX record of a wrong length");
            }
            let record = &body[space + 1..length - 1];
            let Some(equals) = record.iter().position(|&byte| byte == b'=') else {
                return Err("a PAX record without a value");
            };
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            body = &body[length..];
        }
        Ok(Self(records))
    }

    /// The last value of `key`; an empty one takes the key back (POSIX pax, "Extended Header").
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(name, _)| name == key.as_bytes());
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    /// A value that must be a plain number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, &'static str> {
        self.get(key).map(|value| decimal(value).ok_or("a PAX number that is none")).transpose()
    }

    /// All records, repeated keys included.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Extended attributes, the last value of each.
    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (key, value) in self.iter() {
            let Some(name) = key.strip_prefix(b"SCHILY.xattr.") else { continue };
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => value.clone_into(old),
                None => found.push((name.to_vec(), value.to_vec())),
            }
        }
        found
    }
}

/// Digits only, and not too many.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds since the epoch with a fraction, both optional parts of any length: `-1.5`.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let fraction = text.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal(&text[..point])?).ok()?;
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos: 0 },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_newlines_and_equal_signs() {
        let body = b"31 SCHILY.xattr.user.a=\x01\n=\nbbb\n12 size=123\n";
        let records = Records::parse(body).expect("records");
        assert_eq!(records.xattrs(), [(b"user.a".to_vec(), b"\x01\n=\nbbb".to_vec())]);
        assert_eq!(records.number("size"), Ok(Some(123)));
    }

    #[test]
    fn lengths_are_believed_only_when_they_fit() {
        for body in [&b"99 size=1\n"[..], b"x size=1\n", b"9 size=1x", b"3 =\n", b"-9 size=1\n"] {
            assert!(Records::parse(body).is_err(), "{body:?}");
        }
        let body = b"35 size=99999999999999999999999999\n";
        assert!(Records::parse(body).is_ok_and(|records| records.number("size").is_err()));
    }

    #[test]
    fn times_have_nanoseconds_and_may_precede_the_epoch() {
        assert_eq!(time(b"1.25"), Some(Time { seconds: 1, nanos: 250_000_000 }));
        assert_eq!(time(b"-1.25"), Some(Time { seconds: -2, nanos: 750_000_000 }));
        assert_eq!(time(b"7.1234567899"), Some(Time { seconds: 7, nanos: 123_456_789 }));
        assert_eq!(time(b"1e5"), None);
        assert_eq!(time(b""), None);
    }
}
