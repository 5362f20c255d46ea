//! What is learned of a name server.

use std::net::SocketAddr;
use std::time::Duration;

use super::options::Server;
use crate::dns::message::Edns;

/// Whether a server gives back the case of the letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Unknown,
    Kept,
    Folded,
}

/// A server, and what it was seen to do.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) server: Server,
    /// It took EDNS for an error.
    pub(crate) without_edns: bool,
    case: Case,
    client_cookie: [u8; 8],
    server_cookie: Option<Box<[u8]>>,
    /// Until when it is asked after the others only.
    pub(crate) avoided_until: Duration,
    /// When it answered last.
    pub(crate) answered: Option<Duration>,
    /// Its connection, while there is one.
    pub(crate) connection: Option<u32>,
}

/// What a cookie says about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieCheck {
    /// It is the right one, or none is to be expected.
    Fine,
    /// It is somebody else's, or is missing where there always was one.
    Wrong,
}

impl Peer {
    pub(crate) fn new(server: Server, random: u64) -> Self {
        Self {
            server,
            without_edns: false,
            case: Case::Unknown,
            client_cookie: random.to_be_bytes(),
            server_cookie: None,
            avoided_until: Duration::ZERO,
            answered: None,
            connection: None,
        }
    }

    /// Whether a datagram comes from it. A zone counts where both have one.
    pub(crate) fn is_at(&self, from: SocketAddr) -> bool {
        let own = self.server.address;
        if own.ip().to_canonical() != from.ip().to_canonical() || own.port() != from.port() {
            return false;
        }
        match (own, from) {
            (SocketAddr::V6(own), SocketAddr::V6(from)) => {
                own.scope_id() == 0 || from.scope_id() == 0 || own.scope_id() == from.scope_id()
            }
            _ => true,
        }
    }

    /// The cookie of a question: the client's half, and the server's once it is known.
    pub(crate) fn cookie(&self) -> Box<[u8]> {
        let server = self.server_cookie.as_deref().unwrap_or_default();
        [&self.client_cookie[..], server].concat().into()
    }

    /// Whether it gives cookies, and so has EDNS.
    pub(crate) fn has_cookie(&self) -> bool {
        self.server_cookie.is_some()
    }

    /// Checks the cookie of an answer and learns the server's half (RFC 7873 section 5.3).
    pub(crate) fn check_cookie(&mut self, edns: Option<&Edns>) -> CookieCheck {
        let Some(cookie) = edns.and_then(|edns| edns.cookie.as_deref()) else {
            return if self.server_cookie.is_some() {
                CookieCheck::Wrong
            } else {
                CookieCheck::Fine
            };
        };
        match cookie.split_first_chunk::<8>() {
            Some((client, server)) if *client == self.client_cookie => {
                match server.len() {
                    0 => {}
                    8..=32 => self.server_cookie = Some(server.into()),
                    _ => return CookieCheck::Wrong,
                }
                CookieCheck::Fine
            }
            _ => CookieCheck::Wrong,
        }
    }

    /// It gave no cookie by TCP: it has none any more.
    pub(crate) fn forget_cookie(&mut self) {
        self.server_cookie = None;
    }

    /// Checks the case of the letters of an answer by datagram: whether it is to be believed.
    pub(crate) fn check_case(&mut self, same: bool) -> bool {
        match (self.case, same) {
            (Case::Unknown, true) => self.case = Case::Kept,
            (Case::Unknown, false) => self.case = Case::Folded,
            (Case::Kept, false) => return false,
            _ => {}
        }
        true
    }

    /// Learns from an answer by connection, which nobody else can give.
    pub(crate) fn learn_case(&mut self, same: bool) {
        self.case = if same { Case::Kept } else { Case::Folded };
    }
}
