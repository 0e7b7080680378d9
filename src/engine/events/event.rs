//! One event: docker's types, actions and attributes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::Record;
use crate::oci::Digest;
use crate::reference::familiar;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: i64, // the first field: log.rs looks for it
    /// To what kind of thing.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What: docker's word (`create`, `start`, `die`, …), some with more behind a colon.
    pub action: String,
    /// To which one: the ID of a container or image, the name of a volume.
    pub id: String,
    /// The circumstances: `name`, `image`, `exitCode`, labels, …
    pub attributes: BTreeMap<String, String>,
}

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Kind {
    /// docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}

impl Event {
    /// It happens now.
    pub fn new(kind: Kind, action: impl Into<String>, id: impl Into<String>) -> Self {
        let now = jiff::Timestamp::now().as_nanosecond();
        Self {
            time: i64::try_from(now).unwrap_or(i64::MAX), // in the year 2262
            kind,
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::new(),
        }
    }

    /// Something happens to a container: its labels, image and name are told with it.
    pub fn of_container(action: impl Into<String>, record: &Record) -> Self {
        let mut event = Self::new(Kind::Container, action, &record.id);
        event.attributes.clone_from(&record.config.labels);
        event.with("image", familiar(&record.image)).with("name", &record.name)
    }

    /// Something happens to an image. `name` is the one that it happens to, or the ID.
    pub fn of_image(action: impl Into<String>, id: &Digest, name: impl Into<String>) -> Self {
        Self::new(Kind::Image, action, id.to_string()).with("name", name)
    }

    /// Unused things of a kind were cleared away, with so many bytes.
    pub fn of_prune(kind: Kind, reclaimed: u64) -> Self {
        Self::new(kind, "prune", "").with("reclaimed", reclaimed.to_string())
    }

    /// With one circumstance more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// The word alone, without what stands behind a colon.
    pub fn word(&self) -> &str {
        self.action.split(':').next().unwrap_or_default()
    }
}
