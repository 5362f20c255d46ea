//! resolv.conf(5): the servers to ask, the search list and the options of the stub resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::ignored::IgnoredLines;
use super::text::{inet_aton, is_blank, lines, read_name, read_v6, words, zone_index};

/// How many servers of the file are kept.
///
/// The C libraries ask the first three only. More are kept because a fourth that is never asked surprises whoever has
/// listed it; it comes into play when the first three do not answer, or with `rotate`.
pub const MAX_SERVERS: usize = 8;

/// How many domains of the search list are kept. glibc 2.26 and later keep all, earlier ones six.
pub const MAX_SEARCH: usize = 32;

const PORT: u16 = 53;

#[cfg(test)]
mod tests;

/// The configuration of the stub resolver, as resolv.conf(5) describes it and glibc reads it.
///
/// A keyword begins at the start of its line, in lower case, and a space or tab follows it; `#` and `;` begin a comment
/// only at the start of a line. Unlike glibc this reads lines that end in `\r\n`, and takes `0.0.0.0` and `::` for
/// the loopback address, which is where the kernel sends what is sent to them.
///
/// [`Default`] is what a file that is missing or empty means.
///
/// # References
/// [resolv.conf(5)](https://man7.org/linux/man-pages/man5/resolv.conf.5.html)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver`: the servers in the order to ask them, all on port 53; never empty, at most [`MAX_SERVERS`].
    /// Without any it is 127.0.0.1.
    ///
    /// A link-local address whose zone names no interface has the scope 0, as in glibc: sending to it fails.
    pub servers: Vec<SocketAddr>,
    /// `search` or `domain`, whichever came last: the domains to append to short names, in order, in lower case and
    /// without a dot at the end; at most [`MAX_SEARCH`].
    ///
    /// An empty text stands for the root (`search .`): there the name is tried as it is.
    pub search: Vec<Box<str>>,
    /// `options`: those of all lines together; a later one wins over an earlier one.
    pub options: ResolvOptions,
    /// What was ignored, and why.
    pub ignored: IgnoredLines,
}

/// The options of resolv.conf(5) that mean something to this resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResolvOptions {
    /// `ndots:n`: a name with fewer dots is tried with the search list before it is tried as it is; at most 15.
    pub ndots: u8,
    /// `timeout:n`: how long a server has to answer, in whole seconds from 1 to 30.
    pub timeout: Duration,
    /// `attempts:n`: how many times the list of servers is gone through, from 1 to 5. glibc asks nobody with 0; here
    /// that is 1.
    pub attempts: u8,
    /// `rotate`: begin with another server each time.
    pub rotate: bool,
    /// `use-vc`: ask by TCP only.
    pub use_vc: bool,
    /// `edns0`: the file asks for EDNS (RFC 6891).
    pub edns0: bool,
    /// `trust-ad`: set the AD bit in queries and believe it in answers.
    pub trust_ad: bool,
    /// `no-aaaa`: ask for no AAAA records (glibc 2.36).
    pub no_aaaa: bool,
    /// `single-request`: ask for A and AAAA one after the other.
    pub single_request: bool,
    /// `single-request-reopen`: another socket for the second query, if both cannot be answered on one.
    pub single_request_reopen: bool,
    /// `no-tld-query`: do not try a name without dots as it is.
    pub no_tld_query: bool,
    /// `no-reload`: do not read the file again when it has changed.
    pub no_reload: bool,
}

impl Default for ResolvOptions {
    /// `ndots:1 timeout:5 attempts:2`, everything else off.
    fn default() -> Self {
        Self {
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_vc: false,
            edns0: false,
            trust_ad: false,
            no_aaaa: false,
            single_request: false,
            single_request_reopen: false,
            no_tld_query: false,
            no_reload: false,
        }
    }
}

/// What a process can change of resolv.conf, and the host name, whose domain is the search list if there is no other.
///
/// [`Default`] changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `LOCALDOMAIN`: the search list, separated by spaces or tabs, in the place of the file's.
    pub local_domain: Option<String>,
    /// `RES_OPTIONS`: options, separated by spaces or tabs, after those of the file.
    pub options: Option<String>,
    /// The host name, as gethostname(2) returns it.
    pub host_name: Option<String>,
}

impl Environment {
    /// The environment of this process, and the host name as `/proc/sys/kernel/hostname` has it.
    ///
    /// glibc ignores `LOCALDOMAIN` and `RES_OPTIONS` in set-user-ID programs. Such a program uses
    /// [`Environment::default`] instead.
    #[must_use]
    pub fn from_process() -> Self {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            local_domain: variable("LOCALDOMAIN"),
            options: variable("RES_OPTIONS"),
            host_name: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .ok()
                .map(|name| name.trim_end().to_owned()),
        }
    }
}

impl Default for ResolvConf {
    /// 127.0.0.1, no search list, default options.
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            search: Vec::new(),
            options: ResolvOptions::default(),
            ignored: IgnoredLines::default(),
        }
    }
}

impl ResolvConf {
    /// Reads the bytes of a resolv.conf. It never fails: what is no configuration is ignored and recorded.
    ///
    /// `zone` gives the index of the interface with a name, for servers such as `fe80::1%eth0`
    /// (`sockeye_socket::os::interface_index`). Numbers work without it.
    #[must_use]
    pub fn parse(text: &[u8], zone: impl Fn(&str) -> Option<u32>) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            ..Self::default()
        };
        for (number, line) in lines(text) {
            conf.read_line(number, line, &zone);
        }
        if conf.servers.is_empty() {
            conf.servers = Self::default().servers;
        }
        conf
    }

    /// The configuration with what the environment changes, which is what the C library works with.
    ///
    /// `LOCALDOMAIN` replaces the search list, `RES_OPTIONS` comes after the options, and if there is no search list
    /// yet, it is what follows the first dot of the host name.
    #[must_use]
    pub fn with_environment(mut self, environment: &Environment) -> Self {
        if let Some(domains) = &environment.local_domain {
            let line = domains.split('\n').next().unwrap_or_default();
            self.read_search(0, words(line.as_bytes()));
        }
        let own_domain = environment
            .host_name
            .as_deref()
            .and_then(|name| name.split_once('.'));
        if let (true, Some((_, domain))) = (self.search.is_empty(), own_domain) {
            self.read_search(0, words(domain.as_bytes()).take(1));
        }
        if let Some(options) = &environment.options {
            self.read_options(0, options.as_bytes());
        }
        self
    }

    fn read_line(&mut self, number: usize, line: &[u8], zone: &dyn Fn(&str) -> Option<u32>) {
        if line.iter().all(|byte| is_blank(*byte)) || line.starts_with(b"#") || line.starts_with(b";") {
            return;
        }
        let end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
        let (keyword, rest) = line.split_at(end);
        let mut values = words(rest).peekable();
        match (keyword, values.peek()) {
            (b"", _) => self.ignored.push(number, "the keyword must start the line"),
            (b"nameserver" | b"domain" | b"search" | b"options", None) => {
                self.ignored.push(number, "no value follows the keyword");
            }
            // What follows the first word of these two is no matter to glibc either.
            (b"nameserver", Some(&word)) => self.read_server(number, word, zone),
            (b"domain", Some(_)) => self.read_search(number, values.take(1)),
            (b"search", Some(_)) => self.read_search(number, values),
            (b"options", Some(_)) => self.read_options(number, rest),
            (b"sortlist", _) => self
                .ignored
                .push(number, "sortlist has no effect here: RFC 6724 gives the order"),
            _ => self.ignored.push(number, "unknown keyword"),
        }
    }

    fn read_server(&mut self, number: usize, word: &[u8], zone: &dyn Fn(&str) -> Option<u32>) {
        let server = if let Some(address) = inet_aton(word) {
            SocketAddr::from((address, PORT))
        } else if let Some((address, name)) = read_v6(word) {
            let index = name.map(|name| zone_index(address, name, zone));
            if index == Some(None) {
                self.ignored.push(
                    number,
                    "the zone of this server is no interface: it cannot be reached",
                );
            }
            SocketAddrV6::new(address, PORT, 0, index.flatten().unwrap_or_default()).into()
        } else {
            self.ignored.push(number, "the server is not an IP address");
            return;
        };
        if self.servers.len() < MAX_SERVERS {
            self.servers.push(reachable(server));
        } else {
            self.ignored.push(number, "too many servers: at most 8 are asked");
        }
    }

    /// A directive with words in it replaces the list, even if none of them is a name: then the root is left.
    fn read_search<'a>(&mut self, number: usize, words: impl Iterator<Item = &'a [u8]>) {
        self.search.clear();
        let mut name = String::new();
        for word in words {
            // As in glibc: `.example.org` is `example.org`, and `.` is the root.
            let word = word.strip_prefix(b".").unwrap_or(word);
            if !word.is_empty() && !read_name(word, &mut name) {
                self.ignored.push(
                    number,
                    "not a domain: labels have 1 to 63 letters, digits, - or _",
                );
            } else if self.search.len() == MAX_SEARCH {
                self.ignored
                    .push(number, "too many domains to search: at most 32 are tried");
            } else if word.is_empty() {
                self.search.push(Box::default());
            } else {
                self.search.push(name.as_str().into());
            }
        }
        if self.search.is_empty() {
            self.search.push(Box::default());
        }
    }

    fn read_options(&mut self, number: usize, text: &[u8]) {
        for word in words(text) {
            if let Err(why) = self.options.set(word) {
                self.ignored.push(number, why);
            }
        }
    }
}

/// The unspecified address reaches this host, but answers come from the loopback address.
fn reachable(mut server: SocketAddr) -> SocketAddr {
    if server.ip().is_unspecified() {
        server.set_ip(match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    server
}

type Flag = (&'static str, fn(&mut ResolvOptions) -> &mut bool);

/// glibc compares the beginning of a word only, in this order; so `rotate,` is `rotate`.
const FLAGS: [Flag; 10] = [
    ("rotate", |options| &mut options.rotate),
    ("edns0", |options| &mut options.edns0),
    ("single-request-reopen", |options| {
        &mut options.single_request_reopen
    }),
    ("single-request", |options| &mut options.single_request),
    ("no_tld_query", |options| &mut options.no_tld_query),
    ("no-tld-query", |options| &mut options.no_tld_query),
    ("no-reload", |options| &mut options.no_reload),
    ("use-vc", |options| &mut options.use_vc),
    ("trust-ad", |options| &mut options.trust_ad),
    ("no-aaaa", |options| &mut options.no_aaaa),
];

/// Options that are right, and change nothing here.
const WITHOUT_EFFECT: [&str; 7] = [
    "debug",
    "inet6",
    "ip6-bytestring",
    "ip6-dotint",
    "no-ip6-dotint",
    "no-check-names",
    "strict-error",
];

impl ResolvOptions {
    fn set(&mut self, word: &[u8]) -> Result<(), &'static str> {
        if let Some(value) = word.strip_prefix(b"ndots:") {
            self.ndots = number(value)?.min(15);
        } else if let Some(value) = word.strip_prefix(b"timeout:") {
            // glibc waits for a second with 0, too.
            self.timeout = Duration::from_secs(number(value)?.clamp(1, 30).into());
        } else if let Some(value) = word.strip_prefix(b"attempts:") {
            self.attempts = number(value)?.clamp(1, 5);
        } else if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| word.starts_with(name.as_bytes())) {
            *flag(self) = true;
        } else if WITHOUT_EFFECT
            .iter()
            .any(|name| word.starts_with(name.as_bytes()))
        {
            return Err("this option has no effect here");
        } else {
            return Err("unknown option");
        }
        Ok(())
    }
}

/// The digits that `value` begins with, as atoi(3) reads them; 255 for anything greater.
fn number(value: &[u8]) -> Result<u8, &'static str> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .map(|digit| digit - b'0')
        .fold(None, |sum: Option<u8>, digit| {
            Some(sum.unwrap_or_default().saturating_mul(10).saturating_add(digit))
        })
        .ok_or("no number follows the colon")
}
