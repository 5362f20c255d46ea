//! Unix sockets of datagrams of the kernel.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use sockeye_endpoint::UnixName;
use sockeye_socket::errno::{EAGAIN, EDESTADDRREQ, EIO, ENOBUFS};
use sockeye_socket::{Meta, Op, OpError, Outgoing, RecvBatch, SendError, SendReport};
use sockeye_unix::{DatagramOptions, UnixDatagram};

use crate::options::UnixDatagramOptions;
use crate::unix_peers::UnixPeers;

/// One byte more than a batch of the loop has room for: what is longer is known to be cut.
const SLOT: usize = 65_536;

/// A socket, and who its peers are.
#[derive(Debug)]
pub struct UnixSocket {
    pub(super) socket: UnixDatagram,
    inbox: Vec<u8>,
    peers: UnixPeers,
    pub(super) connected: bool,
}

pub(super) fn bind(at: &UnixName, options: &UnixDatagramOptions) -> Result<UnixSocket, OpError> {
    let mut how = DatagramOptions::new()
        .take_over(options.take_over)
        .unlink(options.unlink);
    if let Some(mode) = options.mode {
        how = how.mode(mode);
    }
    if let Some(bytes) = options.send_buffer {
        how = how.send_buffer(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
    let socket = how.bind(at)?;
    if let Some(peer) = &options.connect {
        let failed = |error| {
            let error = OpError::unix(Op::Connect, error);
            error.with_local_name(*at).with_peer_name(*peer)
        };
        socket.connect_name(peer).map_err(failed)?;
    }
    Ok(UnixSocket {
        socket,
        inbox: vec![0; SLOT],
        peers: UnixPeers::default(),
        connected: options.connect.is_some(),
    })
}

impl UnixSocket {
    pub(super) fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.clear();
        // One by one: a queue holds few (`net.unix.max_dgram_qlen`), and recvmmsg costs more than the calls that it saves.
        while batch.len() < batch.capacity() {
            match self.socket.recv_from_name(&mut self.inbox) {
                Ok((len, name)) => {
                    let source = self.peers.address_of(&name);
                    batch.push(&self.inbox[..len], source, None, Meta::NONE);
                }
                // What came before the error is told first; the error comes again.
                Err(_) if !batch.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(batch.len())
    }

    pub(super) fn send_batch<'a>(
        &mut self,
        range: Range<usize>,
        mut message: impl FnMut(usize) -> Outgoing<'a>,
    ) -> SendReport {
        let (start, count) = (range.start, range.len());
        for index in range {
            if let Err(errno) = self.send(&message(index)) {
                return SendReport {
                    count: index - start,
                    error: Some(SendError::from_errno(errno)),
                };
            }
        }
        SendReport { count, error: None }
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<(), i32> {
        let sent = match message.destination() {
            None => self.socket.send(message.payload()),
            Some(address) => match self.peers.name_of(address) {
                Some(name) => self.socket.send_to_name(message.payload(), &name),
                // A peer without a name, or one that is long forgotten.
                None => return Err(EDESTADDRREQ),
            },
        };
        match sent {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.raw_os_error().unwrap_or(EIO) {
                // The queue of that peer is full, of which no event tells the end unless it is the only one.
                EAGAIN if !self.connected => ENOBUFS,
                errno => errno,
            }),
        }
    }

    pub(super) fn name_of(&self, address: SocketAddr) -> Option<UnixName> {
        self.peers.name_of(address)
    }

    pub(super) fn address_of(&mut self, name: &UnixName) -> SocketAddr {
        self.peers.address_of(name)
    }
}
