//! How a connection comes to stand: the three steps, their repetition, the backlog, the refusal.

use super::host::SockRef;
use super::route::LOOPBACK;
use super::stream::ConnectState;
use super::{Event, NONE, World};
use crate::capture::flag;
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// The first retransmission of a connect request.
const SYN_RTO_NS: u64 = 1_000_000_000;
/// net.ipv4.tcp_syn_retries.
const SYN_RETRIES: u8 = 6;
/// What the repetitions of an answer take together, with net.ipv4.tcp_synack_retries.
const HALF_OPEN_NS: u64 = 63_000_000_000;

impl World {
    /// Sends a connect request, and arms its repetition where it may be needed.
    pub(crate) fn send_syn(&mut self, stream: u32) {
        let generation = self.generation(stream);
        let path = self.streams[stream as usize].path;
        self.capture_flags(stream, flag::SYN);
        if !self.send_control(path, Event::Syn { stream, generation }) {
            self.arm_syn_timer(stream);
        }
    }

    fn arm_syn_timer(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        let (generation, timeout) = (slot.generation, SYN_RTO_NS << slot.retries.min(8));
        self.queue
            .push(self.now + timeout, Event::SynTimer { stream, generation });
    }

    pub(crate) fn syn_timer(&mut self, stream: u32) {
        let slot = &mut self.streams[stream as usize];
        slot.retries += 1;
        let over = slot.retries > SYN_RETRIES;
        match slot.state {
            ConnectState::SynSent if over => {
                // Nobody has the address: the neighbour was asked for and never answered.
                let unknown = slot.path == NONE;
                self.die(
                    stream,
                    if unknown {
                        errno::EHOSTUNREACH
                    } else {
                        errno::ETIMEDOUT
                    },
                );
            }
            ConnectState::SynSent if slot.path == NONE && slot.retries >= 2 => {
                self.die(stream, errno::EHOSTUNREACH)
            }
            ConnectState::SynSent => self.send_syn(stream),
            ConnectState::SynReceived if over => self.forget_stream(stream),
            ConnectState::SynReceived => self.send_ack_of(stream),
            ConnectState::Established | ConnectState::Dead => {}
        }
    }

    /// A connect request reaches the host it is for.
    pub(crate) fn syn_arrives(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        if slot.state != ConnectState::SynSent {
            return;
        }
        let (local, remote, generation, path) = (slot.local, slot.remote, slot.generation, slot.path);
        let Some(host) = self.host_of(slot.host, remote.ip()) else {
            return;
        };
        if self.peer_of(stream).is_some() {
            // The answer was lost; the request came again.
            self.answer_syn(stream);
            return;
        }
        let Some(listener) = self.find_listener(host, remote, local) else {
            if host == slot.host && local == remote && !self.mutated(Mutant::NoSelfConnect) {
                self.connect_to_itself(stream);
            } else if self.mutated(Mutant::ConnectAlwaysStands) {
                self.streams[stream as usize].state = ConnectState::Established;
                self.wake_stream(stream);
            } else if !self.mutated(Mutant::RefusalIsSilent) {
                let refused = Event::Refused {
                    stream,
                    generation,
                    errno: errno::ECONNRESET,
                };
                if !self.send_control(self.reverse(path), refused) {
                    self.arm_syn_timer(stream);
                }
            }
            return;
        };
        let target = &self.listeners[listener as usize];
        if target.waiting.len() > target.backlog && !self.mutated(Mutant::BacklogUnbounded) {
            self.arm_syn_timer(stream);
            return;
        }
        self.step(Step::Connect, stream, u64::from(listener));
        let child = self.new_stream(host);
        let client = &mut self.streams[stream as usize];
        client.peer = child;
        let (client_generation, v6) = (
            client.generation,
            self.listeners[listener as usize].local.is_ipv6(),
        );
        let reverse = self.reverse(path);
        let child_generation = self.generation(child);
        self.streams[stream as usize].peer_generation = child_generation;
        let far = &mut self.streams[child as usize];
        far.state = ConnectState::SynReceived;
        far.peer = stream;
        far.peer_generation = client_generation;
        far.path = reverse;
        far.local = remote;
        far.remote = local;
        far.v6 = v6;
        far.listener = listener;
        far.holds_pair = true;
        self.hosts[usize::from(host)].ports.add_pair(remote, local);
        // Half open for a minute at most: whoever asked may be gone without a word.
        self.queue.push(
            self.now + HALF_OPEN_NS,
            Event::Orphan {
                stream: child,
                generation: child_generation,
            },
        );
        self.answer_syn(stream);
    }

    fn answer_syn(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        let (generation, path, child) = (slot.generation, slot.path, slot.peer);
        self.capture_flags(child, flag::SYN_ACK);
        if !self.send_control(self.reverse(path), Event::SynAck { stream, generation }) {
            self.arm_syn_timer(stream);
        }
    }

    fn connect_to_itself(&mut self, stream: u32) {
        let generation = self.generation(stream);
        let slot = &mut self.streams[stream as usize];
        slot.peer = stream;
        slot.peer_generation = generation;
        slot.path = LOOPBACK;
        slot.state = ConnectState::Established;
        self.wake_stream(stream);
    }

    /// The answer to a connect reaches who asked.
    pub(crate) fn syn_ack_arrives(&mut self, stream: u32) {
        let silent = self.mutated(Mutant::ConnectIsSilent);
        let slot = &mut self.streams[stream as usize];
        if slot.state != ConnectState::SynSent || !self.hosts[usize::from(slot.host)].is_up() {
            return;
        }
        slot.state = ConnectState::Established;
        slot.retries = 0;
        slot.last_heard = self.now;
        if !silent {
            self.wake_stream(stream);
        }
        self.capture_flags(stream, flag::ACK);
        if let Some(child) = self.peer_of(stream) {
            self.send_ack_of(child);
        } else {
            // Whoever answered is gone.
            self.nobody_answers(stream);
        }
    }

    /// Sends the third step, for the listener's end of the connection.
    fn send_ack_of(&mut self, child: u32) {
        let slot = &self.streams[child as usize];
        let (generation, back) = (slot.generation, self.reverse(slot.path));
        if !self.send_control(
            back,
            Event::Ack {
                stream: child,
                generation,
            },
        ) {
            self.arm_syn_timer(child);
        }
    }

    /// The third step, or a first byte, reaches the listener's end.
    pub(crate) fn ack_arrives(&mut self, child: u32) {
        let slot = &self.streams[child as usize];
        let (listener, host) = (slot.listener, slot.host);
        if slot.state != ConnectState::SynReceived || !self.hosts[usize::from(host)].is_up() {
            return;
        }
        if !self.listeners[listener as usize].in_use {
            self.streams[child as usize].listener = NONE;
            self.send_reset(child);
            return;
        }
        let target = &self.listeners[listener as usize];
        if target.waiting.len() > target.backlog && !self.mutated(Mutant::BacklogUnbounded) {
            self.arm_syn_timer(child);
            return;
        }
        let now = self.now;
        let slot = &mut self.streams[child as usize];
        slot.state = ConnectState::Established;
        slot.retries = 0;
        slot.last_heard = now;
        self.listeners[listener as usize].waiting.push_back(child);
        if !self.mutated(Mutant::BacklogIsSilent) {
            self.wake_listener(listener);
        }
    }

    pub(crate) fn wake_listener(&mut self, listener: u32) {
        let slot = &mut self.listeners[listener as usize];
        if !slot.queued && slot.token != u64::MAX {
            slot.queued = true;
            let host = slot.host;
            self.hosts[usize::from(host)]
                .ready
                .push(SockRef::Listener(listener));
            self.make_runnable(host);
        }
    }
}
