//! The loop's errors in the engines' words.

use std::io;

use sockeye_event_loop::{Cause as Queued, Fault, QueueEntry, QueuedError, SendFailure};

use crate::input::Cause;

/// Why a message did not leave.
pub(super) fn of_failure(failure: &SendFailure) -> Cause {
    match failure.error.fault() {
        Fault::TooBig { mtu } => Cause::TooBig { mtu },
        Fault::Filtered => Cause::Prohibited,
        _ => of_kind(io::Error::from(failure.error).kind()),
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
