//! A file system that is known before the program runs.

use std::ffi::CStr;

/// What fsopen(2), fsconfig(2) and fsmount(2) make it of.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    /// Its kind.
    pub name: &'static CStr,
    /// Keys with their values.
    pub options: &'static [(&'static CStr, &'static CStr)],
    /// `MOUNT_ATTR_*`
    pub attributes: u32,
}
