//! What went wrong with a peer, and what to do about it.

use std::io;
use std::net::SocketAddr;

use anyhow::anyhow;
use sockeye::endpoint::{Endpoint, Transport};
use sockeye::event_loop::{ConnectFailure, ConnectFault, PeerName};
use sockeye::socket::{Op, OpError};

use crate::exit::Unreachable;

/// Keeps the cause, so that its status is right, and names the address that was tried last.
pub(crate) fn connect_error(failure: ConnectFailure) -> anyhow::Error {
    let said = failure.to_string();
    match (failure.cause, failure.attempts.last()) {
        (ConnectFault::Failed(error), _) if advised(&error).is_some() => with_advice(error),
        (ConnectFault::Failed(error), Some((PeerName::Unix(name), _))) => {
            anyhow!(OpError::unix(Op::Connect, error).with_peer_name(*name))
        }
        (ConnectFault::Failed(error), Some((PeerName::Ip(address), _))) => {
            of_address(Transport::Tcp, error, *address)
        }
        (ConnectFault::Failed(error), _) => error.into(),
        _ => anyhow!(said),
    }
}

/// An error of a connect to an address, or of what was sent to it.
pub(crate) fn of_address(transport: Transport, error: io::Error, address: SocketAddr) -> anyhow::Error {
    if let Some(unreachable) = Unreachable::of(&error, address.ip()) {
        return anyhow!(unreachable);
    }
    if transport != Transport::Tcp && error.kind() == io::ErrorKind::ConnectionRefused {
        return anyhow!("Connection refused (the port is closed: no socket has it)");
    }
    // For its advice, where the cause has a usual remedy.
    let peer = Endpoint::from_socket_addr(transport, address);
    anyhow!(OpError::new(Op::Connect, transport, error).with_peer(peer))
}

/// An error of a connection, with what to do about it.
pub(crate) fn with_advice(error: io::Error) -> anyhow::Error {
    match advised(&error) {
        Some(advice) => anyhow!("{error} ({advice})"),
        None => error.into(),
    }
}

/// What helps against an error of TLS.
#[cfg(feature = "tls")]
fn advised(error: &io::Error) -> Option<&'static str> {
    use rustls::{AlertDescription, CertificateError, Error};
    use sockeye::tls::TlsError;

    let TlsError::Protocol(error) = TlsError::of(error)? else {
        return None;
    };
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some("--ca FILE names the certificates to trust, --insecure trusts whoever answers")
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some("--servername NAME says which name the certificate has to have"),
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Some("does the clock of this machine go right? --insecure trusts whoever answers"),
        // What `openssl req -x509` makes unless told otherwise.
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            Some(
                "it is the certificate of an authority, not of a server: openssl req -x509 needs -addext \
                 basicConstraints=critical,CA:FALSE; --insecure trusts whoever answers",
            )
        }
        Error::InvalidCertificate(_) => Some("--insecure trusts whoever answers"),
        Error::InvalidMessage(_) => Some("does the peer speak TLS? tcp:// talks without"),
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            Some("the peer wants a certificate: --cert FILE --key FILE")
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            Some("the peer has no such name: --servername NAME")
        }
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            Some("the peer does not trust the certificate: it needs the issuer's, by --ca FILE")
        }
        Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Some("the peer speaks none of the protocols of --alpn")
        }
        _ => None,
    }
}

#[cfg(not(feature = "tls"))]
fn advised(_: &io::Error) -> Option<&'static str> {
    None
}
