//! A simulated machine: its readiness list, its alarm, its limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye_event_loop::backend::Wake;

use super::knobs::Knobs;
use super::ports::PortTable;
use super::{Event, NONE, World};
use crate::random::Random;

/// A wake-up that another thread may ask for.
#[derive(Debug)]
pub(crate) struct WakeFlag {
    pub(crate) woken: AtomicBool,
    /// The same of any host: looking at each of them in each step would cost a large simulation more than its events.
    any: Arc<AtomicBool>,
}

impl WakeFlag {
    pub(crate) fn new(any: &Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            any: Arc::clone(any),
        })
    }
}

impl Wake for WakeFlag {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.any.store(true, Ordering::Release);
    }
}

/// Whether a machine is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HostState {
    Up,
    /// Its program does not run; its kernel does.
    Paused,
    /// Neither runs, and its clock stands.
    Suspended,
    /// Gone without a word.
    Crashed,
}

/// Which table a socket is in, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SockRef {
    Stream(u32),
    Listener(u32),
    Message(u32),
    /// A Unix socket of datagrams.
    Unix(u32),
}

/// A machine. What each turn of its loop touches comes first, in one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Host {
    /// Sockets that have something to tell, in the order in which they had it.
    pub(crate) ready: Vec<SockRef>,
    pub(crate) alarm_at: Option<u64>,
    pub(crate) alarm_generation: u32,
    pub(crate) state: HostState,
    pub(crate) has_loop: bool,
    pub(crate) runnable: bool,
    pub(crate) alarm_due: bool,
    /// The wake-up was asked for, and seen.
    pub(crate) wake_due: bool,
    /// The last poll was asked to wait: the loop has nothing of its own to do.
    pub(crate) idle: bool,
    pub(crate) knobs: Knobs,
    pub(crate) woken: Arc<WakeFlag>,
    pub(crate) addresses: Vec<IpAddr>,
    /// What its clock lags behind the world's, for the time it was suspended.
    pub(crate) clock_lag_ns: u64,
    pub(crate) suspended_at: u64,
    pub(crate) descriptors: usize,
    pub(crate) descriptor_limit: usize,
    pub(crate) ports: PortTable,
    pub(crate) listeners: Vec<u32>,
    /// Names of Unix sockets.
    pub(crate) unix: super::unix::Names,
    pub(crate) random: Random,
    pub(crate) ping_socket: bool,
    pub(crate) raw_allowed: bool,
}

impl Host {
    pub(crate) fn new(seed: u64, index: u16, addresses: Vec<IpAddr>, any_woken: &Arc<AtomicBool>) -> Self {
        Self {
            addresses,
            state: HostState::Up,
            has_loop: false,
            runnable: false,
            ready: Vec::new(),
            alarm_due: false,
            alarm_generation: 0,
            alarm_at: None,
            woken: WakeFlag::new(any_woken),
            wake_due: false,
            idle: true,
            clock_lag_ns: 0,
            suspended_at: 0,
            descriptors: 0,
            descriptor_limit: 20_000,
            ports: PortTable::new(seed, index),
            listeners: Vec::new(),
            unix: super::unix::Names::default(),
            knobs: Knobs::new(seed, index),
            random: Random::stream(seed, 50, u64::from(index)),
            ping_socket: false,
            raw_allowed: true,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, HostState::Up | HostState::Paused)
    }

    /// Its own clock at that time of the world's.
    pub(crate) fn clock(&self, now: u64) -> u64 {
        let now = if self.state == HostState::Suspended {
            self.suspended_at
        } else {
            now
        };
        now - self.clock_lag_ns
    }
}

impl World {
    /// The host's clock.
    pub(crate) fn clock(&self, host: u16) -> u64 {
        self.hosts[usize::from(host)].clock(self.now)
    }

    pub(crate) fn set_alarm(&mut self, host: u16, at: Option<u64>) {
        let now = self.now;
        let comes = self.mutated(crate::mutant::Mutant::ClearedAlarmComes);
        let slot = &mut self.hosts[usize::from(host)];
        if slot.alarm_at == at && at.is_some() && !slot.alarm_due {
            return;
        }
        if at.is_none() && comes {
            return;
        }
        slot.alarm_generation = slot.alarm_generation.wrapping_add(1);
        slot.alarm_due = false;
        slot.alarm_at = at;
        let generation = slot.alarm_generation;
        if let Some(at) = at {
            let due = at.saturating_add(slot.clock_lag_ns).max(now);
            if self.mutated(crate::mutant::Mutant::AlarmIsSilent) {
                return;
            }
            let due = if self.mutated(crate::mutant::Mutant::AlarmIsEarly) {
                now
            } else {
                due
            };
            if due < u64::MAX {
                self.queue.push(due, Event::Alarm { host, generation });
            }
        }
    }

    pub(crate) fn alarm(&mut self, host: u16, generation: u32) {
        let slot = &mut self.hosts[usize::from(host)];
        if slot.alarm_generation != generation || slot.state == HostState::Crashed {
            return;
        }
        let due = slot.alarm_at.unwrap_or(0).saturating_add(slot.clock_lag_ns);
        if slot.state == HostState::Suspended {
            return; // Armed anew when the host resumes.
        }
        if due > self.now && !self.mutated(crate::mutant::Mutant::AlarmIsEarly) {
            // The clock was suspended meanwhile.
            self.queue.push(due, Event::Alarm { host, generation });
            return;
        }
        self.hosts[usize::from(host)].alarm_due = true;
        self.make_runnable(host);
    }

    /// Takes a descriptor, or says which error there is instead.
    pub(crate) fn take_descriptor(&mut self, host: u16) -> Result<(), i32> {
        let no_limit = self.mutated(crate::mutant::Mutant::NoDescriptorLimit);
        let slot = &mut self.hosts[usize::from(host)];
        if slot.descriptors >= slot.descriptor_limit && !no_limit {
            return Err(crate::errno::EMFILE);
        }
        slot.descriptors += 1;
        Ok(())
    }

    pub(crate) fn give_descriptor(&mut self, host: u16) {
        let slot = &mut self.hosts[usize::from(host)];
        slot.descriptors = slot.descriptors.saturating_sub(1);
    }

    pub(crate) fn pause(&mut self, host: u16, suspend: bool) {
        let now = self.now;
        let slot = &mut self.hosts[usize::from(host)];
        if slot.state == HostState::Up {
            slot.state = if suspend {
                HostState::Suspended
            } else {
                HostState::Paused
            };
            slot.suspended_at = now;
        }
    }

    pub(crate) fn resume(&mut self, host: u16) {
        let now = self.now;
        let slot = &mut self.hosts[usize::from(host)];
        match slot.state {
            HostState::Suspended => {
                slot.clock_lag_ns += now - slot.suspended_at;
                slot.state = HostState::Up;
                // Its alarm is as far away as it was.
                if let Some(at) = slot.alarm_at {
                    let (generation, due) = (slot.alarm_generation, at.saturating_add(slot.clock_lag_ns));
                    if due < u64::MAX {
                        self.queue.push(due.max(now), Event::Alarm { host, generation });
                    }
                }
            }
            HostState::Paused => slot.state = HostState::Up,
            HostState::Up | HostState::Crashed => return,
        }
        self.hosts[usize::from(host)].runnable = false;
        self.runnable.retain(|&other| other != host);
        self.make_runnable(host);
    }

    /// The host is gone: no segment of it leaves any more. Its handles are dropped after this, silently.
    pub(crate) fn crash(&mut self, host: u16) {
        let slot = &mut self.hosts[usize::from(host)];
        slot.state = HostState::Crashed;
        slot.ready.clear();
        slot.alarm_generation = slot.alarm_generation.wrapping_add(1);
        slot.alarm_at = None;
        slot.alarm_due = false;
        slot.has_loop = false;
        slot.runnable = false;
        slot.woken = WakeFlag::new(&self.any_woken);
        self.runnable.retain(|&other| other != host);
    }

    /// The host boots: nothing of what was is left.
    pub(crate) fn restart(&mut self, host: u16) {
        for stream in 0..self.streams.len() {
            let slot = &self.streams[stream];
            if slot.in_use && slot.host == host {
                self.forget_stream(u32::try_from(stream).unwrap_or(NONE));
            }
        }
        let slot = &mut self.hosts[usize::from(host)];
        slot.state = HostState::Up;
        slot.descriptors = 0;
        slot.listeners.clear();
        slot.unix = super::unix::Names::default();
        slot.ports.clear();
    }
}
