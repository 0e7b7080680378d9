//! `--rootfs`: a directory of the host in place of an image.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Error;
use crate::container::Rootfs;
use crate::oci::{Digest, Platform};
use crate::store::Image;

/// Looks whether the directory can be a root; `store` is where the container's own files lie.
pub(super) fn look_at(rootfs: &Rootfs, store: &Path) -> Result<Image, Error> {
    let path = &rootfs.path;
    let failed = |source| Error::Io { action: "use as a root", path: path.clone(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(failed(std::io::ErrorKind::NotADirectory.into()));
    }
    if path.parent().is_none() && !rootfs.overlay {
        return Err(Error::HostAsRoot);
    }
    // A union must not lie below one of its own layers (overlayfs.rst).
    let store = std::fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    if rootfs.overlay && store.starts_with(path) && device(&store) == Some(metadata.dev()) {
        return Err(Error::StoreInRoot { path: path.clone(), store });
    }
    Ok(no_image())
}

/// Stands where an image does: it has no layers and no configuration, and no store knows its ID.
pub(super) fn no_image() -> Image {
    let nothing = Digest::of(b"");
    Image {
        id: nothing.clone(),
        manifest: nothing,
        index: None,
        platform: Platform::host(),
        created: None,
        layers: Vec::new(),
    }
}
