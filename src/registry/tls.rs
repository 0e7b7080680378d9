//! Whom a client trusts: the host's certificates, those of the registry's own directory, and roots
//! carried along for a host that has none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{Error, Options};

/// The TLS configuration for a registry.
pub(super) fn configure(
    options: &Options,
    registry: &str,
    insecure: bool,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls { registry: registry.to_owned(), why: error.to_string() })?;
    let own = Own::read(options, registry)?;
    let builder = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        builder.with_root_certificates(roots(options, own.authorities))
    };
    let mut config = match own.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            Error::Tls { registry: registry.to_owned(), why: error.to_string() }
        })?,
    };
    // Who hands reqwest a configuration of its own offers HTTP/2 itself.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(options: &Options, own: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(own);
    trust(options, &mut roots);
    roots
}

/// Who vouches for registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// So many certificates that the caller named (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
    Named(usize),
    /// So many of the host's.
    Host(usize),
    /// So many that this program carries, for a host that has none.
    Carried(usize),
}

/// Whose certificates a client with these options believes.
pub fn authorities(options: &Options) -> Authorities {
    trust(options, &mut RootCertStore::empty())
}

fn trust(options: &Options, roots: &mut RootCertStore) -> Authorities {
    let named = options.certificate_file.is_some() || !options.certificate_paths.is_empty();
    let found = if named {
        let mut found = Vec::new();
        if let Some(file) = &options.certificate_file {
            found.extend(certificates(file));
        }
        for directory in &options.certificate_paths {
            found.extend(files(directory).iter().flat_map(|file| certificates(file)));
        }
        found
    } else {
        // It reads the places where distributions keep them; SSL_CERT_* were taken care of above.
        rustls_native_certs::load_native_certs().certs
    };
    let (added, _) = roots.add_parsable_certificates(found);
    match added {
        added if named => Authorities::Named(added),
        0 => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Authorities::Carried(webpki_roots::TLS_SERVER_ROOTS.len())
        }
        added => Authorities::Host(added),
    }
}

/// What `certs.d/HOST[:PORT]/` holds: `*.crt` are authorities, `*.cert` with `*.key` a client's own
/// (docker's and containers-certs.d(5)'s rule).
#[derive(Default)]
struct Own {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Own {
    fn read(options: &Options, registry: &str) -> Result<Self, Error> {
        let mut own = Self::default();
        let directories = match &options.certificate_directory {
            Some(directory) => vec![directory.clone()],
            None => options.certificate_directories.iter().map(|all| all.join(registry)).collect(),
        };
        for directory in &directories {
            for file in files(directory) {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => own.authorities.extend(certificates(&file)),
                    Some("cert") if own.client.is_none() => {
                        let key = file.with_extension("key");
                        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
                            let why = format!("{}: {error}", key.display());
                            Error::Tls { registry: registry.to_owned(), why }
                        })?;
                        own.client = Some((certificates(&file), key));
                    }
                    _ => {}
                }
            }
        }
        Ok(own)
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort_unstable();
    files
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).into_iter().flatten().flatten().collect()
}

/// An insecure registry: any certificate will do, the handshake is still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_2_is_offered() {
        for insecure in [false, true] {
            let config = configure(&Options::default(), "r.example", insecure).expect("it");
            assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }
}
