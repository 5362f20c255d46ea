//! What is wrong with this side of a connection: `--source` and `--interface`.

use std::io;

use sockeye::socket::{Op, OpError, errno};

use super::Arguments;
use crate::exit::{Exit, Failure};
use crate::names;

/// An error of the source or the interface in the words of its option, and what to do; any other error as it is.
pub(super) fn named(arguments: &Arguments, error: anyhow::Error) -> anyhow::Error {
    let operation = error.chain().find_map(|cause| {
        let inside = cause.downcast_ref::<io::Error>().and_then(OpError::of);
        cause.downcast_ref::<OpError>().or(inside)
    });
    let said = operation.and_then(|operation| match operation.op() {
        Op::Set("SO_BINDTODEVICE") => of_interface(arguments.interface.as_deref()?, operation),
        Op::Bind => of_source(arguments, operation),
        _ => None,
    });
    said.unwrap_or(error)
}

fn of_source(arguments: &Arguments, error: &OpError) -> Option<anyhow::Error> {
    let source = arguments.source?;
    let (ip, port) = (source.ip(), source.port());
    let (exit, why) = match error.raw_os_error()? {
        errno::EADDRNOTAVAIL => (
            Exit::Io,
            format!("no interface of this machine has the address {ip} (ip address shows which there are)"),
        ),
        errno::EACCES => (
            Exit::Permission,
            format!(
                "port {port} is not for every process: leave the port out, or take one from 1024 on (sockeye doctor \
                 says what allows it)"
            ),
        ),
        errno::EADDRINUSE => (
            Exit::Io,
            format!(
                "port {port} is in use: leave the port out, or take another one (sockeye sockets shows by whom)"
            ),
        ),
        errno::EINVAL => (
            Exit::Usage,
            format!("{ip} needs its interface, such as {ip}%eth0 (ip address shows which has it)"),
        ),
        _ => return None,
    };
    let shown = if port == 0 {
        ip.to_string()
    } else {
        source.to_string()
    };
    Some(Failure::with(
        exit,
        format!("connect {}: --source {shown}: {why}", arguments.target),
    ))
}

fn of_interface(name: &str, error: &OpError) -> Option<anyhow::Error> {
    let (exit, why) = match error.raw_os_error()? {
        errno::ENODEV => (
            Exit::Io,
            format!("there is no such interface{}", names::there_are()),
        ),
        errno::EPERM | errno::EACCES => (
            Exit::Permission,
            "this kernel lets only CAP_NET_RAW choose it (sockeye doctor says what allows it)".to_owned(),
        ),
        errno::EINVAL => (
            Exit::Usage,
            format!("an interface has a name of 1 to 15 bytes{}", names::there_are()),
        ),
        _ => return None,
    };
    Some(Failure::with(exit, format!("--interface {name}: {why}")))
}
