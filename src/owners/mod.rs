//! How files on disk carry the owners an image names: what both sides agree on.
//!
//! ```text
//! layers/OWNERS/   whose the files are: the ids themselves, or records
//!   a file         user.containers.override_stat = "33:0:1770:dir"          Record
//!   owners         {"name": "run/link", "stat": "33:0:0777:symlink"}        Line
//! ```

mod record;
mod side;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use record::{Kind, LENGTH, OVERRIDE, Record};
pub use side::Line;

/// Who owns the files of an unpacked layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owners {
    /// Everything is the caller's; an owner other than root is recorded beside the file.
    Recorded,
    /// Real owners, written inside the user namespace whose id 0 is `first` outside
    /// (0 for root itself, who needs no namespace).
    Range {
        /// The host's id of the image's id 0.
        first: u32,
    },
}

/// A text that names no form of owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want single or range-FIRST")]
pub struct UnknownOwners;

impl FromStr for Owners {
    type Err = UnknownOwners;

    fn from_str(text: &str) -> Result<Self, UnknownOwners> {
        match text.strip_prefix("range-") {
            Some(first) => {
                first.parse().map(|first| Self::Range { first }).map_err(|_| UnknownOwners)
            }
            None if text == "single" => Ok(Self::Recorded),
            None => Err(UnknownOwners),
        }
    }
}

/// The name of the directory below `layers/`.
impl fmt::Display for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("single"),
            Self::Range { first } => write!(f, "range-{first}"),
        }
    }
}
