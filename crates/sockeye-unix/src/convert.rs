//! Conversions: the descriptor traits, the socket beneath, the standard library's types.

use std::os::unix::net;

use sockeye_socket::Socket;

use crate::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};

macro_rules! descriptor {
    ($type:ident) => {
        impl AsRef<Socket> for $type {
            #[inline]
            fn as_ref(&self) -> &Socket {
                &self.socket
            }
        }

        sockeye_socket::__descriptor_traits!($type);
    };
}

macro_rules! of_socket {
    ($($type:ident),+) => {$(
        impl From<Socket> for $type {
            /// Takes the socket as it is.
            #[inline]
            fn from(socket: Socket) -> Self {
                Self { socket }
            }
        }

        impl From<$type> for Socket {
            fn from(value: $type) -> Self {
                value.socket
            }
        }

        descriptor!($type);
    )+};
}

macro_rules! with_path {
    ($($type:ident),+) => {$(
        impl From<Socket> for $type {
            /// Takes the socket as it is; its path, if it has one, stays when this is dropped.
            fn from(socket: Socket) -> Self {
                Self { path: None, socket }
            }
        }

        impl From<$type> for Socket {
            /// The path stays: whoever has the descriptor goes on answering there.
            fn from(mut value: $type) -> Self {
                value.keep_path();
                value.socket
            }
        }

        descriptor!($type);
    )+};
}

macro_rules! std_type {
    ($type:ident, $std:ty) => {
        impl From<$type> for $std {
            /// It stays nonblocking.
            fn from(value: $type) -> Self {
                Socket::from(value).into()
            }
        }

        impl From<$std> for $type {
            /// Takes it as it is: make it nonblocking first.
            fn from(value: $std) -> Self {
                Self::from_std(value)
            }
        }
    };
}

of_socket!(UnixStream, UnixSeqpacket);
with_path!(UnixListener, UnixSeqpacketListener, UnixDatagram);
std_type!(UnixListener, net::UnixListener);
std_type!(UnixStream, net::UnixStream);
std_type!(UnixDatagram, net::UnixDatagram);
