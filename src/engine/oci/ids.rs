//! The ids of a bundle's container: its own mappings, or those of the user namespace that it is in.

use std::os::fd::AsFd;
use std::path::Path;

use super::{Error, Runtime};
use crate::bundle::{Config, Namespace, NsKind};
use crate::userns::{self, Extent, IdMaps};

impl Runtime {
    pub(super) fn ids(&self, config: &Config) -> Result<IdMaps, Error> {
        let facts = userns::gather(Path::new("/"), &self.path);
        match &config.spec.namespaces[NsKind::User] {
            Namespace::New => {
                let extents = |maps: &[(u32, u32, u32)]| -> Vec<Extent> {
                    let extent = |&(inside, outside, count)| Extent { inside, outside, count };
                    maps.iter().map(extent).collect()
                };
                let (uids, gids) = (extents(&config.uids), extents(&config.gids));
                if uids.is_empty() || gids.is_empty() {
                    return Err(Error::Refused {
                        field: "linux.namespaces (user)".to_owned(),
                        why: "there are no uidMappings and gidMappings".to_owned(),
                    });
                }
                Ok(userns::given(uids, gids, &facts)?)
            }
            Namespace::Host | Namespace::Join(_) if !config.uids.is_empty() => {
                Err(Error::Refused {
                    field: "linux.uidMappings".to_owned(),
                    why: "there is no new user namespace".to_owned(),
                })
            }
            Namespace::Host => Ok(userns::maps_of(rustix::process::getpid())?),
            Namespace::Join(joined) => Ok(userns::maps_behind(joined.as_fd())?),
        }
    }
}
