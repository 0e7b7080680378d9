//! Which driver makes root file systems here: probed, not guessed, and remembered.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::snapshot::Driver;

/// What a probe found: `probe.json`. It holds for one boot and one file system.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Probed {
    boot: String,
    device: u64,
    overlay: bool,
    /// Only looked at where there is no overlayfs.
    fuse: bool,
}

impl Engine {
    /// The driver asked for, else the best that probes on this boot and file system found to work.
    pub fn driver(&self) -> Driver {
        if let Some(driver) = self.options.driver {
            return driver;
        }
        let (overlay, fuse) = self.what_works();
        Driver::choose(None, overlay, fuse)
    }

    fn what_works(&self) -> (bool, bool) {
        let root = self.store.root();
        let path = root.join("probe.json");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let device = std::fs::metadata(root).map(|metadata| metadata.dev()).unwrap_or_default();
        let known = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Probed>(&bytes).ok())
            .filter(|probed| probed.boot == boot && probed.device == device);
        if let Some(known) = known {
            return (known.overlay, known.fuse);
        }
        let probed = super::probe::overlay(&root.join("tmp"));
        let overlay = probed.is_ok();
        let fuse = !overlay && super::probe::fuse(&root.join("tmp")).is_ok();
        // A full disk tells nothing about overlayfs. What cannot be remembered is probed again;
        // half a file is no JSON.
        if probed.is_ok() || probed.is_err_and(|failure| failure.lasts()) {
            remember(&path, &Probed { boot, device, overlay, fuse });
        }
        (overlay, fuse)
    }
}

fn remember(path: &Path, probed: &Probed) {
    if let Ok(bytes) = serde_json::to_vec(probed) {
        let _ = std::fs::write(path, bytes);
    }
}
