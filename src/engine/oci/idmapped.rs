//! Binds whose files have other ids in the container: made before the launch, where the power over the
//! source's file system is, and attached by the container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::{Error, Runtime};
use crate::bundle::{Config, IdMapped};
use crate::mount::{Attributes, Detached, Kind, Propagation};
use crate::sys;
use crate::userns::{self, Extent, IdMaps};

impl Runtime {
    /// Puts a mount with ids of its own in the place of each bind that asks for one; `own` are the container's.
    pub(super) fn map_ids(&self, config: &mut Config, own: &IdMaps) -> Result<(), Error> {
        for wanted in &config.id_mapped {
            let mount = config.spec.mounts.iter_mut().find(|mount| mount.target == wanted.target);
            let Some(mount) = mount else { continue };
            let Kind::Bind { source, recursive, .. } = &mount.kind else { continue };
            // First: who may not do it need not hear what else it would take.
            let tree = tree(source, *recursive).map_err(|errno| refused(wanted, source, errno))?;
            let maps = match wanted.uids.is_empty() {
                true => own.clone(),
                false => self.maps_of(wanted)?,
            };
            let namespace = userns::empty_namespace(&maps)?;
            sys::mount::map_ids(tree.as_fd(), namespace.as_fd(), wanted.recursive)
                .map_err(|errno| refused(wanted, source, errno))?;
            mount.kind = Kind::Detached(Detached::new(tree));
        }
        Ok(())
    }

    fn maps_of(&self, wanted: &IdMapped) -> Result<IdMaps, Error> {
        let extents = |maps: &[(u32, u32, u32)]| -> Vec<Extent> {
            let extent = |&(inside, outside, count)| Extent { inside, outside, count };
            maps.iter().map(extent).collect()
        };
        let facts = userns::gather(Path::new("/"), &self.path);
        Ok(userns::given(extents(&wanted.uids), extents(&wanted.gids), &facts)?)
    }
}

/// A copy of the mount at a path, attached nowhere.
fn tree(source: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = rustix::mount::open_tree(rustix::fs::CWD, source, flags)?;
    let (none, private) = (Attributes::default(), Some(Propagation::Private));
    sys::mount::set_attributes(tree.as_fd(), none, private, recursive)?;
    Ok(tree)
}

fn refused(wanted: &IdMapped, source: &Path, errno: Errno) -> Error {
    let why = match errno {
        Errno::PERM => {
            "the kernel maps the ids of a mount for root of the user namespace that its file system was \
             mounted in alone (EPERM)"
                .to_owned()
        }
        Errno::INVAL => "its file system, or one below it, knows no idmapped mounts (EINVAL)".to_owned(),
        errno => errno.to_string(),
    };
    let field = format!("mounts ({}): an idmapped {}", wanted.target.display(), source.display());
    Error::Refused { field, why }
}
