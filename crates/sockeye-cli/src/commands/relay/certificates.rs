//! The tables of TLS in the configuration of the relay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::identity::{Client, Server};

/// The settings of TLS by their names: `[tls.server.NAME]` and `[tls.client.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tables {
    /// Of `tls://` listeners.
    pub(super) server: BTreeMap<String, Server>,
    /// Of `tls://` backends.
    pub(super) client: BTreeMap<String, Client>,
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
    use std::sync::Arc;

    use sockeye::relay::{Relay, TlsSettings};

    use super::{DEFAULT, Tables};
    use crate::certificates::{client, server};
    use crate::files::Files;

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
