//! epoll, edge-triggered: a change puts a socket on its host's list, a poll tells what then is so.

use std::sync::atomic::Ordering;

use sockeye_event_loop::backend::{Readiness, Ready, Token};

use super::host::SockRef;
use super::stream::ConnectState;
use super::{HostState, World};
use crate::mutant::Mutant;
use crate::trace::Step;

impl World {
    /// Fills `out` with what the host's sockets have to tell.
    pub(crate) fn poll(&mut self, host: u16, block: bool, out: &mut Vec<Ready>, capacity: usize) {
        out.clear();
        let slot = &mut self.hosts[usize::from(host)];
        slot.idle = block;
        if slot.state == HostState::Crashed {
            return;
        }
        if slot.alarm_due {
            slot.alarm_due = false;
            slot.alarm_at = None;
            out.push(Ready {
                token: Token::ALARM,
                flags: Readiness::READABLE,
            });
        }
        // Its own flag is looked at only when somebody's was raised.
        let asked = slot.wake_due || self.any_woken.load(Ordering::Acquire);
        slot.wake_due = false;
        if asked && slot.woken.woken.swap(false, Ordering::AcqRel) && !self.mutated(Mutant::WakeIsLost) {
            out.push(Ready {
                token: Token::WAKE,
                flags: Readiness::READABLE,
            });
        }
        if self.hosts[usize::from(host)].knobs.active {
            self.disturb(host, out);
        }
        let mut ready = std::mem::take(&mut self.hosts[usize::from(host)].ready);
        let mut taken = 0;
        for &socket in &ready {
            if out.len() >= capacity {
                break;
            }
            taken += 1;
            if let Some((token, flags)) = self.tell(socket) {
                out.push(Ready {
                    token: Token::from_u64(token),
                    flags,
                });
            }
        }
        ready.drain(..taken);
        self.hosts[usize::from(host)].ready = ready;
        if !block && out.is_empty() && self.mutated(Mutant::PollInvents) {
            out.push(Ready {
                token: Token::from_u64(0),
                flags: Readiness::READABLE,
            });
        }
        if self.mutated(Mutant::LevelTriggered) {
            self.tell_all(host, out);
        }
        if self.mutated(Mutant::WrongToken) {
            for event in out
                .iter_mut()
                .filter(|event| event.token.to_u64() < u64::MAX - 16)
            {
                event.token = Token::from_u64(event.token.to_u64() ^ 1);
            }
        }
        self.hosts[usize::from(host)].knobs.shuffle(out);
        if !out.is_empty() {
            self.trace
                .step(self.now, Step::Poll, u32::from(host), out.len() as u64);
        }
    }

    /// Events that are not so, and a poll that a signal interrupted.
    #[cold]
    fn disturb(&mut self, host: u16, out: &mut Vec<Ready>) {
        if !self.hosts[usize::from(host)].knobs.is_spurious() {
            return;
        }
        let sockets: Vec<u64> = self
            .streams
            .iter()
            .filter(|s| s.in_use && s.host == host && s.token != u64::MAX)
            .map(|s| s.token)
            .collect();
        if let Some(&token) = sockets.get(self.hosts[usize::from(host)].knobs.pick(sockets.len())) {
            out.push(Ready {
                token: Token::from_u64(token),
                flags: Readiness::READABLE.with(Readiness::WRITABLE),
            });
        }
    }

    #[cold]
    fn tell_all(&mut self, host: u16, out: &mut Vec<Ready>) {
        for stream in 0..u32::try_from(self.streams.len()).unwrap_or(0) {
            let slot = &self.streams[stream as usize];
            if slot.in_use
                && slot.host == host
                && slot.token != u64::MAX
                && let Some((token, flags)) = self.tell(SockRef::Stream(stream))
            {
                out.push(Ready {
                    token: Token::from_u64(token),
                    flags,
                });
            }
        }
    }

    /// What is so with a socket on the list.
    #[inline]
    fn tell(&mut self, socket: SockRef) -> Option<(u64, Readiness)> {
        match socket {
            SockRef::Stream(stream) => {
                self.streams[stream as usize].queued = false;
                let flags = self.stream_flags(stream);
                let token = self.streams[stream as usize].token;
                (token != u64::MAX && flags != Readiness::NONE).then_some((token, flags))
            }
            SockRef::Listener(listener) => {
                let slot = &mut self.listeners[listener as usize];
                slot.queued = false;
                (slot.token != u64::MAX && !slot.waiting.is_empty())
                    .then_some((slot.token, Readiness::READABLE))
            }
            SockRef::Unix(index) => {
                let slot = &mut self.unix_datagrams[index as usize];
                slot.queued = false;
                (slot.token != u64::MAX).then_some((slot.token, slot.flags()))
            }
            SockRef::Message(index) => {
                let slot = &mut self.messages[index as usize];
                slot.queued = false;
                let flags = slot.flags();
                (slot.token != u64::MAX && flags != Readiness::NONE).then_some((slot.token, flags))
            }
        }
    }

    /// `tcp_poll`, in the flags that mio makes of epoll's.
    #[inline]
    fn stream_flags(&mut self, stream: u32) -> Readiness {
        let slot = &mut self.streams[stream as usize];
        if slot.unix.is_some() {
            return self.unix_flags(stream);
        }
        if slot.state == ConnectState::Established
            && slot.error == 0
            && !slot.fin_received
            && !slot.write_shut
        {
            let mut flags = if slot.rx.is_empty() {
                Readiness::NONE
            } else {
                Readiness::READABLE
            };
            if slot.has_space() {
                flags = flags.with(Readiness::WRITABLE);
            } else {
                slot.no_space = true;
                if self.mutated(Mutant::AlwaysWritable) {
                    flags = flags.with(Readiness::WRITABLE);
                }
            }
            if self.streams[stream as usize].read_shut {
                flags = flags.with(Readiness::READABLE).with(Readiness::READ_CLOSED);
            }
            return flags;
        }
        self.unusual_flags(stream)
    }

    #[cold]
    fn unusual_flags(&mut self, stream: u32) -> Readiness {
        let (no_error, no_eof) = (
            self.mutated(Mutant::ErrorUnflagged),
            self.mutated(Mutant::EofUnflagged),
        );
        let slot = &mut self.streams[stream as usize];
        if matches!(slot.state, ConnectState::SynSent | ConnectState::SynReceived) {
            return Readiness::NONE;
        }
        let mut flags = Readiness::NONE;
        let failed = slot.error != 0 && !no_error;
        if !slot.rx.is_empty() {
            flags = flags.with(Readiness::READABLE);
        }
        if slot.is_read_shut() {
            flags = flags.with(Readiness::READABLE);
            if !no_eof {
                flags = flags.with(Readiness::READ_CLOSED);
            }
        }
        if slot.is_write_shut() || slot.has_space() {
            flags = flags.with(Readiness::WRITABLE);
        } else {
            slot.no_space = true;
        }
        if slot.is_read_shut() && slot.is_write_shut() && !no_eof {
            flags = flags.with(Readiness::READ_CLOSED).with(Readiness::WRITE_CLOSED);
        }
        if failed {
            flags = flags.with(Readiness::ERROR).with(Readiness::WRITE_CLOSED);
        }
        flags
    }

    /// epoll_ctl(2): a socket that is ready already gives an event at once.
    pub(crate) fn register(&mut self, socket: SockRef, token: u64) -> Result<(), i32> {
        let host = match socket {
            SockRef::Stream(index) => self.streams[index as usize].host,
            SockRef::Listener(index) => self.listeners[index as usize].host,
            SockRef::Message(index) => self.messages[index as usize].host,
            SockRef::Unix(index) => self.unix_datagrams[index as usize].host,
        };
        self.count_call(host, super::Call::Register)?;
        let silent = self.mutated(Mutant::RegisterIsSilent);
        match socket {
            SockRef::Stream(index) => {
                self.streams[index as usize].token = token;
                let connecting = self.streams[index as usize].state == ConnectState::SynSent;
                if !silent && !connecting {
                    self.wake_stream(index);
                }
            }
            SockRef::Listener(index) => {
                self.listeners[index as usize].token = token;
                if !silent {
                    self.wake_listener(index);
                }
            }
            SockRef::Unix(index) => {
                self.unix_datagrams[index as usize].token = token;
                if !silent {
                    self.wake_unix(index);
                }
            }
            SockRef::Message(index) => {
                self.messages[index as usize].token = token;
                if !silent {
                    self.wake_message(index);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn deregister(&mut self, socket: SockRef) {
        if self.mutated(Mutant::DeregisterIgnored) {
            return;
        }
        match socket {
            SockRef::Stream(index) => self.streams[index as usize].token = u64::MAX,
            SockRef::Listener(index) => self.listeners[index as usize].token = u64::MAX,
            SockRef::Message(index) => self.messages[index as usize].token = u64::MAX,
            SockRef::Unix(index) => self.unix_datagrams[index as usize].token = u64::MAX,
        }
    }
}
