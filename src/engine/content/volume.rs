//! `volume export` and `volume import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::inside::unlimited;
use crate::engine::pull::inflated;
use crate::engine::{Engine, Error};
use crate::layer::{Extraction, Name, Scope, write_tree};
use crate::owners::Owners;
use crate::registry::Compression;
use crate::volume::{self, Held};

/// A volume whose files this process is root over.
struct Opened {
    data: OwnedFd,
    owners: Owners,
    /// Keeps it from removal.
    _held: Held,
}

impl Engine {
    /// Writes a volume's files as a tar archive, with the owners that containers see. This process
    /// gives up its own ids for it.
    pub fn export_volume(&self, name: &str, to: impl Write) -> Result<(), Error> {
        let volume = self.open_volume(name)?;
        write_tree(&volume.data, c".", &Name::default(), volume.owners, to)?;
        Ok(())
    }

    /// Puts a tar archive's files into a volume, over those of the same name; what is there beside
    /// stays. It may be compressed. This process gives up its own ids for it.
    pub fn import_volume(&self, name: &str, from: File) -> Result<(), Error> {
        let failed = |source| Error::Io { action: "read", path: PathBuf::from("-"), source };
        let mut from = BufReader::with_capacity(256 << 10, from);
        let compression = Compression::of(from.fill_buf().map_err(failed)?);
        let volume = self.open_volume(name)?;
        let extraction = Extraction {
            scope: Scope::Beneath(volume.data),
            rename: (Name::default(), Name::default()),
            owners: Some(volume.owners),
            keep_owners: true,
            limits: unlimited(),
        };
        let mut archive = BufReader::new(inflated(compression, from).map_err(failed)?);
        extraction.extract(&mut archive)?;
        // Who sends is not to die of a closed pipe.
        io::copy(&mut archive, &mut io::sink()).map(drop).map_err(failed)
    }

    fn open_volume(&self, name: &str) -> Result<Opened, Error> {
        let missing = || volume::Error::NoSuchVolume { name: name.to_owned() };
        let held = self.volumes.hold(name)?.ok_or_else(missing)?;
        let ids = self.store_ids()?;
        self.become_owner(&ids)?;
        let path = held.volume.data();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let data = rustix::fs::open(&path, flags, Mode::empty());
        let data =
            data.map_err(|errno| Error::Io { action: "open", path, source: errno.into() })?;
        Ok(Opened { data, owners: self.owners_of(&ids), _held: held })
    }
}
