//! Tar stream to changes to files.
//!
//! ```text
//! archive     512-byte blocks: headers and bodies, hashed as they go by
//! changes     headers to entries; special names to Whiteout and Opaque
//! tree        entries to files beneath one descriptor; write: their bodies; dress: their
//!             owners, modes, attributes; hide: whiteouts as overlayfs has them
//! settle      with the layers below: links into them, directories without entry, modes of
//!             directories last
//! stack       finished layers seen on top of each other
//! compare     a finished layer against one made anew of the same archive
//!
//! source      trees to entries, with the owners recorded in and beside them
//! difference  what a container has changed, whatever its storage driver
//! compose     differences, or a whole root, to a tar stream; encode: its headers
//!
//! LAYER/fs/          the tree: an overlayfs lower layer
//!     NAME           char 0:0, or an empty file with user.overlay.whiteout: a whiteout
//!     DIR/           user.overlay.opaque=y: an opaque directory
//! LAYER/owners       what links and pipes cannot carry, a line of JSON each; often absent
//! ```

mod archive;
mod changes;
mod compare;
mod compose;
mod difference;
mod directories;
mod dress;
mod encode;
mod entry;
mod error;
mod extract;
mod hide;
mod live;
mod name;
mod pax;
mod record;
mod settle;
mod source;
mod sparse;
pub mod stack;
mod tree;
mod whiteout;
mod write;
mod xattr;

use std::io::BufRead;

use crate::oci::{Algorithm, DiffId};

pub use compare::difference;
pub use compose::{write_all, write_layer};
pub use difference::{Change as Difference, Comparison, Differences, compare};
pub use dress::copy_xattrs;
pub use error::Error;
pub use extract::{Extraction, Scope};
pub use live::{is_pseudo, write_tree};
pub use name::Name;
pub use source::{Source, Translation, read_lines};
pub use tree::Tree;
pub use xattr::{METACOPY, OPAQUE, RECORDED, REDIRECT};

use changes::{Change, Changes};

/// What a layer may cost, whatever it claims.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the tar stream.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Directories, which are kept in memory until the end.
    pub directories: u64,
}

impl Limits {
    /// The limits of a layer that was shipped as so many bytes: it may unpack to 4 GiB, and to
    /// more only if that is at most 256 times as much.
    pub fn of(shipped: u64) -> Self {
        let bytes = shipped.saturating_mul(256).max(4 << 30);
        Self { bytes, entries: 4_000_000, directories: 250_000 }
    }
}

/// What came of a layer.
#[derive(Debug, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the whole tar stream.
    pub diff_id: DiffId,
    /// Bytes in its files.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of the whole tar stream.
    pub archive: u64,
}

/// Writes the changes of a layer into an empty `tree`, which must be settled afterwards.
///
/// The stream is hashed to its very end with `algorithm`, that of the `DiffId` it should have.
pub fn apply(
    tar: impl BufRead,
    tree: &mut Tree,
    algorithm: Algorithm,
    limits: &Limits,
) -> Result<Applied, Error> {
    let mut changes = Changes::new(tar, algorithm, limits);
    while let Some(change) = changes.next()? {
        match change {
            Change::Put(entry, mut body) => tree.put(&entry, &mut body)?,
            Change::Whiteout(name) => tree.hide(&name)?,
            Change::Opaque(directory) => tree.hide_below(&directory)?,
        }
    }
    let entries = changes.count();
    // It reads the tail too: a digest covers every byte.
    let (diff_id, archive) = changes.finish()?;
    Ok(Applied { diff_id, bytes: tree.bytes, entries, archive })
}

#[cfg(test)]
mod tests;
