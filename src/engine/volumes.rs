//! Volumes for the commands about them, and for who collects what nobody needs.

use std::collections::BTreeMap;

use super::events::{Event, Kind};
use super::mounts::ANONYMOUS;
use super::prune::{Fits, Pruned};
use super::{Engine, Error};
use crate::container::Record;
use crate::volume::{self, Name, Options, Volume};

/// What `volume create` was asked for.
#[derive(Clone, Debug, Default)]
pub struct VolumeRequest {
    /// Its name; one is made up where there is none.
    pub name: Option<Name>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--opt`
    pub options: BTreeMap<String, String>,
}

impl Engine {
    /// All volumes, sorted by name.
    pub fn volumes(&self) -> Result<Vec<Volume>, Error> {
        Ok(self.volumes.list()?)
    }

    /// The volume of this name.
    pub fn volume(&self, name: &str) -> Result<Volume, Error> {
        Ok(self.volumes.find(name)?)
    }

    /// Makes a volume; one that has the name already is taken for it, as docker does.
    pub fn create_volume(&self, request: &VolumeRequest) -> Result<Volume, Error> {
        let name = match &request.name {
            Some(name) => name.clone(),
            None => self.volumes.generate_name()?,
        };
        let mut volume = Volume::new(name, super::run::now());
        volume.labels.clone_from(&request.labels);
        if request.name.is_none() {
            volume.labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let options = Options::parse(request.options.clone());
        volume.options = options.map_err(volume::Error::from)?;
        let (held, made) = self.volumes.create(&volume)?;
        if made {
            self.emit(&[told("create", held.volume.name.as_str())]);
        }
        Ok(held.volume)
    }

    /// The IDs of the containers that have the volume, running or not.
    pub fn volume_users(&self, name: &str) -> Result<Vec<String>, Error> {
        let records = self.containers.list()?.into_iter();
        Ok(records.filter(|record| uses(record, name)).map(|record| record.id).collect())
    }

    /// Of each volume that containers have, the IDs of these.
    pub fn volumes_in_use(&self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in self.containers.list()? {
            let names = record.config.mounts.into_iter().map(|mount| mount.name);
            for name in names.filter(|name| !name.is_empty()) {
                used.entry(name).or_default().push(record.id.clone());
            }
        }
        Ok(used)
    }

    /// The bytes that a volume's files hold; 0 for one that is a directory of the host.
    pub fn volume_size(&self, volume: &Volume) -> Result<u64, Error> {
        if volume.options.device.is_some() {
            return Ok(0);
        }
        let sizes = self.tree_sizes(&[volume.data()])?;
        Ok(sizes.first().copied().unwrap_or_default())
    }

    /// Removes a volume with its files. `false` where there was none, which `force` takes for done.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<bool, Error> {
        self.sweep_containers(); // those that are to be gone use nothing
        match self.remove_unused(name, |_| true) {
            Err(Error::Volume(volume::Error::NoSuchVolume { .. })) if force => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Removes volumes that no container has: those that nobody named, or `all`.
    pub fn prune_volumes(&self, all: bool, fits: Fits<'_>) -> Result<Pruned, Error> {
        self.sweep_containers();
        let mut pruned = Pruned::default();
        let used = self.volumes_in_use()?;
        for volume in self.volumes()? {
            let name = volume.name.as_str();
            // One that `volume create` made without a name has docker's label and is nobody's.
            let unnamed = volume.anonymous.is_some() || volume.labels.contains_key(ANONYMOUS);
            let may_go = all || unnamed;
            if !may_go || used.contains_key(name) || !fits(&volume.created, &volume.labels) {
                continue;
            }
            let size = self.volume_size(&volume).unwrap_or_default();
            match self.remove_unused(name, |_| true) {
                Ok(_) => {
                    pruned.reclaimed = pruned.reclaimed.saturating_add(size);
                    pruned.lines.push(name.to_owned());
                }
                // Another command was faster, or has come to use it.
                Err(Error::Volume(
                    volume::Error::NoSuchVolume { .. } | volume::Error::InUse { .. },
                )) => {}
                Err(error) => pruned.failures.push(error),
            }
        }
        self.emit(&[Event::of_prune(Kind::Volume, pruned.reclaimed)]);
        Ok(pruned)
    }

    /// Removes the volumes that were made for a container without a name, unless others have them.
    pub(super) fn remove_anonymous(&self, record: &Record) -> Result<(), Error> {
        let names = record.config.mounts.iter().map(|mount| &mount.name);
        names.filter(|name| !name.is_empty()).try_for_each(|name| self.remove_if_anonymous(name))
    }

    /// Removes the volumes that were made for a container that never came to be.
    pub(super) fn remove_volumes_for(&self, container: &str) -> Result<(), Error> {
        let volumes = self.volumes.list()?.into_iter();
        let made_for = volumes.filter(|it| it.anonymous.as_deref() == Some(container));
        made_for.map(|it| it.name).try_for_each(|name| self.remove_if_anonymous(name.as_str()))
    }

    fn remove_if_anonymous(&self, name: &str) -> Result<(), Error> {
        // Looked at before it is waited for: most volumes have names.
        match self.volumes.find(name) {
            Ok(volume) if volume.anonymous.is_some() => {}
            Ok(_) | Err(volume::Error::NoSuchVolume { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match self.remove_unused(name, |volume| volume.anonymous.is_some()) {
            Err(Error::Volume(
                volume::Error::NoSuchVolume { .. } | volume::Error::InUse { .. },
            )) => Ok(()),
            other => other.map(drop),
        }
    }

    fn remove_unused(&self, name: &str, right: impl Fn(&Volume) -> bool) -> Result<bool, Error> {
        let taken = self.volumes.take(name)?;
        // Under the lock: whoever comes to use it holds it until that is written down.
        let containers = self.volume_users(name)?;
        if !containers.is_empty() {
            return Err(volume::Error::InUse { name: name.to_owned(), containers }.into());
        }
        if !right(&taken.volume) {
            return Ok(false);
        }
        let remains = self.volumes.detach(taken)?;
        self.remove_tree(&remains.path)?;
        self.emit(&[told("destroy", name)]);
        Ok(true)
    }
}

/// What happened to a volume.
pub(super) fn told(action: &str, name: &str) -> Event {
    Event::new(Kind::Volume, action, name).with("driver", "local")
}

fn uses(record: &Record, name: &str) -> bool {
    record.config.mounts.iter().any(|mount| mount.name == name)
}
