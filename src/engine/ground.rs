//! What a container stands on: its ids, its image's layers and configuration, its root.
//!
//! All else is decided on top of it, and takes as long again. So whoever waits for the container has its
//! first process make the root meanwhile, and before that, what is below every root.

use std::path::{Path, PathBuf};

use super::flat::Lowers;
use super::pull::Policy;
use super::run::{Clock, RunRequest};
use super::share::{Shared, new_namespaces};
use super::{Engine, Error};
use crate::bundle;
use crate::container::Rootfs;
use crate::mount::RootMount;
use crate::oci::ImageConfig;
use crate::runtime::Ahead;
use crate::snapshot::{self, Driver};
use crate::store::{Image, Lock};
use crate::userns::{self, IdMaps};

/// An image that is held.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) image: Image,
    pub(super) hold: Lock,
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
        let store_ids = userns::choose_for_store(&asked, self.facts())?;
        let ids = userns::choose(&asked, (0, 0), self.facts())?.joined(shared.denies_groups);
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

    /// Has the first process of a run made, while all that it will be is looked for and decided, and what is
    /// below its root. `None` where this process will not stay with it, or an image is fetched before. One
    /// that was `begun` will do, if it is in the same namespaces.
    ///
    /// With emulated ids the process is at once who it will be: root. Else it has yet to become that, whom
    /// a new file system belongs to.
    pub fn ahead(
        &self,
        request: &RunRequest,
        begun: Option<Ahead>,
    ) -> Result<Option<Ahead>, Error> {
        let here = !request.lives_on() && !request.container.init;
        let soon = !request.verify && matches!(request.policy, Policy::Missing | Policy::Never);
        let namespaces = new_namespaces(&request.container).filter(|_| here && soon);
        let Some(namespaces) = namespaces else { return Ok(None) };
        let interior = bundle::interior(&request.container, &namespaces);
        let ids = self.ids((0, 0))?;
        let fits = |begun: &Ahead| begun.is_in(&namespaces) && begun.may_have(&ids);
        let begun = begun.filter(fits);
        let begun = begun.or_else(|| Ahead::begin(&namespaces, interior.mounts.clone()));
        let Some(mut ahead) = begun else { return Ok(None) };
        if ids.emulated && !ahead.is_furnished() {
            ahead.furnish(interior, &ids)?;
        }
        Ok(Some(ahead))
    }

    /// Has the first process make the root, where whatever is decided later leaves that as it is. Whether
    /// the root's directories are made.
    pub(super) fn make_root_ahead(
        request: &RunRequest,
        ground: &Ground,
        directory: &Path,
        ahead: &mut Ahead,
    ) -> Result<bool, Error> {
        let is_early =
            request.rootfs.is_none() && ground.driver == Driver::Overlay && ground.ids.emulated;
        if is_early {
            snapshot::prepare(ground.driver, &ground.layers, directory, false)?;
            ahead.make_root(&ground.root, request.remove);
        }
        Ok(is_early)
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
