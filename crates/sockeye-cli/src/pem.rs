//! Certificates and private keys from files in PEM.

use std::path::Path;

use anyhow::Context as _;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};

use crate::exit::Failure;
use crate::files::Files;

/// A server that shows this chain and asks its clients for none.
///
/// # Errors
/// As [`identity`]; a key of another certificate.
pub(crate) fn server(cert: &Path, key: &Path, files: &mut Files) -> anyhow::Result<ServerConfig> {
    let (chain, secret) = identity(cert, key, files)?;
    let made = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret);
    made.map_err(|error| unfit(cert, key, &error))
}

/// A chain of certificates, and the key of the first.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads a chain and its key.
///
/// # Errors
/// What cannot be read, or is not what it has to be.
pub(crate) fn identity(cert: &Path, key: &Path, files: &mut Files) -> anyhow::Result<Identity> {
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

/// Reads the certificates of a file, at least one.
///
/// # Errors
/// As [`identity`].
pub(crate) fn chain(file: &Path, files: &mut Files) -> anyhow::Result<Vec<CertificateDer<'static>>> {
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

/// Why a chain and a key do not go together, with the commands that show it.
pub(crate) fn unfit(cert: &Path, key: &Path, error: &Error) -> anyhow::Error {
    let (cert, key) = (cert.display(), key.display());
    Failure::usage(match error {
        Error::InconsistentKeys(_) => format!(
            "{key} is not the key of the certificate {cert} (openssl x509 -noout -pubkey -in {cert} and openssl pkey \
             -pubout -in {key} have to print the same)"
        ),
        error => format!("{cert} and {key}: {error}"),
    })
}
