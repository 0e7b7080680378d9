//! Images made in memory, right or wrong in any field. Archives are written header by header,
//! since no library writes what an attacker would.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive; each entry is written as told, sensible or not.
#[derive(Default, Clone)]
pub struct Tar(Vec<u8>);

/// The fields of one header. `size` is what it claims; `data` is what follows.
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub kind: u8,
    pub mode: u32,
    pub uid: &'a [u8],
    pub gid: &'a [u8],
    pub size: Option<&'a [u8]>,
    pub link: &'a [u8],
    pub device: (u32, u32),
    pub data: &'a [u8],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            name: b"",
            kind: b'0',
            mode: 0o644,
            uid: b"0000000\0",
            gid: b"0000000\0",
            size: None,
            link: b"",
            device: (0, 0),
            data: b"",
        }
    }
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn entry(mut self, entry: &Entry<'_>) -> Self {
        let mut header = [0u8; 512];
        let mut put = |at: usize, room: usize, bytes: &[u8]| {
            let bytes = &bytes[..bytes.len().min(room)];
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, 100, entry.name);
        put(100, 8, format!("{:07o}\0", entry.mode).as_bytes());
        put(108, 8, entry.uid);
        put(116, 8, entry.gid);
        let told = format!("{:011o}\0", entry.data.len());
        put(124, 12, entry.size.unwrap_or(told.as_bytes()));
        put(136, 12, b"15112345000\0");
        put(148, 8, b"        ");
        put(156, 1, &[entry.kind]);
        put(157, 100, entry.link);
        put(257, 8, b"ustar\x0000");
        put(329, 8, format!("{:07o}\0", entry.device.0).as_bytes());
        put(337, 8, format!("{:07o}\0", entry.device.1).as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.raw(entry.data)
    }

    /// Bytes, padded to the next block.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.entry(&Entry { name: name.as_bytes(), data: data.as_bytes(), ..Entry::default() })
    }

    pub fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(&Entry { name: name.as_bytes(), kind: b'5', mode, ..Entry::default() })
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        let (name, link) = (name.as_bytes(), target.as_bytes());
        self.entry(&Entry { name, kind: b'2', mode: 0o777, link, ..Entry::default() })
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(&Entry {
            name: name.as_bytes(),
            kind: b'1',
            link: target.as_bytes(),
            ..Entry::default()
        })
    }

    /// PAX records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(&Entry { name: b"PaxHeaders/x", kind: b'x', data: &data, ..Entry::default() })
    }

    /// Without an end mark: more is to follow.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// An image as a registry serves it.
#[derive(Clone)]
pub struct Image {
    pub manifest: Value,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

impl Image {
    /// A right image of these archives, gzipped.
    pub fn of(archives: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<String> = archives.iter().map(|archive| digest(archive)).collect();
        let config = json!({
            "created": "2026-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self::with_config(
            config.to_string().into_bytes(),
            archives.iter().map(|tar| gzip(tar)).collect(),
        )
    }

    pub fn with_config(config: Vec<u8>, layers: Vec<Vec<u8>>) -> Self {
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| {
                json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": digest(layer), "size": layer.len(),
                })
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config), "size": config.len(),
            },
            "layers": described,
        });
        Self { manifest, config, layers }
    }

    /// Change a field of the manifest.
    pub fn lie(mut self, pointer: &str, value: Value) -> Self {
        *self.manifest.pointer_mut(pointer).unwrap() = value;
        self
    }
}
