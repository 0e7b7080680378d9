//! How much containers have written.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use crate::container::Record;
use crate::engine::{Engine, Error};
use crate::{sys, userns};

/// So many trees are measured by one child: their sizes fit into a pipe.
const AT_ONCE: usize = 1000;

impl Engine {
    /// The bytes that a container has written, and these with its image's, as docker counts them:
    /// what the files hold.
    pub fn container_size<C>(&self, record: &Record<C>) -> Result<(u64, u64), Error> {
        let written = self.written(std::slice::from_ref(record))?;
        let written = written.first().copied().unwrap_or_default();
        Ok((written, written.saturating_add(self.image_size(record))))
    }

    /// The bytes that each of these has written.
    pub(in crate::engine) fn written<C>(&self, records: &[Record<C>]) -> Result<Vec<u64>, Error> {
        let trees: Vec<(PathBuf, u64)> = records
            .iter()
            .map(|record| {
                let directory = self.containers.directory(record);
                match directory.join("upper") {
                    upper if upper.exists() => (upper, 0),
                    // A copy holds the image's files too.
                    _ => (directory.join("rootfs"), self.image_size(record)),
                }
            })
            .collect();
        let paths: Vec<PathBuf> = trees.iter().map(|(path, _)| path.clone()).collect();
        let sizes = self.tree_sizes(&paths)?.into_iter().zip(trees);
        Ok(sizes.map(|(size, (_, image))| size.saturating_sub(image)).collect())
    }

    fn image_size<C>(&self, record: &Record<C>) -> u64 {
        let image = self.store.resolve(&record.image_id.to_string());
        image.map(|image| image.size()).unwrap_or_default()
    }

    /// How much the files of trees hold, those of other ids too.
    pub(in crate::engine) fn tree_sizes(&self, paths: &[PathBuf]) -> Result<Vec<u64>, Error> {
        let failed = |source| Error::Io {
            action: "measure",
            path: paths.first().cloned().unwrap_or_default(),
            source,
        };
        let measure = || paths.iter().map(|path| sys::tree_size(path)).collect();
        let ids = self.store_ids()?;
        if paths.is_empty() || ids.mode == userns::Mode::Direct {
            let sizes: std::io::Result<Vec<u64>> = measure();
            return sizes.map_err(failed);
        }
        // Directories of other ids may be closed to the user.
        let mut sizes = Vec::with_capacity(paths.len());
        for paths in paths.chunks(AT_ONCE) {
            let flags = rustix::pipe::PipeFlags::CLOEXEC;
            let pipe = rustix::pipe::pipe_with(flags);
            let (reader, writer) = pipe.map_err(|errno| failed(errno.into()))?;
            let mut writer = File::from(writer);
            self.as_files_owner(&ids, "measure what containers have written", || {
                for path in paths {
                    let size = sys::tree_size(path).map_err(|error| error.to_string())?;
                    let sent = writer.write_all(&size.to_ne_bytes());
                    sent.map_err(|error| error.to_string())?;
                }
                Ok(())
            })?;
            let mut reader = File::from(reader);
            for _ in paths {
                let mut bytes = [0; 8];
                reader.read_exact(&mut bytes).map_err(failed)?;
                sizes.push(u64::from_ne_bytes(bytes));
            }
        }
        Ok(sizes)
    }
}
