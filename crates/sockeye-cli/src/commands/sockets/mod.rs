//! `sockeye sockets`: the sockets of this machine, as `ss` shows them.
//!
//! | module | what |
//! |---|---|
//! | [`netlink`] | where they come from: NETLINK_SOCK_DIAG |
//! | [`proc_net`] | where they come from if that is not permitted: `/proc/net` |
//! | [`socket`] | what is known of each |
//! | [`holders`], [`cgroups`] | processes by inode, cgroups by number |
//! | [`filter`] | which are shown |
//! | [`held`] | who has an address, for errors of other commands |
//! | [`show`] | as a table, as events, as counts |

mod cgroups;
mod filter;
pub(crate) mod held;
mod holders;
mod netlink;
mod proc_net;
mod show;
mod socket;
mod tcp_info;

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use sockeye::endpoint::PortSet;

use crate::exit::{Exit, words};
use crate::files::for_this_program;
use crate::output::{Output, RowFormat, Rows, note};
use filter::{Filter, Place, Who};
use holders::Holders;
use netlink::{Diag, Table};
use socket::{Kind, Side, Socket, State};

/// Rows of a view that is drawn again and again, if nothing else is asked: they fit in a terminal of 24 lines.
const SHOWN: usize = 20;

/// The rows of `--csv`.
pub(crate) const ROWS: Rows = Rows {
    events: &["socket"],
    columns: &[
        "type",
        "protocol",
        "state",
        "recv_queue",
        "send_queue",
        "local.address",
        "local.port",
        "local.path",
        "local.abstract",
        "peer.address",
        "peer.port",
        "peer.path",
        "peer.abstract",
        "interface",
        "inode",
        "uid",
        "processes.name",
        "processes.pid",
        "timer.name",
        "timer.left_ns",
        "timer.retransmits",
        "cgroup.path",
        "congestion",
        "tcp_info.rtt_ns",
    ],
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without -l, -a or --state: the sockets that have a peer. Ends with 1 if there\n\
is none.\n\
\n\
Examples:\n\
\x20 sockeye sockets -tl                     who listens on TCP\n\
\x20 sockeye sockets -ti --peer 10.0.0.0/8   who is in a network, with TCP_INFO\n\
\x20 sockeye sockets -a --port 53 --process 4711\n\
\x20 sockeye sockets --summary --watch 1")]
pub(crate) struct Arguments {
    /// TCP sockets; without -t, -u, -w or -x: all types
    #[arg(short, long)]
    tcp: bool,
    /// UDP sockets
    #[arg(short, long)]
    udp: bool,
    /// Raw IP sockets
    #[arg(short = 'w', long)]
    raw: bool,
    /// Unix sockets
    #[arg(short = 'x', long)]
    unix: bool,
    /// Only IPv4
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6
    #[arg(short = '6')]
    ipv6: bool,
    /// Sockets that wait for peers: listeners, and UDP and raw sockets without a peer
    #[arg(short, long, conflicts_with = "state")]
    listening: bool,
    /// Sockets in every state
    #[arg(short, long, conflicts_with = "state")]
    all: bool,
    /// Sockets in these states
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_enum)]
    state: Vec<State>,
    /// Sockets with one of these ports on either side: 22,80,8000-8099
    #[arg(long, value_name = "PORTS", value_parser = ports)]
    port: Option<PortSet>,
    /// Sockets whose own address this is: ADDRESS, ADDRESS:PORT, a network, an endpoint or unix:PATH; may be repeated
    #[arg(long, value_name = "PLACE")]
    local: Vec<Place>,
    /// Sockets whose peer this is, in the same forms
    #[arg(long, value_name = "PLACE")]
    peer: Vec<Place>,
    /// Sockets of a process, by number or name; may be repeated
    #[arg(long, value_name = "NAME|PID")]
    process: Vec<Who>,
    /// Do not look for the processes
    #[arg(long, conflicts_with = "process")]
    no_process: bool,
    /// A second line with timers, cgroup, and TCP_INFO: round trips, window, retransmits, rate, bytes
    #[arg(short, long)]
    info: bool,
    /// Numbers and processes are what is shown anyway: fingers that know ss are let type them
    #[arg(short = 'n', hide = true)]
    _numeric: bool,
    #[arg(short = 'p', hide = true)]
    _processes: bool,
    /// Only how many there are, by type and state; of all states if nothing else is asked
    #[arg(long)]
    summary: bool,
    /// Show them again and again, so many seconds apart
    #[arg(long, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    watch: Option<f64>,
    /// With --watch: end after so many times
    #[arg(long, value_name = "COUNT", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Show at most so many sockets; with --watch, 20 if nothing else is asked
    #[arg(long, value_name = "COUNT")]
    rows: Option<usize>,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

/// At least one port.
fn ports(text: &str) -> Result<PortSet, String> {
    match text.parse::<PortSet>() {
        Ok(ports) if !ports.is_empty() => Ok(ports),
        Ok(_) => Err("expected ports such as 22,80,8000-8099".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What the kernel is asked.
#[derive(Debug, Clone)]
struct Wanted {
    info: bool,
    states: Vec<State>,
}

impl Arguments {
    fn states(&self) -> Vec<State> {
        if !self.state.is_empty() {
            return self.state.clone();
        }
        let is_wanted = |state: &State| match state {
            State::Listen | State::Unconnected => self.listening,
            State::TimeWait => false,
            _ => !self.listening,
        };
        if self.all || (self.summary && !self.listening) {
            return State::ALL.to_vec();
        }
        State::ALL.into_iter().filter(is_wanted).collect()
    }

    fn tables(&self) -> Vec<Table> {
        let every = !(self.tcp || self.udp || self.raw || self.unix);
        let mut tables = Vec::new();
        for (kind, asked) in [
            (Kind::Tcp, self.tcp),
            (Kind::Udp, self.udp),
            (Kind::Raw(0), self.raw),
        ] {
            for v6 in [false, true] {
                if (asked || every) && !(if v6 { self.ipv4 } else { self.ipv6 }) {
                    tables.push(Table::Inet { v6, kind });
                }
            }
        }
        if self.unix || (every && !self.ipv4 && !self.ipv6) {
            tables.push(Table::Unix);
        }
        tables
    }
}

/// The sockets at one moment.
#[derive(Debug, Default)]
struct Snapshot {
    sockets: Vec<Socket>,
    holders: Option<Holders>,
    cgroups: HashMap<u64, String>,
    /// What was read from `/proc/net` instead, and why.
    fallback: Option<String>,
}

/// Shows them, once or again and again.
///
/// # Errors
/// When neither netlink nor `/proc/net` is there.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let wanted = Wanted {
        info: arguments.info,
        states: arguments.states(),
    };
    let filter = Filter {
        ports: arguments.port.clone(),
        local: arguments.local.clone(),
        peer: arguments.peer.clone(),
        process: arguments.process.clone(),
    };
    let mut round = 0;
    loop {
        let snapshot = take(arguments, &wanted, &filter, output.is_json())?;
        if arguments.watch.is_some() {
            output.clear()?;
        }
        let rows = arguments.rows.or(arguments.watch.map(|_| SHOWN));
        if arguments.summary {
            show::summary(&snapshot, output)?;
        } else {
            show::sockets(&snapshot, arguments.info, rows.unwrap_or(usize::MAX), output)?;
        }
        if round == 0 {
            warn(arguments, &snapshot);
        }
        round += 1;
        match arguments.watch {
            Some(seconds) if arguments.rounds.is_none_or(|rounds| round < rounds) => {
                std::thread::sleep(Duration::from_secs_f64(seconds));
            }
            Some(_) => return Ok(Exit::Success),
            None if snapshot.sockets.is_empty() && !arguments.summary => {
                note(nothing(arguments, &filter));
                return Ok(Exit::Negative);
            }
            None => return Ok(Exit::Success),
        }
    }
}

/// That there is no such socket, and what shows more.
fn nothing(arguments: &Arguments, filter: &Filter) -> &'static str {
    if !filter.is_empty() {
        "sockeye: no socket is as the filters say (--port, --local, --peer, --process)"
    } else if arguments.all || !arguments.state.is_empty() {
        "sockeye: there is no such socket"
    } else if arguments.listening {
        "sockeye: no such socket listens (-a shows all)"
    } else {
        "sockeye: no such socket has a peer (-l shows those that listen, -a all)"
    }
}

/// What the reader has to know of the figures; once.
fn warn(arguments: &Arguments, snapshot: &Snapshot) {
    if let Some(because) = &snapshot.fallback {
        let also = if arguments.info { "TCP_INFO, " } else { "" };
        note(format_args!(
            "sockeye: netlink: {because}: read from /proc/net, without {also}cgroups and the peers of Unix sockets"
        ));
    }
    let hidden = snapshot.holders.as_ref().map_or(0, |holders| holders.hidden);
    if hidden > 0 && (!arguments.summary || !arguments.process.is_empty()) {
        note(for_this_program(&format!(
            "sockeye: the sockets of {hidden} processes of other users could not be seen (run as root, or: setcap \
             cap_sys_ptrace,cap_dac_read_search+ep PROGRAM)"
        )));
    }
}

fn take(arguments: &Arguments, wanted: &Wanted, filter: &Filter, json: bool) -> anyhow::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    gather(&arguments.tables(), wanted, &mut snapshot)?;
    name_peers(&mut snapshot.sockets);
    let needs_holders = !arguments.no_process && (!arguments.summary || !filter.process.is_empty());
    if needs_holders {
        snapshot.holders = Some(Holders::read().context("read /proc")?);
    }
    let holders = snapshot.holders.as_ref();
    snapshot
        .sockets
        .retain(|socket| wanted.states.contains(&socket.state) && filter.takes(socket, holders));
    snapshot.sockets.sort_by_cached_key(|socket| {
        let place = match socket.local {
            Side::Ip(ip, port) => Some((port, ip)),
            _ => None,
        };
        (socket.kind, socket.state != State::Listen, place, socket.inode)
    });
    if arguments.info || json {
        snapshot.cgroups = cgroups::paths(snapshot.sockets.iter().filter_map(|socket| socket.cgroup));
    }
    Ok(snapshot)
}

/// Asks netlink for each table, and `/proc/net` for those that it does not have.
fn gather(tables: &[Table], wanted: &Wanted, snapshot: &mut Snapshot) -> anyhow::Result<()> {
    let mut diag = match Diag::new() {
        Ok(diag) => Some(diag),
        Err(error) => {
            snapshot.fallback = Some(words(&error));
            None
        }
    };
    for table in tables {
        let before = snapshot.sockets.len();
        let asked = match &mut diag {
            Some(diag) => diag.dump(*table, wanted, &mut snapshot.sockets),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        let Err(error) = asked else { continue };
        snapshot.sockets.truncate(before);
        match proc_net::read(*table, &mut snapshot.sockets) {
            Ok(()) => {
                // Where the kernel only lacks a module the file says as much.
                if diag.is_some() && !netlink::is_missing(&error) {
                    snapshot.fallback = Some(words(&error));
                }
            }
            // A kernel without IPv6 has no such file; without any of them it is no answer.
            Err(gone) if gone.kind() == io::ErrorKind::NotFound && diag.is_some() => {}
            Err(gone)
                if matches!(table, Table::Inet { v6: true, .. })
                    && gone.kind() == io::ErrorKind::NotFound => {}
            Err(gone) => {
                return Err(gone).context(format!(
                    "read /proc/net, as netlink answers {} (a sandbox? allow socket(AF_NETLINK) or mount /proc)",
                    words(&error)
                ));
            }
        }
    }
    Ok(())
}

/// A Unix socket names its peer by inode: it gets the peer's name, where it has one.
fn name_peers(sockets: &mut [Socket]) {
    let names: HashMap<u64, Side> = sockets
        .iter()
        .filter(|socket| matches!(socket.local, Side::Path(_) | Side::Abstract(_)))
        .map(|socket| (socket.inode, socket.local.clone()))
        .collect();
    for socket in sockets {
        if let Side::Unnamed(Some(inode)) = socket.peer
            && let Some(name) = names.get(&inode)
        {
            socket.peer = name.clone();
        }
    }
}
