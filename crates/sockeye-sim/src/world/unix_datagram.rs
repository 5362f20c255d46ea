//! Unix sockets of datagrams within a host: what is sent lies in the queue of its receiver at once.

use std::collections::VecDeque;

use sockeye_endpoint::UnixName;
use sockeye_event_loop::backend::Readiness;

use super::host::SockRef;
use super::knobs::Call;
use super::{Failed, NONE, World};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// Datagrams that may wait at a socket: Linux's `net.unix.max_dgram_qlen`, and one more.
const QUEUE: usize = 11;

/// A Unix socket of datagrams.
#[derive(Debug)]
pub(crate) struct UnixDatagram {
    pub(crate) host: u16,
    pub(crate) token: u64,
    pub(crate) queued: bool,
    pub(crate) name: UnixName,
    /// Its only peer.
    connect: Option<UnixName>,
    unlink: bool,
    waiting: VecDeque<(UnixName, Vec<u8>)>,
    /// Those who send to this one alone and found no room, each once.
    senders: Vec<u32>,
    /// It is one of its peer's `senders`.
    waits: bool,
}

impl UnixDatagram {
    pub(crate) fn flags(&self) -> Readiness {
        if self.waiting.is_empty() {
            Readiness::WRITABLE
        } else {
            Readiness::READABLE.with(Readiness::WRITABLE)
        }
    }
}

impl World {
    /// A socket with a name, connected to its only peer if it has one.
    pub(crate) fn bind_unix(
        &mut self,
        host: u16,
        name: &UnixName,
        connect: Option<UnixName>,
        (take_over, unlink): (bool, bool),
    ) -> Result<u32, Failed> {
        self.count_call(host, Call::Socket).map_err(Failed::Open)?;
        self.take_descriptor(host).map_err(Failed::Open)?;
        let index = u32::try_from(self.unix_datagrams.len()).unwrap_or(NONE);
        let outcome = self.hosts[usize::from(host)]
            .unix
            .bind_datagram(name, index, take_over)
            .map_err(Failed::Bind)
            .and_then(|name| match connect {
                Some(peer) => self
                    .unix_receiver(host, &peer)
                    .map(|_| name)
                    .map_err(Failed::Connect),
                None => Ok(name),
            });
        let name = match outcome {
            Ok(name) => name,
            Err(failed) => {
                self.give_descriptor(host);
                return Err(failed);
            }
        };
        self.unix_datagrams.push(UnixDatagram {
            host,
            token: u64::MAX,
            queued: false,
            name,
            connect,
            unlink,
            waiting: VecDeque::new(),
            senders: Vec::new(),
            waits: false,
        });
        Ok(index)
    }

    /// The socket of datagrams at a name.
    fn unix_receiver(&self, host: u16, name: &UnixName) -> Result<u32, i32> {
        self.hosts[usize::from(host)].unix.datagram_at(name)
    }

    pub(crate) fn send_unix(&mut self, socket: u32, payload: &[u8], to: Option<UnixName>) -> Result<(), i32> {
        let slot = &self.unix_datagrams[socket as usize];
        let (host, name, connected) = (slot.host, slot.name, slot.connect.is_some());
        let to = to.or(slot.connect).ok_or(errno::ENOTCONN)?;
        self.count_call(host, Call::Send)?;
        let receiver = match self.unix_receiver(host, &to) {
            Err(errno::EPROTOTYPE) if self.mutated(Mutant::UnixWrongTypeIsFine) => return Ok(()),
            found => found?,
        };
        let (unbounded, hears_all) = (
            self.mutated(Mutant::UnixQueueUnbounded),
            self.mutated(Mutant::UnixConnectedHearsAll),
        );
        let name = if self.mutated(Mutant::UnixSenderUnknown) {
            UnixName::UNNAMED
        } else {
            name
        };
        let slot = &mut self.unix_datagrams[receiver as usize];
        if slot.connect.is_some_and(|peer| peer != name) && !hears_all {
            return Err(errno::EPERM);
        }
        if slot.waiting.len() >= QUEUE && !unbounded {
            if !connected {
                // No event tells of room at one of many.
                return Err(errno::ENOBUFS);
            }
            if !self.unix_datagrams[socket as usize].waits {
                self.unix_datagrams[socket as usize].waits = true;
                self.unix_datagrams[receiver as usize].senders.push(socket);
            }
            return Err(errno::EAGAIN);
        }
        slot.waiting.push_back((name, payload.to_vec()));
        self.step(Step::Write, socket, payload.len() as u64);
        self.wake_unix(receiver);
        Ok(())
    }

    /// The next datagram, and who sent it.
    pub(crate) fn receive_unix(&mut self, socket: u32) -> Result<(UnixName, Vec<u8>), i32> {
        let host = self.unix_datagrams[socket as usize].host;
        self.count_call(host, Call::Receive)?;
        let received = self.unix_datagrams[socket as usize].waiting.pop_front();
        let (source, payload) = received.ok_or(errno::EAGAIN)?;
        self.wake_senders(socket);
        Ok((source, payload))
    }

    /// Tells those who found no room here to try again.
    fn wake_senders(&mut self, socket: u32) {
        for sender in std::mem::take(&mut self.unix_datagrams[socket as usize].senders) {
            self.unix_datagrams[sender as usize].waits = false;
            self.wake_unix(sender);
        }
    }

    pub(crate) fn wake_unix(&mut self, socket: u32) {
        let slot = &mut self.unix_datagrams[socket as usize];
        if !slot.queued && slot.token != u64::MAX {
            slot.queued = true;
            let host = slot.host;
            self.hosts[usize::from(host)].ready.push(SockRef::Unix(socket));
            self.make_runnable(host);
        }
    }

    pub(crate) fn close_unix_datagram(&mut self, socket: u32) {
        let slot = &mut self.unix_datagrams[socket as usize];
        slot.token = u64::MAX;
        slot.waiting = VecDeque::new();
        let (host, name, unlink) = (slot.host, slot.name, slot.unlink);
        self.give_descriptor(host);
        self.hosts[usize::from(host)]
            .unix
            .free_datagram(&name, socket, unlink);
        // Their next datagram is refused.
        self.wake_senders(socket);
    }
}
