//! What a container stands on: its ids, its image's layers and configuration, its root.
//!
//! All else is decided on top of it, and takes as long again. So whoever waits for the container has its
//! first process make the root and the usual mounts meanwhile.

use std::path::{Path, PathBuf};

use super::flat::Lowers;
use super::run::{Clock, RunRequest};
use super::share::Shared;
use super::{Engine, Error};
use crate::bundle;
use crate::container::Rootfs;
use crate::mount::RootMount;
use crate::oci::ImageConfig;
use crate::runtime::{Ahead, Early};
use crate::snapshot::{self, Driver};
use crate::store::{Image, Lock};
use crate::userns::{self, Facts, IdMaps};

/// An image that is held, and what is known of the host's ids.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) image: Image,
    pub(super) hold: Lock,
    pub(super) facts: Facts,
    pub(super) clock: Clock,
}

/// What is decided first.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) base: Base,
    pub(super) shared: Shared,
    /// The ids that are asked for.
    pub(super) asked: userns::Request,
    /// Those that the image's layers were unpacked with.
    pub(super) store_ids: IdMaps,
    /// Those of a container whose program is root.
    pub(super) ids: IdMaps,
    /// The image's layers, the lowest first.
    pub(super) layers: Vec<PathBuf>,
    pub(super) config: ImageConfig,
    pub(super) driver: Driver,
    pub(super) root: RootMount,
}

impl Engine {
    /// Decides what a container in `directory` stands on.
    pub(super) fn ground(
        &self,
        request: &RunRequest,
        mut base: Base,
        directory: &Path,
    ) -> Result<Ground, Error> {
        let shared = self.share(&request.container)?;
        let asked = shared.ids.clone().unwrap_or_else(|| self.options.userns.clone());
        let store_ids = userns::choose_for_store(&asked, &base.facts)?;
        let ids = userns::choose(&asked, (0, 0), &base.facts)?;
        base.clock.lap("ids");
        let image = &base.image;
        let (layers, config) = match &request.rootfs {
            None => {
                (self.store.layers(image, self.owners_of(&store_ids))?, self.store.config(image)?)
            }
            Some(rootfs) => (vec![rootfs.path.clone()], ImageConfig::default()),
        };
        let driver = self.driver_for(request, &ids);
        let upper = || (directory.join("upper"), directory.join("work"));
        let root = match (driver, &request.rootfs) {
            (_, Some(Rootfs { path, overlay: false })) => RootMount::Directory(path.clone()),
            (Driver::Overlay, _) => {
                let (upper, work) = upper();
                let Lowers { lowers, data } = match request.rootfs {
                    None => self.few_lowers(image, &store_ids, &layers)?,
                    Some(_) => Lowers { lowers: self.lowers(&layers)?, data: None },
                };
                RootMount::Overlay { lowers, data, upper, work }
            }
            (Driver::Fuse, _) => {
                let (upper, work) = upper();
                RootMount::Union { lowers: self.lowers(&layers)?, upper, work }
            }
            (Driver::Copy, _) => RootMount::Directory(directory.join("rootfs")),
        };
        Ok(Ground { base, shared, asked, store_ids, ids, layers, config, driver, root })
    }

    /// Has the first process make the root, where whatever is decided later leaves that as it is. Whether
    /// the root's directories are made.
    ///
    /// With one id, and root by name, the process is at once who it will be. Else it has yet to become root of
    /// the container, whom a new file system belongs to.
    pub(super) fn prepare_ahead(
        request: &RunRequest,
        ground: &Ground,
        directory: &Path,
        ahead: &mut Ahead,
    ) -> Result<bool, Error> {
        let user = request.container.user.as_ref().unwrap_or(&ground.config.user);
        let is_root = matches!(user.as_str(), "" | "0" | "root" | "0:0" | "root:root");
        let is_early = request.rootfs.is_none()
            && ground.driver == Driver::Overlay
            && ground.ids.mode == userns::Mode::Single
            && is_root;
        if !is_early {
            return Ok(false);
        }
        snapshot::prepare(ground.driver, &ground.layers, directory, false)?;
        ahead.prepare(Early {
            root: ground.root.clone(),
            volatile: request.remove,
            mounts: bundle::usual_mounts(&request.container, &ground.shared.namespaces),
            ids: ground.ids.clone(),
        })?;
        Ok(true)
    }

    /// What makes the root: files of an image that have other owners in this container are copied.
    fn driver_for(&self, request: &RunRequest, ids: &IdMaps) -> Driver {
        if !ids.is_shifted() || request.rootfs.is_some() {
            return self.driver();
        }
        if let Some(asked) = self.options.driver.filter(|driver| *driver != Driver::Copy) {
            self.options.warn.tell(&format!(
                "--storage-driver {asked}: with these ids the image's files have other owners, so \
                 they are copied"
            ));
        }
        Driver::Copy
    }

    /// A union's lower directories, the topmost first.
    pub(super) fn lowers(&self, layers: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let skeleton = snapshot::skeleton(self.store.root())?;
        Ok(snapshot::lowers(layers)?.into_iter().chain([skeleton]).collect())
    }
}
