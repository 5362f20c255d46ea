//! The sockets as a table, as events, as counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Snapshot;
use super::holders::Holders;
use super::socket::{self, Interfaces, Side, Socket};
use super::tcp_info::TcpInfo;
use crate::output::{Output, escaped};

/// Processes of one socket that are named in the table.
const MAX_PROCESSES: usize = 3;
const HEAD: [&str; 7] = ["TYPE", "STATE", "RECV-Q", "SEND-Q", "LOCAL", "PEER", "PROCESS"];

/// A line or an event each, at most `rows`, and what is left out.
pub(super) fn sockets(
    snapshot: &Snapshot,
    info: bool,
    rows: usize,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut interfaces = Interfaces::default();
    let shown = snapshot.sockets.get(..rows).unwrap_or(&snapshot.sockets);
    if output.is_json() {
        for socket in shown {
            output.event("socket", event(socket, snapshot, &mut interfaces))?;
        }
        output.event("end", end(snapshot))?;
        return Ok(());
    }
    output.lines(table(shown, snapshot, info, &mut interfaces))?;
    let left = snapshot.sockets.len() - shown.len();
    if left > 0 {
        output.line(format_args!(
            "and {left} more (--rows, or filters: --port, --local, --peer, --process, --state)"
        ))?;
    }
    Ok(())
}

/// The head and a line for each socket. There may be many: a line is made when it is printed, and nothing is kept but the
/// texts whose width counts.
fn table(
    shown: &[Socket],
    snapshot: &Snapshot,
    info: bool,
    interfaces: &mut Interfaces,
) -> impl Iterator<Item = String> {
    let mut widths = HEAD.map(str::len);
    let mut places = Vec::with_capacity(shown.len());
    for socket in shown {
        // Escaped here already, so that the columns stay in line.
        let mut place = |side: &Side| {
            let text = socket::text(socket, side, interfaces);
            match escaped(&text) {
                Cow::Owned(safe) => safe,
                Cow::Borrowed(_) => text,
            }
        };
        let [local, peer] = [place(&socket.local), place(&socket.peer)];
        let lengths = [
            socket.kind.name().len(),
            socket.state.name().len(),
            digits(socket.recv_queue),
            digits(socket.send_queue),
            local.chars().count(),
            peer.chars().count(),
        ];
        for (width, length) in widths.iter_mut().zip(lengths) {
            *width = length.max(*width);
        }
        places.push([local, peer]);
    }
    let [kind, state, receive, send, local, peer, who] = HEAD;
    let head = line(&widths, [kind, state, receive, send, local, peer], who);
    let rows = shown.iter().zip(places).flat_map(move |(socket, [local, peer])| {
        let who = snapshot
            .holders
            .as_ref()
            .map_or_else(String::new, |holders| processes(socket, holders));
        let (receive, send) = (socket.recv_queue.to_string(), socket.send_queue.to_string());
        let names = [socket.kind.name(), socket.state.name()];
        let cells = [names[0], names[1], &receive, &send, &local, &peer];
        let details = if info {
            details(socket, snapshot)
        } else {
            Vec::new()
        };
        let second = (!details.is_empty()).then(|| format!("    {}", details.join(", ")));
        std::iter::once(line(&widths, cells, &who)).chain(second)
    });
    std::iter::once(head).chain(rows)
}

fn digits(number: u32) -> usize {
    number.checked_ilog10().map_or(1, |last| last as usize + 1)
}

/// By hand: with thousands of sockets the widths of `format!` are a good part of the time.
fn line(widths: &[usize; 7], cells: [&str; 6], who: &str) -> String {
    const BLANKS: &str = "                                ";
    let mut line = String::with_capacity(widths.iter().sum::<usize>() + who.len() + 12);
    for ((index, cell), width) in cells.into_iter().enumerate().zip(widths) {
        let length = if cell.is_ascii() {
            cell.len()
        } else {
            cell.chars().count()
        };
        let room = width.saturating_sub(length);
        let (before, after) = if matches!(index, 2 | 3) {
            (room, 0)
        } else {
            (0, room)
        };
        let fill = |line: &mut String, count: usize| match BLANKS.get(..count) {
            Some(blanks) => line.push_str(blanks),
            None => line.extend(std::iter::repeat_n(' ', count)),
        };
        fill(&mut line, before);
        line.push_str(cell);
        fill(&mut line, after + 2);
    }
    line.push_str(who);
    line.truncate(line.trim_end().len());
    line
}

/// `4711/nginx`, the first of them.
fn processes(socket: &Socket, holders: &Holders) -> String {
    let mut text = String::new();
    for (index, process) in holders.of(socket.inode).enumerate() {
        if index == MAX_PROCESSES {
            text.push_str(", ...");
            break;
        }
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&format!("{}/{}", process.pid, process.name));
    }
    text
}

fn details(socket: &Socket, snapshot: &Snapshot) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(timer) = socket.timer {
        let mut text = format!("timer {}", timer.name);
        if let Some(left) = timer.left_ms {
            text.push_str(&format!(" {left}.000 ms"));
        }
        if timer.retransmits > 0 {
            text.push_str(&format!(" after {} retransmits", timer.retransmits));
        }
        details.push(text);
    }
    details.extend(socket.congestion.clone());
    if let Some(info) = &socket.info {
        details.extend(TcpInfo(info).words());
    }
    if let Some(uid) = socket.uid {
        details.push(format!("uid {uid}"));
    }
    if let Some(id) = socket.cgroup {
        let path = snapshot.cgroups.get(&id);
        details.push(path.map_or_else(|| format!("cgroup #{id}"), |path| format!("cgroup {path}")));
    }
    details
}

fn event(socket: &Socket, snapshot: &Snapshot, interfaces: &mut Interfaces) -> Value {
    let protocol = match socket.kind {
        socket::Kind::Raw(protocol) => Some(protocol),
        _ => None,
    };
    let processes = snapshot.holders.as_ref().map(|holders| {
        holders
            .of(socket.inode)
            .map(|process| json!({ "pid": process.pid, "name": process.name }))
            .collect::<Vec<_>>()
    });
    let interface = (socket.interface != 0).then(|| interfaces.name(socket.interface).to_owned());
    json!({
        "type": socket.kind.name(),
        "protocol": protocol,
        "state": socket.state.name(),
        "recv_queue": socket.recv_queue,
        "send_queue": socket.send_queue,
        "local": place(&socket.local),
        "peer": place(&socket.peer),
        "interface": interface,
        "inode": socket.inode,
        "uid": socket.uid,
        "processes": processes,
        "timer": socket.timer.map(|timer| json!({
            "name": timer.name,
            "left_ns": timer.left_ms.map(|left| left.saturating_mul(1_000_000)),
            "retransmits": timer.retransmits,
        })),
        "cgroup": socket.cgroup.map(|id| json!({ "id": id, "path": snapshot.cgroups.get(&id) })),
        "congestion": socket.congestion,
        "tcp_info": socket.info.as_deref().map(|info| TcpInfo(info).json()),
    })
}

fn place(side: &Side) -> Value {
    match side {
        Side::Ip(ip, port) => json!({ "address": ip, "port": port }),
        Side::Path(path) => json!({ "path": String::from_utf8_lossy(path) }),
        Side::Abstract(name) => json!({ "abstract": String::from_utf8_lossy(name) }),
        Side::Unnamed(inode) => json!({ "inode": inode }),
    }
}

fn end(snapshot: &Snapshot) -> Value {
    json!({
        "sockets": snapshot.sockets.len(),
        "source": if snapshot.fallback.is_some() { "proc" } else { "netlink" },
        "hidden_processes": snapshot.holders.as_ref().map(|holders| holders.hidden),
    })
}

/// How many there are by type and state.
pub(super) fn summary(snapshot: &Snapshot, output: &mut Output) -> anyhow::Result<()> {
    let mut counts: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
    for socket in &snapshot.sockets {
        *counts
            .entry(socket.kind.name())
            .or_default()
            .entry(socket.state)
            .or_default() += 1;
    }
    let mut lines = Vec::new();
    for (kind, states) in &counts {
        for (state, count) in states {
            output.event(
                "count",
                json!({ "type": kind, "state": state.name(), "count": count }),
            )?;
        }
        let total: usize = states.values().sum();
        let states: Vec<String> = states
            .iter()
            .map(|(state, count)| format!("{count} {}", state.name()))
            .collect();
        lines.push(format!("{kind:14}  {total:7}  {}", states.join(", ")));
    }
    lines.push(format!("{:14}  {:7}", "all", snapshot.sockets.len()));
    output.lines(lines)?;
    output.event("end", end(snapshot))?;
    Ok(())
}
