//! Names of volumes.

use std::fmt;
use std::str::FromStr;

/// A volume's name: a letter or digit, then letters, digits, `_`, `.` and `-` (docker's rule).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} includes invalid characters for a local volume name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are \
     allowed: if you intended to pass a host directory, use an absolute path"
)]
pub struct InvalidName(pub String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        // One character alone is refused by docker too; 255 is the longest file name.
        if starts && text.len() > 1 && text.len() <= 255 && bytes.all(goes_on) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["data", "data-1", "a.b_c", "9x"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "x", "-data", ".data", "a/b", "../x", "a b", "é1", "/data"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
