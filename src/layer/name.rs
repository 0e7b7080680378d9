//! Names in a layer: bytes all the way, relative to its root, without `.` and `..`.

use std::fmt;

/// The longest name taken from an archive, in bytes (`PATH_MAX`).
const LONGEST: usize = 4096;

/// A path below the root of a layer: `etc/passwd`; the root itself is empty.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// Reads a name as archives spell it: `./etc/`, `/etc` and `etc` are one.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("its name is longer than 4096 bytes");
        }
        let mut clean = Vec::with_capacity(text.len());
        for part in text.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => continue,
                // What it leads to depends on links: two readers would disagree.
                b".." => return Err("its name holds .."),
                _ if part.contains(&0) => return Err("its name holds a zero byte"),
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(part);
        }
        Ok(Self(clean))
    }

    /// The name of `last` in the directory `self`.
    #[must_use]
    pub fn join(&self, last: &[u8]) -> Self {
        let mut joined = Vec::with_capacity(self.0.len() + 1 + last.len());
        joined.extend_from_slice(&self.0);
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(last);
        Self(joined)
    }

    /// Directory and last part; `None` for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::default(), &self.0),
        })
    }

    /// Each part, from the root down.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
    }

    /// Whether this is the root of the layer.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it lies in the directory `above`, at any depth.
    pub fn is_below(&self, above: &Self) -> bool {
        above.is_root()
            || (self.0.len() > above.0.len()
                && self.0.starts_with(&above.0)
                && self.0[above.0.len()] == b'/')
    }

    /// The bytes, slashes between the parts.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Printable whatever the image says: control characters and broken UTF-8 are escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("/");
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_place_are_one_name() {
        for text in [&b"etc/passwd"[..], b"/etc/passwd", b"./etc//passwd/", b"etc/./passwd"] {
            assert_eq!(Name::parse(text).map(|n| n.as_bytes().to_vec()), Ok(b"etc/passwd".into()));
        }
        assert!(Name::parse(b"./").is_ok_and(|name| name.is_root()));
    }

    #[test]
    fn nothing_climbs() {
        for text in [&b".."[..], b"a/../b", b"/../x", b"x/.."] {
            assert!(Name::parse(text).is_err());
        }
        assert!(Name::parse(&vec![b'a'; 4097]).is_err());
    }

    #[test]
    fn names_are_printed_harmlessly() {
        let name = Name::parse(b"a\x1b[31m\xff\n").expect("a name");
        assert_eq!(name.to_string(), "a\\u{1b}[31m\\xff\\n");
    }

    #[test]
    fn a_name_is_below_its_directory_only() {
        let name = |text: &[u8]| Name::parse(text).expect("a name");
        assert!(name(b"a/b").is_below(&name(b"a")));
        assert!(!name(b"ab").is_below(&name(b"a")));
        assert!(!name(b"a").is_below(&name(b"a")));
    }
}
