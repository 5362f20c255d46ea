//! Certificates, keys and whom to trust: from files in PEM to what rustls takes.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};

use crate::exit::Failure;
use crate::files::Files;
use crate::identity::{Client, Server};

/// What a server does with its certificate.
///
/// # Errors
/// What cannot be read, or is not what it has to be.
pub(crate) fn server(table: &Server, files: &mut Files) -> anyhow::Result<ServerConfig> {
    let (chain, key) = identity(&table.cert, &table.key, files)?;
    let made = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = made.map_err(|error| unfit(&table.cert, &table.key, &error))?;
    config.alpn_protocols = protocols(&table.alpn);
    Ok(config)
}

/// What a client trusts, and what it shows.
///
/// # Errors
/// What cannot be read, or is not what it has to be.
pub(crate) fn client(table: &Client, files: &mut Files) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder();
    let builder = if table.insecure {
        let provider = Arc::clone(builder.crypto_provider());
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody)
    } else {
        let roots = Arc::new(roots(table.ca.as_deref(), files)?);
        let verifier = WebPkiServerVerifier::builder(roots).build()?;
        builder.with_webpki_verifier(verifier)
    };
    let mut config = match (&table.cert, &table.key) {
        (Some(cert), Some(key)) => {
            let (chain, secret) = identity(cert, key, files)?;
            let made = builder.with_client_auth_cert(chain, secret);
            made.map_err(|error| unfit(cert, key, &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(Failure::usage(
                "the certificate and the key of a client go together",
            ));
        }
    };
    config.alpn_protocols = protocols(&table.alpn);
    Ok(config)
}

fn protocols(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.clone().into_bytes()).collect()
}

fn roots(ca: Option<&Path>, files: &mut Files) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        anyhow::ensure!(
            !roots.is_empty(),
            "this machine has no certificates to trust: install ca-certificates, or give some by --ca FILE \
             ([tls.client.NAME] ca = \"FILE\")"
        );
        return Ok(roots);
    };
    for certificate in chain(file, files)? {
        roots
            .add(certificate)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(cert: &Path, key: &Path, files: &mut Files) -> anyhow::Result<Identity> {
    let chain = chain(cert, files)?;
    let text = files.read(key).context("read the private key")?;
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let file = key.display();
        let locked = text.windows(21).any(|words| words == b"ENCRYPTED PRIVATE KEY");
        let message = match error {
            PemError::NoItemsFound if locked => {
                format!("{file}: the private key is encrypted (openssl pkey -in {file} -out KEY takes the password off)")
            }
            PemError::NoItemsFound => format!("{file}: there is no private key in it (-----BEGIN PRIVATE KEY-----)"),
            error => format!("{file}: {error}"),
        };
        Failure::usage(message)
    })?;
    Ok((chain, secret))
}

fn chain(file: &Path, files: &mut Files) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = files.read(file).context("read certificates")?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    if chain.is_empty() {
        return Err(Failure::usage(format!(
            "{}: there is no certificate in it (-----BEGIN CERTIFICATE-----)",
            file.display()
        )));
    }
    Ok(chain)
}

fn unfit(cert: &Path, key: &Path, error: &Error) -> anyhow::Error {
    let (cert, key) = (cert.display(), key.display());
    Failure::usage(match error {
        Error::InconsistentKeys(_) => format!(
            "{key} is not the key of the certificate {cert} (openssl x509 -noout -pubkey -in {cert} and openssl pkey \
             -pubout -in {key} have to print the same)"
        ),
        error => format!("{cert} and {key}: {error}"),
    })
}

/// Takes every certificate: whoever is on the way can be the server. Signatures are looked at, as a server without the
/// key of what it shows is a fault and not a certificate of one's own making.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
