//! From words to a filter: boolean structure, and the tests of hosts, networks, ports and protocols.

use std::net::{IpAddr, Ipv4Addr};

use sockeye_packet::MacAddr;

use super::arithmetic::is_operator;
use super::ast::{Direction, Node, Primitive, Protocol, Tie};
use super::error::{FilterError, FilterErrorKind as Kind};
use super::lex::{Token, tokens};

/// Parentheses, brackets within brackets. Text is read by recursion, so there is a limit.
pub(super) const MAX_DEPTH: usize = 100;

const TEST: &str =
    "a test: host, net, port, portrange, src, dst, a protocol, vlan, less, greater, or a comparison";

pub(super) struct Parser<'a> {
    tokens: Vec<(usize, Token<'a>)>,
    next: usize,
    end: usize,
    pub(super) depth: usize,
    /// For each opening parenthesis, the token of the closing one.
    closing: Vec<usize>,
    /// What an address or number without words before it means: the same as the one before.
    last: Option<Qualifiers>,
}

/// What stands before an address or a number.
#[derive(Clone, Copy, Debug)]
struct Qualifiers {
    protocol: Option<Protocol>,
    direction: Direction,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

/// Reads a whole filter; `None` for one without any test, which takes everything.
pub(super) fn parse(text: &str) -> Result<Option<Node>, FilterError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let closing = closing(&tokens);
    let mut parser = Parser {
        tokens,
        next: 0,
        end: text.len(),
        depth: 0,
        closing,
        last: None,
    };
    let node = parser.chain()?;
    match parser.peek() {
        None => Ok(Some(node)),
        Some(_) => Err(parser.expected("`and`, `or`, or the end")),
    }
}

fn closing(tokens: &[(usize, Token<'_>)]) -> Vec<usize> {
    let mut closing = vec![0; tokens.len()];
    let mut open = Vec::new();
    for (index, (_, token)) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(") => open.push(index),
            Token::Sign(")") => {
                if let Some(place) = open.pop().and_then(|open: usize| closing.get_mut(open)) {
                    *place = index;
                }
            }
            _ => {}
        }
    }
    closing
}

pub(super) fn protocol(word: &str) -> Option<Protocol> {
    Some(match word {
        "ether" => Protocol::Ether,
        "ip" => Protocol::Ip,
        "ip6" => Protocol::Ip6,
        "arp" => Protocol::Arp,
        "rarp" => Protocol::Rarp,
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        "icmp" => Protocol::Icmp,
        "icmp6" => Protocol::Icmp6,
        "igmp" => Protocol::Igmp,
        "pim" => Protocol::Pim,
        "vrrp" => Protocol::Vrrp,
        "ah" => Protocol::Ah,
        "esp" => Protocol::Esp,
        _ => return None,
    })
}

fn what(word: &str) -> Option<What> {
    Some(match word {
        "host" => What::Host,
        "net" => What::Net,
        "port" => What::Port,
        "portrange" => What::PortRange,
        "proto" => What::Proto,
        _ => return None,
    })
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Option<Token<'a>> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<Token<'a>> {
        self.tokens.get(self.next + by).map(|(_, token)| *token)
    }

    /// The place of the next token.
    pub(super) fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    pub(super) fn expected(&self, what: &'static str) -> FilterError {
        Kind::Expected(what).at(self.at())
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    /// Goes on behind the next token if it is this one.
    pub(super) fn takes(&mut self, token: Token<'_>) -> bool {
        let is_next = self.peek() == Some(token);
        if is_next {
            self.next += 1;
        }
        is_next
    }

    pub(super) fn word(&mut self, expected: &'static str) -> Result<&'a str, FilterError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.expected(expected)),
        }
    }

    pub(super) fn closes(&mut self, sign: &'static str, expected: &'static str) -> Result<(), FilterError> {
        if self.takes(Token::Sign(sign)) {
            return Ok(());
        }
        Err(self.expected(expected))
    }

    /// One level deeper, and what is read there.
    pub(super) fn within<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FilterError>,
    ) -> Result<T, FilterError> {
        if self.depth == MAX_DEPTH {
            return Err(Kind::TooDeep(MAX_DEPTH).at(self.at()));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn chain(&mut self) -> Result<Node, FilterError> {
        let first = self.term()?;
        let mut rest = Vec::new();
        loop {
            let tie = match self.peek() {
                Some(Token::Word("and")) => Tie::And,
                Some(Token::Word("or")) => Tie::Or,
                _ => break,
            };
            self.advance();
            rest.push((tie, self.term()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Node::Chain(Box::new(first), rest))
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        let mut is_negated = false;
        while self.takes(Token::Word("not")) || self.takes(Token::Sign("!")) {
            is_negated = !is_negated;
        }
        let node = if self.is_arithmetic() {
            let at = self.at();
            self.last = None;
            Node::Primitive(self.relation()?, at)
        } else if self.takes(Token::Sign("(")) {
            self.group()?
        } else {
            self.primitive()?
        };
        Ok(if is_negated {
            Node::Not(Box::new(node))
        } else {
            node
        })
    }

    fn group(&mut self) -> Result<Node, FilterError> {
        let node = self.within(Self::chain)?;
        self.closes(")", "`and`, `or`, or `)`")?;
        Ok(node)
    }

    /// Whether a comparison begins here. After a parenthesis that is only seen behind the closing one.
    fn is_arithmetic(&self) -> bool {
        let operator =
            |at: usize| matches!(self.tokens.get(at), Some((_, Token::Sign(sign))) if is_operator(sign));
        match self.peek() {
            Some(Token::Sign("-")) => true,
            Some(Token::Sign("(")) => {
                let close = self.closing.get(self.next).copied().unwrap_or(0);
                close > 0 && operator(close + 1)
            }
            Some(Token::Word("len")) => true,
            Some(Token::Word(word)) if protocol(word).is_some() => self.ahead(1) == Some(Token::Sign("[")),
            Some(Token::Word(_)) => operator(self.next + 1) && self.ahead(1) != Some(Token::Sign("/")),
            _ => false,
        }
    }

    fn primitive(&mut self) -> Result<Node, FilterError> {
        let at = self.at();
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.expected(TEST));
        };
        let node = |primitive| Ok(Node::Primitive(primitive, at));
        match word {
            "less" | "greater" => {
                self.advance();
                self.last = None;
                node(self.length(word == "less")?)
            }
            "vlan" => {
                self.advance();
                self.last = None;
                node(Primitive::Vlan(self.vlan()?))
            }
            "broadcast" | "multicast" => {
                self.advance();
                self.last = None;
                node(if word == "broadcast" {
                    Primitive::EtherBroadcast
                } else {
                    Primitive::Multicast(Protocol::Ether)
                })
            }
            "src" | "dst" => self.qualified(None, at),
            word if what(word).is_some() => self.qualified(None, at),
            word => match protocol(word) {
                Some(protocol) => {
                    self.advance();
                    self.protocol(protocol, at)
                }
                None => match self.last {
                    Some(qualifiers)
                        if word.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':') =>
                    {
                        node(self.id(qualifiers)?)
                    }
                    _ => Err(self.expected(TEST)),
                },
            },
        }
    }

    /// Behind the word of a protocol: alone, or before other words.
    fn protocol(&mut self, protocol: Protocol, at: usize) -> Result<Node, FilterError> {
        match self.peek() {
            Some(Token::Word(cast @ ("broadcast" | "multicast"))) => {
                let primitive = match (protocol, cast) {
                    (Protocol::Ether, "broadcast") => Primitive::EtherBroadcast,
                    (Protocol::Ether | Protocol::Ip | Protocol::Ip6, "multicast") => {
                        Primitive::Multicast(protocol)
                    }
                    _ => return Err(self.expected("`ether broadcast`, or `multicast` of ether, ip or ip6")),
                };
                self.advance();
                self.last = None;
                Ok(Node::Primitive(primitive, at))
            }
            Some(Token::Word(word)) if matches!(word, "src" | "dst") || what(word).is_some() => {
                self.qualified(Some(protocol), at)
            }
            _ if protocol == Protocol::Ether => {
                Err(self.expected("host, src, dst, proto, broadcast, multicast, or [ behind `ether`"))
            }
            _ => {
                self.last = None;
                Ok(Node::Primitive(Primitive::Is(protocol), at))
            }
        }
    }

    /// Direction and kind, and then one address or number, or several in parentheses.
    fn qualified(&mut self, protocol: Option<Protocol>, at: usize) -> Result<Node, FilterError> {
        let direction = self.direction();
        let kind = match self.peek() {
            Some(Token::Word(word)) => what(word),
            _ => None,
        };
        if kind.is_some() {
            self.advance();
        }
        let qualifiers = Qualifiers {
            protocol,
            direction,
            what: kind.unwrap_or(What::Host),
        };
        if self.takes(Token::Sign("(")) {
            self.last = Some(qualifiers);
            return self.group();
        }
        self.id(qualifiers)
            .map(|primitive| Node::Primitive(primitive, at))
    }

    fn direction(&mut self) -> Direction {
        let Some(Token::Word(end @ ("src" | "dst"))) = self.peek() else {
            return Direction::Either;
        };
        self.advance();
        let other = if end == "src" { "dst" } else { "src" };
        let both = match (self.peek(), self.ahead(1)) {
            (Some(Token::Word(tie @ ("and" | "or"))), Some(Token::Word(word))) if word == other => tie,
            _ if end == "src" => return Direction::Source,
            _ => return Direction::Destination,
        };
        self.next += 2;
        if both == "and" {
            Direction::Both
        } else {
            Direction::Either
        }
    }

    /// An address or a number, whose meaning the words before it have said.
    fn id(&mut self, qualifiers: Qualifiers) -> Result<Primitive, FilterError> {
        self.last = Some(qualifiers);
        let Qualifiers {
            protocol,
            direction,
            what,
        } = qualifiers;
        match what {
            What::Host => self.host(protocol, direction),
            What::Net => self.net(protocol, direction),
            What::Port | What::PortRange => self.ports(protocol, direction, what),
            What::Proto => self.proto(protocol, direction),
        }
    }

    fn host(&mut self, protocol: Option<Protocol>, direction: Direction) -> Result<Primitive, FilterError> {
        let at = self.at();
        let word = self.word("an address")?;
        if protocol == Some(Protocol::Ether) {
            let address = word.parse::<MacAddr>().map_err(|error| {
                Kind::Expected("a link address such as 02:00:5e:10:00:01").at(at + error.at)
            })?;
            return Ok(Primitive::Ether(direction, address));
        }
        let address: IpAddr = word.parse().map_err(|_| Kind::Address.at(at))?;
        if self.peek() == Some(Token::Sign("/")) {
            return Err(self.expected("a single address; `net` takes a prefix"));
        }
        let bits = if address.is_ipv4() { 32 } else { 128 };
        network(protocol, direction, address, bits, at)
    }

    fn net(&mut self, protocol: Option<Protocol>, direction: Direction) -> Result<Primitive, FilterError> {
        let at = self.at();
        let word = self.word("a network such as 192.0.2.0/24")?;
        let (address, mut bits) = match word.parse::<IpAddr>() {
            Ok(address @ IpAddr::V4(_)) => (address, 32),
            Ok(address) => (address, 128),
            Err(_) => partial(word).ok_or(Kind::Address.at(at))?,
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        if self.takes(Token::Sign("/")) {
            bits = self.number(most)?;
        } else if self.takes(Token::Word("mask")) {
            let at = self.at();
            let mask: Ipv4Addr = self.word("a mask")?.parse().map_err(|_| Kind::Address.at(at))?;
            bits = mask.to_bits().leading_ones();
            if address.is_ipv6() || mask.to_bits().trailing_zeros() + bits < 32 {
                return Err(Kind::Expected("a mask of IPv4 with all ones before all zeros").at(at));
            }
        }
        let has_more = match address {
            IpAddr::V4(address) => address.to_bits().checked_shl(bits).unwrap_or(0) != 0,
            IpAddr::V6(address) => address.to_bits().checked_shl(bits).unwrap_or(0) != 0,
        };
        if has_more {
            return Err(Kind::HostBits.at(at));
        }
        network(protocol, direction, address, bits, at)
    }

    /// A number of at most `most`.
    pub(super) fn number(&mut self, most: u32) -> Result<u32, FilterError> {
        let at = self.at();
        let word = self.word("a number")?;
        let number = number(word, at)?;
        if number > most {
            return Err(Kind::TooLarge(most.into()).at(at));
        }
        Ok(number)
    }

    fn ports(
        &mut self,
        protocol: Option<Protocol>,
        direction: Direction,
        what: What,
    ) -> Result<Primitive, FilterError> {
        let at = self.at();
        if !matches!(
            protocol,
            None | Some(Protocol::Tcp | Protocol::Udp | Protocol::Sctp)
        ) {
            return Err(Kind::Mixed("only tcp, udp and sctp have ports").at(at));
        }
        let word = self.word("the number of a port")?;
        let port = |word: &str, at| {
            let number = number(word, at).map_err(|_| Kind::Port.at(at))?;
            u16::try_from(number).map_err(|_| Kind::Port.at(at))
        };
        let (first, last) = match (what, word.split_once('-')) {
            (What::PortRange, Some((first, last))) => (port(first, at)?, port(last, at + first.len() + 1)?),
            (What::PortRange, None) => {
                return Err(Kind::Expected("a range of ports such as 1024-2047").at(at));
            }
            _ => (port(word, at)?, port(word, at)?),
        };
        Ok(Primitive::Ports(
            protocol,
            direction,
            first.min(last),
            first.max(last),
        ))
    }

    fn proto(&mut self, protocol: Option<Protocol>, direction: Direction) -> Result<Primitive, FilterError> {
        let at = self.at();
        if direction != Direction::Either {
            return Err(Kind::Mixed("`proto` has no direction").at(at));
        }
        self.takes(Token::Sign("\\"));
        let at_word = self.at();
        let word = self.word("a protocol: a number or a name")?;
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        match protocol {
            Some(Protocol::Ether) => {
                let kind = match word {
                    "ip" => 0x0800,
                    "arp" => 0x0806,
                    "rarp" => 0x8035,
                    "ip6" => 0x86dd,
                    _ => number(word, at_word)?,
                };
                let kind = u16::try_from(kind).map_err(|_| Kind::TooLarge(0xffff).at(at_word))?;
                if kind < sockeye_packet::ethertype::MIN {
                    return Err(Kind::Expected("an EtherType, 0x0600 or more").at(at_word));
                }
                Ok(Primitive::EtherType(kind))
            }
            None | Some(Protocol::Ip | Protocol::Ip6) => {
                let number = if is_number {
                    number(word, at_word)?
                } else {
                    named(word, at_word)?
                };
                let number = u8::try_from(number).map_err(|_| Kind::TooLarge(255).at(at_word))?;
                Ok(Primitive::IpProtocol(protocol, number))
            }
            Some(_) => Err(Kind::Mixed("`proto` goes with ether, ip or ip6").at(at)),
        }
    }

    fn length(&mut self, is_less: bool) -> Result<Primitive, FilterError> {
        use super::ast::{Relation, Term};
        let relation = if is_less {
            Relation::LessOrEqual
        } else {
            Relation::GreaterOrEqual
        };
        let number = self.number(u32::MAX)?;
        Ok(Primitive::Relation(
            vec![Term::Len],
            relation,
            vec![Term::Number(number)],
        ))
    }

    fn vlan(&mut self) -> Result<Option<u16>, FilterError> {
        match self.peek() {
            Some(Token::Word(word)) if word.starts_with(|first: char| first.is_ascii_digit()) => {
                let id = self.number(4095)?;
                Ok(u16::try_from(id).ok())
            }
            _ => Ok(None),
        }
    }
}

fn network(
    protocol: Option<Protocol>,
    direction: Direction,
    address: IpAddr,
    bits: u32,
    at: usize,
) -> Result<Primitive, FilterError> {
    match (protocol, address) {
        (None, _)
        | (Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp), IpAddr::V4(_))
        | (Some(Protocol::Ip6), IpAddr::V6(_)) => Ok(Primitive::Network(protocol, direction, address, bits)),
        (Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp), _) => {
            Err(Kind::Mixed("an IPv6 address behind a word of IPv4").at(at))
        }
        (Some(Protocol::Ip6), _) => Err(Kind::Mixed("an IPv4 address behind `ip6`").at(at)),
        _ => Err(Kind::Mixed("addresses go with ip, ip6, arp, rarp and ether").at(at)),
    }
}

/// The leading bytes of an IPv4 network: `10`, `192.168`.
fn partial(word: &str) -> Option<(IpAddr, u32)> {
    let (mut octets, mut bits) = ([0; 4], 0);
    for (octet, part) in octets.iter_mut().zip(word.splitn(4, '.')) {
        *octet = u8::try_from(number(part, 0).ok()?).ok()?;
        bits += 8;
    }
    Some((IpAddr::from(octets), bits))
}

/// A number in decimal, or in hexadecimal with 0x.
pub(super) fn number(word: &str, at: usize) -> Result<u32, FilterError> {
    let (digits, radix) = match word.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Kind::Expected("a number").at(at));
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Err(Kind::LeadingZero.at(at));
    }
    u32::from_str_radix(digits, radix).map_err(|_| Kind::TooLarge(u32::MAX.into()).at(at))
}

/// The protocols of IP that people name.
fn named(word: &str, at: usize) -> Result<u32, FilterError> {
    Ok(match word {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "icmp6" | "ipv6-icmp" => 58,
        "ospf" => 89,
        "pim" => 103,
        "vrrp" => 112,
        "sctp" => 132,
        "udplite" => 136,
        _ => return Err(Kind::Expected("the number of a protocol, or a name such as \\tcp").at(at)),
    })
}
