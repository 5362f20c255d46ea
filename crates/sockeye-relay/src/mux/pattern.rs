//! What a rule recognises.

use super::hello::ClientHello;

/// Whether bytes are what a rule looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verdict {
    /// They are, whatever follows.
    Yes,
    /// They are not, whatever follows.
    No,
    /// It takes more of them.
    More,
}

/// A protocol, recognised by the first bytes that its client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Pattern {
    /// TLS (RFC 8446 and its forerunners): a ClientHello, in however many records. Not the one of SSLv2.
    Tls(TlsPattern),
    /// A request of HTTP/1.0 or 1.1 (RFC 9112, section 3): known when its version is there.
    Http1(HttpPattern),
    /// The preface of HTTP/2 without TLS (RFC 9113, section 3.4).
    Http2,
    /// `SSH-2.0-` or `SSH-1.99-` (RFC 4253, section 4.2). Some clients wait for the server to speak: see
    /// [`Mux::when_silent`](super::Mux::when_silent).
    Ssh,
    /// A CONNECT or BIND of SOCKS 4 and 4a: eight bytes.
    Socks4,
    /// The methods that a client of SOCKS 5 offers (RFC 1928, section 3).
    Socks5,
    /// A PROXY header of version 1 or 2: six or twelve bytes. [`ProxyServer`](crate::proxy::ProxyServer) reads it.
    Proxy,
    /// What a function says.
    Predicate(Predicate),
}

/// Which TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsPattern {
    /// One of these names is asked for (SNI): `example.org`, or `*.example.org` for all names below it, at any depth.
    /// Upper and lower case are the same. Empty: any, and none.
    pub server_names: Vec<String>,
    /// One of these protocols is offered (ALPN): `h2`, `http/1.1`. Empty: any, and none.
    pub alpn: Vec<Vec<u8>>,
    /// Waits for the whole ClientHello even if six bytes say enough, so that the next service finds it
    /// ([`ClientHello`]).
    pub whole: bool,
}

impl TlsPattern {
    /// Whether the first six bytes are enough.
    pub(super) fn takes_any(&self) -> bool {
        self.server_names.is_empty() && self.alpn.is_empty() && !self.whole
    }

    pub(super) fn matches(&self, hello: &ClientHello) -> bool {
        let asked = hello.server_name.as_deref();
        let named = |pattern: &String| asked.is_some_and(|name| name_matches(pattern, name));
        let offered = |name: &Vec<u8>| hello.alpn.contains(name);
        (self.server_names.is_empty() || self.server_names.iter().any(named))
            && (self.alpn.is_empty() || self.alpn.iter().any(offered))
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let Some(domain) = pattern.strip_prefix('*') else {
        return pattern.eq_ignore_ascii_case(name);
    };
    let (pattern, name) = (domain.as_bytes(), name.as_bytes());
    // The dot belongs to the domain, and something has to stand before it.
    name.len() > pattern.len()
        && pattern.first() == Some(&b'.')
        && name[name.len() - pattern.len()..].eq_ignore_ascii_case(pattern)
}

/// Which requests of HTTP/1.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpPattern {
    /// One of these methods: `GET`, `CONNECT`. Empty: any.
    pub methods: Vec<String>,
    /// The target begins with one of these, byte for byte: `/api/`. Empty: any.
    pub targets: Vec<String>,
}

impl HttpPattern {
    pub(super) fn matches(&self, method: &[u8], target: &[u8]) -> bool {
        let is_method = |wanted: &String| wanted.as_bytes() == method;
        let is_target = |prefix: &String| target.starts_with(prefix.as_bytes());
        (self.methods.is_empty() || self.methods.iter().any(is_method))
            && (self.targets.is_empty() || self.targets.iter().any(is_target))
    }
}

/// What a function of the user says about the first bytes.
#[derive(Clone, Copy, Debug)]
pub struct Predicate {
    /// Asked with all bytes so far, from the first one to the `max_bytes`th, whenever there are more of them.
    pub test: fn(&[u8]) -> Verdict,
    /// With so many bytes `More` is `No`. It bounds what asking again and again costs.
    pub max_bytes: usize,
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.test, other.test) && self.max_bytes == other.max_bytes
    }
}

impl Eq for Predicate {}

impl Pattern {
    /// Any TLS.
    #[must_use]
    pub fn tls() -> Self {
        Self::Tls(TlsPattern::default())
    }

    /// TLS for one of these server names; see [`TlsPattern::server_names`].
    #[must_use]
    pub fn server_names<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::Tls(TlsPattern {
            server_names: names.into_iter().map(Into::into).collect(),
            ..TlsPattern::default()
        })
    }

    /// TLS that offers one of these protocols.
    #[must_use]
    pub fn alpn<T: Into<Vec<u8>>>(protocols: impl IntoIterator<Item = T>) -> Self {
        Self::Tls(TlsPattern {
            alpn: protocols.into_iter().map(Into::into).collect(),
            ..TlsPattern::default()
        })
    }

    /// Any request of HTTP/1.
    #[must_use]
    pub fn http1() -> Self {
        Self::Http1(HttpPattern::default())
    }

    /// What a function says about up to 256 bytes.
    #[must_use]
    pub fn predicate(test: fn(&[u8]) -> Verdict) -> Self {
        Self::Predicate(Predicate { test, max_bytes: 256 })
    }
}
