//! Addresses on the command line: one parser for all commands that listen, one for all that connect, and one way to say what
//! is wrong with a text.
//!
//! A scheme that is left out is `tcp://`. Where a socket listens a port alone, `7007` or `:7007`, stands for all addresses of
//! this machine, as other programs have it.

use std::borrow::Cow;
use std::path::Path;

use sockeye::endpoint::{Address, ParseError, ParseErrorKind, Place, Target, TargetDefaults, Transport};

/// What an address is that does not say it.
const DEFAULTS: TargetDefaults = TargetDefaults {
    transport: Some(Transport::Tcp),
    port: None,
};

/// Where to listen: `127.0.0.1:7007`, `udp://[::1]:7007`, `unix:/run/a.sock`, `:7007` or `7007`.
///
/// # Errors
/// What was read and what would be right.
pub(crate) fn listening(text: &str) -> Result<Address, String> {
    let whole = everywhere(text);
    read(&whole).map_err(|error| match read::<Target>(&whole) {
        Ok(Address::Ip { endpoint, .. }) if endpoint.endpoint().is_none() => {
            let port = endpoint.port();
            format!(
                "a socket listens on an address, not on a name: write 127.0.0.1:{port}, [::1]:{port}, or {port} for \
                 all addresses"
            )
        }
        Err(missing) if missing.kind == ParseErrorKind::MissingPort && error.kind != missing.kind => {
            "neither an address nor a port: write 127.0.0.1:PORT, [::1]:PORT, or a port alone for all addresses"
                .to_owned()
        }
        _ => wrong(text, error),
    })
}

/// Whom to connect to: `localhost:7007`, `udp://[::1]:7007`, `unix:/run/a.sock`.
///
/// # Errors
/// What was read and what would be right.
pub(crate) fn peer(text: &str) -> Result<Address<Target>, String> {
    read(text).map_err(|error| wrong(text, error))
}

/// The same address over UDP, for `-u`.
///
/// # Errors
/// That the address says something else already.
pub(crate) fn over_datagrams<E: Place + Clone>(address: &Address<E>) -> Result<Address<E>, String>
where
    Address<E>: std::fmt::Display,
{
    let text = address.to_string();
    match text.strip_prefix("tcp://") {
        Some(rest) => read(&format!("udp://{rest}")).map_err(|error| wrong(&text, error)),
        None if text.starts_with("udp://") => Ok(address.clone()),
        None => Err(format!("{address}: -u is for addresses of UDP: -u HOST:PORT")),
    }
}

fn read<E: Place>(text: &str) -> Result<Address<E>, ParseError> {
    Address::parse_with(text, DEFAULTS)
}

/// With all addresses of this machine for a port that stands alone.
fn everywhere(text: &str) -> Cow<'_, str> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) if !port.is_empty() && !port.contains([':', ']']) => port,
        None if scheme.is_none() && is_number(rest) => rest,
        _ => return text.into(),
    };
    // A socket of all IPv6 addresses has those of IPv4 too.
    let any = if Path::new("/proc/net/if_inet6").exists() {
        "[::]"
    } else {
        "0.0.0.0"
    };
    let scheme = scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default();
    format!("{scheme}{any}:{port}").into()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is wrong with an address, and what would be right.
fn wrong(text: &str, error: ParseError) -> String {
    let rest = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
    let port = rest.strip_prefix(':').unwrap_or(rest);
    if is_number(port) {
        return format!("a port alone: write HOST:{port}, such as 127.0.0.1:{port} or [::1]:{port}");
    }
    match error.kind {
        ParseErrorKind::MissingPort => {
            format!("no port: write {text}:PORT, such as {text}:7007")
        }
        _ => format!(
            "{} (addresses are such as 127.0.0.1:7007, udp://[::1]:7007, tls://host:443 or unix:/run/a.sock)",
            place(text, error)
        ),
    }
}

/// What is wrong with a text, and with which part of it: nobody counts bytes.
pub(crate) fn place(text: &str, error: ParseError) -> String {
    let ParseError { kind, at } = error;
    // Something is missing: what stands behind the place is right.
    let is_missing = matches!(
        kind,
        ParseErrorKind::TooFewOctets
            | ParseErrorKind::TooFewGroups
            | ParseErrorKind::MissingBrackets
            | ParseErrorKind::UnclosedBracket
            | ParseErrorKind::EmptyLabel
    );
    match text.get(at..) {
        // All of it is said beside this already.
        Some(rest) if at > 0 && !rest.is_empty() && !is_missing => format!("{kind}: {rest:?}"),
        _ => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_listens_everywhere() {
        for (text, read) in [
            ("7007", "tcp://[::]:7007"),
            (":7007", "tcp://[::]:7007"),
            ("udp://:53", "udp://[::]:53"),
            ("tls://:443", "tls://[::]:443"),
            ("127.0.0.1:7007", "tcp://127.0.0.1:7007"),
            ("[::1]:7007", "tcp://[::1]:7007"),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            let said = listening(text).unwrap().to_string().replace("0.0.0.0", "[::]");
            assert_eq!(said, read, "{text}");
        }
        for text in ["", ":", "70070", "127.0.0.1", "::1", "tcp://", "http", ":::1"] {
            assert!(listening(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (text, said) in [
            ("22", "a port alone: write HOST:22,"),
            (":22", "a port alone: write HOST:22,"),
            ("tcp://22", "a port alone: write HOST:22,"),
            ("localhost", "no port: write localhost:PORT,"),
            ("tcp://[::1]", "no port: write tcp://[::1]:PORT,"),
            ("http://x", "unknown scheme (known are tcp, "),
            ("10.0.0.01:80", "leading zero"),
        ] {
            let error = peer(text).unwrap_err();
            assert!(
                error.starts_with(said) && !error.contains("byte"),
                "{text}: {error}"
            );
        }
        let named = listening("localhost:5555").unwrap_err();
        assert!(named.contains("127.0.0.1:5555"), "{named}");
    }
}
