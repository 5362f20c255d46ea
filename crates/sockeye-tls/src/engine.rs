//! One TLS connection without I/O: records in, plaintext out, and the other way round.
//!
//! rustls' unbuffered interface decrypts where the bytes lie and encrypts into our buffer, so that a message is copied as
//! little as rustls allows.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadEarlyData, UnbufferedStatus,
};
use rustls::{CommonState, Error};

/// The header of a record (RFC 8446, section 5.1).
const HEADER: usize = 5;
/// What encryption adds to a record at most (RFC 5246, section 6.2.3: 2,048 in CBC suites, which rustls has none of).
const OVERHEAD: usize = HEADER + 256;
/// The payload of a record at most.
const LARGE: usize = 16 * 1024;
/// A record that fits a segment with room for options, over IPv6 too: whoever gets it can read it at once, without waiting for
/// further segments.
const SMALL: usize = 1_360;
/// So many bytes leave in small records before large ones are worth more: by then the congestion window has opened.
const SMALL_BYTES: usize = 64 * 1024;

/// Steps in a row that rustls may want for messages of its own: more than it ever has.
const MESSAGES: usize = 64;

/// Bytes to be sent. The memory stays and is not cleared.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    len: usize,
}

/// More than this is given back when it was used.
const KEPT: usize = 128 * 1024;

impl Outgoing {
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.len + len {
            self.bytes.resize(self.len + len, 0);
        }
        &mut self.bytes[self.len..]
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        if self.bytes.len() > KEPT {
            self.bytes = Vec::new();
        }
    }
}

/// Whichever side this is.
pub(crate) enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// Where a connection stands after a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// There may be more to do with what is there.
    Again,
    /// Nothing more can be done with what is there.
    Wait,
}

/// What a step does with plaintext.
pub(crate) trait Plain {
    /// The plaintext of one record.
    fn plain(&mut self, bytes: &[u8]);
    /// The same, from before the handshake was complete.
    fn early(&mut self, bytes: &[u8]);
}

pub(crate) struct Engine {
    connection: Connection,
    /// Bytes sent in small records since the connection was idle.
    small: usize,
    /// The peer has said that it sends no more.
    peer_closed: bool,
    /// Records of a handshake message that is not whole yet. rustls has looked at them and wants to see them at the same
    /// place in every call, also in those that have nothing to do with them.
    held: Vec<u8>,
}

impl Engine {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            small: 0,
            peer_closed: false,
            held: Vec::new(),
        }
    }

    pub(crate) fn state(&self) -> &CommonState {
        match &self.connection {
            Connection::Client(connection) => connection,
            Connection::Server(connection) => connection,
        }
    }

    /// Whether the peer has sent `close_notify`: there is no more to read.
    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Does one step with the records at the beginning of `data`; says how many bytes of it are done with. What is to be sent
    /// is added to `out`.
    pub(crate) fn step(
        &mut self,
        data: &mut [u8],
        out: &mut Outgoing,
        plain: &mut impl Plain,
    ) -> (usize, Result<Step, Error>) {
        let closed = &mut self.peer_closed;
        match &mut self.connection {
            Connection::Client(connection) => {
                handle(connection.process_tls_records(data), out, plain, closed, |_| {
                    Ok(())
                })
            }
            Connection::Server(connection) => {
                let mut early = Vec::new();
                let done = handle(
                    connection.process_tls_records(data),
                    out,
                    plain,
                    closed,
                    |mut records| {
                        while let Some(record) = records.next_record() {
                            early.extend_from_slice(record?.payload);
                        }
                        Ok(())
                    },
                );
                if !early.is_empty() {
                    plain.early(&early);
                }
                done
            }
        }
    }

    /// Works on `data` behind what is [held](Self::hold), with `work`, which says how many bytes from the beginning are done
    /// with. Says how many of `data` are.
    pub(crate) fn behind_held<R>(
        &mut self,
        data: &mut [u8],
        work: impl FnOnce(&mut Self, &mut [u8]) -> (usize, R),
    ) -> (usize, R) {
        if self.held.is_empty() {
            return work(self, data);
        }
        let mut held = std::mem::take(&mut self.held);
        let before = held.len();
        held.extend_from_slice(data);
        let (done, answer) = work(self, &mut held);
        if done >= before {
            // What was held is done with; the rest is of `data`.
            return (done - before, answer);
        }
        held.drain(..done);
        self.held = held;
        (data.len(), answer)
    }

    /// Whether rustls has to be shown `rest` again and again: its first record is whole, was looked at, and is not done with.
    pub(crate) fn has_to_hold(&self, rest: &[u8]) -> bool {
        self.held.is_empty() && record_len(rest).is_some_and(|len| len <= rest.len())
    }

    /// Keeps records that rustls has to be shown again.
    pub(crate) fn hold(&mut self, rest: &[u8]) {
        self.held.extend_from_slice(rest);
    }

    /// Adds the alert that belongs to an error that a step with `data` has given.
    pub(crate) fn alert(&mut self, data: &mut [u8], out: &mut Outgoing) {
        // What waits to be sent comes before anything else: while there is some, the data is not looked at again.
        while self.state().wants_write() {
            let (_, step) = self.step(data, out, &mut Nowhere);
            if step.is_err() {
                return;
            }
        }
    }

    /// Encrypts `plain` into `out`, in records of the size that is best now.
    pub(crate) fn seal(&mut self, mut plain: &[u8], out: &mut Outgoing) -> Result<(), Error> {
        while !plain.is_empty() {
            let most = if self.small < SMALL_BYTES { SMALL } else { LARGE };
            let (now, rest) = plain.split_at(plain.len().min(most));
            self.small = self.small.saturating_add(now.len());
            self.send(&Sending::Data(now), out)?;
            plain = rest;
        }
        Ok(())
    }

    /// The connection was idle: the next bytes leave in small records again.
    pub(crate) fn was_idle(&mut self) {
        self.small = 0;
    }

    /// Adds `close_notify`: no more follows in this direction.
    pub(crate) fn close(&mut self, out: &mut Outgoing) -> Result<(), Error> {
        self.send(&Sending::CloseNotify, out)
    }

    /// Takes new keys for what is sent, and asks the peer to do so too (RFC 8446, section 4.6.3).
    pub(crate) fn refresh_keys(&mut self, out: &mut Outgoing) -> Result<(), Error> {
        self.send(&Sending::KeyUpdate, out)?;
        // It waits in rustls until something is sent.
        self.send(&Sending::Nothing, out)
    }

    fn send(&mut self, what: &Sending<'_>, out: &mut Outgoing) -> Result<(), Error> {
        // What rustls wants sent leaves first. Bounded: it has few messages at a time.
        let closed = &mut self.peer_closed;
        let held = &mut self.held[..];
        for _ in 0..MESSAGES {
            let sent = match &mut self.connection {
                Connection::Client(connection) => {
                    send(connection.process_tls_records(held), what, out, closed)
                }
                Connection::Server(connection) => {
                    send(connection.process_tls_records(held), what, out, closed)
                }
            };
            if sent? {
                return Ok(());
            }
        }
        Err(Error::HandshakeNotComplete)
    }
}

/// The length of the record that begins here, with its header.
pub(crate) fn record_len(data: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = data.first_chunk::<HEADER>()?;
    Some(HEADER + usize::from(u16::from_be_bytes([high, low])))
}

/// What is to be sent once the connection lets one send.
enum Sending<'a> {
    Data(&'a [u8]),
    CloseNotify,
    KeyUpdate,
    /// Only what rustls itself wants sent.
    Nothing,
}

/// What is done with plaintext where there can be none.
struct Nowhere;

impl Plain for Nowhere {
    fn plain(&mut self, _: &[u8]) {}

    fn early(&mut self, _: &[u8]) {}
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Outgoing,
    plain: &mut impl Plain,
    closed: &mut bool,
    read_early: impl FnOnce(ReadEarlyData<'_, '_, Data>) -> Result<(), Error>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.plain(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(encode)) => encoded(encode, out).map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            *closed = true;
            Ok(Step::Again)
        }
        Ok(ConnectionState::ReadEarlyData(early)) => read_early(early).map(|()| Step::Again),
        // Waiting for the peer, done with what is there, or over.
        Ok(_) => Ok(Step::Wait),
        Err(error) => Err(error),
    };
    (discard, step)
}

fn encoded<Data>(mut encode: EncodeTlsData<'_, Data>, out: &mut Outgoing) -> Result<(), Error> {
    let len = match encode.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        // Nothing to encode.
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(()),
    };
    match encode.encode(out.room(len)) {
        Ok(written) => {
            out.len += written;
            Ok(())
        }
        Err(error) => Err(Error::General(error.to_string())),
    }
}

/// `false` when something else had to be done first.
fn send<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    what: &Sending<'_>,
    out: &mut Outgoing,
    closed: &mut bool,
) -> Result<bool, Error> {
    match status.state? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let written = match what {
                Sending::Data(plain) => traffic.encrypt(plain, out.room(plain.len() + OVERHEAD)),
                Sending::CloseNotify => traffic.queue_close_notify(out.room(OVERHEAD)),
                Sending::Nothing => return Ok(true),
                Sending::KeyUpdate => return traffic.refresh_traffic_keys().map(|()| true),
            };
            match written {
                Ok(written) => {
                    out.len += written;
                    Ok(true)
                }
                Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
                Err(error) => Err(Error::General(error.to_string())),
            }
        }
        ConnectionState::EncodeTlsData(encode) => encoded(encode, out).map(|()| false),
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(false)
        }
        ConnectionState::PeerClosed => {
            *closed = true;
            Ok(false)
        }
        ConnectionState::Closed if matches!(what, Sending::CloseNotify) => Ok(true),
        _ => Err(Error::HandshakeNotComplete),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};

    use super::*;

    /// Plaintext that came out.
    #[derive(Default)]
    struct Taken(Vec<u8>);

    impl Plain for Taken {
        fn plain(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }

        fn early(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    /// A client and a server that cuts what it sends into records of `fragment` bytes.
    fn engines(fragment: usize) -> (Engine, Engine) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.max_fragment_size = Some(fragment);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = UnbufferedClientConnection::new(Arc::new(client), name).unwrap();
        let server = UnbufferedServerConnection::new(Arc::new(server)).unwrap();
        (
            Engine::new(Connection::Client(client)),
            Engine::new(Connection::Server(server)),
        )
    }

    /// Does with `data` what a connection does; the rest is kept as the loop keeps it.
    fn advance(engine: &mut Engine, kept: &mut Vec<u8>, data: &[u8], out: &mut Outgoing, taken: &mut Taken) {
        kept.extend_from_slice(data);
        let mut bytes = std::mem::take(kept);
        let (done, ()) = engine.behind_held(&mut bytes, |engine, data| {
            let mut done = 0;
            loop {
                let (used, step) = engine.step(&mut data[done..], out, taken);
                done += used;
                if matches!(step.unwrap(), Step::Wait) {
                    return (done, ());
                }
            }
        });
        let rest = &bytes[done..];
        if !engine.state().is_handshaking() && engine.has_to_hold(rest) {
            engine.hold(rest);
        } else {
            kept.extend_from_slice(rest);
        }
    }

    /// Tickets come in pieces, byte by byte, and between any two of them the other direction goes on: rustls is always shown
    /// what it has seen of them.
    #[test]
    fn a_message_in_pieces_does_not_disturb_the_other_direction() {
        let (mut client, mut server) = engines(40);
        let (mut to_server, mut to_client) = (Outgoing::default(), Outgoing::default());
        let (mut client_kept, mut server_kept) = (Vec::new(), Vec::new());
        let (mut at_client, mut at_server) = (Taken::default(), Taken::default());
        let mut sent = Vec::new();
        advance(&mut client, &mut client_kept, &[], &mut to_server, &mut at_client);
        let mut said = false;
        for _ in 0..10 {
            let bytes = to_server.bytes().to_vec();
            to_server.clear();
            advance(
                &mut server,
                &mut server_kept,
                &bytes,
                &mut to_client,
                &mut at_server,
            );
            if !server.state().is_handshaking() && !said {
                said = true;
                server.seal(b"from the server", &mut to_client).unwrap();
            }
            let bytes = to_client.bytes().to_vec();
            to_client.clear();
            for byte in bytes {
                advance(
                    &mut client,
                    &mut client_kept,
                    &[byte],
                    &mut to_server,
                    &mut at_client,
                );
                if !client.state().is_handshaking() {
                    client.seal(&[byte], &mut to_server).unwrap();
                    sent.push(byte);
                }
            }
        }
        assert_eq!(at_client.0, b"from the server");
        assert!(sent.len() > 200, "the tickets came in {} bytes", sent.len());
        assert_eq!(at_server.0, sent);
        client.refresh_keys(&mut to_server).unwrap();
        assert!(!to_server.is_empty());
    }
}
