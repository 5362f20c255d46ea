//! The sockets of a feature that is switched off: a type without values.
#![cfg_attr(
    all(feature = "tcp", feature = "udp", feature = "raw"),
    expect(dead_code, unreachable_pub, reason = "every socket is there")
)]

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;

use mio::event::Source;
use mio::{Interest, Registry};
use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Op, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport};

use crate::backend::{ConnectProgress, ListenerIo, MessageIo, StreamIo};
use crate::options::StreamOption;

/// No socket.
#[derive(Debug)]
pub enum Absent {}

/// The answer of every operation on sockets that are not compiled in.
pub(super) fn without<T>(feature: &str, at: SocketAddr, _options: &impl Debug) -> Result<T, OpError> {
    let transport = if feature == "udp" {
        Transport::Udp
    } else {
        Transport::Tcp
    };
    let why = format!("sockeye-event-loop is built without its feature `{feature}`");
    let error = io::Error::new(io::ErrorKind::Unsupported, why);
    Err(OpError::new(Op::Open, transport, error).with_local(Endpoint::new(transport, at.ip(), at.port())))
}

impl Source for Absent {
    fn register(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    fn reregister(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        match *self {}
    }
}

impl ListenerIo for Absent {
    type Stream = Self;

    fn accept(&mut self) -> io::Result<(Self, Option<SocketAddr>)> {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }
}

impl StreamIo for Absent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn write_vectored(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        match *self {}
    }

    fn shutdown(&mut self, _: Shutdown) -> io::Result<()> {
        match *self {}
    }

    fn abort(&mut self) {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    fn set_option(&mut self, _: &StreamOption) -> io::Result<()> {
        match *self {}
    }
}

impl MessageIo for Absent {
    fn recv_batch(&mut self, _: &mut RecvBatch) -> io::Result<usize> {
        match *self {}
    }

    fn send_batch<'a, F>(&mut self, _: &mut SendBatch, _: Range<usize>, _: F) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        match *self {}
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }
}
