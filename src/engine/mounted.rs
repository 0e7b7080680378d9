//! `mount`: the files of a container or an image where any program can look at them.
//!
//! ```text
//! containers/ID/mounted/merged   seen in the mount namespace of `unshare`, or root's, alone
//! mounts/HEX/merged              an image's
//! ```

use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;
use rustix::thread::CapabilitySet;

use super::flat::Lowers;
use super::{Engine, Error, host_mounts};
use crate::container::{self, Record};
use crate::mount::RootMount;
use crate::snapshot::{self, Driver};
use crate::store::Image;
use crate::{runtime, sys};

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The container's or image's ID.
    pub id: String,
    /// Where.
    pub path: PathBuf,
}

impl Engine {
    /// Mounts a container's root. Of one that runs it is read-only: two overlays that write to the
    /// same files are nobody's to tell the outcome of.
    pub fn mount_container(&self, query: &str) -> Result<Mounted, Error> {
        check_power("mount")?;
        let record = self.container_named(query)?;
        let place = self.place_of(&record);
        let path = place.join("merged");
        if !host_mounts::is_mount_point(&path) {
            let running = record.status().is_up();
            // Nobody starts it at this moment.
            let held = if running { None } else { self.containers.take(&record)? };
            if !running && held.is_none() {
                return Err(container::Error::Busy { name: record.name }.into());
            }
            let root = self.mountable(&record, &place, running)?;
            mount(&root, &place, running)?;
        }
        Ok(Mounted { id: record.id, path })
    }

    /// Takes a container's root away again; `None` where it was not mounted.
    pub fn unmount_container(&self, query: &str) -> Result<Option<String>, Error> {
        check_power("unmount")?;
        let record = self.container_named(query)?;
        let was_mounted = unmount(&self.place_of(&record), false)?;
        Ok(was_mounted.then_some(record.id))
    }

    /// The containers whose roots are mounted here.
    pub fn mounted_containers(&self) -> Result<Vec<Mounted>, Error> {
        check_power("mount")?;
        let records = self.containers.list()?.into_iter();
        let mounted = records.map(|record| {
            let path = self.place_of(&record).join("merged");
            Mounted { id: record.id, path }
        });
        Ok(mounted.filter(|it| host_mounts::is_mount_point(&it.path)).collect())
    }

    /// Mounts an image's files, read-only.
    pub fn mount_image(&self, query: &str) -> Result<Mounted, Error> {
        check_power("image mount")?;
        let _hold = self.store.hold()?;
        let image = self.store.resolve(query)?;
        let place = self.place_of_image(&image);
        let path = place.join("merged");
        if !host_mounts::is_mount_point(&path) {
            self.check_mounts(&path)?;
            let layers = self.store.layers(&image, self.owners()?)?;
            make(&place)?;
            let layer = place.join("layer");
            sys::remove_tree(&layer).map_err(|source| failed("remove", &layer, source))?;
            make(&layer)?;
            let root = snapshot::prepare(Driver::Overlay, &layers, &layer, true)?;
            mount(&root, &place, true)?;
        }
        Ok(Mounted { id: image.id.to_string(), path })
    }

    /// Takes an image's files away again, with `force` though something uses them; `None` where they
    /// were not mounted.
    pub fn unmount_image(&self, query: &str, force: bool) -> Result<Option<String>, Error> {
        check_power("image unmount")?;
        let image = self.store.resolve(query)?;
        let was_mounted = unmount(&self.place_of_image(&image), force)?;
        Ok(was_mounted.then(|| image.id.to_string()))
    }

    /// The images whose files are mounted here.
    pub fn mounted_images(&self) -> Result<Vec<Mounted>, Error> {
        check_power("image mount")?;
        let images = self.store.images()?.into_iter();
        let mounted = images.map(|image| {
            let path = self.place_of_image(&image).join("merged");
            Mounted { id: image.id.to_string(), path }
        });
        Ok(mounted.filter(|it| host_mounts::is_mount_point(&it.path)).collect())
    }

    /// Lets go of a container's root that was forgotten where it was mounted.
    pub(super) fn forget_mount(&self, record: &Record) {
        let path = self.place_of(record).join("merged");
        if path.exists() {
            let _ = rustix::mount::unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }

    fn place_of(&self, record: &Record) -> PathBuf {
        self.containers.directory(record).join("mounted")
    }

    fn place_of_image(&self, image: &Image) -> PathBuf {
        self.store.root().join("mounts").join(image.id.hex())
    }

    fn mountable(&self, record: &Record, place: &Path, running: bool) -> Result<RootMount, Error> {
        let directory = self.containers.directory(record);
        if record.config.driver.parse() == Ok(Driver::Copy) {
            return Ok(RootMount::Directory(directory.join("rootfs")));
        }
        self.check_mounts(&directory)?;
        let image = self.store.resolve(&record.image_id.to_string())?;
        let layers = self.store.layers(&image, self.owners()?)?;
        let Lowers { mut lowers, data } = self.few_lowers(&image, &self.store_ids()?, &layers)?;
        let (mut upper, mut work) = (directory.join("upper"), directory.join("work"));
        if running {
            lowers.insert(0, upper);
            (upper, work) = (place.join("upper"), place.join("work"));
            make(place)?;
            make(&upper)?;
            make(&work)?;
        }
        Ok(RootMount::Overlay { lowers, data, upper, work })
    }

    fn check_mounts(&self, path: &Path) -> Result<(), Error> {
        match self.driver() {
            Driver::Overlay => Ok(()),
            driver => Err(Error::NoOverlay { path: path.to_owned(), driver }),
        }
    }
}

/// Who may mount is root in the namespace that `unshare` made, or of the machine.
fn check_power(command: &'static str) -> Result<(), Error> {
    let sets = rustix::thread::capabilities(None);
    match sets.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN)) {
        true => Ok(()),
        false => Err(Error::NotUnshared { command }),
    }
}

fn mount(root: &RootMount, place: &Path, read_only: bool) -> Result<(), Error> {
    let path = place.join("merged");
    make(place)?;
    make(&path)?;
    runtime::mount_at(root, &path, read_only)
        .map_err(|errno| failed("mount something on", &path, errno.into()))
}

fn unmount(place: &Path, force: bool) -> Result<bool, Error> {
    let path = place.join("merged");
    if !host_mounts::is_mount_point(&path) {
        return Ok(false);
    }
    let busy = if force { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW | busy)
        .map_err(|errno| failed("unmount", &path, errno.into()))?;
    sys::remove_tree(place).map_err(|source| failed("remove", place, source))?;
    Ok(true)
}

fn make(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| failed("make", path, source))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}
