//! Timers: a hierarchical wheel in front of a small heap.
//!
//! Setting and cancelling cost the same however many timers there are: a timer far away is a link in the
//! list of its slot. Only the timers of the tick that has begun (65 µs) are in a heap, which orders them to
//! the nanosecond. The wheel never looks at a clock: it is told the time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::id::TimerId;
use crate::time::Time;

/// A tick is 2^16 ns: fine enough that the heap stays small, coarse enough that a second has few slots.
const TICK_BITS: u32 = 16;
/// 64 slots a level, so that one word says which are occupied.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 8 levels of 6 bits on top of 16 cover all 64 bits.
const LEVELS: usize = 8;
const NONE: u32 = u32::MAX;
/// A slot with more timers than this is not searched for its earliest; it is opened at its beginning.
const SEARCHED: u32 = 64;

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Free,
    Slot {
        level: u8,
        slot: u8,
    },
    Heap,
    /// In the heap, but nobody waits for it any more.
    Cancelled,
}

#[derive(Debug)]
struct Node<T> {
    deadline: u64,
    previous: u32,
    next: u32,
    generation: u32,
    place: Place,
    target: T,
}

/// All timers of one loop. The time of the next, which each turn looks at, comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Wheel<T> {
    /// No timer is due before this; `u64::MAX` when there is none. Early is allowed, late is not.
    next: u64,
    nodes: Vec<Node<T>>,
    free: u32,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    /// The tick that has begun: everything up to its end is in the heap.
    tick: u64,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    live: usize,
}

impl<T: Copy> Wheel<T> {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            nodes: Vec::new(),
            free: NONE,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            tick: now.as_nanos() >> TICK_BITS,
            heap: BinaryHeap::new(),
            live: 0,
            next: u64::MAX,
        }
    }

    /// Timers that are set.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Sets a timer. One that is past is due at once.
    pub(crate) fn set(&mut self, at: Time, target: T) -> TimerId {
        let index = self.take_node(at.as_nanos(), target);
        self.live += 1;
        self.next = self.next.min(at.as_nanos());
        self.place(index);
        TimerId {
            index,
            generation: self.nodes[index as usize].generation,
        }
    }

    /// Cancels a timer; `false` if it has fired or was cancelled before.
    pub(crate) fn cancel(&mut self, id: TimerId) -> bool {
        let Some(node) = self.nodes.get_mut(id.index as usize) else {
            return false;
        };
        if node.generation != id.generation {
            return false;
        }
        match node.place {
            Place::Slot { .. } => {
                self.unlink(id.index);
                self.release(id.index);
            }
            Place::Heap => {
                // A heap gives up only its top: the node is released when it gets there.
                node.place = Place::Cancelled;
                node.generation = node.generation.wrapping_add(1);
            }
            Place::Free | Place::Cancelled => return false,
        }
        self.live -= 1;
        if self.live == 0 {
            self.next = u64::MAX;
        }
        true
    }

    /// When to look again: no timer is due before it. `None` when there is none.
    pub(crate) fn next(&self) -> Option<Time> {
        (self.next != u64::MAX).then_some(Time::from_nanos(self.next))
    }

    /// As [`next`](Self::next); the end of time when there is none.
    #[inline]
    pub(crate) fn next_or_max(&self) -> Time {
        Time::from_nanos(self.next)
    }

    /// The next timer that is due at `now`, earliest first, and when it was due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Time, T)> {
        if now.as_nanos() < self.next {
            return None;
        }
        self.advance(now.as_nanos());
        while let Some(&Reverse((deadline, index))) = self.heap.peek() {
            let node = &self.nodes[index as usize];
            if node.place == Place::Cancelled {
                self.heap.pop();
                self.release(index);
                continue;
            }
            if deadline > now.as_nanos() {
                break;
            }
            let target = node.target;
            self.heap.pop();
            self.release(index);
            self.live -= 1;
            if self.live == 0 {
                self.next = u64::MAX;
            }
            return Some((Time::from_nanos(deadline), target));
        }
        self.next = self.earliest();
        None
    }

    fn take_node(&mut self, deadline: u64, target: T) -> u32 {
        if self.free == NONE {
            let index = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            self.nodes.push(Node {
                deadline,
                previous: NONE,
                next: NONE,
                generation: 0,
                place: Place::Free,
                target,
            });
            return index;
        }
        let index = self.free;
        let node = &mut self.nodes[index as usize];
        self.free = node.next;
        node.deadline = deadline;
        node.target = target;
        index
    }

    fn release(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.place = Place::Free;
        node.next = self.free;
        self.free = index;
    }

    /// Puts a node where its deadline belongs as seen from the present tick.
    fn place(&mut self, index: u32) {
        let deadline = self.nodes[index as usize].deadline;
        let tick = deadline >> TICK_BITS;
        if tick <= self.tick {
            self.nodes[index as usize].place = Place::Heap;
            self.heap.push(Reverse((deadline, index)));
            return;
        }
        // The highest group of bits in which the ticks differ says how far away it is.
        let level = (63 - (tick ^ self.tick).leading_zeros()) / SLOT_BITS;
        let slot = (tick >> (level * SLOT_BITS)) & (SLOTS as u64 - 1);
        let head = &mut self.heads[level as usize][slot as usize];
        let next = *head;
        *head = index;
        self.occupied[level as usize] |= 1 << slot;
        let node = &mut self.nodes[index as usize];
        node.previous = NONE;
        node.next = next;
        #[expect(clippy::cast_possible_truncation, reason = "level < 8, slot < 64")]
        {
            node.place = Place::Slot {
                level: level as u8,
                slot: slot as u8,
            };
        }
        if next != NONE {
            self.nodes[next as usize].previous = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let Place::Slot { level, slot } = node.place else {
            return;
        };
        let (previous, next) = (node.previous, node.next);
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous == NONE {
            self.heads[level as usize][slot as usize] = next;
            if next == NONE {
                self.occupied[level as usize] &= !(1 << slot);
            }
        } else {
            self.nodes[previous as usize].next = next;
        }
    }

    /// The occupied slot that begins first, and the tick at which it begins.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        // Within a level, occupied slots lie behind the present one; a lower level always comes first.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = SLOT_BITS * u32::try_from(level).unwrap_or(0);
        let above = shift + SLOT_BITS;
        let base = if above >= 64 {
            0
        } else {
            self.tick >> above << above
        };
        Some((level, slot, base | (slot as u64) << shift))
    }

    /// Moves the present tick to `now`, opening every slot that begins on the way.
    fn advance(&mut self, now: u64) {
        let target = now >> TICK_BITS;
        while let Some((level, slot, begins)) = self.first_slot() {
            if begins > target {
                break;
            }
            self.tick = begins;
            let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while index != NONE {
                let next = self.nodes[index as usize].next;
                self.place(index);
                index = next;
            }
        }
        self.tick = self.tick.max(target);
    }

    /// A moment before which nothing is due.
    fn earliest(&self) -> u64 {
        if let Some(&Reverse((deadline, _))) = self.heap.peek() {
            return deadline;
        }
        let Some((level, slot, begins)) = self.first_slot() else {
            return u64::MAX;
        };
        let mut index = self.heads[level][slot];
        let mut earliest = u64::MAX;
        for _ in 0..SEARCHED {
            if index == NONE {
                return earliest;
            }
            let node = &self.nodes[index as usize];
            earliest = earliest.min(node.deadline);
            index = node.next;
        }
        begins << TICK_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn fires_in_order_to_the_nanosecond() {
        let mut wheel = Wheel::new(at(0));
        for deadline in [5_000_000_000, 70_001, 70_000, 3, u64::MAX, 70_002] {
            wheel.set(at(deadline), deadline);
        }
        assert_eq!(wheel.next(), Some(at(3)));
        assert_eq!(wheel.pop(at(2)), None);
        assert_eq!(wheel.pop(at(70_001)), Some((at(3), 3)));
        assert_eq!(wheel.pop(at(70_001)), Some((at(70_000), 70_000)));
        assert_eq!(wheel.pop(at(70_001)), Some((at(70_001), 70_001)));
        assert_eq!(wheel.pop(at(70_001)), None);
        assert_eq!(wheel.next(), Some(at(70_002)));
        assert_eq!(wheel.pop(at(u64::MAX - 1)), Some((at(70_002), 70_002)));
        assert_eq!(
            wheel.pop(at(u64::MAX - 1)),
            Some((at(5_000_000_000), 5_000_000_000))
        );
        assert_eq!(wheel.pop(at(u64::MAX - 1)), None);
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn a_stale_id_cancels_nothing() {
        let mut wheel = Wheel::new(at(0));
        let first = wheel.set(at(1_000_000), 1);
        assert!(wheel.cancel(first));
        assert!(!wheel.cancel(first));
        let second = wheel.set(at(1_000_000), 2);
        assert!(!wheel.cancel(first));
        assert_eq!(wheel.pop(at(1_000_000)), Some((at(1_000_000), 2)));
        assert!(!wheel.cancel(second));
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_crowded_slot_is_not_searched() {
        let mut wheel = Wheel::new(at(0));
        for i in 0..1_000u64 {
            wheel.set(at(10_000_000_000 + i), i);
        }
        assert_eq!(wheel.pop(at(9_000_000_000)), None);
        let mut fired = 0;
        while wheel.pop(at(10_000_000_999)).is_some() {
            fired += 1;
        }
        assert_eq!(fired, 1_000);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(u64),
        Cancel(usize),
        Advance(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let span = prop_oneof![0u64..1 << 10, 0u64..1 << 20, 0u64..1 << 36, 0u64..1 << 50];
        prop_oneof![
            4 => span.clone().prop_map(Op::Set),
            2 => any::<usize>().prop_map(Op::Cancel),
            3 => span.prop_map(Op::Advance),
        ]
    }

    proptest! {
        /// Against a sorted list: the same timers, in the same order of deadlines, never late, `next` never late.
        #[test]
        fn prop_agrees_with_a_sorted_list(start in 0u64..1 << 50, ops in proptest::collection::vec(op(), 1..200)) {
            let mut wheel = Wheel::new(at(start));
            let mut model: Vec<(u64, usize, TimerId)> = Vec::new();
            let mut now = start;
            for (number, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Set(after) => {
                        let id = wheel.set(at(now + after), number);
                        model.push((now + after, number, id));
                    }
                    Op::Cancel(which) if !model.is_empty() => {
                        let (_, _, id) = model.remove(which % model.len());
                        prop_assert!(wheel.cancel(id));
                    }
                    Op::Cancel(_) => {}
                    Op::Advance(by) => {
                        now += by;
                        let mut last = 0;
                        while let Some((deadline, number)) = wheel.pop(at(now)) {
                            prop_assert!(deadline.as_nanos() >= last && deadline.as_nanos() <= now);
                            last = deadline.as_nanos();
                            let found = model.iter().position(|m| m.1 == number);
                            prop_assert!(found.is_some());
                            let (due, ..) = model.remove(found.unwrap_or(0));
                            prop_assert_eq!(due, deadline.as_nanos());
                        }
                        prop_assert!(model.iter().all(|m| m.0 > now));
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                if let Some(first) = model.iter().map(|m| m.0).min() {
                    prop_assert!(wheel.next().is_some_and(|next| next.as_nanos() <= first));
                }
            }
        }
    }
}
