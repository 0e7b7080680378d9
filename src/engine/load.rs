//! Images from files and directories: saved ones, and plain root file systems.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::pull::{self, Policy, Progress, Request, inflated};
use super::{Engine, made};
use crate::oci::{Change, Digest, Hashed, Platform, media_type};
use crate::owners::Owners;
use crate::reference::Reference;
use crate::registry::{
    self, BlobStream, Compression, Descriptor, ImageSource, Input, LayerDescriptor, Resolved,
};
use crate::store::full_name;
use crate::trust::{Origin, Trust};

/// How images are taken in.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Whose the files are to be.
    pub owners: Owners,
    /// Layers at once.
    pub jobs: usize,
    /// The bytes that an image's layers may unpack to; see [`Request::most_unpacked`].
    pub most_unpacked: Option<u64>,
    /// The platform that is chosen from an index; for `import`, what the image is for.
    pub platform: Option<Platform>,
    /// What an image must show.
    pub trust: Trust,
    /// The file or directory; none for a pipe.
    pub from: Option<PathBuf>,
}

/// An image that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its ID.
    pub id: Digest,
    /// The names it was given.
    pub names: Vec<Reference>,
}

/// A root file system that becomes an image.
#[derive(Debug)]
pub struct Import {
    /// The tar archive, compressed or not; a pipe or a file.
    pub file: File,
    /// What it is called in messages and in the image's history.
    pub name: String,
    /// The image's name.
    pub reference: Option<Reference>,
    /// Changes to its configuration, in their order.
    pub changes: Vec<Change>,
    /// A remark in its history.
    pub message: Option<String>,
}

impl Engine {
    /// Brings all images of an archive or directory into the store, and tells of each.
    pub fn load<E: From<super::Error>>(
        &self,
        input: Input,
        intake: &Intake,
        progress: &dyn Progress,
        mut tell: impl FnMut(Loaded) -> Result<(), E>,
    ) -> Result<(), E> {
        let scratch = self.store().scratch().map_err(super::Error::from)?;
        let name = match &input {
            Input::Directory(path) => path.display().to_string(),
            Input::File(_, name) => name.clone(),
        };
        let saved = registry::saved(input, scratch.path())
            .map_err(|error| super::Error::Pull(error.into()))?;
        for image in saved {
            let names = &image.names;
            let first = names.first();
            intake.allow(image.transport)?;
            let request = intake.request(&*image.source, &name, first);
            let pulled = self.pull(&request, progress)?;
            for name in names.iter().skip(1) {
                self.tag(&pulled.id.to_string(), name)?;
            }
            tell(Loaded { id: pulled.id, names: image.names })?;
        }
        Ok(())
    }

    /// Makes an image of one layer.
    pub fn import(
        &self,
        import: Import,
        intake: &Intake,
        progress: &dyn Progress,
    ) -> Result<Digest, super::Error> {
        intake.allow("tarball")?;
        let scratch = self.store().scratch()?;
        let (name, reference) = (import.name.clone(), import.reference.clone());
        let read = |source| registry::Error::Io { what: name.clone(), source };
        let source = Tarball::of(import, intake.platform.clone(), scratch.path())
            .map_err(|source| pull::Error::from(read(source)))?;
        let request = intake.request(&source, &name, reference.as_ref());
        Ok(self.pull(&request, progress)?.id)
    }
}

impl Intake {
    /// Whether images may come in this way at all: what comes as a file shows no signature.
    fn allow(&self, transport: &'static str) -> Result<(), super::Error> {
        let origin = Origin::File { transport, path: self.from.as_deref() };
        let allowed = self.trust.demands(origin).map_err(registry::Error::from);
        Ok(allowed.map(drop).map_err(pull::Error::from)?)
    }

    fn request<'a>(
        &self,
        source: &'a dyn ImageSource,
        image: &str,
        name: Option<&Reference>,
    ) -> Request<'a> {
        Request {
            source,
            image: image.to_owned(),
            name: name.map(full_name),
            repository: None,
            platform: self.platform.clone(),
            policy: Policy::Always,
            owners: self.owners,
            jobs: self.jobs,
            most_unpacked: self.most_unpacked,
        }
    }
}

/// A tar archive as a source of one image.
struct Tarball {
    file: File,
    config: Vec<u8>,
    resolved: Resolved,
}

impl Tarball {
    fn of(import: Import, platform: Option<Platform>, scratch: &Path) -> io::Result<Self> {
        let Import { mut file, name, changes, message, .. } = import;
        if !file.metadata()?.is_file() {
            // Its digest must be known before it is unpacked.
            let mut whole = tempfile::tempfile_in(scratch)?;
            io::copy(&mut file, &mut whole)?;
            file = whole;
        }
        file.seek(SeekFrom::Start(0))?;
        let (layer, diff_id) = describe(&file)?;
        let Platform { os, architecture, variant } = platform.unwrap_or_else(Platform::host);
        let created = jiff::Timestamp::now().to_string();
        let comment = message.unwrap_or_else(|| format!("Imported from {name}"));
        let mut config = json!({
            "created": created,
            "os": os,
            "architecture": architecture,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "comment": comment}],
        });
        if let Some(variant) = variant {
            config["variant"] = variant.into();
        }
        if let Some(config) = config["config"].as_object_mut() {
            crate::oci::change(config, &changes);
        }
        let config = config.to_string().into_bytes();
        let resolved = made::resolved(&config, vec![layer]);
        Ok(Self { file, config, resolved })
    }
}

/// The archive as a layer, kept in the compression it comes in, and its `DiffId`.
fn describe(file: &File) -> io::Result<(LayerDescriptor, Digest)> {
    let mut shipped = Hashed::new(file);
    let mut reader = BufReader::with_capacity(128 << 10, &mut shipped);
    let compression = Compression::of(reader.fill_buf()?);
    let diff_id = {
        let mut unpacked = Hashed::new(inflated(compression, &mut reader)?);
        io::copy(&mut unpacked, &mut io::sink())?;
        unpacked.finish().1
    };
    // What stands behind the compressed stream belongs to the blob too.
    io::copy(&mut reader, &mut io::sink())?;
    let suffix = match compression {
        Compression::None => "",
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    let (_, digest, size) = shipped.finish();
    let media_type = format!("{}{suffix}", media_type::OCI_LAYER);
    let descriptor = Descriptor { media_type, digest, size };
    Ok((LayerDescriptor { descriptor, compression, contents: None }, diff_id))
}

impl ImageSource for Tarball {
    fn manifest(&self, _platform: &Platform) -> Result<Resolved, registry::Error> {
        Ok(self.resolved.clone())
    }

    fn config(&self, _descriptor: &Descriptor) -> Result<Vec<u8>, registry::Error> {
        Ok(self.config.clone())
    }

    fn blob(&self, _descriptor: &Descriptor, from: u64) -> Result<BlobStream, registry::Error> {
        let io = |source| registry::Error::Io { what: "the archive".to_owned(), source };
        // One layer: nobody else moves the position.
        let mut file = self.file.try_clone().map_err(io)?;
        file.seek(SeekFrom::Start(from)).map_err(io)?;
        Ok(BlobStream::new(from, file))
    }
}
