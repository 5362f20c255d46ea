//! From tests to instructions: blocks with edges between them, each edge with what is known on its way.
//!
//! All jumps go forward, so that a block is written when everything that leads to it is there already. An edge knows what
//! the tests before it have found out: one that would only be told so again is led on to where that test leads. That makes
//! `tcp port 80 or tcp port 443` look at the protocol once, and costs no second pass.

use std::collections::HashMap;

use sockeye_socket::filter::Instruction;

/// What is loaded into the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    /// So many bytes (1, 2, 4) from here on.
    Absolute { at: u32, size: u8 },
    /// The same behind the IPv4 header that begins at `base`.
    BehindHeader { base: u32, at: u32, size: u8 },
    /// Length of the packet on the wire.
    Len,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Greater,
    GreaterOrEqual,
}

/// One test: bits of a load against a constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    pub(super) load: Load,
    pub(super) mask: u32,
    pub(super) compare: Compare,
    pub(super) value: u32,
    /// Whether its outcome is worth remembering: EtherTypes and protocol numbers, which come again and again.
    pub(super) is_structural: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    /// One of these, sorted.
    Is(Vec<u32>),
    /// None of these, sorted.
    IsNot(Vec<u32>),
}

/// More values than these are forgotten.
const MAX_VALUES: usize = 8;
/// Ways into one block with different knowledge; beyond it what they know is reduced to what they have in common.
const MAX_GROUPS: usize = 24;

type Facts = Vec<((Load, u32), Fact)>;

/// What the registers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Machine {
    accumulator: Option<(Load, u32)>,
    /// The base of the IPv4 header whose length the index register holds.
    index: Option<u32>,
}

impl Machine {
    fn meet(self, other: Self) -> Self {
        Self {
            accumulator: self.accumulator.filter(|_| self.accumulator == other.accumulator),
            index: self.index.filter(|_| self.index == other.index),
        }
    }
}

/// Edges that know the same.
#[derive(Debug)]
struct Group {
    facts: Facts,
    machine: Machine,
    /// The instruction, and which of its two ways.
    edges: Vec<(usize, usize)>,
}

pub(super) type Label = usize;

/// An instruction whose targets are not laid out yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Plain(u16, u32),
    /// Code, constant, and the places of the two next instructions, counted in these.
    Jump(u16, u32, [usize; 2]),
}

#[derive(Debug)]
pub(super) struct Code {
    ops: Vec<Op>,
    labels: Vec<Vec<Group>>,
}

pub(super) const ACCEPT: Label = 0;
pub(super) const REJECT: Label = 1;
pub(super) const START: Label = 2;

const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const GREATER_OR_EQUAL: u16 = 0x35;
const HAS_ANY: u16 = 0x45;
/// A comparison with the index register, not with a constant.
const WITH_INDEX: u16 = 0x08;
const RETURN: u16 = 0x06;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
/// As many bytes as tcpdump lets through.
const WHOLE: u32 = 262_144;

impl Load {
    const fn full(self) -> u32 {
        match self {
            Self::Absolute { size, .. } | Self::BehindHeader { size, .. } => match size {
                1 => 0xff,
                2 => 0xffff,
                _ => u32::MAX,
            },
            Self::Len => u32::MAX,
        }
    }
}

impl Compare {
    const fn code(self) -> u16 {
        match self {
            Self::Equal => EQUAL,
            Self::Greater => GREATER,
            Self::GreaterOrEqual => GREATER_OR_EQUAL,
        }
    }

    const fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Atom {
    fn key(&self) -> (Load, u32) {
        (self.load, self.mask & self.load.full())
    }

    /// The outcome, if it is known already.
    fn decide(&self, facts: &Facts) -> Option<bool> {
        let key = self.key();
        match &facts.iter().find(|(known, _)| *known == key)?.1 {
            Fact::Is(values) => {
                let holding = values
                    .iter()
                    .filter(|value| self.compare.holds(**value, self.value))
                    .count();
                (holding == 0 || holding == values.len()).then_some(holding > 0)
            }
            Fact::IsNot(values) if self.compare == Compare::Equal && values.contains(&self.value) => {
                Some(false)
            }
            Fact::IsNot(_) => None,
        }
    }

    /// What is known behind the test.
    fn learn(&self, facts: &Facts, outcome: bool) -> Facts {
        let mut facts = facts.clone();
        if !self.is_structural || self.compare != Compare::Equal {
            return facts;
        }
        let key = self.key();
        let place = facts.iter().position(|(known, _)| *known == key);
        let old = place.map(|place| facts.remove(place).1);
        let fact = match (outcome, old) {
            (true, _) => Fact::Is(vec![self.value]),
            (false, Some(Fact::Is(values))) => {
                Fact::Is(values.into_iter().filter(|value| *value != self.value).collect())
            }
            (false, Some(Fact::IsNot(mut values))) => {
                if values.len() < MAX_VALUES {
                    values.push(self.value);
                    values.sort_unstable();
                }
                Fact::IsNot(values)
            }
            (false, _) => Fact::IsNot(vec![self.value]),
        };
        facts.push((key, fact));
        facts.sort_by_key(|(key, _)| *key);
        facts
    }
}

/// What both know.
fn common(left: &Facts, right: &Facts) -> Facts {
    let mut facts = Vec::new();
    for (key, fact) in left {
        let Some((_, other)) = right.iter().find(|(known, _)| known == key) else {
            continue;
        };
        match (fact, other) {
            (left, right) if left == right => facts.push((*key, left.clone())),
            (Fact::IsNot(left), Fact::IsNot(right)) => {
                let both: Vec<_> = left
                    .iter()
                    .copied()
                    .filter(|value| right.contains(value))
                    .collect();
                facts.push((*key, Fact::IsNot(both)));
            }
            (Fact::IsNot(values), Fact::Is(others)) | (Fact::Is(others), Fact::IsNot(values)) => {
                let rest: Vec<_> = values
                    .iter()
                    .copied()
                    .filter(|value| !others.contains(value))
                    .collect();
                facts.push((*key, Fact::IsNot(rest)));
            }
            (Fact::Is(left), Fact::Is(right)) => {
                let mut both = [left.as_slice(), right].concat();
                both.sort_unstable();
                both.dedup();
                if both.len() <= MAX_VALUES {
                    facts.push((*key, Fact::Is(both)));
                }
            }
        }
    }
    facts.retain(|(_, fact)| *fact != Fact::IsNot(Vec::new()));
    facts
}

impl Code {
    pub(super) fn new() -> Self {
        let start = Group {
            facts: Vec::new(),
            machine: Machine::default(),
            edges: Vec::new(),
        };
        Self {
            ops: Vec::new(),
            labels: vec![Vec::new(), Vec::new(), vec![start]],
        }
    }

    /// A place to jump to, before anything leads there.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(Vec::new());
        self.labels.len() - 1
    }

    fn take(&mut self, label: Label) -> Vec<Group> {
        self.labels.get_mut(label).map(std::mem::take).unwrap_or_default()
    }

    fn lead(&mut self, label: Label, mut group: Group) {
        let Some(groups) = self.labels.get_mut(label) else {
            return;
        };
        if let Some(same) = groups.iter_mut().find(|known| known.facts == group.facts) {
            same.machine = same.machine.meet(group.machine);
            // The smaller list moves, so that no edge moves often.
            if same.edges.len() < group.edges.len() {
                std::mem::swap(&mut same.edges, &mut group.edges);
            }
            same.edges.append(&mut group.edges);
            return;
        }
        if groups.len() >= MAX_GROUPS
            && let Some(last) = groups.pop()
        {
            group.facts = common(&group.facts, &last.facts);
            group.machine = group.machine.meet(last.machine);
            group.edges.extend(last.edges);
            return self.lead(label, group);
        }
        groups.push(group);
    }

    /// Everything that comes to `from` goes on to `to`.
    pub(super) fn forward(&mut self, from: Label, to: Label) {
        for group in self.take(from) {
            self.lead(to, group);
        }
    }

    /// Begins a block here for these groups; what they have in common.
    fn begin(&mut self, groups: Vec<Group>) -> Option<(Facts, Machine)> {
        let here = self.ops.len();
        let mut known: Option<(Facts, Machine)> = None;
        for group in groups {
            for (op, way) in group.edges {
                if let Some(Op::Jump(_, _, targets)) = self.ops.get_mut(op)
                    && let Some(target) = targets.get_mut(way)
                {
                    *target = here;
                }
            }
            known = Some(match known {
                None => (group.facts, group.machine),
                Some((facts, machine)) => (common(&facts, &group.facts), machine.meet(group.machine)),
            });
        }
        known
    }

    /// Ends a block with a jump of two ways.
    fn branch(&mut self, code: u16, constant: u32, machine: Machine, ways: [(Label, Facts); 2]) {
        let op = self.ops.len();
        self.ops.push(Op::Jump(code, constant, [0; 2]));
        for (way, (label, facts)) in ways.into_iter().enumerate() {
            let edges = vec![(op, way)];
            self.lead(
                label,
                Group {
                    facts,
                    machine,
                    edges,
                },
            );
        }
    }

    /// The test at `entry`, and where its outcomes lead.
    pub(super) fn test(&mut self, entry: Label, atom: &Atom, on_true: Label, on_false: Label) {
        let mut open = Vec::new();
        for group in self.take(entry) {
            match atom.decide(&group.facts) {
                Some(true) => self.lead(on_true, group),
                Some(false) => self.lead(on_false, group),
                None => open.push(group),
            }
        }
        let Some((facts, mut machine)) = self.begin(open) else {
            return;
        };
        let (load, mask) = atom.key();
        let full = (load, load.full());
        let (mut code, mut constant) = (atom.compare.code(), atom.value);
        let mut ways = [
            (on_true, atom.learn(&facts, true)),
            (on_false, atom.learn(&facts, false)),
        ];
        if machine.accumulator != Some((load, mask)) {
            if machine.accumulator != Some(full) {
                self.load(load, &mut machine);
            }
            if mask != load.full() {
                if atom.compare == Compare::Equal && atom.value == 0 {
                    (code, constant) = (HAS_ANY, mask);
                    ways.swap(0, 1);
                } else {
                    self.ops.push(Op::Plain(AND, mask));
                    machine.accumulator = Some((load, mask));
                }
            }
        }
        self.branch(code, constant, machine, ways);
    }

    /// Whether the load is one of these values.
    pub(super) fn any(&mut self, entry: Label, load: Load, values: &[u32], on_true: Label, on_false: Label) {
        let mut next = self.label();
        let key = (load, load.full());
        for group in self.take(entry) {
            let fact = group.facts.iter().find(|(known, _)| *known == key);
            // Which of them it is need not be known.
            let is_any = matches!(fact, Some((_, Fact::Is(known))) if known.iter().all(|value| values.contains(value)));
            self.lead(if is_any { on_true } else { next }, group);
        }
        for (index, value) in values.iter().enumerate() {
            let atom = Atom {
                load,
                mask: u32::MAX,
                compare: Compare::Equal,
                value: *value,
                is_structural: true,
            };
            let otherwise = if index + 1 == values.len() {
                on_false
            } else {
                self.label()
            };
            self.test(next, &atom, on_true, otherwise);
            next = otherwise;
        }
    }

    fn load(&mut self, load: Load, machine: &mut Machine) {
        let bits = |size: u8| match size {
            1 => 0x10,
            2 => 0x08,
            _ => 0,
        };
        match load {
            Load::Absolute { at, size } => self.ops.push(Op::Plain(0x20 | bits(size), at)),
            Load::BehindHeader { base, at, size } => {
                if machine.index != Some(base) {
                    self.ops.push(Op::Plain(0xb1, base));
                    machine.index = Some(base);
                }
                self.ops.push(Op::Plain(0x40 | bits(size), at));
            }
            Load::Len => self.ops.push(Op::Plain(0x80, 0)),
        }
        machine.accumulator = Some((load, load.full()));
    }

    /// A comparison of the accumulator behind instructions of its own; with the index register if there is no constant.
    pub(super) fn compute(
        &mut self,
        entry: Label,
        ops: Vec<(u16, u32)>,
        (compare, constant): (Compare, Option<u32>),
        on_true: Label,
        on_false: Label,
    ) {
        let groups = self.take(entry);
        let Some((facts, _)) = self.begin(groups) else {
            return;
        };
        self.ops
            .extend(ops.into_iter().map(|(code, constant)| Op::Plain(code, constant)));
        let code = compare.code() | if constant.is_none() { WITH_INDEX } else { 0 };
        let ways = [(on_true, facts.clone()), (on_false, facts)];
        self.branch(code, constant.unwrap_or(0), Machine::default(), ways);
    }

    /// The finished program.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (label, constant) in [(ACCEPT, WHOLE), (REJECT, 0)] {
            let groups = self.take(label);
            if self.begin(groups).is_some() {
                self.ops.push(Op::Plain(RETURN, constant));
            }
        }
        lay_out(&self.ops)
    }
}

/// Gives jumps their distances. One of more than 255 goes over an unconditional jump, which has 32 bits; those near to each
/// other share it.
///
/// From the end to the start: all jumps go forward, so that a target's place, counted from the end, is known by then.
fn lay_out(ops: &[Op]) -> Vec<Instruction> {
    let mut reversed: Vec<Instruction> = Vec::with_capacity(ops.len());
    // How many instructions there are from the one at this place to the end.
    let mut to_end = vec![0_usize; ops.len()];
    // The same of the last unconditional jump to a target.
    let mut bridges: HashMap<usize, usize> = HashMap::new();
    for (place, op) in ops.iter().enumerate().rev() {
        match op {
            Op::Plain(code, constant) => reversed.push(Instruction::new(*code, [0, 0], *constant)),
            Op::Jump(code, constant, targets) => {
                let mut goals = [0; 2];
                // "False" first. A bridge of "true" may still come between.
                for (way, between) in [(1, 1), (0, 0)] {
                    let target = targets.get(way).copied().unwrap_or(0);
                    let is_near = |goal: usize, len: usize| len - goal + between <= usize::from(u8::MAX);
                    let mut goal = to_end.get(target).copied().unwrap_or(0);
                    if !is_near(goal, reversed.len()) {
                        goal = match bridges.get(&target) {
                            Some(bridge) if is_near(*bridge, reversed.len()) => *bridge,
                            _ => {
                                let distance = u32::try_from(reversed.len() - goal).unwrap_or(u32::MAX);
                                reversed.push(Instruction::new(JUMP, [0, 0], distance));
                                bridges.insert(target, reversed.len());
                                reversed.len()
                            }
                        };
                    }
                    if let Some(place) = goals.get_mut(way) {
                        *place = goal;
                    }
                }
                let distances = goals.map(|goal| u8::try_from(reversed.len() - goal).unwrap_or(u8::MAX));
                reversed.push(Instruction::new(*code, distances, *constant));
            }
        }
        if let Some(place) = to_end.get_mut(place) {
            *place = reversed.len();
        }
    }
    reversed.reverse();
    reversed
}
