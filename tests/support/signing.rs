//! Signatures made as cosign makes them, by openssl: an implementation that is not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Home;
use super::image::digest;
use super::registry::Registry;

pub const OPENSSL: &str = "/usr/bin/openssl";
pub const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A pair of keys in a home.
pub struct Signer {
    directory: PathBuf,
    name: String,
}

impl Signer {
    /// Makes a key of this kind: `P-256`, `P-384`, `P-521`, `ED25519`, or `RSA` and its bits.
    pub fn new(home: &Home, name: &str, kind: &str) -> Self {
        Self::in_directory(&home.path().join("keys"), name, kind)
    }

    pub fn in_directory(directory: &Path, name: &str, kind: &str) -> Self {
        fs::create_dir_all(directory).unwrap();
        let signer = Self { directory: directory.to_owned(), name: name.to_owned() };
        let option;
        let arguments: &[&str] = if let Some(bits) = kind.strip_prefix("RSA") {
            option = format!("rsa_keygen_bits:{bits}");
            &["-algorithm", "RSA", "-pkeyopt", &option]
        } else if kind == "ED25519" {
            &["-algorithm", kind]
        } else {
            option = format!("ec_paramgen_curve:{kind}");
            &["-algorithm", "EC", "-pkeyopt", &option]
        };
        let (private, public) = (signer.private(), signer.public());
        openssl(&[&["genpkey"], arguments, &["-out", &private]].concat());
        openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
        signer
    }

    pub fn public(&self) -> String {
        self.directory.join(format!("{}.pub", self.name)).display().to_string()
    }

    pub fn private(&self) -> String {
        self.directory.join(format!("{}.key", self.name)).display().to_string()
    }

    /// A signature in base64.
    pub fn sign(&self, message: &[u8]) -> String {
        let (input, output) = (self.directory.join("message"), self.directory.join("signature"));
        fs::write(&input, message).unwrap();
        let (input, out) = (input.display().to_string(), output.display().to_string());
        let private = self.private();
        let is_edwards = fs::read(self.public()).unwrap().len() < 120;
        if is_edwards {
            openssl(&[
                "pkeyutl", "-sign", "-rawin", "-inkey", &private, "-in", &input, "-out", &out,
            ]);
        } else {
            openssl(&["dgst", "-sha256", "-sign", &private, "-out", &out, &input]);
        }
        STANDARD.encode(fs::read(output).unwrap())
    }

    /// The signature of a payload, as a layer of a signature's manifest.
    pub fn signed(&self, payload: &[u8]) -> (Vec<u8>, Value) {
        let annotations = json!({"dev.cosignproject.cosign/signature": self.sign(payload)});
        (payload.to_vec(), annotations)
    }

    /// A bundle with a statement about a digest, as cosign 3 writes it.
    pub fn bundle(&self, digest: &str, predicate: &str) -> Vec<u8> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.trim_start_matches("sha256:")}}],
            "predicateType": predicate, "predicate": {},
        })
        .to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        self.wrapped(&json!({"dsseEnvelope": {
            "payload": STANDARD.encode(&statement), "payloadType": kind,
            "signatures": [{"sig": self.sign(signed.as_bytes())}],
        }}))
    }

    /// A bundle with the signature of bytes themselves.
    pub fn message_bundle(&self, message: &[u8]) -> Vec<u8> {
        self.wrapped(&json!({"messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": ""},
            "signature": self.sign(message),
        }}))
    }

    fn wrapped(&self, content: &Value) -> Vec<u8> {
        let mut bundle = json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": self.name}, "tlogEntries": []},
        });
        for (key, value) in content.as_object().unwrap() {
            bundle[key] = value.clone();
        }
        bundle.to_string().into_bytes()
    }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new(OPENSSL).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What cosign and skopeo sign.
pub fn payload(name: &str, digest: &str) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "a test", "timestamp": 1},
    })
    .to_string()
    .into_bytes()
}

/// A manifest whose layers are these, of one media type, with the annotations of each; its blobs are
/// put into the repository.
pub fn artifact(
    registry: &Registry,
    repository: &str,
    kind: &str,
    parts: &[(Vec<u8>, Value)],
) -> Value {
    let layers: Vec<Value> = parts
        .iter()
        .map(|(bytes, annotations)| {
            registry.put_blob(repository, &digest(bytes), bytes);
            json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len(),
                "annotations": annotations})
        })
        .collect();
    registry.put_blob(repository, &digest(b"{}"), b"{}");
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(b"{}"), "size": 2},
        "layers": layers,
    })
}

/// Puts a manifest under one of cosign's tags of a digest.
pub fn put_tagged(registry: &Registry, repository: &str, of: &str, suffix: &str, manifest: &Value) {
    let tag = format!("{}.{suffix}", of.replace(':', "-"));
    registry.put_manifest(repository, &tag, MANIFEST, manifest.to_string().as_bytes());
}

/// Makes these manifests, each with its kind, the referrers of a digest: by the tag that stands in
/// for the API, which neither this registry has nor Debian's.
pub fn put_referrers(registry: &Registry, repository: &str, of: &str, all: &[(&str, Value)]) {
    let entries: Vec<Value> = all
        .iter()
        .map(|(kind, manifest)| {
            let mut manifest = manifest.clone();
            manifest["artifactType"] = json!(kind);
            manifest["subject"] = json!({"mediaType": MANIFEST, "digest": of, "size": 1});
            let bytes = manifest.to_string();
            let name = digest(bytes.as_bytes());
            registry.put_manifest(repository, &name, MANIFEST, bytes.as_bytes());
            json!({"mediaType": MANIFEST, "digest": name, "size": bytes.len(), "artifactType": kind})
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    registry.put_manifest(repository, &of.replace(':', "-"), INDEX, index.as_bytes());
}

/// Signs a digest under the tag scheme.
pub fn sign_by_tag(registry: &Registry, repository: &str, of: &str, parts: &[(Vec<u8>, Value)]) {
    let manifest = artifact(registry, repository, SIMPLE, parts);
    put_tagged(registry, repository, of, "sig", &manifest);
}
