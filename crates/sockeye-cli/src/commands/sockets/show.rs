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

fn table(shown: &[Socket], snapshot: &Snapshot, info: bool, interfaces: &mut Interfaces) -> Vec<String> {
    let mut widths = HEAD.map(str::len);
    let mut cells = Vec::with_capacity(shown.len());
    for socket in shown {
        // Escaped here already, so that the columns stay in line.
        let place = |side: &Side, interfaces: &mut Interfaces| {
            let text = socket::text(socket, side, interfaces);
            match escaped(&text) {
                Cow::Owned(safe) => safe,
                Cow::Borrowed(_) => text,
            }
        };
        let row = [
            socket.recv_queue.to_string(),
            socket.send_queue.to_string(),
            place(&socket.local, interfaces),
            place(&socket.peer, interfaces),
        ];
        let names = [socket.kind.name(), socket.state.name()];
        let lengths = names
            .iter()
            .map(|name| name.len())
            .chain(row.iter().map(|cell| cell.chars().count()));
        for (width, length) in widths.iter_mut().zip(lengths) {
            *width = length.max(*width);
        }
        cells.push((socket, names, row));
    }
    let line = |[kind, state]: [&str; 2], [receive, send, local, peer]: [&str; 4], who: &str| {
        // By hand: with thousands of sockets the widths of `format!` are a good part of the time.
        let mut line = String::with_capacity(widths.iter().sum::<usize>() + who.len() + 12);
        let cells = [kind, state, receive, send, local, peer];
        for ((index, cell), width) in cells.into_iter().enumerate().zip(widths) {
            let room = width.saturating_sub(cell.chars().count());
            let (before, after) = if matches!(index, 2 | 3) {
                (room, 0)
            } else {
                (0, room)
            };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', after + 2));
        }
        line.push_str(who);
        line.truncate(line.trim_end().len());
        line
    };
    let [kind, state, receive, send, local, peer, who] = HEAD;
    let mut lines = vec![line([kind, state], [receive, send, local, peer], who)];
    for (socket, names, row) in cells {
        let who = snapshot
            .holders
            .as_ref()
            .map_or_else(String::new, |holders| processes(socket, holders));
        lines.push(line(names, row.each_ref().map(String::as_str), &who));
        if info {
            let details = details(socket, snapshot);
            if !details.is_empty() {
                lines.push(format!("    {}", details.join(", ")));
            }
        }
    }
    lines
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
            text.push_str(&format!(" {left} ms"));
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
            "left_ms": timer.left_ms,
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
