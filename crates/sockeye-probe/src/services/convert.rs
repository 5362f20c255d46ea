//! The loop's errors in the engines' words.

use std::io;
use std::net::IpAddr;

use sockeye_event_loop::{Cause as Queued, Fault, QueueEntry, QueuedError, SendFailure, errno};

use crate::input::Cause;

/// Why a message did not leave.
pub(super) fn of_failure(failure: &SendFailure) -> Cause {
    let error = failure.error;
    match error.fault() {
        Fault::TooBig { mtu } => Cause::TooBig { mtu },
        Fault::Filtered if error.errno() == errno::EACCES => Cause::ProhibitRoute,
        Fault::Filtered => Cause::Prohibited,
        Fault::Invalid if failure.destination.is_some_and(|to| may_be_routed(to.ip())) => {
            Cause::BlackholeRoute
        }
        _ => of_kind(io::Error::from(error).kind()),
    }
}

/// Whether EINVAL can only be the answer of a blackhole route: everything else in what is sent here the kernel takes, but a
/// link-local address without its interface.
const fn may_be_routed(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local() && !ip.is_multicast(),
    }
}

/// What an entry of the error queue says about a message that did leave; `None` for other entries, and for messages that
/// are no errors.
pub(super) fn of_entry(entry: &QueueEntry) -> Option<(&QueuedError, Cause)> {
    let QueueEntry::Error(error) = entry else {
        return None;
    };
    let rest = error.mtu.unwrap_or(0);
    let cause = match error.cause {
        Queued::Icmpv4 { kind, code } => Cause::from_icmpv4(kind, code, rest)?,
        Queued::Icmpv6 { kind, code } => Cause::from_icmpv6(kind, code, rest)?,
        _ if error.mtu.is_some() => Cause::TooBig { mtu: error.mtu },
        _ => of_kind(error.error().kind()),
    };
    Some((error, cause))
}

const fn of_kind(kind: io::ErrorKind) -> Cause {
    match kind {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => Cause::NetworkUnreachable,
        io::ErrorKind::HostUnreachable => Cause::HostUnreachable,
        io::ErrorKind::ConnectionRefused => Cause::PortUnreachable,
        io::ErrorKind::PermissionDenied => Cause::Prohibited,
        _ => Cause::NotSent,
    }
}

/// Whether a failed receive is about a probe that was sent, as sockets with an error queue tell it, or about the network.
pub(super) fn is_about_a_probe(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::PermissionDenied
            | Kind::TimedOut
    ) || matches!(
        error.raw_os_error(),
        Some(errno::EMSGSIZE | errno::EHOSTDOWN | errno::ENOPROTOOPT | errno::ENOBUFS | errno::ENOMEM)
    )
}
