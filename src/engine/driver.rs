//! Which driver makes root file systems here: probed, not guessed, and remembered.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::probe::{self, ProbeFailure};
use super::{Engine, host};
use crate::container;
use crate::snapshot::Driver;

/// What a probe found: `probe.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Probed {
    place: Place,
    drivers: Drivers,
}

/// What it holds for: it is probed anew where any of this is another.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The boot, and so the kernel.
    boot: Option<String>,
    /// The store's file system: its device, its type and how it is mounted.
    device: u64,
    file_system: String,
    mount_flags: u64,
    /// The program that probed.
    version: String,
}

/// What may make root file systems here, beside copies, which need nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drivers {
    /// The kernel's overlayfs.
    pub(super) overlay: Found,
    /// The union of our own; only looked at where there is no overlayfs.
    pub(super) fuse: Found,
    /// A tree of metadata as an overlay's layer; only looked at where there is overlayfs.
    pub(super) metadata: Found,
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Found {
    /// It was mounted, and used.
    Works,
    /// It was refused, and why.
    Refused(String),
    /// Nobody needed to know.
    Untried,
}

impl Found {
    fn of(probed: Result<(), ProbeFailure>) -> Self {
        match probed {
            Ok(()) => Self::Works,
            Err(failure) => Self::Refused(failure.to_string()),
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Refused(why) => f.write_str(why),
            Self::Untried => f.write_str("not tried, as overlay works"),
        }
    }
}

impl Engine {
    /// The driver asked for, else the best that probes found to work here.
    pub fn driver(&self) -> Driver {
        if let Some(driver) = self.options.driver {
            return driver;
        }
        self.drivers().best()
    }

    /// What works, as it was found on this boot and file system.
    pub(super) fn drivers(&self) -> Drivers {
        let root = self.store.root();
        let path = root.join("probe.json");
        let place = Place::of(root);
        let known = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Probed>(&bytes).ok())
            .filter(|probed| probed.place == place);
        if let Some(known) = known {
            return known.drivers;
        }
        let tmp = root.join("tmp");
        let overlay = probe::overlay(&tmp);
        let fuse = overlay.is_err().then(|| probe::fuse(&tmp));
        let metadata = overlay.is_ok().then(|| probe::metadata(&tmp));
        let found = |tried: Option<_>| tried.map_or(Found::Untried, Found::of);
        let drivers =
            Drivers { overlay: Found::of(overlay), fuse: found(fuse), metadata: found(metadata) };
        // A full disk tells nothing about overlayfs, and what an administrator may allow at any time
        // is asked again. What cannot be remembered is probed again; half a file is no JSON.
        let lasts = |probed: Result<(), ProbeFailure>| probed.err().is_none_or(|why| why.lasts());
        if lasts(overlay) && fuse.is_none_or(lasts) && metadata.is_none_or(lasts) {
            let probed = Probed { place, drivers };
            remember(&path, &probed);
            return probed.drivers;
        }
        drivers
    }
}

impl Drivers {
    /// The best of those that work.
    pub(super) fn best(&self) -> Driver {
        Driver::choose(None, self.overlay == Found::Works, self.fuse == Found::Works)
    }
}

impl Place {
    fn of(root: &Path) -> Self {
        Self {
            boot: container::boot().map(str::to_owned),
            device: std::fs::metadata(root).map(|metadata| metadata.dev()).unwrap_or_default(),
            file_system: host::file_system(root).unwrap_or_default(),
            mount_flags: rustix::fs::statvfs(root).map(|it| it.f_flag.bits()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

fn remember(path: &Path, probed: &Probed) {
    if let Ok(bytes) = serde_json::to_vec(probed) {
        let _ = std::fs::write(path, bytes);
    }
}
