//! A public key: PEM to what `ring` verifies with.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::Error;
use super::der::{BIT_STRING, Der, INTEGER, OBJECT_ID, SEQUENCE};
use crate::oci::Digest;

// Object identifiers, encoded: RFC 5480, RFC 8410, RFC 8017.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const EDWARDS: &[u8] = &[0x2b, 0x65, 0x70];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// A point that is not compressed begins so (SEC 1).
const UNCOMPRESSED: u8 = 0x04;

/// Bytes of a file that are read: a key has a few hundred.
const LONGEST: u64 = 64 << 10;

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    kind: Kind,
    /// As `ring` takes it: a point, 32 bytes, or an RSAPublicKey.
    bytes: Vec<u8>,
    /// Where it is from, for messages.
    name: String,
    fingerprint: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa { bits: usize },
}

impl Key {
    /// Reads a PEM file's `PUBLIC KEY` (a SubjectPublicKeyInfo, RFC 5280): what `cosign
    /// generate-key-pair` writes to cosign.pub and `openssl pkey -pubout` prints. `name` says where
    /// it is from.
    pub fn parse(name: &str, pem: &[u8]) -> Result<Self, Error> {
        let refuse = |why: &str| Error::Key { name: name.to_owned(), why: why.to_owned() };
        // cosign has a kind of its own for them.
        let is_private = pem.windows(12).any(|text| text == b"PRIVATE KEY-");
        if is_private {
            return Err(refuse("it is a private key; the public one belongs here"));
        }
        let first = <(SectionKind, Vec<u8>)>::from_pem_slice(pem);
        let (section, der) = first.map_err(|_| refuse("it has no PEM section PUBLIC KEY"))?;
        match section {
            SectionKind::PublicKey => {}
            SectionKind::Certificate => {
                return Err(refuse("it is a certificate, and certificates are not verified here"));
            }
            _ => return Err(refuse("it has no PEM section PUBLIC KEY")),
        }
        let (kind, bytes) = read(&der).map_err(refuse)?;
        Ok(Self { kind, bytes, name: name.to_owned(), fingerprint: Digest::of(&der) })
    }

    /// The key in a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut pem = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut pem));
        read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &pem)
    }

    /// Whether this key made the signature of the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithms: &[&'static dyn VerificationAlgorithm] = match self.kind {
            Kind::P256 => &[&ECDSA_P256_SHA256_ASN1],
            // cosign takes SHA-256 for every key, and SHA-384 here from its version 3 on.
            Kind::P384 => &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1],
            Kind::Ed25519 => &[&ED25519],
            Kind::Rsa { .. } => &[&RSA_PKCS1_2048_8192_SHA256],
        };
        algorithms.iter().any(|algorithm| {
            UnparsedPublicKey::new(*algorithm, &self.bytes).verify(message, signature).is_ok()
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = self.fingerprint.short();
        match self.kind {
            Kind::P256 => write!(f, "{} (ECDSA P-256, {short})", self.name),
            Kind::P384 => write!(f, "{} (ECDSA P-384, {short})", self.name),
            Kind::Ed25519 => write!(f, "{} (Ed25519, {short})", self.name),
            Kind::Rsa { bits } => write!(f, "{} (RSA {bits}, {short})", self.name),
        }
    }
}

fn read(der: &[u8]) -> Result<(Kind, Vec<u8>), &'static str> {
    let broken = "its PUBLIC KEY is no SubjectPublicKeyInfo";
    let mut info = Der(Der(der).only(SEQUENCE).ok_or(broken)?);
    let mut algorithm = Der(info.element(SEQUENCE).ok_or(broken)?);
    let bits = info.only(BIT_STRING).ok_or(broken)?;
    // All keys are whole bytes: no bit of the last one is unused.
    let [0, bytes @ ..] = bits else { return Err(broken) };
    let kind = match algorithm.element(OBJECT_ID).ok_or(broken)? {
        EC => match algorithm.element(OBJECT_ID).ok_or(broken)? {
            P256 => Kind::P256,
            P384 => Kind::P384,
            _ => return Err("its curve is not verified here; P-256, P-384 and Ed25519 are"),
        },
        EDWARDS => Kind::Ed25519,
        RSA => Kind::Rsa { bits: modulus_bits(bytes).ok_or(broken)? },
        _ => return Err("it is of a kind that is not verified here; ECDSA, Ed25519 and RSA are"),
    };
    let fits = match kind {
        Kind::P256 => bytes.len() == 65 && bytes[0] == UNCOMPRESSED,
        Kind::P384 => bytes.len() == 97 && bytes[0] == UNCOMPRESSED,
        Kind::Ed25519 => bytes.len() == 32,
        Kind::Rsa { bits: 2048..=8192 } => true,
        Kind::Rsa { .. } => return Err("an RSA key must have 2048 to 8192 bits"),
    };
    if fits { Ok((kind, bytes.to_owned())) } else { Err("its point is compressed, or no point") }
}

fn modulus_bits(key: &[u8]) -> Option<usize> {
    let modulus = Der(Der(key).only(SEQUENCE)?).element(INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0))
}
