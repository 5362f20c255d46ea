//! nsswitch.conf(5): which sources are asked for host names, in which order, and when to stop.

use super::ignored::IgnoredLines;
use super::text::{is_space, lines, trim_start};

#[cfg(test)]
mod tests;

/// The `hosts` line of nsswitch.conf.
///
/// As in glibc the last `hosts` line wins, `hosts:` with nothing after it means that nobody is asked, and a line may
/// begin with blanks. `#` begins a comment anywhere. Where the brackets cannot be read, the sources before them count (as in
/// glibc before 2.33; since then no name is found at all), or the default if there are none.
///
/// [`Default`] is `files dns`: what a missing file or line means to glibc since 2.35, to musl and to Go. glibc before
/// 2.35 took it for `dns [!UNAVAIL=return] files`, with which `/etc/hosts` hardly ever counts; nobody wants that.
///
/// # Other sources than files and dns
/// A resolver that knows hosts files and DNS gives the answers of the machine only if nothing else is asked:
/// [`needs_system`](Self::needs_system) names what else there is, and then getaddrinfo(3) is the way to go. That
/// includes systemd's two, on purpose:
///
/// - `resolve` asks systemd-resolved, which has servers for each link, routes domains to them, and knows LLMNR and
///   multicast DNS. The servers of resolv.conf may be others, or its stub listener at 127.0.0.53, which answers most of
///   the same questions.
/// - `myhostname` answers the host name, `_gateway` and `_outbound` from the addresses and routes of the machine, as
///   they are at that time.
///
/// A program that can do without can still choose: [`entries`](Self::entries) say where these come in the order, and
/// on machines with `resolve` the entry `dns` is what takes over where systemd-resolved does not run.
///
/// A source whose library is not installed is passed over by glibc. Here it counts as one that needs the system, as
/// only glibc knows.
///
/// # References
/// [nsswitch.conf(5)](https://man7.org/linux/man-pages/man5/nsswitch.conf.5.html),
/// [nss-resolve(8)](https://man7.org/linux/man-pages/man8/nss-resolve.8.html),
/// [nss-myhostname(8)](https://man7.org/linux/man-pages/man8/nss-myhostname.8.html)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NsSwitch {
    /// The sources in the order to ask them. Empty: nobody is asked.
    pub entries: Vec<Entry>,
    /// What was ignored, and why.
    pub ignored: IgnoredLines,
}

/// A source, and what its results lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The source.
    pub source: Source,
    /// What comes after it.
    pub actions: Actions,
}

/// A source of host names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `files`: the hosts file.
    Files,
    /// `dns`: the servers of resolv.conf.
    Dns,
    /// `resolve`: systemd-resolved.
    Resolve,
    /// `myhostname`: systemd's answers for the machine's own names.
    MyHostname,
    /// Multicast DNS by nss-mdns, by the name that it has on the line: `mdns4_minimal`, `mdns`, ...
    Mdns(Box<str>),
    /// Any other, by its name: `ldap`, `nis`, `wins`, `mymachines`, ...
    Other(Box<str>),
}

impl Source {
    fn new(name: &str) -> Self {
        match name {
            "files" => Self::Files,
            "dns" => Self::Dns,
            "resolve" => Self::Resolve,
            "myhostname" => Self::MyHostname,
            _ if name.starts_with("mdns") => Self::Mdns(name.into()),
            _ => Self::Other(name.into()),
        }
    }

    /// Its name on the line.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Files => "files",
            Self::Dns => "dns",
            Self::Resolve => "resolve",
            Self::MyHostname => "myhostname",
            Self::Mdns(name) | Self::Other(name) => name,
        }
    }
}

/// How a lookup in a source has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// `SUCCESS`: there are addresses.
    Success,
    /// `NOTFOUND`: the source has answered that there are none.
    NotFound,
    /// `UNAVAIL`: the source cannot be asked: no file, no server that answers.
    Unavailable,
    /// `TRYAGAIN`: the source cannot answer for now.
    TryAgain,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Stop, with the result that there is.
    Return,
    /// Ask the next source.
    Continue,
    /// Ask the next source and add what it finds to what was found.
    Merge,
}

/// What each [`Status`] of a source leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actions {
    /// After [`Status::Success`].
    pub success: Action,
    /// After [`Status::NotFound`].
    pub not_found: Action,
    /// After [`Status::Unavailable`].
    pub unavailable: Action,
    /// After [`Status::TryAgain`].
    pub try_again: Action,
}

impl Default for Actions {
    /// `[SUCCESS=return !SUCCESS=continue]`, as without brackets.
    fn default() -> Self {
        Self {
            success: Action::Return,
            not_found: Action::Continue,
            unavailable: Action::Continue,
            try_again: Action::Continue,
        }
    }
}

impl Actions {
    /// What comes after a lookup that has ended with `status`.
    #[must_use]
    pub fn on(&self, status: Status) -> Action {
        match status {
            Status::Success => self.success,
            Status::NotFound => self.not_found,
            Status::Unavailable => self.unavailable,
            Status::TryAgain => self.try_again,
        }
    }

    fn set(&mut self, status: Status, action: Action) {
        *match status {
            Status::Success => &mut self.success,
            Status::NotFound => &mut self.not_found,
            Status::Unavailable => &mut self.unavailable,
            Status::TryAgain => &mut self.try_again,
        } = action;
    }

    /// `!` means all but this one.
    fn set_all_but(&mut self, status: Status, action: Action) {
        let kept = self.on(status);
        *self = Self {
            success: action,
            not_found: action,
            unavailable: action,
            try_again: action,
        };
        self.set(status, kept);
    }

    /// Whether nothing leads to the next source.
    pub(super) fn ends(&self) -> bool {
        *self
            == Self {
                success: Action::Return,
                not_found: Action::Return,
                unavailable: Action::Return,
                try_again: Action::Return,
            }
    }
}

impl Default for NsSwitch {
    /// `files dns`.
    fn default() -> Self {
        let entry = |source| Entry {
            source,
            actions: Actions::default(),
        };
        Self {
            entries: vec![entry(Source::Files), entry(Source::Dns)],
            ignored: IgnoredLines::default(),
        }
    }
}

impl NsSwitch {
    /// Reads the bytes of an nsswitch.conf. It never fails: without a `hosts` line it is the default.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut switch = Self::default();
        for (number, line) in lines(text) {
            let Some(services) = hosts_line(line) else {
                continue;
            };
            let mut rest = services;
            let mut entries = Vec::new();
            switch.entries = loop {
                match next_entry(&mut rest) {
                    Ok(Some(entry)) => entries.push(entry),
                    Ok(None) => break entries,
                    Err(why) => {
                        switch.ignored.push(number, why);
                        break if entries.is_empty() {
                            Self::default().entries
                        } else {
                            entries
                        };
                    }
                }
            };
        }
        switch
    }

    /// The name of the first source that can be asked and is neither `files` nor `dns`: whoever wants the answers
    /// that other programs get has to ask the system. `None`: hosts file and DNS are all there is.
    ///
    /// Sources behind one that always ends the search do not count.
    #[must_use]
    pub fn needs_system(&self) -> Option<&str> {
        for entry in &self.entries {
            if !matches!(entry.source, Source::Files | Source::Dns) {
                return Some(entry.source.name());
            }
            if entry.actions.ends() {
                break;
            }
        }
        None
    }
}

/// What follows `hosts:`, if this is such a line.
fn hosts_line(line: &[u8]) -> Option<&[u8]> {
    let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    let rest = trim_start(line).strip_prefix(b"hosts")?;
    let skip = rest
        .iter()
        .position(|byte| !is_space(*byte) && *byte != b':')
        .unwrap_or(rest.len());
    let (separator, services) = rest.split_at(skip);
    // glibc takes blanks for a colon.
    (!separator.is_empty()).then_some(services)
}

/// A source and its brackets, taken from the start of `rest`.
fn next_entry(rest: &mut &[u8]) -> Result<Option<Entry>, &'static str> {
    let name = take_word(rest, b"[");
    if name.is_empty() {
        return if rest.is_empty() {
            Ok(None)
        } else {
            Err("an action without a source before it")
        };
    }
    let name = str::from_utf8(name).map_err(|_| "the name of a source is not UTF-8")?;
    let mut entry = Entry {
        source: Source::new(name),
        actions: Actions::default(),
    };
    *rest = trim_start(rest);
    if take(rest, b'[') {
        loop {
            next_criterion(rest, &mut entry.actions)?;
            if take(rest, b']') {
                break;
            }
        }
    }
    Ok(Some(entry))
}

/// `!STATUS=ACTION`.
fn next_criterion(rest: &mut &[u8], actions: &mut Actions) -> Result<(), &'static str> {
    *rest = trim_start(rest);
    let is_negated = take(rest, b'!');
    let status = match take_word(rest, b"=]").to_ascii_lowercase().as_slice() {
        b"success" => Status::Success,
        b"notfound" => Status::NotFound,
        b"unavail" => Status::Unavailable,
        b"tryagain" => Status::TryAgain,
        _ => return Err("the status is not one of success, notfound, unavail, tryagain"),
    };
    *rest = trim_start(rest);
    if !take(rest, b'=') {
        return Err("no = follows the status");
    }
    let action = match take_word(rest, b"=]").to_ascii_lowercase().as_slice() {
        b"return" => Action::Return,
        b"continue" => Action::Continue,
        b"merge" => Action::Merge,
        _ => return Err("the action is not one of return, continue, merge"),
    };
    if is_negated {
        actions.set_all_but(status, action);
    } else {
        actions.set(status, action);
    }
    *rest = trim_start(rest);
    Ok(())
}

/// The word at the start of `rest`, blanks before it aside, up to a blank or one of `ends`.
fn take_word<'a>(rest: &mut &'a [u8], ends: &[u8]) -> &'a [u8] {
    let text = trim_start(rest);
    let end = text
        .iter()
        .position(|byte| is_space(*byte) || ends.contains(byte));
    let (word, after) = text.split_at(end.unwrap_or(text.len()));
    *rest = after;
    word
}

fn take(rest: &mut &[u8], byte: u8) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == byte => {
            *rest = after;
            true
        }
        _ => false,
    }
}
