//! A container whose files are looked at.

use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;

use crate::container::{Creation, Record, State};
use crate::engine::{Engine, Error};
use crate::layer::{Comparison, Name, Source, Translation};
use crate::owners::Owners;
use crate::snapshot::{self, Driver, Written};
use crate::store::Lock;
use crate::userns::{self, IdMaps, Mode as IdMode};

/// A container, the engine as it was made with, and where its files lie.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) engine: Engine,
    pub(super) record: Record,
    pub(super) creation: Option<Creation>,
    pub(super) owners: Owners,
    /// The container's ids, and those that its files have: others, where they were given to it.
    ids: IdMaps,
    file_ids: IdMaps,
    driver: Driver,
    layers: Vec<PathBuf>,
    directory: PathBuf,
    /// Keeps the layers where they are.
    _hold: Lock,
}

/// Whom the kernel shows for an id that a namespace has not.
const NOBODY: u32 = 65534;
/// Where something is mounted in every container.
const PLACES: [&str; 6] = ["dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// Where it is with `--read-only`.
const TEMPORARY: [&str; 3] = ["run", "tmp", "var/tmp"];

impl Engine {
    pub(super) fn subject(&self, query: &str) -> Result<Subject, Error> {
        let record = self.container_named(query)?;
        let creation = self.containers.creation(&record).ok();
        let engine = match &creation {
            Some(creation) => self.as_made(&record, creation)?,
            None => self.as_it_runs(&record)?,
        };
        let hold = engine.store.hold()?;
        let ids = engine.ids((0, 0))?;
        let driver = record.config.driver.parse().unwrap_or(Driver::Overlay);
        let shifted = ids.is_shifted() && driver == Driver::Copy;
        let file_ids = if shifted { engine.store_ids()? } else { ids.clone() };
        let owners = engine.owners_of(&file_ids);
        let layer = |chain| engine.store.layer_path(owners, chain).join("fs");
        let layers = record.layers.iter().map(layer).collect();
        let directory = engine.containers.directory(&record);
        Ok(Subject {
            engine,
            record,
            creation,
            owners,
            ids,
            file_ids,
            driver,
            layers,
            directory,
            _hold: hold,
        })
    }

    /// Becomes root over the files of all ids that `ids` has, for good. As root there is nothing to
    /// become; where one id is refused a namespace, its owner may do almost as much.
    pub(super) fn become_owner(&self, ids: &IdMaps) -> Result<(), Error> {
        match ids.mode {
            IdMode::Range { .. } => Ok(userns::enter_in_place(ids)?),
            IdMode::Single if !geteuid().is_root() => {
                let facts = userns::gather(std::path::Path::new("/"), &self.options.path);
                if let Ok(own) = userns::choose(&userns::Request::Single, (0, 0), &facts) {
                    let _ = userns::enter_in_place(&own);
                }
                Ok(())
            }
            IdMode::Single | IdMode::Direct => Ok(()),
        }
    }
}

impl Subject {
    /// Puts what the kernel still holds back of a root through FUSE where it can be read.
    pub(super) fn write_back(&self) {
        let State::Running { process, .. } = &self.record.state else { return };
        if self.driver == Driver::Fuse && process.is_running() {
            let root = format!("/proc/{}/root", process.pid);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // What cannot be had so is written by the kernel itself a little later.
            let _ = rustix::fs::open(root, flags, Mode::empty()).and_then(rustix::fs::syncfs);
        }
    }

    /// What the container wrote, and what is there all together. From here on this process is root
    /// over the files.
    pub(super) fn written(&self) -> Result<Written, Error> {
        let added = self.record.config.added.iter().filter_map(|added| {
            let name = Name::parse(added.path.as_os_str().as_encoded_bytes()).ok()?;
            Some((name, added.text.clone().into_bytes()))
        });
        let (places, added) = (self.places(), added.collect());
        let comparison = Comparison { places, added, ..Comparison::default() };
        self.become_owner()?;
        let written =
            snapshot::written(self.driver, &self.layers, &self.directory, self.owners, comparison)?;
        let (uid, gid) = self.newcomers();
        Ok(written.with_newcomers(uid, gid).with_translation(self.translation()))
    }

    /// The whole root. From here on this process is root over the files.
    pub(super) fn root(&self) -> Result<Source, Error> {
        // Before: it may have to be made.
        snapshot::skeleton(self.engine.store.root())?;
        self.become_owner()?;
        let store = self.engine.store.root();
        let root =
            snapshot::whole_root(self.driver, &self.layers, &self.directory, store, self.owners)?;
        let (uid, gid) = self.newcomers();
        Ok(root.with_newcomers(uid, gid).with_translation(self.translation()))
    }

    fn become_owner(&self) -> Result<(), Error> {
        self.engine.become_owner(&self.file_ids)
    }

    /// What the ids of its files are in the container, where they are others there.
    fn translation(&self) -> Option<Translation> {
        let (files, own) = (self.file_ids.clone(), self.ids.clone());
        let translate = move |uid, gid| {
            let user = files.user_in(&own, uid).unwrap_or(NOBODY);
            (user, files.group_in(&own, gid).unwrap_or(NOBODY))
        };
        (self.file_ids != self.ids).then(|| Translation(Box::new(translate)))
    }

    /// Whose files are that the container makes and nobody records: its one id's.
    fn newcomers(&self) -> (u32, u32) {
        let record = &self.record.config;
        match (&self.ids.mode, record.emulated) {
            (IdMode::Single, false) => (record.process.user.uid, record.process.user.gid),
            _ => (0, 0),
        }
    }

    fn places(&self) -> Vec<Name> {
        let config = &self.record.config;
        let image = self.engine.store.resolve(&self.record.image_id.to_string());
        let image = image.and_then(|image| self.engine.store.config(&image));
        let volumes = image.map(|config| config.volumes).unwrap_or_default();
        let mounts = config.mounts.iter().map(|mount| mount.target.as_str());
        let temporary = TEMPORARY.iter().copied().filter(|_| config.read_only);
        let volumes = volumes.iter().map(String::as_str);
        let all = PLACES.iter().copied().chain(mounts).chain(temporary).chain(volumes);
        all.filter_map(|place| Name::parse(place.as_bytes()).ok()).collect()
    }
}
