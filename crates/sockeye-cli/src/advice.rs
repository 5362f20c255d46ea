//! What helps against an error of TLS: one place for all commands that connect.
//!
//! What went wrong [`TlsError`] says; here are the options that change it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use sockeye::tls::TlsError;

/// What a command has against errors of TLS, besides `--ca FILE`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The option that says the name of the peer.
    pub(crate) name: &'static str,
    /// Words about the option that trusts everybody, where there is one.
    pub(crate) insecure: Option<&'static str>,
    /// How to talk without TLS.
    pub(crate) plain: &'static str,
}

/// What to do about it, of a command with these options; `None` of what is no error of TLS, or has no remedy here.
pub(crate) fn of_tls(error: &io::Error, options: Options) -> Option<String> {
    match TlsError::of(error)? {
        TlsError::Protocol(Error::InvalidCertificate(error)) => of_certificate(error, options),
        TlsError::Protocol(Error::InvalidMessage(_)) => {
            Some(format!("does the peer speak TLS? {}", options.plain))
        }
        TlsError::Protocol(Error::AlertReceived(alert)) => of_alert(*alert, options),
        TlsError::Protocol(Error::NoApplicationProtocol) => Some("--alpn NAME says others".to_owned()),
        _ => None,
    }
}

fn of_certificate(error: &CertificateError, options: Options) -> Option<String> {
    let with_insecure = |advice: &str| match options.insecure {
        Some(insecure) => format!("{advice}; {insecure}"),
        None => advice.to_owned(),
    };
    Some(match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            with_insecure("--ca FILE names the certificates to trust")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("{} says which name the certificate has to have", options.name)
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            with_insecure("does the clock of this machine go right?")
        }
        // What `openssl req -x509` makes unless told otherwise.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            with_insecure("openssl req -x509 needs -addext basicConstraints=critical,CA:FALSE")
        }
        _ => options.insecure?.to_owned(),
    })
}

fn of_alert(alert: AlertDescription, options: Options) -> Option<String> {
    Some(match alert {
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate => {
            "the peer wants a certificate: --cert FILE --key FILE".to_owned()
        }
        AlertDescription::UnrecognisedName => format!("the peer has no such name: {}", options.name),
        AlertDescription::UnknownCA => {
            "the peer does not trust the certificate: it needs the issuer's, by --ca FILE".to_owned()
        }
        AlertDescription::NoApplicationProtocol => {
            "the peer speaks none of the protocols of --alpn".to_owned()
        }
        _ => return None,
    })
}
