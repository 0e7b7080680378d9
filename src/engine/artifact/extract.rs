//! An artifact's files to files of the user's.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::oci::Hashed;
use crate::store::{self, Store};

use super::document::{Blob, file_name};
use super::{Error, Which, pour};

/// The files that are asked for.
pub(super) fn choose<'a>(
    name: &str,
    files: &'a [Blob],
    which: Option<&Which>,
) -> Result<Vec<&'a Blob>, Error> {
    let Some(which) = which else { return Ok(files.iter().collect()) };
    let is_it = |file: &&Blob| match which {
        Which::Title(title) => file.title.as_ref() == Some(title),
        Which::Digest(digest) => {
            let known = file.descriptor.digest.to_string();
            let bare = digest.strip_prefix("sha256:").unwrap_or(digest);
            known == *digest || (!bare.is_empty() && file.descriptor.digest.hex().starts_with(bare))
        }
    };
    let found: Vec<&Blob> = files.iter().filter(is_it).collect();
    // One digest in two files is one blob.
    match found.first() {
        Some(first) => Ok(vec![first]),
        None => Err(Error::NoSuchFile {
            name: name.to_owned(),
            wanted: match which {
                Which::Title(text) | Which::Digest(text) => text.clone(),
            },
            known: files.iter().map(|file| format!("{:?}", named(file))).collect(),
        }),
    }
}

fn named(file: &Blob) -> String {
    file.title.clone().unwrap_or_else(|| file.descriptor.digest.to_string())
}

/// Writes the files out: into a directory under their own names, or one to the place itself.
pub(super) fn extract(store: &Store, name: &str, files: &[&Blob], to: &Path) -> Result<(), Error> {
    if !to.is_dir() {
        return match files {
            [file] => write_named(store, file, to),
            _ => Err(Error::Several {
                name: name.to_owned(),
                path: to.display().to_string(),
                count: files.len(),
            }),
        };
    }
    // All names first: nothing is written if one of them is wrong.
    let mut names: Vec<String> = Vec::new();
    for file in files {
        let title = named(file);
        let own = file_name(file).map_err(|why| Error::Title {
            name: name.to_owned(),
            title: title.clone(),
            why,
        })?;
        if names.contains(&own) {
            return Err(Error::Twice { name: name.to_owned(), title });
        }
        names.push(own);
    }
    names.iter().zip(files).try_for_each(|(own, file)| write(store, file, &to.join(own)))
}

/// To the place that the user names: a link there is followed, and a pipe or a device is written to as
/// it is.
fn write_named(store: &Store, file: &Blob, to: &Path) -> Result<(), Error> {
    if to.metadata().is_ok_and(|it| !it.is_file()) {
        let failed = |source| Error::Io { action: "write", what: to.display().to_string(), source };
        let mut output = File::options().write(true).open(to).map_err(failed)?;
        return copy(store, file, &mut output, to);
    }
    write(store, file, &fs::canonicalize(to).unwrap_or_else(|_| to.to_owned()))
}

/// A file appears when it is whole, in place of what had its name: a link there is not followed.
fn write(store: &Store, file: &Blob, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "write", what: to.display().to_string(), source };
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut draft = tempfile::Builder::new()
        .prefix(".coracle-extract-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)) // less the umask
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    copy(store, file, draft.as_file_mut(), to)?;
    draft.persist(to).map_err(|error| failed(error.error))?;
    Ok(())
}

fn copy(store: &Store, file: &Blob, output: &mut File, to: &Path) -> Result<(), Error> {
    let path = store.blob_path(&file.descriptor.digest);
    let io = |action, what: &Path| {
        let what = what.display().to_string();
        move |source: io::Error| Error::Io { action, what, source }
    };
    let input = File::open(&path).map_err(io("open", &path))?;
    let mut input = Hashed::by(file.descriptor.digest.algorithm(), input);
    pour(&mut input, output, io("read", &path), io("write", to))?;
    if input.finish().1 == file.descriptor.digest {
        return Ok(());
    }
    let why = "its content does not match its name".to_owned();
    Err(store::Error::Damaged { path, why }.into())
}
