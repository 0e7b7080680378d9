//! All images of a file, a pipe or a directory, whoever saved them.
//!
//! ```text
//! manifest.json in an archive      docker-archive     names: RepoTags
//! index.json                       an OCI layout      names: annotations of its entries
//! version, manifest.json           a `dir:` directory (containers-transports(5))
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::Archive;
use super::{DockerArchive, Error, ImageSource, Layout, PlainDirectory};
use crate::reference::Reference;

/// Where saved images are read from.
#[derive(Debug)]
pub enum Input {
    /// A directory.
    Directory(PathBuf),
    /// An open file or pipe, and what it is called.
    File(File, String),
}

/// One of the images.
pub struct Saved {
    /// How it was saved, as containers-transports(5) calls it.
    pub transport: &'static str,
    /// The image.
    pub source: Box<dyn ImageSource>,
    /// Its names.
    pub names: Vec<Reference>,
}

/// Reads what images there are. A pipe and a compressed file are written out to `scratch`, to a
/// file without a name; nothing of an archive is ever unpacked by its name.
pub fn saved(input: Input, scratch: &Path) -> Result<Vec<Saved>, Error> {
    let name = match &input {
        Input::Directory(directory) => directory.display().to_string(),
        Input::File(_, name) => name.clone(),
    };
    let found = find(input, scratch)?;
    if found.is_empty() {
        return Err(Error::Document { what: name, why: "it holds no image".to_owned() });
    }
    Ok(found)
}

fn find(input: Input, scratch: &Path) -> Result<Vec<Saved>, Error> {
    match input {
        Input::Directory(directory) if directory.join("index.json").exists() => {
            Ok(Layout::all_in(&directory)?.into_iter().map(|it| of_layout("oci", it)).collect())
        }
        Input::Directory(directory) => {
            let source = Box::new(PlainDirectory::open(&directory)?);
            Ok(vec![Saved { transport: "dir", source, names: Vec::new() }])
        }
        Input::File(file, name) => of_archive(&Arc::new(Archive::read(file, name, scratch)?)),
    }
}

fn of_archive(archive: &Arc<Archive>) -> Result<Vec<Saved>, Error> {
    // docker's own archives hold both; a manifest.json has the names in full.
    if archive.has("manifest.json") {
        let name = archive.name().to_owned();
        let entries = DockerArchive::entries(archive, &name)?;
        let image = |entry| {
            let image = DockerArchive::of(archive.clone(), name.clone(), entry)?;
            let names = image.tags();
            Ok(Saved { transport: "docker-archive", source: Box::new(image), names })
        };
        return entries.into_iter().map(image).collect();
    }
    if archive.has("index.json") {
        let layouts = Layout::all_of(archive)?.into_iter();
        return Ok(layouts.map(|it| of_layout("oci-archive", it)).collect());
    }
    let why = "it is no archive of images: it has neither a manifest.json nor an index.json; \
        a root file system becomes an image by coracle import";
    Err(Error::Document { what: archive.name().to_owned(), why: why.to_owned() })
}

fn of_layout(transport: &'static str, (layout, names): (Layout, Vec<String>)) -> Saved {
    // A bare tag, as skopeo writes it, names no repository.
    let whole = names.iter().filter(|name| name.contains([':', '/']));
    let names = whole.filter_map(|name| name.parse().ok()).collect();
    Saved { transport, source: Box::new(layout), names }
}
