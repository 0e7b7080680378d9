//! `unshare`: this very process in the user namespace of the store's files.

use std::path::Path;

use nix::sched::CloneFlags;
use rustix::io::Errno;

use super::{Engine, Error};
use crate::owners::Owners;
use crate::userns::{self, Mode, Request};

impl Engine {
    /// Enters the user namespace of containers' files, and a mount namespace in it. What it gives is
    /// for `Options::unshared` of whatever is executed there. While the process has one thread.
    pub fn unshare(&self) -> Result<Owners, Error> {
        if let Some(owners) = self.options.unshared {
            return Ok(owners); // it is there already
        }
        let ids = self.ids((0, 0))?;
        let owners = self.owners_of(&ids);
        match ids.mode {
            Mode::Direct => return Err(Error::NothingToUnshare),
            Mode::Range { .. } => userns::enter_in_place(&ids)?,
            Mode::Single => {
                let facts = userns::gather(Path::new("/"), &self.options.path);
                userns::enter_in_place(&userns::choose(&Request::Single, (0, 0), &facts)?)?;
            }
        }
        // Its mounts are slaves of the host's: nothing that is mounted there leaves it.
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| Error::Child {
            what: "make a mount namespace".to_owned(),
            why: Errno::from_raw_os_error(errno as i32).to_string(),
        })?;
        Ok(owners)
    }
}
