//! The arguments that `connect` and `listen` share.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Limits;
use crate::exit::Failure;
use crate::files::{is_stdin, one_stdin};
#[cfg(feature = "tls")]
use crate::identity::Client;

/// How stdin and stdout are carried.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Talking {
    /// End our side of the connection at the end of stdin, and go on receiving; this is the default (nc needs -N for it)
    #[arg(short = 'N', long, conflicts_with = "no_half_close")]
    pub(super) half_close: bool,
    /// Leave our side of the connection open at the end of stdin (as nc without -N)
    #[arg(long)]
    pub(super) no_half_close: bool,
    /// End so many seconds after the end of stdin, whatever the peer does (nc -q); without it `connect` to datagrams ends
    /// after a second of silence, streams with the peer
    #[arg(long, value_name = "SECONDS", value_parser = crate::probing::interval)]
    pub(super) linger: Option<f64>,
    /// Send stdin line by line: each line one message or one write
    #[arg(long)]
    pub(super) line: bool,
    /// Send CR LF where stdin has LF
    #[arg(long)]
    pub(super) crlf: bool,
    /// A hex dump of what passes both ways, on stdout instead of the bytes (which --tee still gets)
    #[arg(short = 'x', long)]
    pub(super) hex: bool,
    /// A copy of what the peers send, into this file
    #[arg(long, value_name = "FILE")]
    pub(super) tee: Option<PathBuf>,
}

impl Talking {
    /// Whether the end of stdin is told to the peer.
    pub(crate) fn half_closes(&self) -> bool {
        !self.no_half_close
    }

    /// When it is over by time.
    pub(crate) fn limits(&self, idle: Option<f64>, silence: Option<Duration>) -> Limits {
        Limits {
            idle: idle.map(Duration::from_secs_f64),
            linger: self.linger.map(Duration::from_secs_f64),
            silence: silence.filter(|_| self.linger.is_none()),
        }
    }

    /// Refuses `--tee -`: that is where the bytes go anyway.
    ///
    /// # Errors
    /// Then.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.tee.as_deref().is_some_and(is_stdin) {
            return Err(Failure::usage(
                "--tee -: stdout has the bytes already; name a file",
            ));
        }
        Ok(())
    }

    /// The first option that speaks of stdin and stdout as the conversation.
    pub(crate) fn of_stdin(&self) -> Option<&'static str> {
        [
            (self.half_close, "-N"),
            (self.no_half_close, "--no-half-close"),
            (self.linger.is_some(), "--linger"),
            (self.line, "--line"),
            (self.crlf, "--crlf"),
            (self.hex, "--hex"),
        ]
        .into_iter()
        .find_map(|(is_there, name)| is_there.then_some(name))
    }
}

/// Who we are to a peer of TLS, and whom we trust.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Secrets {
    /// Our certificate, and those that it was signed with (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Protocols that are offered, such as h2 or http/1.1; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = protocol)]
    pub(crate) alpn: Vec<String>,
}

/// The name of a protocol of ALPN: 1 to 255 bytes (RFC 7301, section 3.1).
fn protocol(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("a protocol has 1 to 255 bytes".to_owned())
    }
}

impl Secrets {
    pub(crate) fn is_given(&self) -> bool {
        self.cert.is_some() || !self.alpn.is_empty()
    }

    #[cfg(feature = "tls")]
    pub(crate) fn client(&self, ca: Option<PathBuf>, insecure: bool) -> Client {
        Client {
            ca,
            insecure,
            cert: self.cert.clone(),
            key: self.key.clone(),
            alpn: self.alpn.clone(),
        }
    }

    /// Refuses two things on one stdin. `reads_stdin`: the conversation is one.
    ///
    /// # Errors
    /// When there are two.
    pub(crate) fn check_stdin(&self, ca: Option<&Path>, reads_stdin: bool) -> anyhow::Result<()> {
        let files = [
            ("--ca", ca),
            ("--cert", self.cert.as_deref()),
            ("--key", self.key.as_deref()),
        ];
        let named = files.into_iter().filter_map(|(name, path)| Some((name, path?)));
        one_stdin(named.clone())?;
        if let Some((name, _)) = named.clone().find(|(_, path)| reads_stdin && is_stdin(path)) {
            return Err(Failure::usage(format!(
                "{name} -: stdin is what the peer is sent; give {name} the name of a file"
            )));
        }
        Ok(())
    }
}

/// An address with or without a port, for `--source`; port 0 is any.
pub(crate) fn source(text: &str) -> Result<SocketAddr, String> {
    let plain = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    text.parse::<SocketAddr>()
        .or_else(|_| plain.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)))
        .map_err(|_| "expected an address of this host: 192.0.2.1, 192.0.2.1:53, ::1 or [::1]:53".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_port_or_none() {
        for (text, read) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:53", "192.0.2.1:53"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:53", "[::1]:53"),
        ] {
            assert_eq!(source(text).unwrap().to_string(), read);
        }
        assert!(source("localhost").is_err());
    }
}
