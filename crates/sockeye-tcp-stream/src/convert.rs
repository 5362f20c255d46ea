//! Conversions: the descriptor traits, the socket beneath, the standard library's types.

use std::net;

use sockeye_socket::Socket;

use crate::{TcpListener, TcpStream};

macro_rules! convert {
    ($type:ident, $std:ty) => {
        impl AsRef<Socket> for $type {
            #[inline]
            fn as_ref(&self) -> &Socket {
                &self.socket
            }
        }

        impl From<Socket> for $type {
            /// Takes the socket as it is.
            fn from(socket: Socket) -> Self {
                Self { socket }
            }
        }

        impl From<$type> for Socket {
            fn from(value: $type) -> Self {
                value.socket
            }
        }

        impl From<$type> for $std {
            /// It stays nonblocking.
            fn from(value: $type) -> Self {
                value.socket.into()
            }
        }

        impl From<$std> for $type {
            /// Takes it as it is: make it nonblocking first.
            fn from(value: $std) -> Self {
                Self::from_std(value)
            }
        }

        sockeye_socket::__descriptor_traits!($type);
    };
}

convert!(TcpListener, net::TcpListener);
convert!(TcpStream, net::TcpStream);
