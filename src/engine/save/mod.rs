//! Images to archives and directories, as `load`, docker, podman and skopeo read them.
//!
//! ```text
//! store ─ which images, under which names ─ content: manifest, configuration, blobs
//!   docker   HEX.tar of each layer, inflated ─ HEX.json ─ manifest.json      ┐
//!   oci      blobs/sha256/HEX as shipped ─ index.json ─ oci-layout            ├─ Sink
//!   docker directory   HEX of each blob ─ manifest.json ─ version             ┘
//! ```
//!
//! The same images give the same bytes: no time and no owner is written. Every blob is hashed on
//! its way: what is damaged in the store does not get out of it.

mod content;
mod docker;
mod error;
mod oci;
mod shape;
mod sink;

use std::path::Path;

use crate::oci::Digest;
use crate::reference::Reference;
use crate::store::{Image, Store, full_name};

pub(super) use content::Content;
pub use error::Error;
pub(super) use oci::{write_document, write_index, write_kept};
pub(super) use shape::reshaped;
pub use shape::{Packing, Repack, Shape, Words};
pub use sink::{Directory, Sink, Tar};

/// How images are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `docker-archive`: what `docker save` writes.
    #[default]
    DockerArchive,
    /// `oci-archive`: an OCI layout in a tar archive.
    OciArchive,
    /// `oci-dir`: an OCI layout in a directory.
    OciDirectory,
    /// `docker-dir`: one image in a `dir:` directory.
    DockerDirectory,
}

impl Form {
    /// Whether it is a directory and no file.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::OciDirectory | Self::DockerDirectory)
    }
}

/// An image to save and the names it is saved under, in full form.
#[derive(Debug)]
struct Chosen {
    image: Image,
    names: Vec<String>,
}

/// Writes images out. Nothing of the store is collected meanwhile.
pub fn save(
    store: &Store,
    queries: &[String],
    form: Form,
    sink: &mut dyn Sink,
) -> Result<(), Error> {
    let _hold = store.hold()?;
    let chosen = choose(store, queries)?;
    match (form, &chosen[..]) {
        (Form::DockerArchive, _) => docker::write_archive_of(store, &chosen, sink)?,
        (Form::OciArchive | Form::OciDirectory, _) => {
            let with_content = |chosen: Chosen| {
                let content = Content::of(store, &chosen.image)?;
                Ok((chosen, content))
            };
            let images: Result<Vec<(Chosen, Content)>, Error> =
                chosen.into_iter().map(with_content).collect();
            oci::write(store, &images?, Vec::new(), sink)?;
        }
        (Form::DockerDirectory, [one]) => {
            let shape = Shape { words: Some(Words::Docker), ..Shape::default() };
            let scratch = store.scratch()?;
            let content = shaped(store, &one.image, &shape, scratch.path())?;
            docker::write_directory(store, &one.image, &content, sink)?;
        }
        (Form::DockerDirectory, _) => return Err(Error::OneOnly { asked: chosen.len() }),
    }
    sink.finish()
}

/// An image that is written to files, as a push does it.
#[derive(Debug)]
pub struct Copy<'a> {
    /// The image.
    pub image: &'a Image,
    /// The name that it has there: a tag or a whole name.
    pub name: Option<String>,
    /// What is to be another than it was.
    pub shape: Shape,
    /// How it is laid out.
    pub form: Form,
    /// The entries of the layout that is there.
    pub known: Vec<serde_json::Value>,
}

/// Writes one image out; the digest of its manifest there, where there is one.
pub fn copy(store: &Store, copy: Copy, sink: &mut dyn Sink) -> Result<Option<Digest>, Error> {
    let Copy { image, name, shape, form, known } = copy;
    let _hold = store.hold()?;
    let chosen = Chosen { image: image.clone(), names: name.into_iter().collect() };
    let scratch = store.scratch()?;
    let mut digest = None;
    if form == Form::DockerArchive {
        docker::write_archive_of(store, &[chosen], sink)?;
    } else {
        let content = shaped(store, image, &shape, scratch.path())?;
        digest = Some(Digest::of(&content.manifest));
        match form {
            Form::DockerDirectory => docker::write_directory(store, image, &content, sink)?,
            _ => oci::write(store, &[(chosen, content)], known, sink)?,
        }
    }
    sink.finish()?;
    Ok(digest)
}

fn shaped(store: &Store, image: &Image, shape: &Shape, scratch: &Path) -> Result<Content, Error> {
    let content = Content::of(store, image)?;
    Ok(reshaped(store, image, &content, shape, scratch)?.unwrap_or(content))
}

/// The images, each once: two names of one image are two names of one entry. One that is asked
/// for by its ID has no name in the archive, as docker has it.
fn choose(store: &Store, queries: &[String]) -> Result<Vec<Chosen>, Error> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for query in queries {
        let image = store.resolve(query)?;
        let name = query.parse::<Reference>().ok().map(|reference| full_name(&reference));
        let is_tag = |name: &String| store.named(name).is_ok_and(|it| it.is_some());
        let name = name.filter(|name| !name.contains('@') && is_tag(name));
        match chosen.iter_mut().find(|known| known.image.id == image.id) {
            Some(known) => {
                known.names.extend(name);
                known.names.dedup();
            }
            None => chosen.push(Chosen { image, names: name.into_iter().collect() }),
        }
    }
    Ok(chosen)
}

/// Where a blob lies in an OCI layout.
fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
