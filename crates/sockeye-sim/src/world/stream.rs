//! Stream sockets as a program sees them: connect, accept, read, write, shut down, close.
//!
//! The rules are those of Linux's `tcp_sendmsg`, `tcp_recvmsg`, `tcp_poll` and `inet_shutdown`; how bytes
//! travel between two of them is in `segment`.

use std::net::{Shutdown, SocketAddr};

use sockeye_endpoint::UnixName;

use super::host::SockRef;
use super::knobs::Call;
use super::unix::UnixEnd;
use super::{Event, NONE, UNSPECIFIED, World, shaped};
use crate::errno;
use crate::mutant::Mutant;
use crate::ring::Ring;
use crate::trace::Step;

/// Where a connection stands. What its two directions have seen is beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectState {
    /// Asked for, not answered.
    SynSent,
    /// Answered, the third step is to come.
    SynReceived,
    Established,
    /// Refused, reset, timed out, or over on both sides.
    Dead,
}

/// One end of a connection. What a plain exchange touches is in its first two cache lines and the beginning of the third:
/// with thousands of hosts each line costs a trip to memory.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Stream {
    pub(crate) token: u64,
    /// No earlier than this may anything of it arrive: order is kept.
    pub(crate) last_arrival: u64,
    /// What it has as a Unix socket, if it is one.
    pub(crate) unix: Option<Box<UnixEnd>>,
    pub(crate) generation: u32,
    pub(crate) peer: u32,
    pub(crate) peer_generation: u32,
    /// The way to the peer.
    pub(crate) path: u32,
    /// SO_ERROR.
    pub(crate) error: i32,
    pub(crate) host: u16,
    pub(crate) state: ConnectState,
    pub(crate) in_use: bool,
    /// A program holds it. An orphan only sends what is left.
    pub(crate) open: bool,
    pub(crate) queued: bool,
    /// A write found no room since the last event.
    pub(crate) no_space: bool,
    /// Bytes wait for the peer's window.
    pub(crate) window_wait: bool,
    /// A retransmission is due; nothing overtakes it.
    pub(crate) stalled: bool,
    /// SHUT_WR was asked for; the end follows the last byte.
    pub(crate) write_shut: bool,
    pub(crate) fin_received: bool,
    pub(crate) read_shut: bool,
    pub(crate) abort: bool,
    pub(crate) rx: Ring,
    pub(crate) rx_limit: usize,
    pub(crate) tx_limit: usize,
    pub(crate) tx: Ring,
    /// Bytes at the front of `tx` that are on their way.
    pub(crate) in_flight: usize,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) v6: bool,
    /// Whether its pair is in the port table.
    pub(crate) holds_pair: bool,
    pub(crate) window_event: bool,
    pub(crate) fin_sent: bool,
    pub(crate) fin_delivered: bool,
    pub(crate) retries: u8,
    /// The most bytes that leave at once: fewer after a loss.
    pub(crate) run: u32,
    /// The listener it came through, until it is accepted.
    pub(crate) listener: u32,
    pub(crate) first_loss_at: u64,
    pub(crate) user_timeout_ns: Option<u64>,
    /// Since when the peer has had no room at all.
    pub(crate) window_shut_at: Option<u64>,
    pub(crate) keepalive: Option<(u64, u64, u32)>,
    pub(crate) probes: u32,
    pub(crate) last_heard: u64,
    /// Sequence numbers for captures.
    pub(crate) sent: u32,
    pub(crate) received: u32,
}

/// What a socket starts with on the simulated kernel, as Linux's loopback roughly has it.
const DEFAULT_SEND_BUFFER: usize = 256 * 1024;
const DEFAULT_RECV_BUFFER: usize = 128 * 1024;

impl Stream {
    fn empty() -> Self {
        Self {
            generation: 0,
            in_use: false,
            open: false,
            queued: false,
            state: ConnectState::Dead,
            host: 0,
            token: u64::MAX,
            peer: NONE,
            peer_generation: 0,
            path: NONE,
            local: UNSPECIFIED,
            remote: UNSPECIFIED,
            v6: false,
            listener: NONE,
            holds_pair: false,
            rx: Ring::default(),
            rx_limit: DEFAULT_RECV_BUFFER,
            tx: Ring::default(),
            tx_limit: DEFAULT_SEND_BUFFER,
            in_flight: 0,
            last_arrival: 0,
            no_space: false,
            window_wait: false,
            window_event: false,
            stalled: false,
            retries: 0,
            run: super::segment::RUN,
            first_loss_at: 0,
            user_timeout_ns: None,
            window_shut_at: None,
            keepalive: None,
            probes: 0,
            last_heard: 0,
            write_shut: false,
            fin_sent: false,
            fin_delivered: false,
            fin_received: false,
            read_shut: false,
            abort: false,
            error: 0,
            unix: None,
            sent: 1,
            received: 1,
        }
    }

    /// Back to the beginning, with the memory of its rings.
    fn renew(&mut self) {
        let (mut rx, mut tx) = (std::mem::take(&mut self.rx), std::mem::take(&mut self.tx));
        rx.clear();
        tx.clear();
        let generation = self.generation;
        *self = Self {
            generation,
            rx,
            tx,
            ..Self::empty()
        };
    }

    /// What reads can still expect has ended.
    /// Whether both halves are shut by this side: no byte can be meant for it.
    pub(crate) fn is_deaf(&self) -> bool {
        self.read_shut && self.write_shut
    }

    pub(crate) fn is_read_shut(&self) -> bool {
        self.fin_received || self.read_shut || self.state == ConnectState::Dead
    }

    pub(crate) fn is_write_shut(&self) -> bool {
        self.write_shut || self.state == ConnectState::Dead
    }

    /// Linux's `sk_stream_is_writeable`: at least a third of the buffer is free.
    pub(crate) fn has_space(&self) -> bool {
        let used = self.tx.len();
        self.tx_limit.saturating_sub(used) >= (used / 2).max(1)
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) in_use: bool,
    pub(crate) host: u16,
    pub(crate) token: u64,
    pub(crate) queued: bool,
    pub(crate) local: SocketAddr,
    pub(crate) v6_only: bool,
    pub(crate) backlog: usize,
    /// Connections that stand and wait to be accepted.
    pub(crate) waiting: std::collections::VecDeque<u32>,
    /// Its name as a Unix socket, and whether its path goes with it.
    pub(crate) unix: Option<(UnixName, bool)>,
}

impl World {
    /// A fresh stream of a host.
    pub(crate) fn new_stream(&mut self, host: u16) -> u32 {
        let index = self.free_streams.pop().unwrap_or_else(|| {
            self.streams.push(Stream::empty());
            u32::try_from(self.streams.len() - 1).unwrap_or(NONE)
        });
        let slot = &mut self.streams[index as usize];
        slot.renew();
        slot.in_use = true;
        slot.host = host;
        index
    }

    /// The stream's place is free: nothing of it is left but what the port table remembers.
    pub(crate) fn forget_stream(&mut self, stream: u32) {
        let slot = &mut self.streams[stream as usize];
        if !slot.in_use {
            return;
        }
        slot.in_use = false;
        slot.token = u64::MAX;
        slot.generation = slot.generation.wrapping_add(1);
        if slot.holds_pair {
            slot.holds_pair = false;
            let (host, local, remote) = (slot.host, slot.local, slot.remote);
            self.hosts[usize::from(host)].ports.remove_pair(local, remote);
        }
        self.free_streams.push(stream);
    }

    /// Puts the stream on its host's list of those that have something to tell.
    #[inline]
    pub(crate) fn wake_stream(&mut self, stream: u32) {
        let slot = &mut self.streams[stream as usize];
        if !slot.queued && slot.token != u64::MAX {
            slot.queued = true;
            let host = slot.host;
            self.hosts[usize::from(host)].ready.push(SockRef::Stream(stream));
            self.make_runnable(host);
        }
    }

    /// The peer, if it still is who it was.
    #[inline]
    pub(crate) fn peer_of(&self, stream: u32) -> Option<u32> {
        let slot = &self.streams[stream as usize];
        let peer = self.streams.get(slot.peer as usize)?;
        (peer.in_use && peer.generation == slot.peer_generation).then_some(slot.peer)
    }

    #[cold]
    fn injected(&mut self, host: u16, call: Call) -> Result<(), i32> {
        self.hosts[usize::from(host)].knobs.call(call)
    }

    /// Counts a call of the host's program, and fails it where the plan says so.
    #[inline]
    pub(crate) fn count_call(&mut self, host: u16, call: Call) -> Result<(), i32> {
        if self.hosts[usize::from(host)].knobs.active {
            self.injected(host, call)
        } else {
            Ok(())
        }
    }

    #[inline]
    pub(crate) fn shorten(&mut self, host: u16, len: usize) -> usize {
        let knobs = &mut self.hosts[usize::from(host)].knobs;
        if knobs.active { knobs.shorten(len) } else { len }
    }

    /// read(2).
    #[inline]
    pub(crate) fn read(&mut self, stream: u32, out: &mut [u8]) -> Result<usize, i32> {
        let host = self.streams[stream as usize].host;
        self.count_call(host, Call::Read)?;
        let most = self.shorten(host, out.len());
        let slot = &mut self.streams[stream as usize];
        if slot.rx.is_empty() {
            return self.read_nothing(stream);
        }
        let count = slot.rx.pop(&mut out[..most]);
        self.trace.step(self.now, Step::Read, stream, count as u64);
        if cfg!(feature = "mutants") {
            self.maim_read(stream, &mut out[..count]);
        }
        if most < out.len() && !self.streams[stream as usize].rx.is_empty() {
            // What a cut read leaves is as if it came a moment later: Linux gives an event for that.
            self.wake_stream(stream);
        }
        self.room_was_made(stream);
        Ok(count)
    }

    #[cold]
    fn maim_read(&mut self, stream: u32, data: &mut [u8]) {
        if self.mutated(Mutant::StreamCorrupts) && data.len() > 1 {
            data.swap(0, 1);
        }
        if self.mutated(Mutant::ReadForgetsTail) {
            let left = self.streams[stream as usize].rx.len();
            self.streams[stream as usize].rx.consume(left.min(1));
        }
    }

    /// A read with an empty buffer: the order of the answers is that of `tcp_recvmsg_locked`.
    #[cold]
    fn read_nothing(&mut self, stream: u32) -> Result<usize, i32> {
        let (sticky, reset_is_eof) = (
            self.mutated(Mutant::ErrorIsSticky),
            self.mutated(Mutant::ResetIsEof),
        );
        let empty_is_eof = self.mutated(Mutant::EmptyReadIsEof);
        let slot = &mut self.streams[stream as usize];
        if slot.unix.is_some() {
            return self.read_nothing_unix(stream);
        }
        if slot.fin_received {
            return Ok(0);
        }
        if slot.error != 0 && !reset_is_eof {
            let error = slot.error;
            if !sticky {
                slot.error = 0;
            }
            return Err(error);
        }
        if slot.is_read_shut() || empty_is_eof {
            return Ok(0);
        }
        Err(errno::EAGAIN)
    }

    /// write(2): what the send buffer takes.
    #[inline]
    pub(crate) fn write(&mut self, stream: u32, data: &[u8]) -> Result<usize, i32> {
        let slot = &self.streams[stream as usize];
        let (host, path) = (slot.host, slot.path);
        self.count_call(host, Call::Write)?;
        let most = self.shorten(host, data.len());
        let slot = &self.streams[stream as usize];
        if slot.unix.is_some() {
            if most < data.len() {
                self.wake_stream(stream);
            }
            return self.write_unix(stream, &data[..most]);
        }
        if slot.error != 0 || slot.is_write_shut() || slot.state != ConnectState::Established {
            self.write_refused(stream)?;
        }
        if most < data.len() {
            // Likewise, room for the rest appears a moment later.
            self.wake_stream(stream);
        }
        let data = &data[..most];
        let direct = if self.is_direct(stream, path) {
            self.deliver_directly(stream, data)
        } else {
            0
        };
        let rest = &data[direct..];
        let unbounded = self.mutated(Mutant::SendBufferUnbounded);
        let slot = &mut self.streams[stream as usize];
        let room = if unbounded {
            rest.len()
        } else {
            slot.tx_limit.saturating_sub(slot.tx.len())
        };
        let buffered = rest.len().min(room);
        if buffered < rest.len() || (buffered == 0 && most < data.len()) {
            slot.no_space = true;
        }
        let count = direct + buffered;
        if count == 0 && !data.is_empty() {
            return Err(errno::EAGAIN);
        }
        if buffered > 0 {
            slot.tx.push(&rest[..buffered]);
            self.pump(stream);
        }
        self.trace.step(self.now, Step::Write, stream, count as u64);
        Ok(count)
    }

    /// Why a write is refused: the pending error once, EPIPE after it.
    #[cold]
    fn write_refused(&mut self, stream: u32) -> Result<(), i32> {
        let sticky = self.mutated(Mutant::ErrorIsSticky);
        let taken = self.mutated(Mutant::WriteAfterShutdown);
        let slot = &mut self.streams[stream as usize];
        if slot.error != 0 {
            let error = slot.error;
            if !sticky {
                slot.error = 0;
            }
            return Err(error);
        }
        if slot.is_write_shut() {
            return if taken { Ok(()) } else { Err(errno::EPIPE) };
        }
        if slot.state == ConnectState::SynSent {
            slot.no_space = true;
            return Err(errno::EAGAIN);
        }
        Ok(())
    }

    /// SO_ERROR, consumed; then whether it stands.
    pub(crate) fn connect_state(&mut self, stream: u32) -> Result<bool, i32> {
        let slot = &mut self.streams[stream as usize];
        if slot.error != 0 {
            let error = slot.error;
            slot.error = 0;
            return Err(error);
        }
        match slot.state {
            ConnectState::SynSent => Ok(false),
            ConnectState::SynReceived | ConnectState::Established => Ok(true),
            // The error was told before: as the kernel has it, there is neither one nor a peer.
            ConnectState::Dead => Ok(false),
        }
    }

    /// Whether a connect found nobody but itself.
    pub(crate) fn is_own_peer(&self, stream: u32) -> bool {
        self.streams[stream as usize].peer == stream
    }

    /// shutdown(2).
    pub(crate) fn shutdown(&mut self, stream: u32, how: Shutdown) -> Result<(), i32> {
        let host = self.streams[stream as usize].host;
        self.count_call(host, Call::Shutdown)?;
        let both = self.mutated(Mutant::ShutdownEndsBoth);
        let dead_is_ok = self.mutated(Mutant::ShutdownOfDeadIsOk);
        if self.streams[stream as usize].unix.is_some() {
            self.shutdown_unix(stream, how);
            return Ok(());
        }
        let slot = &mut self.streams[stream as usize];
        match slot.state {
            ConnectState::Dead => return if dead_is_ok { Ok(()) } else { Err(errno::ENOTCONN) },
            ConnectState::SynSent => {
                // Linux disconnects it: nothing stands, no error is pending.
                slot.state = ConnectState::Dead;
                self.wake_stream(stream);
                return Ok(());
            }
            ConnectState::SynReceived | ConnectState::Established => {}
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) || both {
            slot.read_shut = true;
        }
        if (matches!(how, Shutdown::Write | Shutdown::Both) || both) && !slot.write_shut {
            slot.write_shut = true;
            self.pump(stream);
        }
        self.wake_stream(stream);
        Ok(())
    }

    /// close(2) of a stream.
    pub(crate) fn close_stream(&mut self, stream: u32) {
        let host = self.streams[stream as usize].host;
        self.give_descriptor(host);
        self.step(Step::Close, stream, 0);
        if self.hosts[usize::from(host)].state == super::HostState::Crashed {
            self.forget_stream(stream);
            return;
        }
        if self.streams[stream as usize].unix.is_some() {
            return self.close_unix(stream);
        }
        let slot = &self.streams[stream as usize];
        let unread = !slot.rx.is_empty() && !self.mutated(Mutant::CloseUnreadIsFin);
        let abort = (slot.abort && !self.mutated(Mutant::AbortIsFin)) || self.mutated(Mutant::CloseIsReset);
        let slot = &mut self.streams[stream as usize];
        slot.open = false;
        slot.token = u64::MAX;
        match slot.state {
            ConnectState::Dead => self.forget_stream(stream),
            ConnectState::SynSent | ConnectState::SynReceived => self.send_reset(stream),
            ConnectState::Established if unread || abort => self.send_reset(stream),
            ConnectState::Established => {
                self.streams[stream as usize].write_shut = true;
                self.pump(stream);
                self.free_if_over(stream);
            }
        }
    }

    /// The peer's address, where getpeername(2) has one.
    pub(crate) fn peer_addr(&self, stream: u32) -> Result<SocketAddr, i32> {
        let slot = &self.streams[stream as usize];
        if matches!(slot.state, ConnectState::SynSent | ConnectState::Dead)
            || self.mutated(Mutant::PeerAddrFails)
        {
            return Err(errno::ENOTCONN);
        }
        Ok(shaped(slot.remote, slot.v6))
    }

    pub(crate) fn stream_local_addr(&self, stream: u32) -> SocketAddr {
        let slot = &self.streams[stream as usize];
        let mut local = shaped(slot.local, slot.v6);
        if self.mutated(Mutant::LocalPortIsZero) {
            local.set_port(0);
        }
        local
    }

    /// Begins, changes or ends keepalive probes.
    pub(crate) fn set_keepalive(&mut self, stream: u32, idle_ns: u64, interval_ns: u64, count: u32) {
        let slot = &mut self.streams[stream as usize];
        let was = slot.keepalive.replace((idle_ns, interval_ns, count));
        if was.is_none() {
            let generation = slot.generation;
            slot.last_heard = self.now;
            self.queue
                .push(self.now + idle_ns, Event::Keepalive { stream, generation });
        }
    }
}
