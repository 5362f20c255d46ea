//! From a filter to the tests of a link type: where headers stand there, and what the words of a filter mean.

use std::net::IpAddr;

use sockeye_packet::{LinkType, ethertype, protocol};
use sockeye_socket::filter::Instruction;

use super::ast::{Arithmetic, Direction, Node, Operator, Primitive, Protocol, Relation, Term, Tie};
use super::code::{ACCEPT, Atom, Code, Compare, Label, Load, REJECT, START};
use super::compute::{Computation, computation};
use super::error::{FilterError, FilterErrorKind as Kind};

/// The tests of one primitive.
enum Tree {
    Always(bool),
    Atom(Atom),
    /// One byte that is one of these.
    Any(u32, Vec<u32>),
    Compute(Computation),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

struct Compiler {
    link: LinkType,
    code: Code,
    /// Where the EtherType stands; moves behind a tag by each `vlan`.
    type_at: u32,
    /// Where what it names begins.
    payload_at: u32,
}

/// The program for frames of a link type; `None` takes everything.
pub(super) fn compile(node: Option<&Node>, link: LinkType) -> Result<Vec<Instruction>, FilterError> {
    let (type_at, payload_at) = match link {
        LinkType::Ethernet => (12, 14),
        LinkType::Cooked => (14, 16),
        LinkType::Cooked2 => (0, 20),
        LinkType::Raw | LinkType::Ipv4 | LinkType::Ipv6 => (0, 0),
        LinkType::Null | LinkType::Loop => (0, 4),
        other => match node {
            Some(_) => return Err(Kind::UnknownLink(other).at(0)),
            None => (0, 0),
        },
    };
    let mut compiler = Compiler {
        link,
        code: Code::new(),
        type_at,
        payload_at,
    };
    match node {
        Some(node) => compiler.node(node, START, ACCEPT, REJECT)?,
        None => compiler.code.forward(START, ACCEPT),
    }
    Ok(compiler.code.finish())
}

fn equal(at: u32, size: u8, value: u32) -> Tree {
    Tree::Atom(Atom {
        load: Load::Absolute { at, size },
        mask: u32::MAX,
        compare: Compare::Equal,
        value,
        is_structural: true,
    })
}

fn masked(load: Load, mask: u32, value: u32) -> Tree {
    if mask == 0 {
        return Tree::Always(value == 0);
    }
    Tree::Atom(Atom {
        load,
        mask,
        compare: Compare::Equal,
        value,
        is_structural: false,
    })
}

/// One of the tests for the source, the destination, or what a direction makes of both.
fn directed(direction: Direction, test: impl Fn(bool) -> Tree) -> Tree {
    match direction {
        Direction::Source => test(true),
        Direction::Destination => test(false),
        Direction::Either => Tree::Or(vec![test(true), test(false)]),
        Direction::Both => Tree::And(vec![test(true), test(false)]),
    }
}

/// The number of a protocol above IP.
fn number(protocol: Protocol) -> Option<u8> {
    Some(match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => 132,
        Protocol::Icmp => protocol::ICMPV4,
        Protocol::Icmp6 => protocol::ICMPV6,
        Protocol::Igmp => protocol::IGMP,
        Protocol::Pim => 103,
        Protocol::Vrrp => protocol::VRRP,
        Protocol::Ah => protocol::AUTHENTICATION,
        Protocol::Esp => protocol::ESP,
        _ => return None,
    })
}

impl Compiler {
    /// A node at `entry`. Recursion is as deep as parentheses are.
    fn node(
        &mut self,
        node: &Node,
        entry: Label,
        on_true: Label,
        on_false: Label,
    ) -> Result<(), FilterError> {
        match node {
            Node::Not(node) => self.node(node, entry, on_false, on_true),
            Node::Primitive(primitive, at) => {
                let tree = self.primitive(primitive, *at)?;
                self.tree(tree, entry, on_true, on_false);
                Ok(())
            }
            Node::Chain(first, rest) => self.chain(first, rest, entry, on_true, on_false),
        }
    }

    /// Terms from left to right: what holds goes to the next `and`, what does not to the next `or`.
    fn chain(
        &mut self,
        first: &Node,
        rest: &[(Tie, Node)],
        entry: Label,
        on_true: Label,
        on_false: Label,
    ) -> Result<(), FilterError> {
        // From the back: for each term its entry, and where its two outcomes lead.
        let mut plan = Vec::with_capacity(rest.len() + 1);
        let (mut next_and, mut next_or) = (on_true, on_false);
        for (tie, node) in rest.iter().rev() {
            let label = self.code.label();
            plan.push((node, label, next_and, next_or));
            match tie {
                Tie::And => next_and = label,
                Tie::Or => next_or = label,
            }
        }
        plan.push((first, entry, next_and, next_or));
        for (node, label, on_true, on_false) in plan.into_iter().rev() {
            self.node(node, label, on_true, on_false)?;
        }
        Ok(())
    }

    fn tree(&mut self, tree: Tree, entry: Label, on_true: Label, on_false: Label) {
        match tree {
            Tree::Always(outcome) => self.code.forward(entry, if outcome { on_true } else { on_false }),
            Tree::Atom(atom) => self.code.test(entry, &atom, on_true, on_false),
            Tree::Any(at, values) => {
                let load = Load::Absolute { at, size: 1 };
                self.code.any(entry, load, &values, on_true, on_false);
            }
            Tree::Compute(Computation {
                ops,
                compare,
                constant,
                is_negated,
            }) => {
                let (on_true, on_false) = if is_negated {
                    (on_false, on_true)
                } else {
                    (on_true, on_false)
                };
                self.code
                    .compute(entry, ops, (compare, constant), on_true, on_false);
            }
            Tree::Not(tree) => self.tree(*tree, entry, on_false, on_true),
            Tree::And(trees) => self.row(trees, entry, |next| (next, on_false), (on_true, on_false)),
            Tree::Or(trees) => self.row(trees, entry, |next| (on_true, next), (on_true, on_false)),
        }
    }

    fn row(
        &mut self,
        trees: Vec<Tree>,
        mut entry: Label,
        ways: impl Fn(Label) -> (Label, Label),
        last: (Label, Label),
    ) {
        let count = trees.len();
        for (index, tree) in trees.into_iter().enumerate() {
            if index + 1 == count {
                return self.tree(tree, entry, last.0, last.1);
            }
            let next = self.code.label();
            let (on_true, on_false) = ways(next);
            self.tree(tree, entry, on_true, on_false);
            entry = next;
        }
    }

    /// Whether the frame carries this EtherType.
    fn carries(&self, kind: u16) -> Tree {
        let is_ip4 = kind == ethertype::IPV4;
        match self.link {
            LinkType::Raw if is_ip4 || kind == ethertype::IPV6 => {
                masked_structural(0, 0xf0, if is_ip4 { 0x40 } else { 0x60 })
            }
            LinkType::Ipv4 => Tree::Always(is_ip4),
            LinkType::Ipv6 => Tree::Always(kind == ethertype::IPV6),
            LinkType::Null | LinkType::Loop => self.family(kind),
            LinkType::Raw => Tree::Always(false),
            _ => equal(self.type_at, 2, kind.into()),
        }
    }

    /// The same by an address family. `Null` has it in the byte order of whoever captured.
    fn family(&self, kind: u16) -> Tree {
        let families: &[u32] = match kind {
            ethertype::IPV4 => &[2],
            ethertype::IPV6 => &[10, 24, 28, 30],
            _ => return Tree::Always(false),
        };
        let mut tests: Vec<Tree> = families.iter().map(|family| equal(0, 4, *family)).collect();
        if self.link == LinkType::Null {
            tests.extend(families.iter().map(|family| equal(0, 4, family.swap_bytes())));
        }
        Tree::Or(tests)
    }

    fn ip4(&self) -> Tree {
        self.carries(ethertype::IPV4)
    }

    fn ip6(&self) -> Tree {
        self.carries(ethertype::IPV6)
    }

    fn ip4_protocol(&self, number: u8) -> Tree {
        Tree::And(vec![self.ip4(), equal(self.payload_at + 9, 1, number.into())])
    }

    /// By the next header, or behind a fragment header that is the first.
    fn ip6_protocol(&self, number: u8) -> Tree {
        let next = |value| equal(self.payload_at + 6, 1, value);
        let fragment = Tree::And(vec![
            next(protocol::FRAGMENT.into()),
            equal(self.payload_at + 40, 1, number.into()),
        ]);
        Tree::And(vec![self.ip6(), Tree::Or(vec![next(number.into()), fragment])])
    }

    /// Not a fragment behind the first.
    fn is_first(&self) -> Tree {
        masked_structural_half(self.payload_at + 6, 0x1fff)
    }

    fn primitive(&mut self, primitive: &Primitive, at: usize) -> Result<Tree, FilterError> {
        Ok(match primitive {
            Primitive::Is(protocol) => self.is(*protocol),
            Primitive::IpProtocol(family, number) => match family {
                Some(Protocol::Ip) => self.ip4_protocol(*number),
                Some(_) => self.ip6_protocol(*number),
                None => Tree::Or(vec![self.ip4_protocol(*number), self.ip6_protocol(*number)]),
            },
            Primitive::EtherType(kind) => self.carries(*kind),
            Primitive::Network(protocol, direction, address, bits) => match address {
                IpAddr::V4(address) => self.network4(*protocol, *direction, address.to_bits(), *bits),
                IpAddr::V6(address) => self.network6(*direction, address.to_bits(), *bits),
            },
            Primitive::Ether(direction, address) => {
                self.needs_ethernet(at)?;
                directed(*direction, |is_source| {
                    ether(if is_source { 6 } else { 0 }, address.octets())
                })
            }
            Primitive::EtherBroadcast => {
                self.needs_ethernet(at)?;
                ether(0, [0xff; 6])
            }
            Primitive::Multicast(protocol) => self.multicast(*protocol, at)?,
            Primitive::Ports(protocol, direction, first, last) => {
                self.ports(*protocol, *direction, (*first).into(), (*last).into())
            }
            Primitive::Vlan(id) => self.vlan(*id, at)?,
            Primitive::Relation(left, relation, right) => self.relation(left, *relation, right, at)?,
        })
    }

    fn needs_ethernet(&self, at: usize) -> Result<(), FilterError> {
        match self.link {
            LinkType::Ethernet => Ok(()),
            other => Err(Kind::Link(other).at(at)),
        }
    }

    fn is(&self, protocol: Protocol) -> Tree {
        match protocol {
            Protocol::Ether => Tree::Always(true),
            Protocol::Ip => self.ip4(),
            Protocol::Ip6 => self.ip6(),
            Protocol::Arp => self.carries(ethertype::ARP),
            Protocol::Rarp => self.carries(ethertype::RARP),
            Protocol::Icmp | Protocol::Igmp | Protocol::Vrrp => {
                number(protocol).map_or(Tree::Always(false), |number| self.ip4_protocol(number))
            }
            Protocol::Icmp6 => self.ip6_protocol(protocol::ICMPV6),
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Pim | Protocol::Ah | Protocol::Esp => {
                number(protocol).map_or(Tree::Always(false), |number| {
                    Tree::Or(vec![self.ip6_protocol(number), self.ip4_protocol(number)])
                })
            }
        }
    }

    fn network4(&self, protocol: Option<Protocol>, direction: Direction, address: u32, bits: u32) -> Tree {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let payload = self.payload_at;
        let at = |kind, source, destination| {
            let test = |is_source| {
                let at = payload + if is_source { source } else { destination };
                masked(Load::Absolute { at, size: 4 }, mask, address)
            };
            Tree::And(vec![self.carries(kind), directed(direction, test)])
        };
        let ip = || at(ethertype::IPV4, 12, 16);
        let arp = || at(ethertype::ARP, 14, 24);
        let rarp = || at(ethertype::RARP, 14, 24);
        match protocol {
            Some(Protocol::Ip) => ip(),
            Some(Protocol::Arp) => arp(),
            Some(Protocol::Rarp) => rarp(),
            _ => Tree::Or(vec![ip(), arp(), rarp()]),
        }
    }

    fn network6(&self, direction: Direction, address: u128, bits: u32) -> Tree {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        let words = |value: u128| {
            let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (value >> shift) & 0xffff_ffff);
            [a, b, c, d].map(|word| u32::try_from(word).unwrap_or(0))
        };
        let test = |is_source| {
            let start = self.payload_at + if is_source { 8 } else { 24 };
            let mut tests = Vec::new();
            for ((at, mask), value) in (start..).step_by(4).zip(words(mask)).zip(words(address)) {
                tests.push(masked(Load::Absolute { at, size: 4 }, mask, value));
            }
            Tree::And(tests)
        };
        Tree::And(vec![self.ip6(), directed(direction, test)])
    }

    fn multicast(&self, protocol: Protocol, at: usize) -> Result<Tree, FilterError> {
        Ok(match protocol {
            Protocol::Ip => Tree::And(vec![
                self.ip4(),
                Tree::Atom(Atom {
                    load: Load::Absolute {
                        at: self.payload_at + 16,
                        size: 1,
                    },
                    mask: u32::MAX,
                    compare: Compare::GreaterOrEqual,
                    value: 224,
                    is_structural: false,
                }),
            ]),
            Protocol::Ip6 => Tree::And(vec![self.ip6(), equal(self.payload_at + 24, 1, 255)]),
            _ => {
                self.needs_ethernet(at)?;
                Tree::Not(Box::new(masked(Load::Absolute { at: 0, size: 1 }, 1, 0)))
            }
        })
    }

    fn ports(&self, protocol: Option<Protocol>, direction: Direction, first: u32, last: u32) -> Tree {
        let protocols: Vec<u32> = match protocol.and_then(number) {
            Some(number) => vec![number.into()],
            None => vec![132, protocol::TCP.into(), protocol::UDP.into()],
        };
        let any = |at: u32| Tree::Any(at, protocols.clone());
        let (base, fixed) = (self.payload_at, self.payload_at + 40);
        let ip4 = directed(direction, |is_source| {
            let at = base + if is_source { 0 } else { 2 };
            range(Load::BehindHeader { base, at, size: 2 }, first, last)
        });
        let ip6 = directed(direction, |is_source| {
            let at = fixed + if is_source { 0 } else { 2 };
            range(Load::Absolute { at, size: 2 }, first, last)
        });
        Tree::Or(vec![
            Tree::And(vec![self.ip6(), any(base + 6), ip6]),
            Tree::And(vec![self.ip4(), any(base + 9), self.is_first(), ip4]),
        ])
    }

    fn vlan(&mut self, id: Option<u16>, at: usize) -> Result<Tree, FilterError> {
        self.needs_ethernet(at)?;
        let tags = [
            ethertype::VLAN,
            ethertype::SERVICE_VLAN,
            ethertype::OLD_SERVICE_VLAN,
        ];
        let mut tests = vec![Tree::Or(tags.map(|tag| self.carries(tag)).into())];
        if let Some(id) = id {
            let load = Load::Absolute {
                at: self.payload_at,
                size: 2,
            };
            tests.push(masked(load, 0x0fff, id.into()));
        }
        self.type_at = self.type_at.saturating_add(4);
        self.payload_at = self.payload_at.saturating_add(4);
        Ok(Tree::And(tests))
    }

    /// What must hold before bytes of a protocol can be looked at, and where they begin.
    pub(super) fn header(&self, protocol: Protocol) -> (Vec<Tree>, Place) {
        let payload = self.payload_at;
        match protocol {
            Protocol::Ether => (Vec::new(), Place::At(0)),
            Protocol::Icmp6 => {
                let tests = vec![self.ip6(), equal(payload + 6, 1, protocol::ICMPV6.into())];
                (tests, Place::At(payload + 40))
            }
            protocol => match number(protocol) {
                Some(number) => {
                    let is_protocol = equal(payload + 9, 1, number.into());
                    (
                        vec![self.ip4(), is_protocol, self.is_first()],
                        Place::BehindHeader(payload),
                    )
                }
                None => (vec![self.is(protocol)], Place::At(payload)),
            },
        }
    }

    fn relation(
        &self,
        left: &Arithmetic,
        relation: Relation,
        right: &Arithmetic,
        at: usize,
    ) -> Result<Tree, FilterError> {
        let mut tests = Vec::new();
        let mut seen = Vec::new();
        for term in left.iter().chain(right) {
            if let Term::Load(protocol, _) = term
                && !seen.contains(protocol)
            {
                seen.push(*protocol);
                tests.extend(self.header(*protocol).0);
            }
        }
        let place = |protocol| self.header(protocol).1;
        tests.push(match simple(left, relation, right, place) {
            Some(tree) => tree,
            None => match computation(left, relation, right, place, at)? {
                Some(computation) => Tree::Compute(computation),
                // A division by 0, which takes nothing.
                None => Tree::Always(false),
            },
        });
        Ok(Tree::And(tests))
    }
}

/// Where a header begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    At(u32),
    /// Behind the IPv4 header that begins here.
    BehindHeader(u32),
}

impl Place {
    /// Bytes of the header from a constant place on.
    pub(super) fn load(self, index: u32, size: u8) -> Option<Load> {
        Some(match self {
            Self::At(start) => Load::Absolute {
                at: start.checked_add(index)?,
                size,
            },
            Self::BehindHeader(base) => Load::BehindHeader {
                base,
                at: base.checked_add(index)?,
                size,
            },
        })
    }
}

fn masked_structural(at: u32, mask: u32, value: u32) -> Tree {
    Tree::Atom(Atom {
        load: Load::Absolute { at, size: 1 },
        mask,
        compare: Compare::Equal,
        value,
        is_structural: true,
    })
}

fn masked_structural_half(at: u32, mask: u32) -> Tree {
    Tree::Atom(Atom {
        load: Load::Absolute { at, size: 2 },
        mask,
        compare: Compare::Equal,
        value: 0,
        is_structural: true,
    })
}

fn ether(at: u32, [a, b, c, d, e, f]: [u8; 6]) -> Tree {
    Tree::And(vec![
        masked(
            Load::Absolute { at: at + 2, size: 4 },
            u32::MAX,
            u32::from_be_bytes([c, d, e, f]),
        ),
        masked(
            Load::Absolute { at, size: 2 },
            u32::MAX,
            u16::from_be_bytes([a, b]).into(),
        ),
    ])
}

fn range(load: Load, first: u32, last: u32) -> Tree {
    let atom = |compare, value| {
        Tree::Atom(Atom {
            load,
            mask: u32::MAX,
            compare,
            value,
            is_structural: false,
        })
    };
    if first == last {
        return atom(Compare::Equal, first);
    }
    let above = Tree::Not(Box::new(atom(Compare::Greater, last)));
    Tree::And(vec![atom(Compare::GreaterOrEqual, first), above])
}

/// A comparison as the machine has it, and whether the opposite is meant.
pub(super) const fn comparison(relation: Relation) -> (Compare, bool) {
    match relation {
        Relation::Equal => (Compare::Equal, false),
        Relation::NotEqual => (Compare::Equal, true),
        Relation::Greater => (Compare::Greater, false),
        Relation::LessOrEqual => (Compare::Greater, true),
        Relation::GreaterOrEqual => (Compare::GreaterOrEqual, false),
        Relation::Less => (Compare::GreaterOrEqual, true),
    }
}

/// Bytes at a constant place, masked or not, against a constant: one test that others can share.
fn simple(
    left: &Arithmetic,
    relation: Relation,
    right: &Arithmetic,
    place: impl Fn(Protocol) -> Place,
) -> Option<Tree> {
    let [Term::Number(value)] = right[..] else {
        return None;
    };
    let (load, mask) = match left[..] {
        [Term::Len] => (Load::Len, u32::MAX),
        [Term::Number(index), Term::Load(protocol, size)] => (place(protocol).load(index, size)?, u32::MAX),
        [
            Term::Number(index),
            Term::Load(protocol, size),
            Term::Number(mask),
            Term::Binary(Operator::And),
        ] => (place(protocol).load(index, size)?, mask),
        _ => return None,
    };
    let (compare, is_negated) = comparison(relation);
    let atom = Tree::Atom(Atom {
        load,
        mask,
        compare,
        value,
        is_structural: false,
    });
    Some(if is_negated {
        Tree::Not(Box::new(atom))
    } else {
        atom
    })
}
