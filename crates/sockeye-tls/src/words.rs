//! What an error of rustls means, in sentences for people; rustls prints the names of its enums.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

/// Names of a certificate that are said; there may be hundreds.
const MAX_NAMES: usize = 5;

/// An error in words.
pub(crate) struct Words<'a>(pub(crate) &'a Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Error::InvalidCertificate(error) => certificate(f, error),
            Error::AlertReceived(alert) => match alert_name(*alert) {
                Some(name) => write!(
                    f,
                    "the peer has ended it by the alert {name} (RFC 8446, section 6)"
                ),
                None => write!(f, "the peer has ended it by the alert {}", u8::from(*alert)),
            },
            Error::InvalidMessage(_) => f.write_str("what the peer sent is no TLS"),
            Error::NoApplicationProtocol => f.write_str("the peer speaks none of the protocols (ALPN)"),
            Error::NoCertificatesPresented => f.write_str("the peer has shown no certificate"),
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                f.write_str("the peer has sent a message that does not belong there")
            }
            Error::PeerIncompatible(_) => {
                f.write_str("the peer has no version, cipher or key exchange in common with us")
            }
            Error::PeerMisbehaved(_) => f.write_str("the peer breaks the protocol"),
            Error::DecryptError => f.write_str("what the peer sent cannot be decrypted"),
            Error::General(words) => f.write_str(words),
            error => error.fmt(f),
        }
    }
}

fn certificate(f: &mut fmt::Formatter<'_>, error: &CertificateError) -> fmt::Result {
    let mut say = |words: &str| f.write_str(words);
    match error {
        CertificateError::UnknownIssuer => {
            say("nobody who is trusted here has issued the peer's certificate")
        }
        CertificateError::BadSignature => say("the signature of the peer's certificate is wrong"),
        CertificateError::BadEncoding => say("the peer's certificate cannot be read"),
        CertificateError::Revoked => say("the peer's certificate is revoked"),
        CertificateError::Expired => say("the peer's certificate has expired"),
        CertificateError::ExpiredContext { time, not_after } => {
            write!(
                f,
                "the peer's certificate has expired {} ago",
                between(*not_after, *time)
            )
        }
        CertificateError::NotValidYet => say("the peer's certificate is not valid yet"),
        CertificateError::NotValidYetContext { time, not_before } => {
            write!(
                f,
                "the peer's certificate is valid only in {}",
                between(*time, *not_before)
            )
        }
        CertificateError::NotValidForName => say("the peer's certificate is for another name"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            write!(
                f,
                "the peer's certificate is not for {}, but for ",
                expected.to_str()
            )?;
            names(f, presented)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            say("the peer's certificate is for another purpose")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            say("the peer's certificate is signed in a way that is not known here")
        }
        // webpki's name for it; the type is not rustls' own.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            say("the peer's certificate is one of an authority (CaUsedAsEndEntity), not of a server")
        }
        error => write!(f, "the peer's certificate is not accepted: {error}"),
    }
}

/// The names of a certificate, as far as they fit: rustls has them as `DnsName("a.test")` and `IpAddress(192.0.2.1)`.
fn names(f: &mut fmt::Formatter<'_>, presented: &[String]) -> fmt::Result {
    if presented.is_empty() {
        return f.write_str("no name at all");
    }
    for (index, name) in presented.iter().take(MAX_NAMES).enumerate() {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        let name = inner.map_or(name.as_str(), |inner| inner.trim_matches('"'));
        let comma = if index > 0 { ", " } else { "" };
        // They are the peer's.
        write!(f, "{comma}{}", name.escape_debug())?;
    }
    match presented.len().saturating_sub(MAX_NAMES) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// How long it is from one time to another, in its largest unit.
fn between(from: UnixTime, to: UnixTime) -> String {
    let seconds = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs())).as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// The name of an alert in RFC 8446, section 6, and its forerunners RFC 5246, RFC 6066 and RFC 7507.
fn alert_name(alert: AlertDescription) -> Option<&'static str> {
    Some(match u8::from(alert) {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    fn said(error: CertificateError) -> String {
        Words(&Error::InvalidCertificate(error)).to_string()
    }

    #[test]
    fn a_certificate_for_others_says_for_whom() {
        let of = |presented: &[&str]| {
            said(CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("a.test").unwrap(),
                presented: presented.iter().map(|name| (*name).to_owned()).collect(),
            })
        };
        let head = "the peer's certificate is not for a.test, but for ";
        assert_eq!(
            of(&[r#"DnsName("b.test")"#, "IpAddress(192.0.2.1)"]),
            format!("{head}b.test, 192.0.2.1")
        );
        assert_eq!(of(&[]), format!("{head}no name at all"));
        assert!(of(&["DnsName(\"x\")"; 9]).ends_with("x, x, x, x, x and 4 more"));
        assert!(!of(&["DnsName(\"\u{1b}[2J\")"]).contains('\u{1b}'));
    }

    #[test]
    fn times_are_said_in_their_largest_unit() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = |ago: u64| {
            said(CertificateError::ExpiredContext {
                time: at(1_000_000),
                not_after: at(1_000_000 - ago),
            })
        };
        assert!(expired(86_400).ends_with("has expired 1 day ago"));
        assert!(expired(7_300).ends_with("has expired 2 hours ago"));
        let early = said(CertificateError::NotValidYetContext {
            time: at(0),
            not_before: at(90),
        });
        assert!(early.ends_with("valid only in 1 minute"), "{early}");
    }

    #[test]
    fn no_alert_is_said_by_the_name_of_an_enum() {
        for number in 0..=u8::MAX {
            let said = Words(&Error::AlertReceived(number.into())).to_string();
            let name = said.strip_prefix("the peer has ended it by the alert ").unwrap();
            assert!(
                !name.contains("Unknown") && !name.starts_with(char::is_uppercase),
                "{said}"
            );
        }
        assert!(
            Words(&Error::AlertReceived(AlertDescription::UnknownCA))
                .to_string()
                .contains(" unknown_ca ")
        );
        assert!(said(CertificateError::UnknownIssuer).starts_with("nobody who is trusted"));
    }
}
