//! What an error offers beyond its message: the next step a user can take.

use std::fmt;

/// A next step for the user, shown only when its cause was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(String);

impl Hint {
    /// A hint that reads as one instruction: lower case, no full stop.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error that may know what to do next.
///
/// The message is the `Display` text: what was tried, on what, why not; lower case, no full stop.
pub trait Diagnose: std::error::Error {
    /// The next step, if its cause was checked.
    fn hint(&self) -> Option<Hint>;
}
