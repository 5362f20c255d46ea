//! Requests of HTTP/1.1 as far as this endpoint knows them: what was asked, or why it is refused. Pure: bytes in, words out.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest head of a request, in bytes.
pub(super) const MAX_HEAD: usize = 8192;
/// The longest target of a request, in bytes.
const MAX_TARGET: usize = 2048;
/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What the bytes that have come are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A request that is not whole yet.
    More,
    /// A whole one, of so many bytes.
    Request(Request, usize),
    /// No request that could be answered, and no telling where the next one begins: the connection ends after the refusal.
    Broken(Status),
}

/// A whole request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The head of the answer is wanted, without its body.
    pub(super) head_only: bool,
    /// Another request may follow.
    pub(super) keep: bool,
    pub(super) wants: Result<Wanted, Status>,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The page for people.
    Page,
    /// What an encoder makes.
    Report(Form),
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
    /// The status as JSON.
    Status,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::OpenMetrics, Self::Text, Self::Status];

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Status => "application/json",
        }
    }
}

/// A status of an answer that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TargetTooLong,
    Misdirected,
    HeadTooLarge,
    Unavailable,
    TooMuch,
    Version,
}

impl Status {
    /// The status line's code and words (RFC 9110, section 15; RFC 6585, section 5).
    pub(super) const fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::TargetTooLong => "414 URI Too Long",
            Self::Misdirected => "421 Misdirected Request",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable | Self::TooMuch => "503 Service Unavailable",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    /// What to do about it.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::BadRequest => "This is not a request of HTTP/1.1 that has a Host and no body.\n",
            Self::NotFound => "There are / (a page), /metrics and /status.json.\n",
            Self::MethodNotAllowed => "GET and HEAD are answered.\n",
            Self::TargetTooLong => "There are / (a page), /metrics and /status.json.\n",
            Self::Misdirected => {
                "The Host of the request is a name that was not allowed: use an address, localhost, or start the \
                 program with --metrics-host NAME.\n"
            }
            Self::HeadTooLarge => "The head of a request may have 8192 bytes and 64 headers.\n",
            Self::Unavailable => "Too many answers are under way. Try again in a second.\n",
            Self::TooMuch => {
                "The answer would have more than 64 MiB: /status.json has the first rows and the totals; for the metrics, \
                 let several programs have a part of the backends or hosts each.\n"
            }
            Self::Version => "HTTP/1.1 is spoken here.\n",
        }
    }
}

/// Reads a request. `names` are the hosts that may be asked for besides addresses and `localhost`; `None`: any may, as no
/// browser comes this way.
pub(super) fn read(bytes: &[u8], names: Option<&[String]>) -> Read {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    // What is beyond belongs to the next request.
    let within = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let len = match parsed.parse(within) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Read::More,
        Ok(httparse::Status::Partial) if parsed.version.is_none() => {
            return Read::Broken(Status::TargetTooLong);
        }
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Read::Broken(Status::HeadTooLarge);
        }
        Err(httparse::Error::Version) => return Read::Broken(Status::Version),
        Err(_) => return Read::Broken(Status::BadRequest),
    };
    match whole(&parsed, names) {
        Ok(request) => Read::Request(request, len),
        Err(status) => Read::Broken(status),
    }
}

fn whole(parsed: &httparse::Request<'_, '_>, names: Option<&[String]>) -> Result<Request, Status> {
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    // A body would be taken for the next request.
    let has_body = |header: &&httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("transfer-encoding")
            || header.name.eq_ignore_ascii_case("content-length") && header.value != b"0"
    };
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Status::MethodNotAllowed),
    };
    if parsed.headers.iter().any(|header| has_body(&header)) {
        return Err(Status::BadRequest);
    }
    if target.len() > MAX_TARGET {
        return Err(Status::TargetTooLong);
    }
    let is_1_1 = parsed.version == Some(1);
    let (host, path) = split(target);
    let mut hosts = all(parsed, "host");
    let host = match (host, hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err(Status::BadRequest),
        (_, None, _) if is_1_1 => return Err(Status::BadRequest),
        // What the target says comes first (RFC 9112, section 3.2.2).
        (Some(host), _, _) | (None, Some(host), _) => Some(host),
        (None, None, _) => None,
    };
    let wants = match (host, names) {
        (Some(host), Some(names)) if !is_allowed(host, names) => Err(Status::Misdirected),
        _ => wanted(path, parsed),
    };
    let closes = all(parsed, "connection").any(|value| has_token(value, "close"));
    Ok(Request {
        head_only,
        // Whoever speaks 1.0 is answered and left.
        keep: is_1_1 && !closes,
        wants,
    })
}

/// The values of the headers of a name, those that are text.
fn all<'a>(parsed: &'a httparse::Request<'_, '_>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut headers = parsed.headers.iter();
    std::iter::from_fn(move || {
        headers
            .by_ref()
            .find(|header| header.name.eq_ignore_ascii_case(name))
    })
    .map(|header| std::str::from_utf8(header.value).unwrap_or("\u{fffd}"))
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',')
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// The host of a target in absolute form, if it is one, and the path.
fn split(target: &str) -> (Option<&str>, &str) {
    let (host, path) = match target.strip_prefix("http://") {
        Some(rest) => match rest.find('/') {
            Some(at) => {
                let (host, path) = rest.split_at(at);
                (Some(host), path)
            }
            None => (Some(rest), "/"),
        },
        None => (None, target),
    };
    (host, path.split('?').next().unwrap_or(path))
}

fn wanted(path: &str, parsed: &httparse::Request<'_, '_>) -> Result<Wanted, Status> {
    match path {
        "/" => Ok(Wanted::Page),
        "/status.json" => Ok(Wanted::Report(Form::Status)),
        "/metrics" => Ok(Wanted::Report(if wants_text_alone(all(parsed, "accept")) {
            Form::Text
        } else {
            Form::OpenMetrics
        })),
        _ => Err(Status::NotFound),
    }
}

/// Whether Prometheus' text format is named, and OpenMetrics is not.
fn wants_text_alone<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut text, mut open) = (false, false);
    for range in accept.flat_map(|list| list.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused = parts
            .filter_map(|part| part.strip_prefix("q="))
            .any(|quality| quality.parse::<f32>().is_ok_and(|quality| quality == 0.0));
        if is_refused {
            continue;
        }
        match kind.as_str() {
            "text/plain" | "text/*" => text = true,
            "application/openmetrics-text" | "application/*" => open = true,
            _ => {}
        }
    }
    text && !open
}

/// Whether a browser may have been meant to come here: a page of anybody can have its own name point at this machine (DNS
/// rebinding), and then reads the answers as its own. An address and `localhost` are nobody's name.
fn is_allowed(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            return rest
                .split_once(']')
                .is_some_and(|(ip, port)| ip.parse::<Ipv6Addr>().is_ok() && is_port(port));
        }
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<Ipv4Addr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n";

    fn read_all(text: &str) -> Read {
        read(text.as_bytes(), Some(&["node7.example".to_owned()]))
    }

    fn wants(text: &str) -> Result<Wanted, Status> {
        match read_all(text) {
            Read::Request(request, len) => {
                assert_eq!(len, text.len());
                request.wants
            }
            Read::Broken(status) => Err(status),
            Read::More => panic!("{text:?} is whole"),
        }
    }

    #[test]
    fn a_request_is_read_however_it_is_cut_and_the_next_one_is_left() {
        let text = format!("{GET}\r\n");
        for len in 0..text.len() {
            assert_eq!(read_all(&text[..len]), Read::More, "{len}");
        }
        let both = format!("{text}HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        let Read::Request(request, len) = read_all(&both) else {
            panic!("a request")
        };
        assert_eq!(len, text.len());
        assert_eq!(request.wants, Ok(Wanted::Report(Form::OpenMetrics)));
        assert!(request.keep && !request.head_only);
    }

    #[test]
    fn each_refusal_has_its_status() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(2048));
        let longer = format!("GET /{}", "a".repeat(MAX_HEAD));
        let headers = format!("{GET}{}\r\n", "A: b\r\n".repeat(64));
        let large = format!("{GET}A: {}", "b".repeat(MAX_HEAD));
        let cases = [
            (
                "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                Status::MethodNotAllowed,
            ),
            (
                "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n",
                Status::MethodNotAllowed,
            ),
            ("GET / HTTP/1.1\r\n\r\n", Status::BadRequest),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                Status::BadRequest,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n",
                Status::BadRequest,
            ),
            (
                "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
                Status::BadRequest,
            ),
            ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", Status::Version),
            ("\u{16}\u{3}\u{1}\r\n\r\n", Status::BadRequest),
            (
                "GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                Status::NotFound,
            ),
            (
                "GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
                Status::NotFound,
            ),
            (&long, Status::TargetTooLong),
            (&longer, Status::TargetTooLong),
            (&headers, Status::HeadTooLarge),
            (&large, Status::HeadTooLarge),
        ];
        for (text, status) in cases {
            assert_eq!(wants(text), Err(status), "{text:?}");
        }
    }

    #[test]
    fn a_foreign_name_is_not_this_host() {
        let asked = |host: &str| wants(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        for host in [
            "127.0.0.1",
            "127.0.0.1:9100",
            "[::1]",
            "[::1]:9100",
            "192.0.2.7:1",
            "LOCALHOST",
            "localhost.:80",
            "Node7.example:9100",
        ] {
            assert_eq!(asked(host), Ok(Wanted::Page), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9100",
            "127.0.0.1.evil.example",
            "[::1",
            "[evil]",
            "[::1]x",
            "127.0.0.1:80:80",
            "localhost:x",
            "",
        ] {
            assert_eq!(asked(host), Err(Status::Misdirected), "{host}");
        }
        let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(wants(absolute), Err(Status::Misdirected));
        // A Unix socket has no name that could be bound to another.
        let bytes = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        assert!(matches!(read(bytes, None), Read::Request(request, _) if request.wants == Ok(Wanted::Page)));
    }

    #[test]
    fn the_text_format_is_for_those_who_name_it_alone() {
        let asked = |accept: &str| wants(&format!("{GET}Accept: {accept}\r\n\r\n"));
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [prometheus, "*/*", "application/json", ""] {
            assert_eq!(asked(accept), Ok(Wanted::Report(Form::OpenMetrics)), "{accept}");
        }
        for accept in [
            "text/plain",
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            "text/plain;version=0.0.4, application/openmetrics-text;q=0",
        ] {
            assert_eq!(asked(accept), Ok(Wanted::Report(Form::Text)), "{accept}");
        }
    }

    #[test]
    fn whoever_wants_to_leave_may() {
        let keeps = |text: &str| matches!(read_all(text), Read::Request(request, _) if request.keep);
        assert!(keeps("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(!keeps(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: TE, Close\r\n\r\n"
        ));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    }
}
