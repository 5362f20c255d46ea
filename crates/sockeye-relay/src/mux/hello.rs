//! The first message of TLS, put together from its records as they arrive.
//!
//! A record may begin and end anywhere in the message, and a segment anywhere in a record. Each record is
//! stepped over once, and the message is read once, when it is whole.

use std::borrow::Cow;

use super::pattern::Verdict;

/// Type, version, length (RFC 8446, section 5.1).
const RECORD_HEAD: usize = 5;
/// The longest record without encryption.
const MAX_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
/// Type and length of a handshake message (section 4).
const MESSAGE_HEAD: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// The longest message that is read. Those of browsers have up to 2 KiB.
const MAX_MESSAGE: usize = 64 * 1024;
/// Extensions: RFC 6066, section 3; RFC 7301, section 3.1.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a client says in its first message of TLS.
///
/// The service that a [`Mux`](super::Mux) hands a connection to finds it with
/// [`Stream::attached`](sockeye_event_loop::Stream::attached), if a rule had to read the whole of it. Nothing of it is
/// verified: what a client asks for is not who it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHello {
    /// The host that it asks for (SNI), in lower case.
    pub server_name: Option<String>,
    /// The protocols that it offers (ALPN), in its order of preference.
    pub alpn: Vec<Vec<u8>>,
}

/// Reads a [`ClientHello`] from the first bytes of a connection as they arrive, for services that decide by it themselves.
///
/// The bytes stay with the connection: they are not kept twice. What has been looked at is not looked at again, except once
/// when the message is whole.
#[derive(Clone, Debug, Default)]
pub struct HelloReader {
    /// Bytes of the connection that have been looked at.
    at: usize,
    /// Bytes that are left of the present record.
    left: usize,
    /// Bytes of the message so far, and its head.
    have: usize,
    head: [u8; MESSAGE_HEAD],
    outcome: Option<Option<ClientHello>>,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum HelloRead<'a> {
    /// The beginning of a ClientHello.
    More {
        /// Bytes, counted from the first one: with fewer nothing more can be said.
        needed: usize,
    },
    /// All of it.
    Whole(&'a ClientHello),
    /// None, whatever follows: not TLS, longer than 64 KiB, or a length in it lies.
    Other,
}

/// Whether a ClientHello begins there: six bytes tell.
pub(super) fn begins(bytes: &[u8]) -> Verdict {
    match (check_record(bytes), bytes.get(RECORD_HEAD)) {
        (Ok(()), None) => Verdict::More,
        (Ok(()), Some(&CLIENT_HELLO)) => Verdict::Yes,
        _ => Verdict::No,
    }
}

impl HelloReader {
    /// Looks at what is new: `bytes` are all that came, from the first on.
    pub fn advance(&mut self, bytes: &[u8]) -> HelloRead<'_> {
        if self.outcome.is_none() {
            self.outcome = match self.step(bytes) {
                Ok(true) => Some(read(&assemble(bytes, self.have))),
                Ok(false) => {
                    return HelloRead::More {
                        needed: self.needed(bytes.len()),
                    };
                }
                Err(NotTls) => Some(None),
            };
        }
        match &self.outcome {
            Some(Some(hello)) => HelloRead::Whole(hello),
            _ => HelloRead::Other,
        }
    }

    /// The message, if it was read.
    pub fn take(&mut self) -> Option<ClientHello> {
        self.outcome.take().flatten()
    }

    /// Steps over what the records have of the message. Whether it is whole then.
    fn step(&mut self, bytes: &[u8]) -> Result<bool, NotTls> {
        while self.missing() > 0 {
            let rest = bytes.get(self.at..).unwrap_or_default();
            if self.left == 0 {
                check_record(rest)?;
                let Some(&[_, _, _, high, low]) = rest.first_chunk::<RECORD_HEAD>() else {
                    return Ok(false);
                };
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.at += RECORD_HEAD;
                continue;
            }
            let len = rest.len().min(self.left).min(self.missing());
            if len == 0 {
                return Ok(false);
            }
            for (to, from) in self.head.iter_mut().skip(self.have).zip(&rest[..len]) {
                *to = *from;
            }
            self.have += len;
            self.at += len;
            self.left -= len;
            if self.head[0] != CLIENT_HELLO || self.len() > MAX_MESSAGE {
                return Err(NotTls);
            }
        }
        Ok(true)
    }

    /// With how many bytes it can be told more, having had `seen`.
    fn needed(&self, seen: usize) -> usize {
        match self.have {
            // Each byte of a head may be wrong.
            _ if self.left == 0 => seen + 1,
            0 => self.at + 1,
            _ => self.at + self.left.min(self.missing()),
        }
    }

    /// Bytes of the whole message: of its head, before that is there.
    fn len(&self) -> usize {
        let [_, a, b, c] = self.head;
        let body = u32::from_be_bytes([0, a, b, c]) as usize;
        MESSAGE_HEAD + if self.have < MESSAGE_HEAD { 0 } else { body }
    }

    fn missing(&self) -> usize {
        self.len().saturating_sub(self.have)
    }
}

/// The first `len` bytes of the message, which are there, out of their records.
fn assemble(bytes: &[u8], len: usize) -> Cow<'_, [u8]> {
    let mut rest = bytes;
    let mut whole = Vec::new();
    while let Some((&[_, _, _, high, low], payload)) = rest.split_first_chunk::<RECORD_HEAD>() {
        let record = usize::from(u16::from_be_bytes([high, low]));
        let (piece, next) = payload.split_at(record.min(payload.len()));
        if whole.is_empty() && piece.len() >= len {
            return Cow::Borrowed(&piece[..len]);
        }
        whole.extend_from_slice(&piece[..piece.len().min(len - whole.len())]);
        if whole.len() == len {
            break;
        }
        rest = next;
    }
    Cow::Owned(whole)
}

struct NotTls;

/// Whether that is the head of a handshake record, or its beginning. Empty ones are forbidden.
fn check_record(head: &[u8]) -> Result<(), NotTls> {
    let fits = |at: usize, is: fn(u8) -> bool| head.get(at).is_none_or(|byte| is(*byte));
    let len = match head {
        [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 1,
    };
    let is_handshake = fits(0, |kind| kind == HANDSHAKE);
    let is_version = fits(1, |major| major == 3) && fits(2, |minor| minor <= 4);
    if is_handshake && is_version && (1..=MAX_RECORD).contains(&len) {
        Ok(())
    } else {
        Err(NotTls)
    }
}

/// Reads a whole message (RFC 8446, section 4.1.2). `None`: a length in it lies, or it is no ClientHello.
fn read(message: &[u8]) -> Option<ClientHello> {
    let mut body = Bytes(message.get(MESSAGE_HEAD..)?);
    let [major, _] = *body.take(2)?.first_chunk()?;
    body.take(32)?;
    let session = body.vector8()?;
    let suites = body.vector16()?;
    let compressions = body.vector8()?;
    if major != 3
        || session.len() > 32
        || suites.is_empty()
        || suites.len() % 2 != 0
        || compressions.is_empty()
    {
        return None;
    }
    let mut hello = ClientHello::default();
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Bytes(body.vector16()?);
    if !body.0.is_empty() {
        return None;
    }
    let (mut named, mut offered) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let value = extensions.vector16()?;
        match kind {
            SERVER_NAME if std::mem::replace(&mut named, true) => return None,
            SERVER_NAME => hello.server_name = server_name(value)?,
            ALPN if std::mem::replace(&mut offered, true) => return None,
            ALPN => hello.alpn = protocols(value)?,
            // GREASE (RFC 8701) and all others.
            _ => {}
        }
    }
    Some(hello)
}

/// The first host name. There is no other kind of name, and never more than one.
fn server_name(value: &[u8]) -> Option<Option<String>> {
    let mut value = Bytes(value);
    let mut list = Bytes(value.vector16()?);
    if !value.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut name = None;
    while !list.0.is_empty() {
        let kind = list.u8()?;
        let text = list.vector16()?;
        if kind == 0 && name.is_none() {
            if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
                return None;
            }
            name = Some(String::from_utf8_lossy(text).to_ascii_lowercase());
        }
    }
    Some(name)
}

fn protocols(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut value = Bytes(value);
    let mut list = Bytes(value.vector16()?);
    if !value.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.to_vec());
    }
    Some(protocols)
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
}
