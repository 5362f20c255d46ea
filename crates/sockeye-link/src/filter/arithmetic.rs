//! Comparisons of what stands in a packet: `tcp[tcpflags] & tcp-syn != 0`.

use super::ast::{Arithmetic, Operator, Primitive, Protocol, Relation, Term};
use super::error::{FilterError, FilterErrorKind as Kind};
use super::lex::Token;
use super::parse::{Parser, number, protocol};

/// Whether a sign compares or computes.
pub(super) fn is_operator(sign: &str) -> bool {
    relation(sign).is_some() || binary(sign).is_some()
}

fn relation(sign: &str) -> Option<Relation> {
    Some(match sign {
        "=" | "==" => Relation::Equal,
        "!=" => Relation::NotEqual,
        ">" => Relation::Greater,
        ">=" => Relation::GreaterOrEqual,
        "<" => Relation::Less,
        "<=" => Relation::LessOrEqual,
        _ => return None,
    })
}

/// The operator and how strong it binds.
fn binary(sign: &str) -> Option<(Operator, u8)> {
    Some(match sign {
        "|" => (Operator::Or, 1),
        "^" => (Operator::Xor, 1),
        "&" => (Operator::And, 1),
        "<<" => (Operator::ShiftLeft, 2),
        ">>" => (Operator::ShiftRight, 2),
        "+" => (Operator::Add, 3),
        "-" => (Operator::Subtract, 3),
        "*" => (Operator::Multiply, 4),
        "/" => (Operator::Divide, 4),
        "%" => (Operator::Modulo, 4),
        _ => return None,
    })
}

/// The numbers that have names: offsets, flags, types.
fn constant(word: &str) -> Option<u32> {
    Some(match word {
        "tcpflags" => 13,
        "tcp-fin" => 0x01,
        "tcp-syn" => 0x02,
        "tcp-rst" => 0x04,
        "tcp-push" => 0x08,
        "tcp-ack" => 0x10,
        "tcp-urg" => 0x20,
        "tcp-ece" => 0x40,
        "tcp-cwr" => 0x80,
        "icmptype" | "icmp6type" => 0,
        "icmpcode" | "icmp6code" => 1,
        "icmp-echoreply" => 0,
        "icmp-unreach" => 3,
        "icmp-sourcequench" => 4,
        "icmp-redirect" => 5,
        "icmp-echo" => 8,
        "icmp-routeradvert" => 9,
        "icmp-routersolicit" => 10,
        "icmp-timxceed" => 11,
        "icmp-paramprob" => 12,
        "icmp-tstamp" => 13,
        "icmp-tstampreply" => 14,
        "icmp-ireq" => 15,
        "icmp-ireqreply" => 16,
        "icmp-maskreq" => 17,
        "icmp-maskreply" => 18,
        "icmp6-destinationunreach" => 1,
        "icmp6-packettoobig" => 2,
        "icmp6-timeexceeded" => 3,
        "icmp6-parameterproblem" => 4,
        "icmp6-echo" => 128,
        "icmp6-echoreply" => 129,
        "icmp6-multicastlistenerquery" => 130,
        "icmp6-routersolicit" => 133,
        "icmp6-routeradvert" => 134,
        "icmp6-neighborsolicit" => 135,
        "icmp6-neighboradvert" => 136,
        "icmp6-redirect" => 137,
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn relation(&mut self) -> Result<Primitive, FilterError> {
        let mut left = Vec::new();
        self.sum(1, &mut left)?;
        let relation = match self.peek() {
            Some(Token::Sign(sign)) => relation(sign),
            _ => None,
        };
        let Some(relation) = relation else {
            return Err(self.expected("a comparison: =, !=, <, <=, > or >="));
        };
        self.advance();
        let mut right = Vec::new();
        self.sum(1, &mut right)?;
        Ok(Primitive::Relation(left, relation, right))
    }

    /// A computation whose operators bind at least as strong as `strength`.
    fn sum(&mut self, strength: u8, out: &mut Arithmetic) -> Result<(), FilterError> {
        self.factor(out)?;
        loop {
            let found = match self.peek() {
                Some(Token::Sign(sign)) => binary(sign),
                _ => None,
            };
            let Some((operator, binds)) = found.filter(|(_, binds)| *binds >= strength) else {
                return Ok(());
            };
            self.advance();
            let at = self.at();
            self.sum(binds + 1, out)?;
            push(operator, at, out)?;
        }
    }

    fn factor(&mut self, out: &mut Arithmetic) -> Result<(), FilterError> {
        let mut is_negative = false;
        while self.takes(Token::Sign("-")) {
            is_negative = !is_negative;
        }
        if self.takes(Token::Sign("(")) {
            self.within(|parser| parser.sum(1, out))?;
            self.closes(")", "an operator or `)`")?;
        } else {
            self.value(out)?;
        }
        match (is_negative, out.last_mut()) {
            (true, Some(Term::Number(number))) => *number = number.wrapping_neg(),
            (true, _) => out.push(Term::Negate),
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, out: &mut Arithmetic) -> Result<(), FilterError> {
        const VALUE: &str = "a number, `len`, or bytes of a protocol such as ip[8]";
        let at = self.at();
        let word = self.word(VALUE)?;
        if word == "len" {
            out.push(Term::Len);
        } else if let Some(protocol) = protocol(word) {
            if matches!(protocol, Protocol::Ah | Protocol::Esp) {
                return Err(Kind::Mixed("the bytes of ah and esp cannot be looked at").at(at));
            }
            self.closes("[", "[ and the place of a byte")?;
            let size = self.within(|parser| parser.index(out))?;
            out.push(Term::Load(protocol, size));
        } else if let Some(number) = constant(word) {
            out.push(Term::Number(number));
        } else if word.starts_with(|first: char| first.is_ascii_digit()) {
            out.push(Term::Number(number(word, at)?));
        } else {
            return Err(Kind::Expected(VALUE).at(at));
        }
        Ok(())
    }

    /// What stands in brackets: the place, and how many bytes.
    fn index(&mut self, out: &mut Arithmetic) -> Result<u8, FilterError> {
        self.sum(1, out)?;
        let mut size = 1;
        if self.takes(Token::Sign(":")) {
            let at = self.at();
            size = match self.number(4)? {
                1 => 1,
                2 => 2,
                4 => 4,
                _ => return Err(Kind::Expected("a size of 1, 2 or 4 bytes").at(at)),
            };
        }
        self.closes("]", "an operator, `:` and a size, or `]`")?;
        Ok(size)
    }
}

/// Applies an operator to the two last operands, at once if both are numbers.
fn push(operator: Operator, at: usize, out: &mut Arithmetic) -> Result<(), FilterError> {
    if let Some(Term::Number(right)) = out.last() {
        match operator {
            Operator::Divide | Operator::Modulo if *right == 0 => return Err(Kind::DivisionByZero.at(at)),
            Operator::ShiftLeft | Operator::ShiftRight if *right > 31 => return Err(Kind::Shift.at(at)),
            _ => {}
        }
    }
    if let [.., Term::Number(left), Term::Number(right)] = out[..]
        && let Some(result) = operator.apply(left, right)
    {
        out.truncate(out.len() - 2);
        out.push(Term::Number(result));
    } else {
        out.push(Term::Binary(operator));
    }
    Ok(())
}
