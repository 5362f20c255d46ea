//! The server's name in a ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3).
//!
//! rustls checks the message; this only looks for the name, which rustls' unbuffered interface does not tell.

/// What the first bytes of a connection say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Hello {
    /// The message is not whole yet.
    Incomplete,
    /// It is, or is no ClientHello: what is to be known is known.
    Whole(Option<String>),
}

/// A record of the handshake protocol, and in it the message ClientHello.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The extension `server_name`, and in it a host name.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Looks for the name that the client asks for in the records at the beginning of `data`.
pub(crate) fn server_name(data: &[u8]) -> Hello {
    let mut records = data;
    let mut message = Vec::new();
    loop {
        let Some((header, rest)) = records.split_first_chunk::<5>() else {
            // Too short to tell, unless it has begun as something else already.
            let other = records.first().is_some_and(|kind| *kind != HANDSHAKE);
            return if other {
                Hello::Whole(None)
            } else {
                Hello::Incomplete
            };
        };
        let [kind, _, _, high, low] = *header;
        if kind != HANDSHAKE {
            return Hello::Whole(None);
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        let Some((payload, rest)) = rest.split_at_checked(len) else {
            return Hello::Incomplete;
        };
        message.extend_from_slice(payload);
        if let Some((&[kind, a, b, c], body)) = message.split_first_chunk::<4>() {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != CLIENT_HELLO {
                return Hello::Whole(None);
            }
            if let Some(body) = body.get(..len) {
                return Hello::Whole(name_in(body));
            }
        }
        if len == 0 {
            // An empty record brings nothing nearer: rustls refuses it.
            return Hello::Whole(None);
        }
        records = rest;
    }
}

fn name_in(body: &[u8]) -> Option<String> {
    // The version, a random number, then three lists: session id, cipher suites, compression methods.
    let rest = body.get(2 + 32..)?;
    let (_, rest) = list8(rest)?;
    let (_, rest) = list16(rest)?;
    let (_, rest) = list8(rest)?;
    let (mut extensions, _) = list16(rest)?;
    loop {
        let (&[high, low], rest) = extensions.split_first_chunk::<2>()?;
        let (content, rest) = list16(rest)?;
        if u16::from_be_bytes([high, low]) == SERVER_NAME {
            let (names, _) = list16(content)?;
            let (&kind, name) = names.split_first()?;
            let (name, _) = list16(name)?;
            return (kind == HOST_NAME).then(|| String::from_utf8(name.to_vec()).ok())?;
        }
        extensions = rest;
    }
}

/// A list with its length in one byte before it, and what follows.
fn list8(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// The same with the length in two bytes.
fn list16(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len)))
}
