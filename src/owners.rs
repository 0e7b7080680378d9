//! How files on disk carry the owners an image names: a value both sides agree on.

use std::fmt;

use serde::Serialize;

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

/// The name of the directory below `layers/`.
impl fmt::Display for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("single"),
            Self::Range { first } => write!(f, "range-{first}"),
        }
    }
}
