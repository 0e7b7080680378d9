//! Layers to the root of a container.
//!
//! ```text
//! Driver::Overlay   containers/ID/upper, work    the layers themselves are the lowers
//! Driver::Fuse      the same                     the same
//! Driver::Copy      containers/ID/rootfs         the layers merged into one tree, its files given to
//!                                                other ids where the container has others
//!                   containers/ID/copied         when that was finished
//! ```
//!
//! Of many layers an overlay has one lower directory in their place (`flat`), made after the pull.

mod changes;
mod copy;
mod flat;
mod overlay;
mod read;
mod shift;
mod skeleton;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::diagnose::{Diagnose, Hint};
use crate::mount::RootMount;

pub use changes::{Written, differences_of_image, whole_root, written};
pub use copy::{copy_directory, has_directory};
pub use flat::{FEW_LOWERS, MOST_LOWERS, describe, flatten};
pub use overlay::throw_away;
pub use read::read_file;
pub use shift::{Shift, shift};
pub use skeleton::skeleton;

/// How layers become a root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's overlayfs, mounted in the user namespace.
    Overlay,
    /// A union of our own, served through FUSE, where no overlayfs may be mounted.
    Fuse,
    /// A copy of all files, where neither can be had.
    Copy,
}

impl Driver {
    /// The driver to use: the one asked for, else overlayfs, else FUSE, as probes found.
    pub fn choose(forced: Option<Self>, overlay_works: bool, fuse_works: bool) -> Self {
        match forced {
            Some(driver) => driver,
            None if overlay_works => Self::Overlay,
            None if fuse_works => Self::Fuse,
            None => Self::Copy,
        }
    }

    /// Whether what the container writes lies apart, as overlayfs lays it down.
    pub fn has_upper(self) -> bool {
        match self {
            Self::Overlay | Self::Fuse => true,
            Self::Copy => false,
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "overlay",
            Self::Fuse => "fuse",
            Self::Copy => "copy",
        })
    }
}

/// A text that is no driver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown storage driver {0:?}: want overlay, fuse or copy")]
pub struct UnknownDriver(pub String);

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        match text {
            "overlay" => Ok(Self::Overlay),
            "fuse" => Ok(Self::Fuse),
            "copy" => Ok(Self::Copy),
            _ => Err(UnknownDriver(text.to_owned())),
        }
    }
}

/// The lower directories of a union of `layers` (the lowest first), the topmost first: without those
/// that one above hides whole.
pub fn lowers(layers: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    overlay::lowers(layers)
}

/// Makes what the root of a container needs below `container`, from `layers`, the lowest first.
///
/// With `read_only`, the copy shares its files with the layers: it must not be written to.
pub fn prepare(
    driver: Driver,
    layers: &[PathBuf],
    container: &Path,
    read_only: bool,
) -> Result<RootMount, Error> {
    match driver {
        Driver::Overlay => {
            let (lowers, upper, work) = overlay::prepare(layers, container)?;
            Ok(RootMount::Overlay { lowers, data: None, upper, work })
        }
        Driver::Fuse => {
            let (lowers, upper, work) = overlay::prepare(layers, container)?;
            Ok(RootMount::Union { lowers, upper, work })
        }
        Driver::Copy => copy::prepare(layers, container, read_only),
    }
}

/// Why a root could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the image is too large to be read into memory.
    #[error("cannot read {} in the image: it is longer than {limit} bytes", path.display())]
    TooLarge {
        /// The file, as the container sees it.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(Hint::new("free some space there, or keep the store elsewhere with --root"))
            }
            Self::Io { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Says what was tried on which path.
trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source: source.into() })
    }
}

#[cfg(test)]
mod tests;
