//! What is known of a volume.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Error, Tried};
use super::name::{InvalidName, Name};

const RECORD: &str = "volume.json";

/// A volume: `volumes/NAME/volume.json`, written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The name, unique in a store.
    #[serde(with = "as_text")]
    pub name: Name,
    /// RFC 3339 time of creation.
    pub created: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it is made of.
    #[serde(default)]
    pub options: Options,
    /// The container for which it was made without a name: it goes with that one's `rm --volumes`.
    #[serde(default)]
    pub anonymous: Option<String>,
    /// Its directory.
    #[serde(skip)]
    place: PathBuf,
}

/// `--opt` of the driver `local`: nothing, or a directory of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// As they were given.
    pub given: BTreeMap<String, String>,
    /// The directory that stands in for the volume's own (`type=none,o=bind,device=PATH`).
    pub device: Option<PathBuf>,
    /// Whether no container writes to it.
    pub read_only: bool,
}

/// Options that the driver `local` does not take here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// A file system to be mounted once, for all containers.
    #[error(
        "a volume of type {kind} would be mounted once for all containers, which takes root: want \
         type=none, o=bind and device=PATH, or --tmpfs for a container's own"
    )]
    FileSystem {
        /// Its type.
        kind: String,
    },
    /// An option that nobody knows.
    #[error("invalid option: {name:?}: the driver local takes type, o and device")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// An option of the mount that is not one of a bind.
    #[error("invalid mount option {word:?} in o={all}: want bind, ro or rw")]
    Word {
        /// The option.
        word: String,
        /// All of them.
        all: String,
    },
    /// A device that is no directory.
    #[error("the volume's device {} is not an absolute path of a directory", path.display())]
    Device {
        /// The path.
        path: PathBuf,
    },
    /// Options that say nothing.
    #[error("missing device in volume options")]
    NoDevice,
}

impl Options {
    /// Reads docker's options of the driver `local`.
    pub fn parse(given: BTreeMap<String, String>) -> Result<Self, InvalidOptions> {
        let mut options = Self::default();
        for (name, value) in &given {
            match name.as_str() {
                "type" if matches!(value.as_str(), "none" | "bind" | "") => {}
                "type" => return Err(InvalidOptions::FileSystem { kind: value.clone() }),
                "device" => options.device = Some(PathBuf::from(value)),
                "o" => {
                    for word in value.split(',') {
                        match word {
                            "bind" | "rbind" | "rw" => {}
                            "ro" => options.read_only = true,
                            _ => {
                                let (word, all) = (word.to_owned(), value.clone());
                                return Err(InvalidOptions::Word { word, all });
                            }
                        }
                    }
                }
                _ => return Err(InvalidOptions::Unknown { name: name.clone() }),
            }
        }
        match &options.device {
            Some(path) if !path.is_absolute() => {
                return Err(InvalidOptions::Device { path: path.clone() });
            }
            None if !given.is_empty() => return Err(InvalidOptions::NoDevice),
            _ => {}
        }
        options.given = given;
        Ok(options)
    }
}

impl Volume {
    /// A volume without labels or options, which is nowhere yet.
    pub fn new(name: Name, created: String) -> Self {
        Self {
            name,
            created,
            labels: BTreeMap::new(),
            options: Options::default(),
            anonymous: None,
            place: PathBuf::new(),
        }
    }

    /// Where its files lie.
    pub fn data(&self) -> PathBuf {
        match &self.options.device {
            Some(device) => device.clone(),
            None => self.place.join("_data"),
        }
    }

    /// Its directory.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Reads the volume in a directory; `None` where there is none.
    pub(super) fn read(place: &Path) -> Result<Option<Self>, Error> {
        let path = place.join(RECORD);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            other => other.tried("read", &path)?,
        };
        let volume = serde_json::from_slice::<Self>(&bytes);
        let volume = volume.map_err(|source| Error::Damaged { path, source })?;
        Ok(Some(Self { place: place.to_owned(), ..volume }))
    }

    /// Writes the volume into an empty directory, down to the disk.
    pub(super) fn write(&self, place: &Path) -> Result<(), Error> {
        let (path, data) = (place.join(RECORD), place.join("_data"));
        let text = serde_json::to_vec(self)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let mut file = File::create(&path).tried("create", &path)?;
        file.write_all(&text).and_then(|()| file.sync_all()).tried("write", &path)?;
        std::fs::DirBuilder::new().mode(0o755).create(&data).tried("make", &data)?;
        File::open(place).and_then(|place| place.sync_all()).tried("write out", place)
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{InvalidName, Name};

    pub(super) fn serialize<S: Serializer>(name: &Name, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error: InvalidName| de::Error::custom(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, InvalidOptions> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Options::parse(pairs.iter().map(own).collect())
    }

    #[test]
    fn a_directory_of_the_host_may_stand_in() {
        let bind = options(&[("type", "none"), ("o", "bind,ro"), ("device", "/srv")]);
        let bind = bind.expect("a bind");
        assert_eq!((bind.device, bind.read_only), (Some("/srv".into()), true));
        assert_eq!(options(&[]).expect("none").device, None);
    }

    #[test]
    fn other_file_systems_are_refused_by_name() {
        for (pairs, why) in [
            (&[("type", "tmpfs"), ("device", "tmpfs")][..], "type tmpfs"),
            (&[("size", "1m")], "\"size\""),
            (&[("device", "srv")], "absolute"),
            (&[("type", "none")], "missing device"),
            (&[("o", "bind,uid=1"), ("device", "/srv")], "uid=1"),
        ] {
            let error = options(pairs).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
