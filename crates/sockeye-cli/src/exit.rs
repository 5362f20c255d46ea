//! How the program ends: every exit status in one place, and which error gets which.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use sockeye::probe::Cause;
use sockeye::resolver::ResolveError;
use sockeye::socket::{OpError, errno};

use crate::files::for_this_program;
use crate::output::{Output, is_closed, warn};

/// Said by `sockeye --help`.
pub(crate) const HELP: &str = "\
Examples:
  sockeye bench
  sockeye serve echo --listen tcp://127.0.0.1:7007
  sockeye COMMAND --help       says the options of a command, with examples

Environment: NO_COLOR no colours, SOCKEYE_LOG what to log, such as debug or
sockeye_event_loop=debug.

Exit status: 0 success, 1 negative result, 2 usage, 3 name resolution,
4 permission, 5 I/O or protocol, 130 interrupted before there was any result.";

/// The exit statuses of the program. A server or a ping that is interrupted has a result: 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success = 0,
    /// It worked, and the answer is no: a host that does not answer, addresses that differ.
    Negative = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A name has no address, or the lookup failed.
    Resolution = 3,
    /// The system forbids it.
    Permission = 4,
    /// Sockets, files, or a peer that breaks its protocol.
    Io = 5,
    /// Interrupted before there was any result.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit status where its cause alone does not say it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The arguments were understood one by one, and make no sense together.
    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        Self::with(Exit::Usage, message)
    }

    /// Any status with a message of its own.
    pub(crate) fn with(exit: Exit, message: impl Into<String>) -> anyhow::Error {
        Self {
            exit,
            message: message.into(),
        }
        .into()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A destination that the routing table or a filter of this host refuses, in the words of the probes: what a router refuses
/// has no other status, and no privilege would help.
#[derive(Debug)]
pub(crate) struct Unreachable {
    cause: Cause,
    address: IpAddr,
}

impl Unreachable {
    /// What an error of `connect(2)` says of the way to `address`; `None` where it says nothing of it.
    pub(crate) fn of(error: &io::Error, address: IpAddr) -> Option<Self> {
        let cause = match error.raw_os_error()? {
            errno::EACCES => Cause::ProhibitRoute,
            errno::EINVAL => Cause::BlackholeRoute,
            errno::EPERM => Cause::Prohibited,
            errno::ENETUNREACH => Cause::NetworkUnreachable,
            errno::EHOSTUNREACH => Cause::HostUnreachable,
            _ => return None,
        };
        Some(Self { cause, address })
    }
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cause, address } = self;
        match cause {
            Cause::Prohibited => write!(f, "{cause} (of this host: nft list ruleset)"),
            _ => write!(f, "{cause} (ip route get {address})"),
        }
    }
}

impl std::error::Error for Unreachable {}

/// Which status an error ends with: the first cause that says one decides, outermost first.
pub(crate) fn classify(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if cause.is::<ResolveError>() {
            return Exit::Resolution;
        }
        if cause.is::<Unreachable>() {
            return Exit::Io;
        }
        let kind = match (cause.downcast_ref::<OpError>(), cause.downcast_ref::<io::Error>()) {
            (Some(error), _) => error.kind(),
            (None, Some(error)) => error.kind(),
            (None, None) => continue,
        };
        if kind == io::ErrorKind::PermissionDenied {
            return Exit::Permission;
        }
    }
    Exit::Io
}

/// Reports the end of a command and gives its status: an error is one line on stderr, and with `--json` an
/// event too, so that the reader of the stream sees that it has ended and why.
pub(crate) fn finish(result: anyhow::Result<Exit>, output: &mut Output) -> ExitCode {
    let result = result.and_then(|exit| output.flush().map(|()| exit).map_err(Into::into));
    match result {
        Ok(exit) => exit.into(),
        // Whoever read our stdout has had enough: `sockeye ... | head`. Nobody is left to be told.
        Err(error) if is_closed(&error) => Exit::Success.into(),
        Err(error) => {
            let exit = classify(&error);
            let message = for_this_program(&told(&error));
            // A closed stdout must not hide the error: stderr and the status still say it.
            let _ = output.failed(&message, exit);
            warn(format_args!("sockeye: {message}"));
            exit.into()
        }
    }
}

/// The error in one line. Of an address that is taken it says who has it, in the place of how to find that out.
fn told(error: &anyhow::Error) -> String {
    let message = describe(error);
    let mut causes = error.chain();
    let Some(cause) = causes.find_map(|cause| cause.downcast_ref::<OpError>()) else {
        return message;
    };
    let Some(holder) = holder(cause) else {
        return message;
    };
    let advice = cause.advice().map(|advice| format!(" ({advice})"));
    match advice.filter(|advice| message.contains(advice)) {
        Some(advice) => message.replacen(&advice, &format!(", by {holder}"), 1),
        None => format!("{message}, by {holder}"),
    }
}

/// The processes that have the address which an error says is taken, where the kernel tells.
#[cfg(feature = "sockets")]
fn holder(error: &OpError) -> Option<String> {
    use crate::commands::sockets::held;

    if error.raw_os_error() != Some(errno::EADDRINUSE) {
        return None;
    }
    match (error.local(), error.local_name()) {
        (Some(local), _) => held::by_address(local.transport(), crate::names::socket_addr(&local).ok()?),
        (None, Some(name)) => held::by_name(&name),
        (None, None) => None,
    }
}

#[cfg(not(feature = "sockets"))]
fn holder(_: &OpError) -> Option<String> {
    None
}

/// What an error says, without the number of the system's error: the words are enough for a reader.
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let said = error.to_string();
    // Of a cause that another error prints too.
    let number = |(_, end): &(&str, &str)| {
        end.strip_suffix(')')
            .is_some_and(|end| end.parse::<i32>().is_ok())
    };
    match said.rsplit_once(" (os error ").filter(number) {
        Some((words, _)) => words.to_owned(),
        None => said,
    }
}

/// The error and its causes in one line. A cause that the words before it have said already is left out: some
/// errors print their cause themselves.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let said = words(cause);
        if text.is_empty() {
            text = said;
        } else if said
            .strip_prefix(&text)
            .is_some_and(|rest| rest.starts_with(": "))
        {
            // It names what was tried as we did, and goes on.
            text = said;
        } else if !text.contains(&said) {
            // Of what was tried, and failed in other words, the end is enough.
            let known = said.rmatch_indices(": ").find_map(|(at, colon)| {
                let (known, rest) = said.split_at(at + colon.len());
                text.contains(known).then_some(rest)
            });
            text.push_str(": ");
            text.push_str(known.unwrap_or(&said));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_first_cause_that_knows_its_status_decides() {
        let denied: anyhow::Result<()> = Err(io::Error::from_raw_os_error(1).into());
        assert_eq!(
            classify(&denied.context("open raw socket").unwrap_err()),
            Exit::Permission
        );
        let refused: anyhow::Result<()> = Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        assert_eq!(classify(&refused.context("connect").unwrap_err()), Exit::Io);
        let usage = Failure::usage("nothing to listen on").context("serve");
        assert_eq!(classify(&usage), Exit::Usage);
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = io::Error::from_raw_os_error(98);
        let operation = OpError::new(
            sockeye::socket::Op::Bind,
            sockeye::endpoint::Transport::Tcp,
            cause,
        );
        let error = anyhow::Error::from(operation).context("serve tcp://127.0.0.1:80");
        let said = describe(&error);
        assert!(said.starts_with("serve tcp://127.0.0.1:80: bind"), "{said}");
        assert_eq!(said.matches("in use").count(), 1, "{said}");
        let error =
            anyhow::anyhow!("connect tcp://127.0.0.1:1: refused").context("connect tcp://127.0.0.1:1");
        assert_eq!(describe(&error), "connect tcp://127.0.0.1:1: refused");
        let error =
            anyhow::anyhow!("connect unix:@x: timed out").context("connect unix:@x: its backlog is full");
        assert_eq!(
            describe(&error),
            "connect unix:@x: its backlog is full: timed out"
        );
    }

    #[test]
    fn statuses_are_the_documented_numbers() {
        let numbers = [
            (Exit::Success, 0),
            (Exit::Negative, 1),
            (Exit::Usage, 2),
            (Exit::Resolution, 3),
            (Exit::Permission, 4),
            (Exit::Io, 5),
            (Exit::Interrupted, 130),
        ];
        for (exit, number) in numbers {
            assert_eq!(exit as u8, number);
            assert!(HELP.contains(&number.to_string()), "{number} is in the help");
        }
    }
}
