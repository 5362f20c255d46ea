//! Plans at work: faults begin and end, and what they change is computed anew from what is in force.

use std::time::Duration;

use super::{HostId, Sim};
use crate::link::LinkOptions;
use crate::plan::{Fault, HostKnob, LinkKnob, Plan, What};
use crate::world::{EPHEMERAL, Event, HostState};

impl Sim {
    /// Lets a plan happen from now on; its times count from the beginning of the simulation.
    pub fn schedule(&mut self, plan: &Plan) {
        let mut world = self.world.borrow_mut();
        for (index, fault) in plan.bounded().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let begins = fault.at_us * 1000;
            world.queue.push(begins, Event::Fault { index, ends: false });
            world
                .queue
                .push(begins + fault.for_us * 1000, Event::Fault { index, ends: true });
        }
        world.queue.push(
            plan.healed_at_us * 1000,
            Event::Fault {
                index: u32::MAX,
                ends: true,
            },
        );
        drop(world);
        self.in_force = vec![false; plan.faults.len()];
        self.plan = Some(plan.clone());
    }

    /// Whether the plan's time of faults is over.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        let healed_at_us = self.plan.as_ref().map_or(0, |plan| plan.healed_at_us);
        self.world.borrow().now >= healed_at_us * 1000
    }

    pub(super) fn faults_are_due(&mut self) {
        let due = std::mem::take(&mut self.world.borrow_mut().due_faults);
        for (index, ends) in due {
            if index == u32::MAX {
                self.heal_all();
                continue;
            }
            let at = index as usize;
            let Some(fault) = self.plan.as_ref().and_then(|plan| plan.faults.get(at).copied()) else {
                continue;
            };
            if self.exists(&fault) {
                self.world
                    .borrow_mut()
                    .step(crate::trace::Step::Fault, index, u64::from(ends));
                self.in_force[at] = !ends;
                self.apply(&fault, ends);
            }
        }
    }

    /// Whether the hosts it speaks of are there.
    fn exists(&self, fault: &Fault) -> bool {
        let has = |host: u16| {
            self.slots
                .get(usize::from(host))
                .is_some_and(|slot| slot.boot.is_some() || slot.events.is_some())
        };
        match fault.what {
            What::Link { a, b, .. } => a != b && has(a) && has(b),
            What::Host { host, .. } | What::Fail { host, .. } => has(host),
        }
    }

    fn apply(&mut self, fault: &Fault, ends: bool) {
        match fault.what {
            What::Link { .. } => self.refresh_links(),
            What::Host { knob, host, .. } => self.apply_to_host(knob, host, ends),
            What::Fail {
                host,
                call,
                nth,
                errno,
            } => {
                if !ends {
                    self.fail(HostId(host), call, nth, errno);
                }
            }
        }
    }

    fn apply_to_host(&mut self, knob: HostKnob, host: u16, ends: bool) {
        let id = HostId(host);
        let state = self.world.borrow().hosts[usize::from(host)].state;
        match (knob, ends) {
            (HostKnob::Crash, false) if state != HostState::Crashed => self.crash(id),
            (HostKnob::Crash, true)
                if state == HostState::Crashed && !self.is_in_force(host, HostKnob::Crash) =>
            {
                self.restart(id);
            }
            (HostKnob::Pause, false) => self.pause(id),
            (HostKnob::Suspend, false) => self.suspend(id),
            (HostKnob::Pause | HostKnob::Suspend, true)
                if !self.is_in_force(host, HostKnob::Pause) && !self.is_in_force(host, HostKnob::Suspend) =>
            {
                self.resume(id);
            }
            (HostKnob::Crash | HostKnob::Pause | HostKnob::Suspend, _) => {}
            _ => self.refresh_host(host),
        }
    }

    fn host_faults(&self, host: u16) -> impl Iterator<Item = (HostKnob, u32)> + '_ {
        let faults = self
            .plan
            .iter()
            .flat_map(|plan| plan.faults.iter())
            .zip(&self.in_force);
        faults
            .filter(|(_, on)| **on)
            .filter_map(move |(fault, _)| match fault.what {
                What::Host {
                    knob,
                    host: whose,
                    amount,
                } if whose == host => Some((knob, amount)),
                _ => None,
            })
    }

    fn is_in_force(&self, host: u16, knob: HostKnob) -> bool {
        self.host_faults(host).any(|(other, _)| other == knob)
    }

    fn amount(&self, host: u16, knob: HostKnob) -> Option<u32> {
        self.host_faults(host)
            .filter(|(other, _)| *other == knob)
            .map(|(_, amount)| amount)
            .max()
    }

    fn refresh_host(&mut self, host: u16) {
        let id = HostId(host);
        self.set_short(id, self.amount(host, HostKnob::Short).unwrap_or(0));
        self.set_spurious(id, self.amount(host, HostKnob::Spurious).unwrap_or(0));
        self.set_interrupts(id, self.amount(host, HostKnob::Interrupt).unwrap_or(0));
        self.set_permuted(id, self.is_in_force(host, HostKnob::Permute));
        let limit = self
            .amount(host, HostKnob::Descriptors)
            .map_or(20_000, |open| open as usize);
        self.set_descriptor_limit(id, limit);
        let ports = self
            .amount(host, HostKnob::Ports)
            .and_then(|ports| u16::try_from(ports).ok());
        let (first, last) = EPHEMERAL.into_inner();
        let last = ports.map_or(last, |ports| {
            first.saturating_add(ports.saturating_sub(1)).min(last)
        });
        self.set_ephemeral_ports(id, first..=last);
    }

    /// Computes every link anew: what it is by itself, what faults in force make of it, what is cut by hand.
    pub(super) fn refresh_links(&mut self) {
        let mut world = self.world.borrow_mut();
        for index in 0..world.links.len() {
            let key = u32::try_from(index).unwrap_or(u32::MAX);
            let options = world.links[index].options;
            let base = *self.base_links.entry(key).or_insert(options);
            world.links[index].set(base);
            for side in 0..2 {
                world.links[index].lanes[side].down = self.cut.contains(&(key, side));
            }
        }
        let faults: Vec<Fault> = match &self.plan {
            Some(plan) => plan
                .faults
                .iter()
                .zip(&self.in_force)
                .filter(|(_, on)| **on)
                .map(|(fault, _)| *fault)
                .collect(),
            None => Vec::new(),
        };
        for fault in faults {
            if let What::Link { knob, a, b, amount } = fault.what {
                for link in world.links_between(a, b) {
                    let slot = &mut world.links[link as usize];
                    self.base_links.entry(link).or_insert(slot.options);
                    let from_a = usize::from(slot.ends[0] != a);
                    match knob {
                        LinkKnob::Cut => slot.lanes.iter_mut().for_each(|lane| lane.down = true),
                        LinkKnob::OneWay => slot.lanes[from_a].down = true,
                        _ => {
                            let changed = changed(slot.options, knob, amount);
                            slot.set(changed);
                        }
                    }
                }
            }
        }
        world.refresh_paths();
    }

    fn heal_all(&mut self) {
        self.in_force.iter_mut().for_each(|on| *on = false);
        self.refresh_links();
        for host in 0..self.slots.len() {
            let host = u16::try_from(host).unwrap_or(u16::MAX);
            let state = {
                let mut world = self.world.borrow_mut();
                let slot = &mut world.hosts[usize::from(host)];
                slot.knobs.heal();
                slot.state
            };
            self.refresh_host(host);
            match state {
                HostState::Crashed => self.restart(HostId(host)),
                HostState::Paused | HostState::Suspended => self.resume(HostId(host)),
                HostState::Up => {}
            }
        }
    }
}

fn changed(options: LinkOptions, knob: LinkKnob, amount: u32) -> LinkOptions {
    let time = Duration::from_micros(amount.into());
    match knob {
        LinkKnob::Cut | LinkKnob::OneWay => options,
        LinkKnob::Loss => LinkOptions {
            loss_ppm: amount,
            ..options
        },
        LinkKnob::Latency => LinkOptions {
            latency: time,
            ..options
        },
        LinkKnob::Jitter => LinkOptions {
            jitter: time,
            ..options
        },
        LinkKnob::Duplicate => LinkOptions {
            duplicate_ppm: amount,
            ..options
        },
        LinkKnob::Reorder => LinkOptions {
            reorder_ppm: amount,
            ..options
        },
        LinkKnob::Bandwidth => LinkOptions {
            bandwidth: Some(u64::from(amount.max(1)) * 1000),
            ..options
        },
    }
}
