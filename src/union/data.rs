//! What is in files.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{
    FallocateFlags, Mode, SeekFrom, StatVfs, copy_file_range, fallocate, fchmod, fdatasync,
    fstatvfs, fsync, seek,
};
use rustix::io::Errno;

use super::Result;
use super::node::{Node, UPPER};
use super::table::ROOT;
use super::tree::Union;

impl Union {
    /// Reads into `buffer`, until it is full or the file ends: a regular file gives less only there.
    pub(super) fn read(&self, node: &Arc<Node>, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let file = self.data(node)?;
        loop {
            match rustix::io::pread(&file, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                read => return read,
            }
        }
    }

    /// Writes, all of it or until it fails.
    pub(super) fn write(&self, node: &Arc<Node>, data: &[u8], offset: u64) -> Result<usize> {
        let file = self.writable(node)?;
        let mut done = 0;
        while done < data.len() {
            match rustix::io::pwrite(&file, &data[done..], offset + done as u64) {
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Does what takes the set-id bits of a file away. The kernel is told, which would go on to show
    /// them; or they are given back, where they came after what is done only now.
    pub(super) fn minding_set_id<T>(
        &self,
        node: &Arc<Node>,
        give_back: bool,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if !node.set_id.load(Ordering::Relaxed) {
            return work();
        }
        let before = self.mode(node)?;
        let done = work()?;
        let after = self.mode(node)?;
        if before != after && give_back {
            fchmod(self.data(node)?, Mode::from_raw_mode(before & 0o7777))?;
        } else {
            node.set_id.store(after & 0o6000 != 0, Ordering::Relaxed);
            if before != after {
                self.tell_changed(node.id);
            }
        }
        Ok(done)
    }

    fn mode(&self, node: &Arc<Node>) -> Result<u32> {
        let _stay = self.stay();
        Ok(self.spot(node)?.stat()?.st_mode)
    }

    /// fallocate(2)
    pub(super) fn allocate(
        &self,
        node: &Arc<Node>,
        mode: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> Result<()> {
        fallocate(self.writable(node)?, mode, offset, length)
    }

    /// lseek(2) for data and holes.
    pub(super) fn seek(&self, node: &Arc<Node>, to: SeekFrom) -> Result<u64> {
        seek(self.data(node)?, to)
    }

    /// copy_file_range(2)
    pub(super) fn copy_range(
        &self,
        (from, mut from_at): (&Arc<Node>, u64),
        (to, mut to_at): (&Arc<Node>, u64),
        length: usize,
    ) -> Result<usize> {
        let to = self.writable(to)?;
        let from = self.data(from)?;
        copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), length)
    }

    /// fsync(2): what lies below is on disk already.
    pub(super) fn sync(&self, node: &Arc<Node>, data_only: bool) -> Result<()> {
        if self.volatile || !node.is_upper() {
            return Ok(());
        }
        let file = match node.kind {
            rustix::fs::FileType::Directory => {
                let _stay = self.stay();
                self.directory(node, UPPER)?
            }
            _ => self.data(node)?,
        };
        if data_only { fdatasync(file) } else { fsync(file) }
    }

    /// The file system that is written to.
    pub(super) fn space(&self) -> Result<StatVfs> {
        let root = self.node(ROOT)?;
        fstatvfs(self.directory(&root, UPPER)?)
    }

    fn writable(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        self.copy_up(node, u64::MAX)?;
        self.data(node)
    }
}
