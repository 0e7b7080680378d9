//! How an image came to be, step by step.

use super::Engine;
use crate::oci::{Digest, History, ImageConfig};
use crate::store::Image;

/// One step, or a layer that no step tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The image that the step ended in, where it is known: for the last one.
    pub image: Option<Digest>,
    /// What is written of it.
    pub history: History,
    /// The bytes in the files of the layer that it made.
    pub size: u64,
}

impl Engine {
    /// The steps of an image, the last one first.
    pub fn history(&self, query: &str) -> Result<Vec<Step>, super::Error> {
        let details = self.image(query)?;
        Ok(steps(&details.image, &details.config))
    }
}

fn steps(image: &Image, config: &ImageConfig) -> Vec<Step> {
    let mut layers = image.layers.iter();
    let step = |history: History, size| Step { image: None, history, size };
    let mut steps: Vec<Step> = config
        .history
        .iter()
        .map(|history| {
            let layer = if history.empty_layer { None } else { layers.next() };
            step(history.clone(), layer.map_or(0, |layer| layer.unpacked))
        })
        .collect();
    // Builders may say less than they did.
    steps.extend(layers.map(|layer| step(History::default(), layer.unpacked)));
    steps.reverse();
    if let Some(last) = steps.first_mut() {
        last.image = Some(image.id.clone());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{ChainId, DiffId, Platform};
    use crate::store::Layer;

    #[test]
    fn steps_have_the_sizes_of_their_layers() {
        let digest = Digest::of(b"x");
        let layer = |unpacked| Layer {
            digest: digest.clone(),
            media_type: String::new(),
            shipped: 1,
            diff_id: DiffId(digest.clone()),
            chain: ChainId(digest.clone()),
            unpacked,
        };
        let image = Image {
            id: digest.clone(),
            manifest: digest.clone(),
            index: None,
            platform: Platform::host(),
            created: None,
            layers: vec![layer(10), layer(20), layer(30)],
        };
        let history = |empty_layer| History { empty_layer, ..History::default() };
        let config = ImageConfig {
            history: vec![history(false), history(true), history(false)],
            ..ImageConfig::default()
        };
        let sizes: Vec<u64> = steps(&image, &config).iter().map(|step| step.size).collect();
        assert_eq!(sizes, [30, 20, 0, 10], "the third layer has no step");
        assert_eq!(steps(&image, &config)[0].image, Some(digest));
    }
}
