//! `mio::event::Source` for the sockets and rings: the descriptor, as it is.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, event};

use crate::{LinkSocket, ReceiveRing, SendRing};

macro_rules! source {
    ($($type:ty),+) => {$(
        impl event::Source for $type {
            fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
                SourceFd(&self.as_raw_fd()).register(registry, token, interests)
            }

            fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
                SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                SourceFd(&self.as_raw_fd()).deregister(registry)
            }
        }
    )+};
}

source!(LinkSocket, ReceiveRing, SendRing);
