//! What this engine works with, as `info` tells it. The names are docker's where it has one.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::driver::{Drivers, Found};
use super::{Engine, Error, host};
use crate::cgroup;
use crate::container::Status;
use crate::oci::Platform;
use crate::snapshot::Driver;

/// The engine and its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// This program's version.
    pub server_version: &'static str,
    /// The store's root.
    pub docker_root_dir: PathBuf,
    /// The type of the file system that it lies on.
    pub backing_filesystem: String,
    /// What makes root file systems.
    pub driver: String,
    /// Why this one.
    pub driver_reason: &'static str,
    /// Each driver that has to be allowed, and whether it works or why not.
    pub driver_status: Vec<(&'static str, String)>,
    /// Which ids containers have.
    #[serde(rename = "IDs")]
    pub ids: String,
    /// Why these.
    #[serde(rename = "IDsReason")]
    pub ids_reason: String,
    /// How many containers there are.
    pub containers: usize,
    /// How many of them run.
    pub containers_running: usize,
    /// How many do not.
    pub containers_stopped: usize,
    /// How many images there are.
    pub images: usize,
    /// The machine's name.
    pub name: String,
    /// The operating system, as platforms name it.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// The architecture, as platforms name it.
    pub architecture: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// How many processors this process may use.
    #[serde(rename = "NCPU")]
    pub cpus: usize,
    /// The machine's memory, in bytes.
    pub mem_total: u64,
    /// The version of the control groups.
    pub cgroup_version: cgroup::Version,
    /// What keeps containers in, in docker's words.
    pub security_options: Vec<String>,
}

impl Engine {
    /// Counts and looks up; tries nothing that a run has not tried before.
    pub fn info(&self) -> Result<Info, Error> {
        let containers = self.containers()?;
        let running = containers
            .iter()
            .filter(|(_, status)| matches!(status, Status::Running | Status::Paused))
            .count();
        let drivers = self.drivers();
        let driver = self.options.driver.unwrap_or_else(|| drivers.best());
        let ids = self.ids((0, 0))?;
        let platform = Platform::host();
        let root = self.store.root();
        Ok(Info {
            server_version: env!("CARGO_PKG_VERSION"),
            docker_root_dir: root.to_owned(),
            backing_filesystem: host::file_system(root).unwrap_or_else(|_| "unknown".into()),
            driver: driver.to_string(),
            driver_reason: match (self.options.driver, driver) {
                (Some(_), _) => "asked for",
                (None, Driver::Overlay) => "a probe mounted an overlay here",
                (None, Driver::Fuse) => "a probe could mount no overlay here, but FUSE",
                (None, Driver::Copy) => "a probe could mount neither an overlay nor FUSE here",
            },
            driver_status: status(&drivers),
            ids: ids.mode.to_string(),
            ids_reason: ids.reason,
            containers: containers.len(),
            containers_running: running,
            containers_stopped: containers.len() - running,
            images: self.images()?.len(),
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            os_type: platform.os,
            architecture: platform.architecture,
            kernel_version: host::kernel(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            mem_total: host::memory(),
            cgroup_version: cgroup::detect(Path::new("/")).version,
            security_options: security(rustix::process::geteuid().is_root()),
        })
    }
}

fn status(drivers: &Drivers) -> Vec<(&'static str, String)> {
    let described = ("one layer for many", &drivers.metadata);
    // It is an overlay's, and nothing to others.
    let described = (*described.1 != Found::Untried).then_some(described);
    let all = [("overlay", &drivers.overlay), ("fuse", &drivers.fuse)].into_iter().chain(described);
    all.map(|(name, found)| (name, found.to_string())).collect()
}

/// Every container has a user namespace; who calls is another question.
fn security(root: bool) -> Vec<String> {
    let mut options = vec!["name=seccomp,profile=builtin".to_owned(), "name=userns".to_owned()];
    if !root {
        options.push("name=rootless".to_owned());
    }
    options
}
