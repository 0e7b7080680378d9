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
    /// `dir:DIRECTORY`
    PlainDirectory {
        /// The directory.
        directory: PathBuf,
    },
}

/// Transports of podman's that are no names of registries, and not built.
const ABSENT: &[&str] =
    &["containers-storage", "docker-daemon", "ostree", "sif", "atomic", "tarball"];

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
        } else if let Some(rest) = text.strip_prefix("dir:") {
            let directory = PathBuf::from(rest);
            named(&directory)?;
            Ok(Self::PlainDirectory { directory })
        } else if text.split_once(':').is_some_and(|(word, _)| ABSENT.contains(&word)) {
            let why = "want docker://, oci:, oci-archive:, docker-archive: or dir:";
            Err(Error::Invalid { text: text.to_owned(), why })
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
        assert_eq!(read("dir:/a:b"), Source::PlainDirectory { directory: "/a:b".into() });
        for bad in ["oci:", "dir:", "containers-storage:debian", "docker-daemon:debian:12"] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }
}
