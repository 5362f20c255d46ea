//! hosts(5): names to addresses and addresses to names, without a question to anybody.

use std::borrow::{Borrow, Cow};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use sockeye_socket::os::AddressFamily;

use super::ignored::IgnoredLines;
use super::text::{is_space, lines, read_name, read_v6, zone_index};

/// How many pairs of a name and an address a [`Hosts`] keeps: it bounds the memory (about 100 bytes a pair, and the
/// names). The rest of a longer file is ignored.
pub const MAX_HOST_ENTRIES: usize = 1 << 22;

#[cfg(test)]
mod tests;

/// The contents of a hosts file.
///
/// An address, the canonical name and any number of aliases stand on a line, with blanks between; `#` begins a comment
/// anywhere. All lines count: a name has the addresses of all lines it is on, as with glibc's `multi on`. Names are compared
/// without regard to case and to a dot at the end. No address is made out of another one: a name with `::1` only has
/// no IPv4 address.
///
/// A line without a good address or name is ignored, and so is a name with anything but letters, digits, `-`, `_` and
/// dots, or with a label of more than 63 bytes; the other names of its line count. [`Default`] is an empty file.
///
/// # References
/// [hosts(5)](https://man7.org/linux/man-pages/man5/hosts.5.html)
#[derive(Clone, Default)]
pub struct Hosts {
    pairs: Vec<Pair>,
    names: Index<Arc<str>>,
    ips: Index<IpAddr>,
    ignored: IgnoredLines,
}

/// A name and an address, in two lists: the pairs of the name and the pairs of the address, both in file order.
#[derive(Clone, Copy)]
struct Pair {
    name: u32,
    ip: u32,
    scope: u32,
    next_of_name: Option<u32>,
    next_of_ip: Option<u32>,
}

impl Hosts {
    /// Reads the bytes of a hosts file. It never fails: what is no entry is ignored and recorded.
    ///
    /// `zone` gives the index of the interface with a name, for addresses such as `fe80::1%eth0`
    /// (`sockeye_socket::os::interface_index`). Numbers work without it. An address whose zone is no interface is
    /// ignored with its line; glibc ignores all addresses with zones.
    #[must_use]
    pub fn parse(text: &[u8], zone: impl Fn(&str) -> Option<u32>) -> Self {
        let mut hosts = Self::default();
        let mut known = HashSet::new();
        let mut name = String::new();
        for (number, line) in lines(text) {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let mut words = line.split(|byte| is_space(*byte)).filter(|word| !word.is_empty());
            let Some(word) = words.next() else {
                continue;
            };
            let address = match read_address(word, &zone) {
                Ok(address) => address,
                Err(why) => {
                    hosts.ignored.push(number, why);
                    continue;
                }
            };
            let mut words = words.peekable();
            if words.peek().is_none() {
                hosts.ignored.push(number, "no name follows the address");
            }
            for word in words {
                if !read_name(word, &mut name) {
                    hosts.ignored.push(
                        number,
                        "not a host name: labels have 1 to 63 letters, digits, - or _",
                    );
                } else if hosts.pairs.len() == MAX_HOST_ENTRIES {
                    hosts.ignored.push(number, "too many entries");
                } else {
                    hosts.add(&name, address, &mut known);
                }
            }
        }
        hosts
    }

    /// The addresses of `name` in `family`, each once, in the order of the file, with port 0.
    ///
    /// The lookup itself takes the same time in a file of any length. A name without a dot and one with the domain
    /// appended are different names.
    pub fn addresses<'a>(
        &'a self,
        name: &str,
        family: AddressFamily,
    ) -> impl Iterator<Item = SocketAddr> + use<'a> {
        self.pairs_of_name(name)
            .filter_map(|pair| self.address(pair))
            .filter(move |address| address.is_ipv4() == (family == AddressFamily::V4))
    }

    /// Whether the file has an address of any family for `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.pairs_of_name(name).next().is_some()
    }

    /// The names of `ip`, in lower case: the canonical name of its first line, then the aliases there, then the
    /// names of further lines. The zone of a link-local address makes no difference.
    pub fn names(&self, ip: IpAddr) -> impl Iterator<Item = &str> {
        let first = self.ips.first(&ip);
        successors(first, |at| self.pair(*at)?.next_of_ip).filter_map(|at| {
            let (name, _) = self.names.keys.get(index(self.pair(at)?.name))?;
            Some(&**name)
        })
    }

    /// How many pairs of a name and an address there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What was ignored, and why.
    #[must_use]
    pub fn ignored(&self) -> &IgnoredLines {
        &self.ignored
    }

    fn pairs_of_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Pair> + use<'a> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let first = self.names.first(&*name);
        successors(first, |at| self.pair(*at)?.next_of_name).filter_map(|at| self.pair(at))
    }

    fn pair(&self, at: u32) -> Option<&Pair> {
        self.pairs.get(index(at))
    }

    fn address(&self, pair: &Pair) -> Option<SocketAddr> {
        let (ip, _) = self.ips.keys.get(index(pair.ip))?;
        Some(match *ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, pair.scope).into(),
        })
    }

    /// `known` has the pairs so far, without the first of each name.
    fn add(&mut self, name: &str, address: SocketAddr, known: &mut HashSet<(u32, u32, u32)>) {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        let name = self.names.intern(name, |name| name.into());
        let ip = self.ips.intern(&address.ip(), |ip| *ip);
        let (Some(name), Some(ip), Ok(at)) = (name, ip, u32::try_from(self.pairs.len())) else {
            return;
        };
        // Most names have one address. Only further ones go into the set, which saves most of its time and memory.
        let pair = (name, ip, scope);
        let first = self.names.ends(name).and_then(|(first, _)| self.pair(first));
        let is_first = first.is_some_and(|first| (first.name, first.ip, first.scope) == pair);
        if is_first || first.is_some() && !known.insert(pair) {
            return;
        }
        self.pairs.push(Pair {
            name,
            ip,
            scope,
            next_of_name: None,
            next_of_ip: None,
        });
        let before = self
            .names
            .append(name, at)
            .and_then(|at| self.pairs.get_mut(index(at)));
        if let Some(before) = before {
            before.next_of_name = Some(at);
        }
        let before = self
            .ips
            .append(ip, at)
            .and_then(|at| self.pairs.get_mut(index(at)));
        if let Some(before) = before {
            before.next_of_ip = Some(at);
        }
    }
}

impl fmt::Debug for Hosts {
    /// Counts, not the whole file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts")
            .field("entries", &self.pairs.len())
            .field("names", &self.names.keys.len())
            .field("addresses", &self.ips.keys.len())
            .field("ignored", &self.ignored.total())
            .finish()
    }
}

/// Keys with numbers, and the first and last pair of each.
#[derive(Clone)]
struct Index<K> {
    keys: Vec<(K, Option<(u32, u32)>)>,
    by_key: HashMap<K, u32>,
}

// Derived, it would ask for a default of the keys.
impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Index<K> {
    fn intern<Q>(&mut self, key: &Q, own: impl FnOnce(&Q) -> K) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(&number) = self.by_key.get(key) {
            return Some(number);
        }
        let number = u32::try_from(self.keys.len()).ok()?;
        let key = own(key);
        self.keys.push((key.clone(), None));
        self.by_key.insert(key, number);
        Some(number)
    }

    fn first<Q>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (first, _) = self.ends(*self.by_key.get(key)?)?;
        Some(first)
    }

    fn ends(&self, key: u32) -> Option<(u32, u32)> {
        self.keys.get(index(key))?.1
    }

    /// Makes the pair `at` the last of the key and returns the one before it.
    fn append(&mut self, key: u32, at: u32) -> Option<u32> {
        let (_, ends) = self.keys.get_mut(index(key))?;
        let before = ends.map(|(_, last)| last);
        *ends = Some((ends.map_or(at, |(first, _)| first), at));
        before
    }
}

/// Numbers are of 32 bits to save memory; a `usize` has at least as many wherever there are sockets.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn read_address(word: &[u8], zone: &dyn Fn(&str) -> Option<u32>) -> Result<SocketAddr, &'static str> {
    let v4 = str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse::<Ipv4Addr>().ok());
    if let Some(address) = v4 {
        return Ok(SocketAddr::from((address, 0)));
    }
    let (address, name) = read_v6(word).ok_or("the line begins with no IP address")?;
    let scope = match name {
        Some(name) => zone_index(address, name, zone).ok_or("the zone of the address is no interface")?,
        None => 0,
    };
    Ok(SocketAddrV6::new(address, 0, 0, scope).into())
}
