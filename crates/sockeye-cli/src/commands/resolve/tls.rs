//! Questions over TLS.

use anyhow::Context as _;
use sockeye::event_loop::EventLoop;

use super::Arguments;

/// Lets the loop ask its servers over TLS.
///
/// # Errors
/// When there are no certificates to trust.
#[cfg(feature = "tls")]
pub(super) fn carry(events: &mut EventLoop, arguments: &Arguments) -> anyhow::Result<()> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use sockeye::tls::{ConnectorOptions, TlsConnector};

    let mut roots = rustls::RootCertStore::empty();
    match &arguments.ca {
        Some(file) => {
            let trusted = || -> anyhow::Result<()> {
                for certificate in CertificateDer::pem_file_iter(file)? {
                    roots.add(certificate?)?;
                }
                anyhow::ensure!(!roots.is_empty(), "there is no certificate in it");
                Ok(())
            };
            let mut trusted = trusted;
            trusted().with_context(|| format!("read certificates from {}", file.display()))?;
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            anyhow::ensure!(
                !roots.is_empty(),
                "this machine has no certificates to trust: install ca-certificates, or give some by --ca FILE"
            );
        }
    }
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::new(events, config, ConnectorOptions::default()).carry_names(events);
    Ok(())
}

/// Why a connection to a name server came to nothing, with what to do about it.
pub(super) fn because(error: std::io::Error) -> String {
    #[cfg(feature = "tls")]
    let advice = crate::advice::of_tls(
        &error,
        crate::advice::Options {
            name: "--tls-name NAME",
            insecure: None,
            plain: "without --tls a server is asked by udp and tcp",
        },
    );
    #[cfg(not(feature = "tls"))]
    let advice: Option<String> = None;
    let said = crate::exit::words(&error);
    match advice {
        Some(advice) => format!("{said} ({advice})"),
        None => said,
    }
}

/// Says that this program was built without TLS.
///
/// # Errors
/// Always.
#[cfg(not(feature = "tls"))]
pub(super) fn carry(_: &mut EventLoop, _: &Arguments) -> anyhow::Result<()> {
    Err(anyhow::anyhow!("this program was built without TLS")).context("--tls")
}
