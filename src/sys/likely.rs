//! Mounts that are known before the program runs.

use std::ffi::CStr;

use rustix::thread::UnshareFlags;

/// What a process is begun with.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Its namespaces.
    pub new: UnshareFlags,
    /// What it makes there while it waits: `early::MOST` of them at most.
    pub likely: &'static [Likely],
}

/// A mount that lies nowhere yet, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub enum Likely {
    /// By fsopen(2), fsconfig(2) and fsmount(2).
    FileSystem {
        /// Its kind.
        name: &'static CStr,
        /// Keys with their values.
        options: &'static [(&'static CStr, &'static CStr)],
        /// `MOUNT_ATTR_*`
        attributes: u32,
    },
    /// What lies at a path of the host's, by open_tree(2).
    Bind(&'static CStr),
}
