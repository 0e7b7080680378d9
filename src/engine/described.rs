//! A container in every detail, for `inspect`.

use std::path::PathBuf;

use super::images::Details;
use super::{Engine, Error, images};
use crate::container::{Creation, Health, Record, Status};
use crate::network::Network;

/// All there is to say of a container.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its record.
    pub record: Record,
    /// What it is now.
    pub status: Status,
    /// What it can be started from again; `None` where it is removed at its end.
    pub creation: Option<Creation>,
    /// The image that it was made from, while that is here.
    pub image: Option<Details>,
    /// The named networks that it is in, as far as they are there.
    pub networks: Vec<Network>,
    /// What its health checks have found; `None` where it has none.
    pub health: Option<Health>,
    /// Where its own files lie.
    pub directory: PathBuf,
    /// The trees of its image's layers, the lowest first.
    pub layers: Vec<PathBuf>,
    /// The bytes that it has written, and these with its image's, where that was asked for.
    pub size: Option<(u64, u64)>,
}

impl Engine {
    /// A container in every detail; `size` is whether it is to be measured.
    pub fn describe(&self, query: &str, size: bool) -> Result<Described, Error> {
        let record = self.container_named(query)?;
        let size = size.then(|| self.container_size(&record)).transpose()?;
        let image = images::inspect(&self.store, &record.image_id.to_string()).ok();
        let health = match &record.config.health {
            Some(_) => Some(self.health(&record)?.unwrap_or_default()),
            None => None,
        };
        Ok(Described {
            status: record.status(),
            // Damage there is no reason to show nothing.
            creation: self.containers.creation(&record).ok(),
            layers: image.as_ref().map(|image| self.layer_trees(image)).unwrap_or_default(),
            directory: self.containers.directory(&record),
            networks: record
                .config
                .networks
                .iter()
                .filter_map(|wanted| self.named_network(&wanted.name).ok())
                .collect(),
            image,
            health,
            size,
            record,
        })
    }

    /// Where an image's layers lie unpacked, the lowest first; empty where they do not.
    pub fn layer_trees(&self, image: &Details) -> Vec<PathBuf> {
        let owners = self.owners().ok();
        owners.and_then(|owners| self.store.layers(&image.image, owners).ok()).unwrap_or_default()
    }
}
