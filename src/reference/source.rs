//! Where an image comes from: a registry, a directory, an archive.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Error, Reference};

/// Something that `pull` and `run` take (containers-transports(5), as far as it is built).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A name, or `docker://NAME`.
    Registry(Reference),
    /// `oci:DIRECTORY[:TAG]`
    OciLayout {
        /// The layout's directory.
        directory: PathBuf,
        /// Which of its images (`org.opencontainers.image.ref.name`).
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:REFERENCE]`
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// Which of its images.
        reference: Option<Reference>,
    },
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = |rest: &str| match rest.split_once(':') {
            Some((path, tag)) => (PathBuf::from(path), Some(tag.to_owned())),
            None => (PathBuf::from(rest), None),
        };
        let named = |path: &PathBuf| match path.as_os_str().is_empty() {
            true => Err(Error::Invalid { text: text.to_owned(), why: "the path is empty" }),
            false => Ok(()),
        };
        if let Some(rest) = text.strip_prefix("oci:") {
            let (directory, tag) = parts(rest);
            named(&directory)?;
            Ok(Self::OciLayout { directory, tag })
        } else if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, tag) = parts(rest);
            named(&file)?;
            Ok(Self::OciArchive { file, tag })
        } else if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (file, reference) = parts(rest);
            named(&file)?;
            let reference = reference.map(|text| text.parse()).transpose()?;
            Ok(Self::DockerArchive { file, reference })
        } else {
            let name = text.strip_prefix("docker://").unwrap_or(text);
            Ok(Self::Registry(name.parse()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_is_known_by_its_prefix() {
        let read = |text: &str| text.parse::<Source>().expect(text);
        let layout = |tag: Option<&str>| Source::OciLayout {
            directory: "/a".into(),
            tag: tag.map(str::to_owned),
        };
        assert_eq!(read("oci:/a"), layout(None));
        assert_eq!(read("oci:/a:v1"), layout(Some("v1")));
        assert!(matches!(
            read("docker-archive:x.tar:team/app:1"),
            Source::DockerArchive { reference: Some(_), .. }
        ));
        assert_eq!(read("docker://debian"), read("debian"));
        assert!("oci:".parse::<Source>().is_err());
    }
}
