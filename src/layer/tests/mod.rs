//! Archives, kind and hostile, and what comes of them.

mod compare;
mod hostile;
mod rules;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::oci::{Algorithm, Digest};
use crate::owners::Owners;

use super::{Applied, Error, Limits, Tree, apply};

/// A tar archive, written field by field: odd ones too.
#[derive(Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    pub(super) fn header(&mut self, name: &[u8], kind: u8, size: u64, link: &[u8]) -> &mut Self {
        self.header_with(name, kind, size, link, |_| {})
    }

    pub(super) fn header_with(
        &mut self,
        name: &[u8],
        kind: u8,
        size: u64,
        link: &[u8],
        change: impl FnOnce(&mut [u8]),
    ) -> &mut Self {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name);
        let mode: &[u8] = if kind == b'5' { b"0000755\0" } else { b"0000644\0" };
        block[100..108].copy_from_slice(mode);
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000001750\0");
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    pub(super) fn body(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.header(name.as_bytes(), b'0', bytes.len() as u64, b"").body(bytes)
    }

    pub(super) fn directory(&mut self, name: &str) -> &mut Self {
        self.header(name.as_bytes(), b'5', 0, b"")
    }

    pub(super) fn symlink(&mut self, name: &str, text: &str) -> &mut Self {
        self.header(name.as_bytes(), b'2', 0, text.as_bytes())
    }

    pub(super) fn link(&mut self, name: &str, target: &str) -> &mut Self {
        self.header(name.as_bytes(), b'1', 0, target.as_bytes())
    }

    pub(super) fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length += 1;
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.header(b"pax", b'x', body.len() as u64, b"").body(&body)
    }

    pub(super) fn end(&mut self) -> &mut Self {
        self.0.extend_from_slice(&[0; 1024]);
        self
    }
}

/// Layers being unpacked in a directory of their own.
pub(super) struct Bench {
    pub(super) home: tempfile::TempDir,
    pub(super) owners: Owners,
    pub(super) layers: Vec<PathBuf>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { home, owners: Owners::Recorded, layers: Vec::new() }
    }

    /// Unpacks one more layer on top and settles it.
    pub(super) fn add(&mut self, tar: &[u8]) -> Result<Applied, Error> {
        self.add_within(tar, &Limits::of(tar.len() as u64))
    }

    pub(super) fn add_within(&mut self, tar: &[u8], limits: &Limits) -> Result<Applied, Error> {
        let place = self.home.path().join(format!("layer{}", self.layers.len()));
        fs::create_dir(&place).expect("a directory");
        let mut tree = Tree::create(&place, self.owners, limits)?;
        let applied = apply(tar, &mut tree, Algorithm::Sha256, limits)?;
        assert_eq!(applied.diff_id.0, Digest::of(tar));
        tree.settle(&self.layers)?;
        self.layers.push(place.join("fs"));
        Ok(applied)
    }

    /// A path in the topmost layer.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.layers.last().expect("a layer").join(path)
    }
}

pub(super) fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

pub(super) fn link_text(path: &Path) -> Vec<u8> {
    fs::read_link(path).expect("a link").as_os_str().as_bytes().to_vec()
}
