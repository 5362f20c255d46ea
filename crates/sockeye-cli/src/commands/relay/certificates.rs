//! Certificates, keys and whom to trust: from files in PEM to what rustls takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The settings of TLS by their names: `[tls.server.NAME]` and `[tls.client.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tables {
    /// Of `tls://` listeners.
    pub(super) server: BTreeMap<String, Server>,
    /// Of `tls://` backends.
    pub(super) client: BTreeMap<String, Client>,
}

/// What a `tls://` listener shows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// Protocols that are offered, such as `h2`; none: ALPN is not answered.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS asks for it"))]
    #[serde(default)]
    pub(super) alpn: Vec<String>,
}

/// Whom a connection to a `tls://` backend trusts, and what it shows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Client {
    /// Instead of the certificates that this machine trusts.
    pub(super) ca: Option<PathBuf>,
    pub(super) insecure: bool,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) alpn: Vec<String>,
}

/// The table for whoever names none.
pub(super) const DEFAULT: &str = "default";

impl Tables {
    /// Makes the paths those of a file in this folder.
    pub(super) fn within(&mut self, folder: &Path) {
        let place = |path: &mut PathBuf| {
            if path.as_os_str() != "-" {
                *path = folder.join(&path);
            }
        };
        for server in self.server.values_mut() {
            place(&mut server.cert);
            place(&mut server.key);
        }
        for client in self.client.values_mut() {
            [&mut client.ca, &mut client.cert, &mut client.key]
                .into_iter()
                .flatten()
                .for_each(place);
        }
    }

    /// Every file that they name.
    pub(super) fn paths(&self) -> Vec<&Path> {
        let servers = self
            .server
            .values()
            .flat_map(|server| [&server.cert, &server.key]);
        let clients = self.client.values();
        let clients =
            clients.flat_map(|client| [&client.ca, &client.cert, &client.key].into_iter().flatten());
        servers.chain(clients).map(PathBuf::as_path).collect()
    }
}

#[cfg(feature = "tls")]
pub(super) use with_tls::Settings;
#[cfg(not(feature = "tls"))]
pub(super) use without_tls::Settings;

#[cfg(feature = "tls")]
mod with_tls {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::CryptoProvider;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};
    use sockeye::relay::{Relay, TlsSettings};

    use super::{Client, DEFAULT, Server, Tables};
    use crate::exit::Failure;
    use crate::files::Files;
    use crate::pem::{chain, identity, unfit};

    /// What the relay takes.
    #[derive(Debug, Clone, Default)]
    pub(in super::super) struct Settings(pub(in super::super) TlsSettings);

    impl Settings {
        /// Reads every file.
        ///
        /// # Errors
        /// What cannot be read, or is not what it has to be.
        pub(in super::super) fn load(tables: &Tables, files: &mut Files) -> anyhow::Result<Self> {
            let mut all = TlsSettings::default();
            for (name, table) in &tables.server {
                let config = Arc::new(server(table, files)?);
                if name == DEFAULT {
                    all = all.server("", Arc::clone(&config));
                }
                all = all.server(name, config);
            }
            for (name, table) in &tables.client {
                let config = Arc::new(client(table, files)?);
                if name == DEFAULT {
                    all = all.client("", Arc::clone(&config));
                }
                all = all.client(name, config);
            }
            Ok(Self(all))
        }

        pub(in super::super) fn give(self, relay: Relay) -> Relay {
            relay.tls(self.0)
        }
    }

    fn server(table: &Server, files: &mut Files) -> anyhow::Result<ServerConfig> {
        let mut config = crate::pem::server(&table.cert, &table.key, files)?;
        config.alpn_protocols = protocols(&table.alpn);
        Ok(config)
    }

    fn client(table: &Client, files: &mut Files) -> anyhow::Result<ClientConfig> {
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
            _ => return Err(Failure::usage("[tls.client]: cert and key go together")),
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
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use sockeye::relay::Relay;

    use super::Tables;
    use crate::exit::Failure;
    use crate::files::Files;

    /// Nothing, in a program that was built without TLS.
    #[derive(Debug, Clone, Default)]
    pub(in super::super) struct Settings;

    impl Settings {
        pub(in super::super) fn load(tables: &Tables, _: &mut Files) -> anyhow::Result<Self> {
            if tables.server.is_empty() && tables.client.is_empty() {
                return Ok(Self);
            }
            Err(Failure::usage(
                "this program was built without TLS: build it with the feature `tls`",
            ))
        }

        pub(in super::super) fn give(self, relay: Relay) -> Relay {
            relay
        }
    }
}
