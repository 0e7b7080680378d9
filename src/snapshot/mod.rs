//! Layers to the root of a container.
//!
//! ```text
//! Driver::Overlay   containers/ID/upper, work    lowers are the layers themselves
//! Driver::Copy      containers/ID/rootfs         the layers merged into one tree
//! ```

use std::path::{Path, PathBuf};

use crate::mount::RootMount;

/// How layers become a root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's overlayfs, mounted in the user namespace.
    Overlay,
    /// A copy of all files, where no overlayfs may be mounted.
    Copy,
}

impl Driver {
    /// The driver to use: the one asked for, else overlayfs where a probe mounted one.
    pub fn choose(forced: Option<Self>, overlay_works: bool) -> Self {
        match forced {
            Some(driver) => driver,
            None if overlay_works => Self::Overlay,
            None => Self::Copy,
        }
    }
}

/// Makes what the root of a container needs below `container`, from `layers`, the lowest first.
pub fn prepare(
    _driver: Driver,
    _layers: &[PathBuf],
    _container: &Path,
    _read_only: bool,
) -> Result<RootMount, Error> {
    todo!()
}

/// The content of a regular file at `path` in the stack of `layers`, the lowest first, without
/// mounting it. `None` where there is none.
pub fn read_file(_layers: &[PathBuf], _path: &Path, _limit: u64) -> Result<Option<Vec<u8>>, Error> {
    todo!()
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
        source: std::io::Error,
    },
}
