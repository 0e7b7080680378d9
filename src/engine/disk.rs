//! `system df`: what takes which part of the disk, and what of it nothing needs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::images::Listed;
use super::{Engine, Error};
use crate::container::{Status, Summary};
use crate::oci::{ChainId, Digest};

/// What is on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskUse {
    /// The images, the newest first.
    pub images: Vec<ImageUse>,
    /// The bytes of all images' layers, each counted once.
    pub layers: u64,
    /// Those of layers that no container needs.
    pub layers_unused: u64,
    /// The containers, the newest first.
    pub containers: Vec<ContainerUse>,
    /// The volumes, by name.
    pub volumes: Vec<VolumeUse>,
}

/// An image on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageUse {
    /// The image and its names.
    pub listed: Listed,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// Bytes of layers that go with it.
    pub unique: u64,
    /// How many containers were made from it.
    pub containers: usize,
}

/// A volume on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUse {
    /// Its name.
    pub name: String,
    /// The bytes that its files hold; 0 for one that is a directory of the host.
    pub size: u64,
    /// How many containers have it.
    pub containers: usize,
}

/// A container on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerUse {
    /// The container.
    pub record: Summary,
    /// What it is now.
    pub status: Status,
    /// The bytes that it has written.
    pub written: u64,
}

impl Engine {
    /// Measures everything. Files of other ids are looked at by who is root over these.
    pub fn disk_use(&self) -> Result<DiskUse, Error> {
        let (records, statuses): (Vec<Summary>, Vec<Status>) =
            self.summaries(&|_| true)?.into_iter().unzip();
        let written = self.written(&records)?;
        let containers: Vec<ContainerUse> = records
            .into_iter()
            .zip(statuses)
            .zip(written)
            .map(|((record, status), written)| ContainerUse { record, status, written })
            .collect();
        let listed = self.images()?;
        let mut made: HashMap<Digest, usize> = HashMap::new();
        for container in &containers {
            *made.entry(container.record.image_id.clone()).or_default() += 1;
        }
        let needed: HashSet<&ChainId> =
            containers.iter().flat_map(|container| &container.record.layers).collect();
        let sizes = Layers::of(&listed);
        let layers = sizes.0.values().map(|layer| layer.bytes).sum();
        let unused = sizes.0.iter().filter(|(chain, _)| !needed.contains(*chain));
        let layers_unused = unused.map(|(_, layer)| layer.bytes).sum();
        let images = listed
            .iter()
            .map(|listed| {
                let (shared, unique) = sizes.shared_and_unique(listed);
                let containers = made.get(&listed.image.id).copied().unwrap_or_default();
                ImageUse { listed: listed.clone(), shared, unique, containers }
            })
            .collect();
        let volumes = self.volume_uses()?;
        Ok(DiskUse { images, layers, layers_unused, containers, volumes })
    }

    fn volume_uses(&self) -> Result<Vec<VolumeUse>, Error> {
        let volumes = self.volumes()?;
        let used = self.volumes_in_use()?;
        let own = volumes.iter().filter(|volume| volume.options.device.is_none());
        let paths: Vec<PathBuf> = own.map(crate::volume::Volume::data).collect();
        let mut sizes = self.tree_sizes(&paths)?.into_iter();
        let measured = volumes.into_iter().map(|volume| {
            let name = volume.name.as_str().to_owned();
            let size = match volume.options.device {
                Some(_) => 0,
                None => sizes.next().unwrap_or_default(),
            };
            VolumeUse { containers: used.get(&name).map_or(0, Vec::len), name, size }
        });
        Ok(measured.collect())
    }
}

/// The layers of all images.
struct Layers<'a>(HashMap<&'a ChainId, LayerUse>);

#[derive(Clone, Copy)]
struct LayerUse {
    bytes: u64,
    images: usize,
}

impl<'a> Layers<'a> {
    fn of(listed: &'a [Listed]) -> Self {
        let mut layers: HashMap<&ChainId, LayerUse> = HashMap::new();
        for layer in listed.iter().flat_map(|listed| &listed.image.layers) {
            let new = LayerUse { bytes: layer.unpacked, images: 0 };
            layers.entry(&layer.chain).or_insert(new).images += 1;
        }
        Self(layers)
    }

    fn shared_and_unique(&self, listed: &Listed) -> (u64, u64) {
        let mut sum = (0, 0);
        for layer in &listed.image.layers {
            match self.0.get(&layer.chain) {
                Some(found) if found.images > 1 => sum.0 += layer.unpacked,
                _ => sum.1 += layer.unpacked,
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, Platform};
    use crate::store::{Image, Layer, Names};

    fn image(name: &str, layers: &[(&str, u64)]) -> Listed {
        let layer = |(chain, unpacked): &(&str, u64)| Layer {
            digest: Digest::of(chain.as_bytes()),
            media_type: String::new(),
            shipped: 1,
            diff_id: DiffId(Digest::of(chain.as_bytes())),
            chain: ChainId(Digest::of(chain.as_bytes())),
            unpacked: *unpacked,
        };
        let image = Image {
            id: Digest::of(name.as_bytes()),
            manifest: Digest::of(name.as_bytes()),
            index: None,
            platform: Platform::host(),
            created: None,
            layers: layers.iter().map(layer).collect(),
        };
        Listed { image, names: Names::default() }
    }

    #[test]
    fn a_layer_of_several_images_counts_once() {
        let listed = [
            image("one", &[("base", 100), ("one", 10)]),
            image("two", &[("base", 100), ("two", 20)]),
            image("three", &[("three", 3)]),
        ];
        let layers = Layers::of(&listed);
        assert_eq!(layers.0.values().map(|layer| layer.bytes).sum::<u64>(), 133);
        let sums: Vec<_> = listed.iter().map(|it| layers.shared_and_unique(it)).collect();
        assert_eq!(sums, [(100, 10), (100, 20), (0, 3)]);
    }
}
