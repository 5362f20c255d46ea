//! Which rule gets a connection: a decision over its first bytes, without I/O.

use super::hello::{self, ClientHello, HelloReader};
use super::pattern::{Pattern, Verdict};
use super::request::{self, RequestReader};

const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SSH: [&[u8]; 2] = [b"SSH-2.0-", b"SSH-1.99-"];
const PROXY: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
/// Version, command, port, address.
const SOCKS4_HEAD: usize = 8;

/// Whose the bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sniffed {
    /// Those of the rule with this number, whatever follows.
    Rule(usize),
    /// Nobody's, whatever follows.
    Nobody,
    /// It takes more of them.
    More {
        /// Bytes, counted from the first one, before which no rule that is waited for can say yes or no.
        needed: usize,
        /// Whose they are if no more come: the first rule that is sure, however sure the others would be.
        so_far: Option<usize>,
    },
}

/// The bytes of one connection, looked at as they arrive.
///
/// What is decided about a byte is not decided again: a connection costs as much as it has bytes, times the rules that wait
/// for more of them. How the bytes are cut changes no decision.
#[derive(Clone, Debug, Default)]
pub struct Sniffer {
    hello: HelloReader,
    request: RequestReader,
    /// The rules' answers, once there was one that wants more.
    verdicts: Vec<Verdict>,
}

impl Sniffer {
    /// Looks at what is new: `bytes` are all that came, from the first on; `rules` are the same every time.
    pub fn sniff(&mut self, rules: &[Pattern], bytes: &[u8]) -> Sniffed {
        let mut needed = usize::MAX;
        let mut so_far = None;
        for (nth, pattern) in rules.iter().enumerate() {
            let verdict = match self.verdicts.get(nth) {
                Some(Verdict::More) | None => self.judge(pattern, bytes, &mut needed),
                Some(known) => *known,
            };
            match self.verdicts.get_mut(nth) {
                Some(known) => *known = verdict,
                None => self.verdicts.push(verdict),
            }
            if verdict == Verdict::Yes {
                // Those behind it cannot get it any more.
                so_far = Some(nth);
                break;
            }
        }
        match so_far {
            _ if needed != usize::MAX => Sniffed::More { needed, so_far },
            Some(nth) => Sniffed::Rule(nth),
            None => Sniffed::Nobody,
        }
    }

    /// The client's first message of TLS, if a rule had to read it and it was whole.
    pub fn take_hello(&mut self) -> Option<ClientHello> {
        self.hello.take()
    }

    /// What a rule says; how many bytes it takes, if it cannot tell yet, lowers `needed`.
    fn judge(&mut self, pattern: &Pattern, bytes: &[u8], needed: &mut usize) -> Verdict {
        let (verdict, at_least) = match pattern {
            Pattern::Tls(tls) if tls.takes_any() => (hello::begins(bytes), bytes.len() + 1),
            Pattern::Tls(tls) => match self.hello.advance(bytes) {
                hello::HelloRead::More { needed } => (Verdict::More, needed),
                hello::HelloRead::Whole(hello) => (yes_if(tls.matches(hello)), 0),
                hello::HelloRead::Other => (Verdict::No, 0),
            },
            Pattern::Http1(http) => match self.request.advance(bytes) {
                request::Reading::More => (Verdict::More, bytes.len() + 1),
                request::Reading::Whole { method, target } => (yes_if(http.matches(method, target)), 0),
                request::Reading::Other => (Verdict::No, 0),
            },
            Pattern::Http2 => begins(bytes, &[HTTP2]),
            Pattern::Ssh => begins(bytes, &SSH),
            Pattern::Proxy => begins(bytes, &PROXY),
            Pattern::Socks4 => socks4(bytes),
            Pattern::Socks5 => socks5(bytes),
            Pattern::Predicate(predicate) => {
                let most = predicate.max_bytes;
                match (predicate.test)(bytes.get(..most).unwrap_or(bytes)) {
                    Verdict::More if bytes.len() >= most => (Verdict::No, 0),
                    verdict => (verdict, bytes.len() + 1),
                }
            }
        };
        if verdict == Verdict::More {
            *needed = at_least.min(*needed);
        }
        verdict
    }
}

fn yes_if(yes: bool) -> Verdict {
    if yes { Verdict::Yes } else { Verdict::No }
}

/// Whether the bytes begin with one of these, none of which begins with another.
fn begins(bytes: &[u8], starts: &[&[u8]]) -> (Verdict, usize) {
    if starts.iter().any(|start| bytes.starts_with(start)) {
        return (Verdict::Yes, 0);
    }
    let is_beginning = starts.iter().any(|start| start.starts_with(bytes));
    let verdict = if is_beginning { Verdict::More } else { Verdict::No };
    (verdict, bytes.len() + 1)
}

fn socks4(bytes: &[u8]) -> (Verdict, usize) {
    match bytes {
        [4, 1 | 2, ..] if bytes.len() >= SOCKS4_HEAD => (Verdict::Yes, 0),
        [] | [4] => (Verdict::More, bytes.len() + 1),
        [4, 1 | 2, ..] => (Verdict::More, SOCKS4_HEAD),
        _ => (Verdict::No, 0),
    }
}

fn socks5(bytes: &[u8]) -> (Verdict, usize) {
    match bytes {
        [] | [5] => (Verdict::More, bytes.len() + 1),
        [5, count, ..] if *count > 0 => {
            let len = 2 + usize::from(*count);
            let verdict = if bytes.len() < len {
                Verdict::More
            } else {
                Verdict::Yes
            };
            (verdict, len)
        }
        _ => (Verdict::No, 0),
    }
}
