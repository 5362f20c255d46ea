//! What all connected Unix sockets share, written once.

/// Implements what streams, seqpackets and datagrams have in common for a type with a field `socket`.
macro_rules! shared_methods {
    ($type:ident) => {
        /// Ends, state and the peer's process.
        impl $type {
            /// The address of this end.
            ///
            /// # Errors
            ///
            /// The errno of `getsockname(2)`.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                $crate::name::local_addr(&self.socket)
            }

            /// The address of the other end.
            ///
            /// # Errors
            ///
            /// `NotConnected` where there is none.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                $crate::name::peer_addr(&self.socket, &self.socket.peer_unix()?)
            }

            /// The name of this end.
            ///
            /// # Errors
            ///
            /// The errno of `getsockname(2)`.
            pub fn local(&self) -> io::Result<UnixName> {
                self.socket.local_unix()
            }

            /// The name of the other end.
            ///
            /// # Errors
            ///
            /// `NotConnected` where there is none.
            pub fn peer(&self) -> io::Result<UnixName> {
                self.socket.peer_unix()
            }

            /// The pending error, which asking clears: the next call answers `None`.
            ///
            /// # Errors
            ///
            /// The errno of `getsockopt(2)`.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.take_error()
            }

            /// Ends reading, writing, or both.
            ///
            /// # Errors
            ///
            /// `NotConnected` where there is no peer.
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.socket.shutdown(how)
            }

            /// Runs `f`, which does some I/O on the socket's descriptor. On Linux that is all: readiness needs no help.
            ///
            /// # Errors
            ///
            /// Those of `f`.
            #[inline]
            pub fn try_io<F, T>(&self, f: F) -> io::Result<T>
            where
                F: FnOnce() -> io::Result<T>,
            {
                f()
            }

            /// Waits until there is something to read or `timeout` has passed (`false`). For programs without a loop.
            ///
            /// # Errors
            ///
            /// The errno of `poll(2)`; `Interrupted` is not among them.
            pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
                self.socket.wait_readable(timeout)
            }

            /// Waits until there is room to write or `timeout` has passed (`false`). For programs without a loop.
            ///
            /// # Errors
            ///
            /// As [`wait_readable`](Self::wait_readable).
            pub fn wait_writable(&self, timeout: Duration) -> io::Result<bool> {
                self.socket.wait_writable(timeout)
            }

            /// The process, user and group at the other end, as they were when it connected or listened.
            ///
            /// # Errors
            ///
            /// `NotConnected` where there is no peer that the kernel has noted.
            #[doc(alias = "SO_PEERCRED")]
            pub fn peer_credentials(&self) -> io::Result<Credentials> {
                unix::peer_credentials(&self.socket)
            }

            /// The process at the other end as a descriptor that never becomes another's.
            ///
            /// # Errors
            ///
            /// As [`peer_credentials`](Self::peer_credentials); EMFILE at the limit of descriptors.
            #[doc(alias = "SO_PEERPIDFD")]
            pub fn peer_process(&self) -> io::Result<PeerProcess> {
                unix::peer_process(&self.socket)
            }

            /// The supplementary groups of the process at the other end.
            ///
            /// # Errors
            ///
            /// As [`peer_credentials`](Self::peer_credentials).
            #[doc(alias = "SO_PEERGROUPS")]
            pub fn peer_groups(&self) -> io::Result<Vec<u32>> {
                unix::peer_groups(&self.socket)
            }

            /// Reports the sender's process, user and group with each message: [`UnixIncoming::credentials`].
            ///
            /// # Errors
            ///
            /// The errno of `setsockopt(2)`.
            #[doc(alias = "SO_PASSCRED")]
            pub fn set_pass_credentials(&self, on: bool) -> io::Result<()> {
                self.socket.set(options::SO_PASSCRED, on)
            }

            /// Reports the sender's process as a descriptor with each message: [`UnixIncoming::pidfd`]. Says whether this
            /// kernel can.
            ///
            /// # Errors
            ///
            /// The errno of `setsockopt(2)`.
            #[doc(alias = "SO_PASSPIDFD")]
            pub fn set_pass_pidfd(&self, on: bool) -> io::Result<bool> {
                self.socket.set_if_known(options::SO_PASSPIDFD, on)
            }

            /// Sends a message with descriptors or credentials beside it; returns how many bytes of the payload went.
            ///
            /// # Errors
            ///
            /// As [`sockeye_socket::unix::send_unix_msg`].
            pub fn send_msg(&self, message: &UnixOutgoing<'_>) -> io::Result<usize> {
                unix::send_unix_msg(&self.socket, message)
            }

            /// Receives a message with what came beside it: every descriptor in it is owned, close-on-exec.
            ///
            /// # Errors
            ///
            /// As [`sockeye_socket::unix::recv_unix_msg`].
            pub fn recv_msg(&self, buf: &mut [u8]) -> io::Result<UnixIncoming> {
                unix::recv_unix_msg(&self.socket, buf)
            }

            /// The socket beneath, for options that have no method here.
            #[must_use]
            #[inline]
            pub fn socket(&self) -> &Socket {
                &self.socket
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("fd", &self.socket.as_raw_fd())
                    .field("local", &self.local().ok())
                    .field("peer", &self.peer().ok())
                    .finish()
            }
        }
    };
}

/// Implements what the two listeners have in common.
macro_rules! listener_methods {
    ($type:ident, $stream:ident, $kind:expr, $what:literal) => {
        impl $type {
            /// Accepts one connection, nonblocking and close-on-exec, with the address of its peer.
            ///
            /// # Errors
            ///
            /// `WouldBlock` when nobody waits; for all others [`accept_outcome`](Self::accept_outcome) knows what to do.
            pub fn accept(&self) -> io::Result<($stream, SocketAddr)> {
                let (socket, peer) = self.socket.accept_unix()?;
                let peer = $crate::name::peer_addr(&socket, &peer)?;
                Ok((socket.into(), peer))
            }

            /// Accepts one connection, or says what to do instead.
            #[inline]
            pub fn accept_outcome(&self) -> AcceptOutcome<$stream> {
                match self.socket.accept_unix() {
                    Ok((socket, peer)) => AcceptOutcome::Accepted(socket.into(), peer),
                    Err(error) => AcceptOutcome::of(error),
                }
            }

            /// Options for a listener, set before it is bound.
            pub fn options() -> ListenOptions {
                ListenOptions::new()
            }

            /// Takes over a descriptor that something else has opened, and sees to it that it is a listening Unix socket of
            /// this type and nonblocking. Its path, if it has one, is the other's to remove.
            ///
            /// # Errors
            ///
            /// ENOTSOCK where it is no socket, `InvalidInput` where it is another kind, or does not listen.
            pub fn adopt(fd: OwnedFd) -> Result<Self, OpError> {
                let socket = Socket::from(fd);
                let adopted = || -> io::Result<()> {
                    if socket.listens_as_unix($kind)? != Some(true) {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidInput,
                            concat!("no listening Unix socket of ", $what),
                        ));
                    }
                    socket.set_nonblocking(true)
                };
                match adopted() {
                    Ok(()) => Ok(socket.into()),
                    Err(error) => Err(OpError::unix(Op::Adopt, error)),
                }
            }

            /// The listeners that a service manager has opened for this process (systemd's socket activation), with their
            /// names; none where there is no such manager. The environment is left as it is.
            ///
            /// # Errors
            ///
            /// Where the environment contradicts itself, or a descriptor is not a listening Unix socket of this type: those
            /// that are none of this crate's take [`inherited_fds`](sockeye_socket::os::inherited_fds) and sort them.
            #[doc(alias = "LISTEN_FDS")]
            pub fn inherited() -> Result<Vec<(Option<String>, Self)>, OpError> {
                let inherited = os::inherited_fds().map_err(|error| OpError::unix(Op::Adopt, error))?;
                inherited
                    .into_iter()
                    .map(|inherited| Ok((inherited.name, Self::adopt(inherited.fd)?)))
                    .collect()
            }

            /// The address it listens at.
            ///
            /// # Errors
            ///
            /// The errno of `getsockname(2)`.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                $crate::name::local_addr(&self.socket)
            }

            /// The name it listens at.
            ///
            /// # Errors
            ///
            /// As [`local_addr`](Self::local_addr).
            pub fn local(&self) -> io::Result<UnixName> {
                self.socket.local_unix()
            }

            /// The pending error, which asking clears.
            ///
            /// # Errors
            ///
            /// The errno of `getsockopt(2)`.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.take_error()
            }

            /// Waits until a connection can be accepted or `timeout` has passed (`false`). For programs without a loop.
            ///
            /// # Errors
            ///
            /// The errno of `poll(2)`; `Interrupted` is not among them.
            pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
                self.socket.wait_readable(timeout)
            }

            /// A second descriptor of the same listener. The path goes with the first.
            ///
            /// # Errors
            ///
            /// EMFILE at the limit of descriptors.
            pub fn try_clone(&self) -> io::Result<Self> {
                self.socket.try_clone().map(Self::from)
            }

            /// Leaves the path in its place when this is dropped: for another process that goes on listening there.
            pub fn keep_path(&mut self) {
                if let Some(path) = self.path.take() {
                    path.keep();
                }
            }

            /// The socket beneath, for options that have no method here.
            #[must_use]
            #[inline]
            pub fn socket(&self) -> &Socket {
                &self.socket
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("fd", &self.socket.as_raw_fd())
                    .field("local", &self.local().ok())
                    .finish()
            }
        }
    };
}

pub(crate) use {listener_methods, shared_methods};
