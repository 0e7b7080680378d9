//! How much a container has written.

use std::path::Path;

use crate::container::Record;
use crate::engine::containers::as_owner;
use crate::engine::{Engine, Error};
use crate::{sys, userns};

impl Engine {
    /// The bytes that a container has written, and these with its image's, as docker counts them:
    /// what the files hold.
    pub fn container_size(&self, record: &Record) -> Result<(u64, u64), Error> {
        let directory = self.containers.directory(record);
        let image = self.store.resolve(&record.image_id.to_string());
        let image = image.map(|image| image.size()).unwrap_or_default();
        let (upper, rootfs) = (directory.join("upper"), directory.join("rootfs"));
        if upper.exists() {
            let written = self.tree_size(&upper)?;
            return Ok((written, written.saturating_add(image)));
        }
        if !rootfs.exists() {
            return Ok((0, 0)); // a directory of the user's own
        }
        // A copy holds the image's files too.
        let all = self.tree_size(&rootfs)?;
        Ok((all.saturating_sub(image), all.max(image)))
    }

    fn tree_size(&self, path: &Path) -> Result<u64, Error> {
        let ids = self.store_ids()?;
        let failed = |source| Error::Io { action: "measure", path: path.to_owned(), source };
        if !matches!(ids.mode, userns::Mode::Range { .. }) {
            return sys::tree_size(path).map_err(failed);
        }
        // Directories of other ids may be closed to the user.
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let pipe = rustix::pipe::pipe_with(flags);
        let (reader, writer) = pipe.map_err(|errno| failed(errno.into()))?;
        as_owner(&ids, &format!("measure {}", path.display()), || {
            let size = sys::tree_size(path).map_err(|error| error.to_string())?;
            let sent = rustix::io::write(&writer, &size.to_ne_bytes());
            sent.map(drop).map_err(|errno| errno.to_string())
        })?;
        let mut bytes = [0; 8];
        rustix::io::read(&reader, &mut bytes).map_err(|errno| failed(errno.into()))?;
        Ok(u64::from_ne_bytes(bytes))
    }
}
