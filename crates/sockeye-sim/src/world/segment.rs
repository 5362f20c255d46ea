//! How streams travel: bytes, ends, resets, and what happens when they are lost.
//!
//! A lost segment is not sent beside others but stops its direction until it is sent again, which is what
//! a receiver sees of TCP anyway: bytes in order, late. What is sent again is a segment, not all that was lost. Bytes
//! stay in the sender's buffer until they arrive, so a segment in flight is a length and nothing else.

use super::stream::ConnectState;
use super::{Event, NONE, World};
use crate::capture::flag;
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// IP and TCP headers with timestamps.
const HEADERS: usize = 52;
/// The most bytes that leave as one run of segments.
pub(super) const RUN: u32 = 64 * 1024;
/// What leaves after a loss, so that a lossy way carries it: a run is lost with any of its packets. As in slow start (RFC
/// 5681) the runs that arrive double the next one.
const RUN_AFTER_LOSS: u32 = 1400;
/// RFC 6298 in Linux's terms: the shortest retransmission timeout, and the longest.
const RTO_MIN_NS: u64 = 200_000_000;
const RTO_MAX_NS: u64 = 120_000_000_000;
/// net.ipv4.tcp_retries2 and tcp_orphan_retries.
const DATA_RETRIES: u8 = 15;
const ORPHAN_RETRIES: u8 = 8;
/// net.ipv4.tcp_fin_timeout, and the length of TIME_WAIT.
const FIN_TIMEOUT_NS: u64 = 60_000_000_000;

impl World {
    pub(crate) fn generation(&self, stream: u32) -> u32 {
        self.streams[stream as usize].generation
    }

    /// The way back from the peer.
    pub(crate) fn reverse(&self, path: u32) -> u32 {
        if path == NONE {
            NONE
        } else {
            self.routes.paths[path as usize].reverse
        }
    }

    fn is_ideal(&self, path: u32) -> bool {
        path != NONE && self.routes.paths[path as usize].ideal
    }

    /// Sends a step of a handshake, an end or a reset: at once over an ideal way.
    pub(crate) fn send_control(&mut self, path: u32, event: Event) -> bool {
        match self.carry(path, HEADERS) {
            Some(at) if at <= self.now => self.happen(event),
            Some(at) => self.queue.push(at, event),
            None => return false,
        }
        true
    }

    /// Whether bytes go straight from the write into the peer's receive buffer.
    #[inline]
    pub(crate) fn is_direct(&self, stream: u32, path: u32) -> bool {
        let slot = &self.streams[stream as usize];
        self.is_ideal(path)
            && slot.tx.is_empty()
            && slot.last_arrival <= self.now
            && !slot.stalled
            && slot.state == ConnectState::Established
    }

    /// The fast path of a write: as much as the peer's window takes, without a detour.
    #[inline]
    pub(crate) fn deliver_directly(&mut self, stream: u32, data: &[u8]) -> usize {
        let Some(peer) = self.peer_of(stream) else {
            return 0;
        };
        let far = &self.streams[peer as usize];
        if !far.open || far.state != ConnectState::Established || !self.hosts[usize::from(far.host)].is_up() {
            return 0;
        }
        if far.is_deaf() {
            return 0;
        }
        let count = data.len().min(far.rx_limit.saturating_sub(far.rx.len()));
        if count == 0 {
            return 0;
        }
        let lost = usize::from(self.mutated(Mutant::StreamLosesBytes) && count > 3);
        self.streams[peer as usize].rx.push(&data[..count - lost]);
        if self.capture.is_some() {
            self.capture_data(stream, &data[..count]);
        }
        self.trace.step(self.now, Step::Arrive, peer, count as u64);
        if !self.mutated(Mutant::DataIsSilent) {
            self.wake_stream(peer);
        }
        count
    }

    /// Sends what may be sent: bytes that fit the peer's window, then the end.
    pub(crate) fn pump(&mut self, stream: u32) {
        loop {
            let slot = &self.streams[stream as usize];
            // Whoever answered may have ended it meanwhile.
            if !slot.in_use || slot.stalled || slot.state != ConnectState::Established {
                return;
            }
            let unsent = slot.tx.len() - slot.in_flight;
            if unsent == 0 {
                if slot.write_shut && !slot.fin_sent {
                    self.send_fin(stream);
                }
                return;
            }
            let window = match self.peer_of(stream) {
                Some(peer) => {
                    let far = &self.streams[peer as usize];
                    far.rx_limit.saturating_sub(far.rx.len() + slot.in_flight)
                }
                None => RUN as usize,
            };
            let count = unsent.min(window).min(slot.run as usize);
            if count == 0 {
                let now = self.now;
                let slot = &mut self.streams[stream as usize];
                // Bytes on their way come with news of the window.
                let shut = slot.in_flight == 0 && slot.window_shut_at.is_none();
                slot.window_wait = true;
                if shut {
                    slot.window_shut_at = Some(now);
                    self.probe_window(stream);
                }
                return;
            }
            self.streams[stream as usize].window_shut_at = None;
            self.send_run(stream, count);
        }
    }

    /// Who set a limit to unanswered data waits for a window no longer than that either (tcp(7), TCP_USER_TIMEOUT).
    pub(crate) fn probe_window(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        if let (Some(since), Some(limit)) = (slot.window_shut_at, slot.user_timeout_ns)
            && limit > 0
        {
            let generation = slot.generation;
            let event = Event::ZeroWindow {
                stream,
                generation,
                since,
            };
            self.queue.push((since + limit).max(self.now), event);
        }
    }

    pub(crate) fn window_stays_shut(&mut self, stream: u32, since: u64) {
        let now = self.now;
        let slot = &self.streams[stream as usize];
        let limit = slot.user_timeout_ns.unwrap_or(u64::MAX);
        if slot.state == ConnectState::Established
            && slot.window_shut_at == Some(since)
            && now - since >= limit
            && !self.mutated(Mutant::ZeroWindowIsPatient)
        {
            self.die(stream, errno::ETIMEDOUT);
        }
    }

    fn send_run(&mut self, stream: u32, count: usize) {
        let (path, generation) = (self.streams[stream as usize].path, self.generation(stream));
        match self.carry(path, count + HEADERS) {
            None => self.stall(stream),
            Some(at) => {
                let slot = &mut self.streams[stream as usize];
                let at = at.max(slot.last_arrival);
                slot.last_arrival = at;
                slot.in_flight += count;
                if at <= self.now {
                    self.segment_lands(stream, count);
                } else {
                    let len = u32::try_from(count).unwrap_or(u32::MAX);
                    self.queue.push(
                        at,
                        Event::Segment {
                            stream,
                            generation,
                            len,
                        },
                    );
                }
            }
        }
    }

    /// A segment is lost: everything waits for the retransmission.
    fn stall(&mut self, stream: u32) {
        self.step(Step::Loss, stream, 0);
        let path = self.streams[stream as usize].path;
        let round_trip = if path == NONE {
            0
        } else {
            2 * self.routes.paths[path as usize].one_way_ns
        };
        let now = self.now;
        let slot = &mut self.streams[stream as usize];
        slot.stalled = true;
        slot.run = RUN_AFTER_LOSS;
        if slot.retries == 0 {
            slot.first_loss_at = now;
        }
        let timeout = (RTO_MIN_NS + round_trip) << slot.retries.min(16);
        let generation = slot.generation;
        self.queue.push(
            now + timeout.min(RTO_MAX_NS),
            Event::Retransmit { stream, generation },
        );
    }

    pub(crate) fn retransmit(&mut self, stream: u32) {
        let now = self.now;
        let slot = &mut self.streams[stream as usize];
        if slot.state != ConnectState::Established {
            return;
        }
        slot.stalled = false;
        slot.retries += 1;
        let most = if slot.open { DATA_RETRIES } else { ORPHAN_RETRIES };
        let patience_over = slot
            .user_timeout_ns
            .is_some_and(|limit| now - slot.first_loss_at >= limit);
        if slot.retries > most || patience_over {
            self.die(stream, errno::ETIMEDOUT);
            return;
        }
        self.pump(stream);
    }

    /// `len` bytes of the stream reach its peer, and more may follow.
    pub(crate) fn segment_arrives(&mut self, stream: u32, len: usize) {
        self.segment_lands(stream, len);
        self.pump(stream);
    }

    fn segment_lands(&mut self, stream: u32, len: usize) {
        let Some(peer) = self.find_receiver(stream) else {
            let slot = &mut self.streams[stream as usize];
            slot.in_flight -= len;
            if slot.open || slot.state == ConnectState::Established {
                self.nobody_answers(stream);
            }
            return;
        };
        if self.streams[peer as usize].is_deaf() && !self.mutated(Mutant::DeafEndsListen) {
            return self.deaf_end_resets(stream, peer, len);
        }
        if self.capture.is_some() {
            let mut data = vec![0; len];
            let (first, second) = self.streams[stream as usize].tx.slices(len);
            data[..first.len()].copy_from_slice(first);
            data[first.len()..].copy_from_slice(second);
            self.capture_data(stream, &data);
        }
        // A stream can be its own peer, so the ring is taken out.
        let mut tx = std::mem::take(&mut self.streams[stream as usize].tx);
        if self.mutated(Mutant::StreamLosesBytes) && len > 3 {
            tx.move_to(&mut self.streams[peer as usize].rx, len - 1);
            tx.consume(1);
        } else {
            tx.move_to(&mut self.streams[peer as usize].rx, len);
        }
        let now = self.now;
        let slot = &mut self.streams[stream as usize];
        slot.tx = tx;
        slot.in_flight -= len;
        slot.retries = 0;
        slot.run = (slot.run * 2).min(RUN);
        slot.last_heard = now;
        self.streams[peer as usize].last_heard = now;
        self.step(Step::Arrive, peer, len as u64);
        if !self.mutated(Mutant::DataIsSilent) {
            self.wake_stream(peer);
        }
        self.acknowledge(stream);
    }

    /// Who has ended its own half and does not read any more resets both for a byte that comes (RFC 1122, 4.2.2.13).
    #[cold]
    fn deaf_end_resets(&mut self, stream: u32, peer: u32, len: usize) {
        let slot = &mut self.streams[stream as usize];
        slot.in_flight -= len;
        slot.tx.consume(len);
        let (path, generation) = (slot.path, slot.generation);
        self.step(Step::Reset, peer, 0);
        self.reset(peer);
        let refused = Event::Refused {
            stream,
            generation,
            errno: errno::ECONNRESET,
        };
        self.send_control(self.reverse(path), refused);
    }

    /// Who takes bytes for the stream's peer; an orphan answers with a reset instead.
    fn find_receiver(&mut self, stream: u32) -> Option<u32> {
        let peer = self.peer_of(stream)?;
        if !self.hosts[usize::from(self.streams[peer as usize].host)].is_up() {
            return None;
        }
        if self.streams[peer as usize].state == ConnectState::SynReceived {
            self.ack_arrives(peer);
        }
        let far = &self.streams[peer as usize];
        (far.state == ConnectState::Established && (far.open || far.listener != NONE)).then_some(peer)
    }

    /// There is no socket for what the stream sends: a reset comes back if a kernel is there, else nothing.
    pub(crate) fn nobody_answers(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        let there = self.host_of(slot.host, slot.remote.ip());
        let is_up = there.is_some_and(|host| self.hosts[usize::from(host)].is_up());
        let (path, generation) = (slot.path, slot.generation);
        // A peer that is closed and still lingers is gone with the first byte it can not hand to anyone.
        if let Some(peer) = self.peer_of(stream)
            && is_up
            && !self.streams[peer as usize].open
            && self.streams[peer as usize].listener == NONE
        {
            self.forget_stream(peer);
        }
        let back = self.reverse(path);
        let refused = Event::Refused {
            stream,
            generation,
            errno: errno::ECONNRESET,
        };
        if !is_up || !self.send_control(back, refused) {
            let slot = &self.streams[stream as usize];
            if slot.in_use && slot.generation == generation && !slot.stalled {
                self.stall(stream);
            }
        }
    }

    /// Tells a writer that waits for room that there is some.
    fn acknowledge(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        if !slot.no_space || !slot.has_space() {
            return;
        }
        self.send_window(stream);
    }

    fn send_window(&mut self, stream: u32) {
        let slot = &mut self.streams[stream as usize];
        if slot.window_event {
            return;
        }
        let (path, generation) = (slot.path, slot.generation);
        let back = self.reverse(path);
        if self.is_ideal(back) {
            self.window_opens(stream);
            return;
        }
        self.streams[stream as usize].window_event = true;
        // Acknowledgements are repeated by the next one: a lost one is only late.
        let at = match self.carry(back, HEADERS) {
            Some(at) => at,
            None => self.now + RTO_MIN_NS,
        };
        self.queue.push(at, Event::Window { stream, generation });
    }

    /// The stream hears of freed room: in its own buffer, or in the peer's.
    pub(crate) fn window_opens(&mut self, stream: u32) {
        let silent = self.mutated(Mutant::DrainIsSilent);
        let slot = &mut self.streams[stream as usize];
        slot.window_event = false;
        slot.window_wait = false;
        if slot.no_space && slot.has_space() && !silent {
            slot.no_space = false;
            self.wake_stream(stream);
        }
        self.pump(stream);
    }

    /// The program has read: the peer may have been waiting for the room.
    #[inline]
    pub(crate) fn room_was_made(&mut self, stream: u32) {
        if self.streams[stream as usize].unix.is_some() {
            return self.room_was_made_unix(stream);
        }
        if let Some(peer) = self.peer_of(stream)
            && self.streams[peer as usize].window_wait
        {
            self.send_window(peer);
        }
    }

    fn send_fin(&mut self, stream: u32) {
        if self.mutated(Mutant::ShutdownIsSilent) && self.streams[stream as usize].open {
            return;
        }
        let generation = self.generation(stream);
        match self.carry(self.streams[stream as usize].path, HEADERS) {
            None => self.stall(stream),
            Some(at) => {
                let slot = &mut self.streams[stream as usize];
                slot.fin_sent = true;
                let at = at.max(slot.last_arrival);
                slot.last_arrival = at;
                if at <= self.now {
                    self.fin_arrives(stream);
                } else {
                    self.queue.push(at, Event::Fin { stream, generation });
                }
            }
        }
    }

    /// The stream's end reaches its peer.
    pub(crate) fn fin_arrives(&mut self, stream: u32) {
        self.step(Step::Fin, stream, 0);
        self.capture_flags(stream, flag::FIN_ACK);
        let Some(peer) = self.peer_of(stream) else {
            let slot = &mut self.streams[stream as usize];
            slot.fin_sent = false;
            self.nobody_answers(stream);
            return;
        };
        let far_host = self.streams[peer as usize].host;
        if !self.hosts[usize::from(far_host)].is_up() {
            self.streams[stream as usize].fin_sent = false;
            self.stall(stream);
            return;
        }
        if self.streams[peer as usize].state == ConnectState::SynReceived {
            self.ack_arrives(peer);
        }
        let slot = &mut self.streams[stream as usize];
        slot.fin_delivered = true;
        slot.retries = 0;
        let first = !slot.fin_received;
        self.streams[peer as usize].fin_received = true;
        if first {
            // Who ends first remembers the pair for a while.
            let (host, port) = (
                self.streams[stream as usize].host,
                self.streams[stream as usize].local.port(),
            );
            let until = self.now + FIN_TIMEOUT_NS;
            self.hosts[usize::from(host)].ports.wait(port, until);
        }
        if !self.mutated(Mutant::EofIsSilent) {
            self.wake_stream(peer);
        }
        self.over_if_both(stream);
        self.over_if_both(peer);
        self.free_if_over(peer);
        self.free_if_over(stream);
    }

    fn over_if_both(&mut self, stream: u32) {
        let slot = &mut self.streams[stream as usize];
        if slot.fin_delivered && slot.fin_received && slot.state == ConnectState::Established {
            slot.state = ConnectState::Dead;
            self.wake_stream(stream);
        }
    }

    /// An orphan that has nothing left to do is gone; one that waits for the peer's end waits a minute.
    pub(crate) fn free_if_over(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        if !slot.in_use || slot.open || slot.listener != NONE {
            return;
        }
        if slot.state == ConnectState::Dead {
            self.forget_stream(stream);
        } else if slot.fin_delivered {
            let generation = slot.generation;
            self.queue
                .push(self.now + FIN_TIMEOUT_NS, Event::Orphan { stream, generation });
        }
    }

    /// The time of an orphan, or of a half-open connection, is up.
    pub(crate) fn orphan_expires(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        if slot.state == ConnectState::SynReceived
            || (!slot.open && slot.listener == NONE && slot.fin_delivered)
        {
            self.forget_stream(stream);
        }
    }

    /// Sends a reset. What is on its way arrives before it; the rest is gone.
    pub(crate) fn send_reset(&mut self, stream: u32) {
        let generation = self.generation(stream);
        let slot = &mut self.streams[stream as usize];
        slot.tx.truncate(slot.in_flight);
        slot.rx.clear();
        slot.write_shut = true;
        let (path, last) = (slot.path, slot.last_arrival);
        let at = match self.carry(path, HEADERS) {
            Some(at) => at.max(last),
            None => {
                // Resets are not repeated: the peer will hear of it when it sends.
                self.streams[stream as usize].peer = NONE;
                last.max(self.now)
            }
        };
        if at <= self.now {
            self.reset_arrives(stream);
        } else {
            self.streams[stream as usize].abort = true;
            self.queue.push(at, Event::Reset { stream, generation });
        }
    }

    /// The stream's reset reaches its peer, and its own place is free.
    pub(crate) fn reset_arrives(&mut self, stream: u32) {
        self.capture_flags(stream, flag::RST_ACK);
        let peer = self.peer_of(stream);
        self.forget_stream(stream);
        if let Some(peer) = peer.filter(|&peer| peer != stream)
            && self.hosts[usize::from(self.streams[peer as usize].host)].is_up()
        {
            self.step(Step::Reset, peer, 0);
            self.reset(peer);
        }
    }

    /// A reset from nobody, or an ICMP error that ends a connect.
    pub(crate) fn refused(&mut self, stream: u32, error: i32) {
        let slot = &self.streams[stream as usize];
        if !self.hosts[usize::from(slot.host)].is_up() {
            return;
        }
        if error == errno::ECONNRESET {
            self.reset(stream);
        } else if slot.state == ConnectState::SynSent {
            self.die(stream, error);
        }
    }

    /// What a reset does: `tcp_reset`.
    fn reset(&mut self, stream: u32) {
        let always_reset = self.mutated(Mutant::ResetAfterFinIsReset);
        let slot = &mut self.streams[stream as usize];
        let error = match slot.state {
            ConnectState::Dead => return,
            ConnectState::SynSent => errno::ECONNREFUSED,
            // CLOSE_WAIT: the peer had ended in order, this side had not.
            _ if slot.fin_received && !slot.write_shut && !always_reset => errno::EPIPE,
            _ => errno::ECONNRESET,
        };
        if self.mutated(Mutant::ResetDropsData) {
            self.streams[stream as usize].rx.clear();
        }
        self.die(stream, error);
    }

    /// The connection is over with an error.
    pub(crate) fn die(&mut self, stream: u32, error: i32) {
        let silent = self.mutated(Mutant::ResetIsSilent);
        let slot = &mut self.streams[stream as usize];
        if slot.state == ConnectState::SynReceived {
            // It never stood, so nobody is to hear of it.
            self.forget_stream(stream);
            return;
        }
        slot.state = ConnectState::Dead;
        slot.error = error;
        let in_flight = slot.in_flight;
        slot.tx.truncate(in_flight);
        if slot.open || slot.listener != NONE {
            if self.mutated(Mutant::ResetLeavesBacklog) && self.streams[stream as usize].listener != NONE {
                self.leave_backlog(stream);
            } else if !silent {
                self.wake_stream(stream);
            }
        } else {
            self.forget_stream(stream);
        }
    }

    fn leave_backlog(&mut self, stream: u32) {
        let listener = self.streams[stream as usize].listener;
        self.listeners[listener as usize]
            .waiting
            .retain(|&other| other != stream);
        self.forget_stream(stream);
    }

    /// A keepalive probe.
    pub(crate) fn keepalive(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        let Some((idle_ns, interval_ns, count)) =
            slot.keepalive.filter(|_| slot.state == ConnectState::Established)
        else {
            return;
        };
        let (generation, path) = (slot.generation, slot.path);
        let silence = self.now - slot.last_heard;
        if slot.probes == 0 && silence < idle_ns {
            self.queue.push(
                self.now + idle_ns - silence,
                Event::Keepalive { stream, generation },
            );
            return;
        }
        if slot.probes >= count {
            self.die(stream, errno::ETIMEDOUT);
            return;
        }
        let there = self.carry(path, HEADERS).is_some();
        let alive = there
            && match self.peer_of(stream) {
                Some(peer) => self.hosts[usize::from(self.streams[peer as usize].host)].is_up(),
                None => {
                    self.nobody_answers(stream);
                    false
                }
            }
            && self.carry(self.reverse(path), HEADERS).is_some();
        if !self.is_stream(stream, generation) {
            return;
        }
        let now = self.now;
        let slot = &mut self.streams[stream as usize];
        let next = if alive {
            slot.probes = 0;
            slot.last_heard = now;
            idle_ns
        } else {
            slot.probes += 1;
            interval_ns
        };
        self.queue
            .push(now + next, Event::Keepalive { stream, generation });
    }
}
