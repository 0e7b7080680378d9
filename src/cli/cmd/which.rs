//! The containers that a command is about: named, or chosen by what holds of them.

use std::path::PathBuf;

use super::super::parse::filter::Filter;
use super::super::{Error, complete};
use super::ps;
use crate::engine::Engine;
use crate::engine::container::Status;

const NONE: &str =
    "no container is named: want a name or an ID, --all, --latest, --filter or --cidfile";

/// Which containers. What takes it has a flag `all` too, with a word on what all are.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The container that was made last
    #[arg(short, long, conflicts_with_all = ["all", "filter", "cidfile", "containers"])]
    latest: bool,
    /// Every one where this holds, as in coracle ps
    #[arg(long, value_name = "KEY=VALUE", conflicts_with_all = ["cidfile", "containers"])]
    filter: Vec<Filter>,
    /// The one whose ID is in this file, where run --cidfile wrote it
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    cidfile: Vec<PathBuf>,
    /// Names, IDs or beginnings of IDs
    #[arg(conflicts_with = "all", value_name = "CONTAINER", add = complete::container_names())]
    containers: Vec<String>,
}

impl Which {
    /// What was named, in its order, or those that were chosen and whose status is right. A file that
    /// is not there names nothing, where `ignore` says so.
    pub(super) fn look_up(
        &self,
        engine: &Engine,
        all: bool,
        ignore: bool,
        right: &(dyn Fn(Status) -> bool + Sync),
    ) -> Result<Vec<String>, Error> {
        if all || !self.filter.is_empty() {
            ps::check(&self.filter)?;
            let chosen = ps::select(engine, &self.filter, right)?;
            return Ok(chosen.into_iter().map(|(record, _)| record.id).collect());
        }
        if self.latest {
            let newest = engine.summaries(&|_| true)?.into_iter().next();
            return newest.map(|(record, _)| vec![record.id]).ok_or(Error::NoContainers);
        }
        if self.containers.is_empty() && self.cidfile.is_empty() {
            return Err(Error::usage(NONE));
        }
        let mut names = self.containers.clone();
        for path in &self.cidfile {
            match std::fs::read_to_string(path) {
                Ok(id) => names.push(id.trim().to_owned()),
                Err(error) if ignore && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(Error::File { action: "read", path: path.clone(), source });
                }
            }
        }
        Ok(names)
    }
}
