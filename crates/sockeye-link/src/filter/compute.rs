//! Computations on the machine: one accumulator, an index register, and places for intermediate results.

use super::ast::{Arithmetic, Operator, Protocol, Relation, Term};
use super::code::{Compare, Load};
use super::compile::{Place, comparison};
use super::error::{FilterError, FilterErrorKind as Kind};
use super::vm::SLOTS;

const LOAD_NUMBER: u16 = 0x00;
const LOAD_SLOT: u16 = 0x60;
const LOAD_LEN: u16 = 0x80;
const LOAD_HEADER_LEN: u16 = 0xb1;
const STORE: u16 = 0x02;
const TO_INDEX: u16 = 0x07;
const NEGATE: u16 = 0x84;
const WITH_NUMBER: u16 = 0x04;
const WITH_INDEX: u16 = 0x0c;

/// Instructions that leave something in the accumulator, and what it is compared with.
pub(super) struct Computation {
    pub(super) ops: Vec<(u16, u32)>,
    pub(super) compare: Compare,
    /// The number; without it the index register.
    pub(super) constant: Option<u32>,
    pub(super) is_negated: bool,
}

/// Where an operand is.
#[derive(Clone, Copy)]
enum Value {
    Number(u32),
    Slot(u32),
    Accumulator,
}

struct Machine<F> {
    ops: Vec<(u16, u32)>,
    stack: Vec<Value>,
    /// One bit a place that holds something.
    used: u32,
    place: F,
    at: usize,
}

/// A comparison of two computations; `None` if it divides by a constant 0.
pub(super) fn computation<F: Fn(Protocol) -> Place>(
    left: &Arithmetic,
    relation: Relation,
    right: &Arithmetic,
    place: F,
    at: usize,
) -> Result<Option<Computation>, FilterError> {
    let mut machine = Machine {
        ops: Vec::new(),
        stack: Vec::new(),
        used: 0,
        place,
        at,
    };
    for term in left.iter().chain(right) {
        if machine.term(*term)?.is_none() {
            return Ok(None);
        }
    }
    let Some(constant) = machine.operands() else {
        return Ok(None);
    };
    let (compare, is_negated) = comparison(relation);
    Ok(Some(Computation {
        ops: machine.ops,
        compare,
        constant,
        is_negated,
    }))
}

const fn width(size: u8) -> u16 {
    match size {
        1 => 0x10,
        2 => 0x08,
        _ => 0,
    }
}

impl<F: Fn(Protocol) -> Place> Machine<F> {
    /// One step; `None` for a computation that has no result.
    fn term(&mut self, term: Term) -> Result<Option<()>, FilterError> {
        match term {
            Term::Number(number) => self.stack.push(Value::Number(number)),
            Term::Len => {
                self.save()?;
                self.ops.push((LOAD_LEN, 0));
                self.stack.push(Value::Accumulator);
            }
            Term::Load(protocol, size) => return self.load(protocol, size),
            Term::Negate => {
                match self.stack.pop() {
                    Some(Value::Number(number)) => self.stack.push(Value::Number(number.wrapping_neg())),
                    Some(value) => {
                        self.bring(value);
                        self.ops.push((NEGATE, 0));
                        self.stack.push(Value::Accumulator);
                    }
                    None => return Ok(None),
                };
            }
            Term::Binary(operator) => return Ok(self.binary(operator)),
        }
        Ok(Some(()))
    }

    /// Puts the accumulator away before something else is loaded.
    fn save(&mut self) -> Result<(), FilterError> {
        if let Some(value @ Value::Accumulator) = self.stack.last_mut() {
            let slot = (!self.used).trailing_zeros();
            if slot as usize >= SLOTS {
                return Err(Kind::TooComplex(SLOTS).at(self.at));
            }
            self.used |= 1 << slot;
            self.ops.push((STORE, slot));
            *value = Value::Slot(slot);
        }
        Ok(())
    }

    /// Brings an operand into the accumulator.
    fn bring(&mut self, value: Value) {
        match value {
            Value::Number(number) => self.ops.push((LOAD_NUMBER, number)),
            Value::Slot(slot) => {
                self.used &= !(1 << slot);
                self.ops.push((LOAD_SLOT, slot));
            }
            Value::Accumulator => {}
        }
    }

    /// Makes two operands ready: the left one in the accumulator, the right one a number or in the index register.
    fn operands(&mut self) -> Option<Option<u32>> {
        let (right, left) = (self.stack.pop()?, self.stack.pop()?);
        if let Value::Number(number) = right {
            self.bring(left);
            return Some(Some(number));
        }
        self.bring(right);
        self.ops.push((TO_INDEX, 0));
        self.bring(left);
        Some(None)
    }

    fn binary(&mut self, operator: Operator) -> Option<()> {
        if let [.., Value::Number(left), Value::Number(right)] = self.stack[..] {
            self.stack.truncate(self.stack.len() - 2);
            self.stack.push(Value::Number(operator.apply(left, right)?));
            return Some(());
        }
        let op = match self.operands()? {
            Some(number) => (WITH_NUMBER | operator.code(), number),
            None => (WITH_INDEX | operator.code(), 0),
        };
        self.ops.push(op);
        self.stack.push(Value::Accumulator);
        Some(())
    }

    fn load(&mut self, protocol: Protocol, size: u8) -> Result<Option<()>, FilterError> {
        let place = (self.place)(protocol);
        let Some(index) = self.stack.pop() else {
            return Ok(None);
        };
        if let Value::Number(index) = index {
            self.save()?;
            match place.load(index, size) {
                Some(Load::Absolute { at, size }) => self.ops.push((0x20 | width(size), at)),
                Some(Load::BehindHeader { base, at, size }) => {
                    self.ops.push((LOAD_HEADER_LEN, base));
                    self.ops.push((0x40 | width(size), at));
                }
                // Behind the end of every packet.
                Some(Load::Len) | None => return Ok(None),
            }
        } else {
            self.bring(index);
            let start = match place {
                Place::At(start) => start,
                Place::BehindHeader(base) => {
                    self.ops.push((LOAD_HEADER_LEN, base));
                    self.ops.push((WITH_INDEX | Operator::Add.code(), 0));
                    base
                }
            };
            self.ops.push((TO_INDEX, 0));
            self.ops.push((0x40 | width(size), start));
        }
        self.stack.push(Value::Accumulator);
        Ok(Some(()))
    }
}
