//! `sockeye dump -i INTERFACE`: what passes an interface, or all of them.
//!
//! Frames come by a ring that is shared with the kernel, with or without link headers as the interface has them. On SIGINT no
//! more are let in, and those that the kernel has counted are still printed or written: none that was promised is lost.

use std::cell::Cell;
use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use pcap_file::DataLink;
use serde_json::{Value, json};
use sockeye::event_loop::EventLoop;
use sockeye::link::capture::CapturedFrame;
use sockeye::link::packet_filter::{self, Program};
use sockeye::link::{
    FrameMode, IncomingFrame, LinkError, LinkOptions, LinkStatistics, PacketType, ReceiveRing, RingLayout,
};
use sockeye::packet::LinkType;
use sockeye::socket::os::{self, PollFd, poll};

use super::file::{Files, Origin, Rotation, Way};
use super::filter::Filter;
use super::{Show, beside, decode, show, text};
use crate::exit::{Exit, Failure};
use crate::output::{Output, note, verbosity, warn};
use crate::privileges;
use crate::signals;

/// The longest packet that is kept, as tcpdump has it.
const MAX_SNAP_LEN: u32 = 262_144;
/// A block of the ring.
const BLOCK_LEN: u32 = 256 << 10;
/// Blocks that are taken before signals are looked at again.
const BLOCKS_A_TURN: usize = 16;
/// How long the frames that the kernel has counted may take to come by after the end.
const DRAIN: Duration = Duration::from_secs(1);
/// Interfaces whose names are remembered.
const MAX_NAMES: usize = 1024;

/// Kinds of interfaces (`linux/if_arp.h`).
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_NONE: u16 = 0xfffe;

#[derive(Debug, clap::Args)]
pub(super) struct Live {
    /// Listen to this interface, or to all: any
    #[arg(short, long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Write packets to FILE as pcapng and print none; "-" is stdout
    #[arg(short, long, value_name = "FILE", requires = "interface")]
    write: Option<PathBuf>,
    /// Keep so many bytes of each packet; 0 is the most, 262144
    #[arg(short, long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=262_144))]
    snap_length: Option<u32>,
    /// Leave out what is for other hosts: the interface does not become promiscuous
    #[arg(short = 'p', long)]
    no_promiscuous: bool,
    /// Size of the buffer that is shared with the kernel, in KiB [default: 4096]
    #[arg(short = 'B', long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..))]
    buffer_size: Option<u64>,
    /// Begin a new file after so many millions of bytes: FILE.00001 and so on
    #[arg(short = 'C', long, value_name = "MB", requires = "write", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rotate_size: Option<u64>,
    /// Begin a new file after so many seconds
    #[arg(short = 'G', long, value_name = "SECONDS", requires = "write", value_parser = clap::value_parser!(u64).range(1..))]
    rotate_every: Option<u64>,
    /// Keep so many files, and remove the oldest for a new one
    #[arg(short = 'W', long, value_name = "COUNT", requires = "write")]
    files: Option<usize>,
}

impl Live {
    /// Whether there is any that goes with an interface only.
    pub(super) fn is_given(&self) -> bool {
        self.write.is_some()
            || self.snap_length.is_some()
            || self.no_promiscuous
            || self.buffer_size.is_some()
            || self.rotate_size.is_some()
            || self.rotate_every.is_some()
            || self.files.is_some()
    }

    fn snap_len(&self) -> u32 {
        match self.snap_length {
            None | Some(0) => MAX_SNAP_LEN,
            Some(bytes) => bytes,
        }
    }

    fn layout(&self) -> RingLayout {
        let layout = RingLayout::new().block_len(BLOCK_LEN);
        let Some(kib) = self.buffer_size else {
            return layout;
        };
        let blocks = kib.saturating_mul(1024).div_ceil(u64::from(BLOCK_LEN));
        // Two at least: one to be read and one to be filled.
        layout.blocks(u32::try_from(blocks.max(2)).unwrap_or(u32::MAX))
    }

    fn rotation(&self) -> Rotation {
        Rotation {
            size: self.rotate_size.map(|millions| millions * 1_000_000),
            age: self.rotate_every.map(Duration::from_secs),
            keep: self.files,
        }
    }
}

/// Where frames come from.
struct Source {
    ring: ReceiveRing,
    name: String,
    view: View,
    /// What is wanted, where not everything is.
    filter: Option<Filter>,
    statistics: Totals,
}

/// What frames begin with, and how much is kept of them.
#[derive(Debug, Clone, Copy)]
struct View {
    link: DataLink,
    is_any: bool,
    snap_len: usize,
}

/// The kernel's counters, summed up: reading them sets them to zero.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    received: u64,
    dropped: u64,
    /// Frames that came out of the ring.
    seen: u64,
}

impl Totals {
    fn add(&mut self, counted: LinkStatistics) {
        self.received += u64::from(counted.frames);
        self.dropped += u64::from(counted.drops);
    }

    /// Whether every frame that the kernel put into the ring has come out of it.
    const fn is_drained(&self) -> bool {
        self.seen >= self.received.saturating_sub(self.dropped)
    }
}

impl Source {
    /// Opens the ring with link headers where the interface has such as are understood, else without.
    fn open(arguments: &Live, name: &str, mut filter: Option<Filter>) -> anyhow::Result<Self> {
        let snap_len = arguments.snap_len();
        // A filter may look at what is not kept.
        let taken = if filter.is_none() { snap_len } else { u32::MAX };
        let (ring, link) = ring(arguments, name, &LinkOptions::new().filter(snap(taken)))?;
        let in_kernel = link == DataLink::ETHERNET || link == DataLink::RAW;
        if let Some(filter) = &mut filter
            && let Some(kind) = LinkType::from_number(u32::from(link))
        {
            let names_vlan = filter.names_vlan();
            let program = filter.program(kind)?;
            if let Some(program) = program.filter(|_| in_kernel && !names_vlan) {
                // The kernel sees frames without their tags, and takes no program of over 4,096 instructions. What it
                // lets pass, now or before this call, is looked at again here.
                let _ = program.to_filter().attach(ring.socket());
            }
        }
        Ok(Self {
            ring,
            name: name.to_owned(),
            view: View {
                link,
                is_any: name == "any",
                snap_len: snap_len as usize,
            },
            filter,
            statistics: Totals::default(),
        })
    }
}

/// The ring, and what its frames begin with.
fn ring(arguments: &Live, name: &str, options: &LinkOptions) -> Result<(ReceiveRing, DataLink), LinkError> {
    let layout = arguments.layout();
    let cooked = options.clone().mode(FrameMode::Cooked);
    if name == "any" {
        return Ok((cooked.open_receive_ring_any(layout)?, DataLink::LINUX_SLL2));
    }
    let promiscuous = !arguments.no_promiscuous;
    let ring = options
        .clone()
        .promiscuous(promiscuous)
        .open_receive_ring(name, layout)?;
    let hardware = ring.socket().local_link().map(|local| local.hardware_type);
    match hardware.unwrap_or(ARPHRD_ETHER) {
        ARPHRD_ETHER | ARPHRD_LOOPBACK => Ok((ring, DataLink::ETHERNET)),
        ARPHRD_NONE => Ok((ring, DataLink::RAW)),
        _ => {
            drop(ring);
            let ring = cooked.promiscuous(promiscuous).open_receive_ring(name, layout)?;
            Ok((ring, DataLink::LINUX_SLL2))
        }
    }
}

impl View {
    /// The frame as a capture has it: with its tag, or with the header of Linux cooked frames. Its bytes go into `data`.
    fn frame(&self, incoming: &IncomingFrame<'_>, mut data: Vec<u8>) -> CapturedFrame {
        let meta = &incoming.meta;
        data.clear();
        let mut added = 0;
        match self.link {
            DataLink::LINUX_SLL2 => cooked_header(&mut data, incoming),
            DataLink::ETHERNET if meta.vlan.is_some() => added = 4,
            _ => {}
        }
        added += data.len();
        if self.link == DataLink::ETHERNET {
            incoming.write_tagged(&mut data);
        } else {
            data.extend_from_slice(incoming.bytes);
        }
        let time = meta
            .timestamp
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        CapturedFrame {
            time: time.unwrap_or_default(),
            len: u32::try_from(incoming.len + added).unwrap_or(u32::MAX),
            link_type: u32::from(self.link),
            data,
        }
    }
}

/// `LINKTYPE_LINUX_SLL2`: protocol, interface, kind of link, whom it was for, the sender. A tag that was taken out stands in
/// front of the payload again.
fn cooked_header(data: &mut Vec<u8>, incoming: &IncomingFrame<'_>) {
    let source = &incoming.meta.source;
    let protocol = incoming.meta.vlan.map_or(source.protocol, |tag| tag.protocol);
    data.extend_from_slice(&protocol.to_be_bytes());
    data.extend_from_slice(&[0, 0]);
    data.extend_from_slice(&source.interface.to_be_bytes());
    data.extend_from_slice(&source.hardware_type.to_be_bytes());
    data.push(source.packet_type.number());
    let hardware = source.hardware();
    data.push(u8::try_from(hardware.len()).unwrap_or(0));
    let mut address = [0; 8];
    for (room, byte) in address.iter_mut().zip(hardware) {
        *room = *byte;
    }
    data.extend_from_slice(&address);
    if let Some(tag) = incoming.meta.vlan {
        data.extend_from_slice(&tag.control.to_be_bytes());
        data.extend_from_slice(&source.protocol.to_be_bytes());
    }
}

fn snap(len: u32) -> packet_filter::Filter {
    Program::new().accept_up_to(len)
}

/// Where packets go.
struct Sink<'o> {
    output: &'o mut Output,
    files: Option<Files>,
    show: Show,
    count: Option<u64>,
    number: u64,
    /// The bytes of the packet that was printed last, to be used again.
    scratch: Vec<u8>,
    names: HashMap<u32, String>,
}

impl Sink<'_> {
    fn is_full(&self) -> bool {
        self.count.is_some_and(|count| self.number >= count)
    }

    /// Prints or writes one packet, if it is wanted.
    fn take(
        &mut self,
        view: &View,
        wanted: Option<&mut Filter>,
        incoming: &IncomingFrame<'_>,
    ) -> anyhow::Result<()> {
        let mut frame = view.frame(incoming, std::mem::take(&mut self.scratch));
        if wanted.map_or(Ok(true), |wanted| wanted.takes(&frame))? {
            self.number += 1;
            frame.data.truncate(view.snap_len);
            self.put(view, incoming, &frame)?;
        }
        self.scratch = frame.data;
        Ok(())
    }

    fn put(
        &mut self,
        view: &View,
        incoming: &IncomingFrame<'_>,
        frame: &CapturedFrame,
    ) -> anyhow::Result<()> {
        let kind = incoming.meta.source.packet_type;
        if let Some(files) = &mut self.files {
            let way = if kind == PacketType::Outgoing {
                Way::Out
            } else {
                Way::In
            };
            return files.write(frame.time, frame.len, &frame.data, way);
        }
        let mut event = decode::frame(self.number, frame, self.output.is_json());
        if self.output.is_json() {
            if let Some(fields) = event.as_object_mut() {
                let name = self.name(incoming.meta.source.interface).to_owned();
                fields.insert("interface".into(), name.into());
                fields.insert("outgoing".into(), (kind == PacketType::Outgoing).into());
            }
            return Ok(self.output.event("packet", event)?);
        }
        let mut lines = vec![self.line(view, incoming, frame.time, &event)];
        lines.extend(beside(frame, self.show));
        Ok(self.output.lines(lines)?)
    }

    fn line(&mut self, view: &View, incoming: &IncomingFrame<'_>, time: Duration, event: &Value) -> String {
        let mut line = show::time(time);
        if view.is_any {
            let way = show::way(incoming.meta.source.packet_type);
            line.push_str(&format!(" {} {way}", self.name(incoming.meta.source.interface)));
        }
        if self.show.link_header {
            line.push_str(&show::link_header(incoming, view.link == DataLink::ETHERNET));
        }
        line.push_str(&text::body(event));
        if verbosity() > 0 {
            line.push_str(&show::detail(event));
        }
        line
    }

    /// The name of an interface, asked for once.
    fn name(&mut self, index: u32) -> &str {
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        let entry = self.names.entry(index);
        entry.or_insert_with(|| os::interface_name(index).unwrap_or_else(|_| format!("if{index}")))
    }
}

/// Listens until there are so many packets, a signal comes, or the interface is gone.
///
/// # Errors
/// When the interface cannot be listened to or vanishes, or the file cannot be written.
pub(super) fn run(
    arguments: &Live,
    filter: Option<Filter>,
    count: Option<u64>,
    show: Show,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Some(name) = &arguments.interface else {
        return Err(Failure::usage("either --read FILE or --interface INTERFACE"));
    };
    if output.is_json() && arguments.write.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage("--write - and --json both want stdout"));
    }
    let mut source = Source::open(arguments, name, filter)?;
    privileges::drop_all()?;
    let origin = Origin {
        name: name.clone(),
        link: source.view.link,
        snap_len: arguments.snap_len(),
    };
    let path = arguments.write.as_deref();
    let files = path.map(|path| Files::create(path, origin, arguments.rotation()));
    let mut sink = Sink {
        output,
        files: files.transpose()?,
        show,
        count,
        number: 0,
        scratch: Vec::new(),
        names: HashMap::new(),
    };
    let mut events = EventLoop::new().context("start the event loop")?;
    let stopped = Rc::new(Cell::new(false));
    let stop = Rc::clone(&stopped);
    signals::on_signals(&mut events, move |_| stop.set(true)).context("take signals")?;
    note(format_args!(
        "listening on {name}, snap length {} bytes",
        arguments.snap_len()
    ));
    let result = listen(&mut source, &mut sink, &mut events, &stopped);
    // What came is told, and the file is ended, whatever ended the capture.
    let finished = finish(&mut source, sink);
    result.and(finished)
}

fn listen(
    source: &mut Source,
    sink: &mut Sink<'_>,
    events: &mut EventLoop,
    stopped: &Cell<bool>,
) -> anyhow::Result<()> {
    loop {
        events.turn(Some(Duration::ZERO)).context("run the event loop")?;
        if stopped.get() {
            return drain(source, sink);
        }
        if !take_blocks(source, sink)? {
            return Ok(());
        }
        if let Some(error) = source
            .ring
            .take_error()
            .context("ask for the error of the socket")?
        {
            if source.ring.is_gone() {
                return Err(anyhow!(error).context(format!("the interface {} has vanished", source.name)));
            }
            warn(format_args!(
                "{}: {error}; waiting for it to come back",
                source.name
            ));
        }
        let mut ready = [
            PollFd::new(events.as_fd(), true, false),
            PollFd::new(source.ring.as_fd(), true, false),
        ];
        match poll(&mut ready, None) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error).context("wait for packets");
            }
            _ => {}
        }
    }
}

/// Hands the blocks that are there to the sink, so many at most that signals have their turn; `false` once there are enough packets.
fn take_blocks(source: &mut Source, sink: &mut Sink<'_>) -> anyhow::Result<bool> {
    for _ in 0..BLOCKS_A_TURN {
        let Some(block) = source.ring.next_block() else {
            break;
        };
        for incoming in block.block().frames() {
            source.statistics.seen += 1;
            // The loopback shows each frame twice, as it goes and as it comes.
            let from = &incoming.meta.source;
            if from.hardware_type == ARPHRD_LOOPBACK && from.packet_type == PacketType::Outgoing {
                continue;
            }
            sink.take(&source.view, source.filter.as_mut(), &incoming)?;
            if sink.is_full() {
                return Ok(false);
            }
        }
    }
    if let Some(files) = &mut sink.files {
        files.flush()?;
    }
    Ok(true)
}

/// Lets no more frames in, and takes those that the kernel has counted.
fn drain(source: &mut Source, sink: &mut Sink<'_>) -> anyhow::Result<()> {
    snap(0).attach(source.ring.socket()).context("close the ring")?;
    let late = Instant::now() + DRAIN;
    loop {
        if !take_blocks(source, sink)? {
            return Ok(());
        }
        let counted = source
            .ring
            .take_statistics()
            .context("ask for the statistics of the socket")?;
        source.statistics.add(counted);
        if source.statistics.is_drained() || Instant::now() >= late {
            return Ok(());
        }
        // A block that is not full is handed over by a timer of the kernel.
        source.ring.wait_readable(Duration::from_millis(10))?;
    }
}

/// Tells what there was, and ends the file.
fn finish(source: &mut Source, sink: Sink<'_>) -> anyhow::Result<Exit> {
    if let Ok(counted) = source.ring.take_statistics() {
        source.statistics.add(counted);
    }
    let Totals {
        received, dropped, ..
    } = source.statistics;
    let captured = sink.number;
    if let Some(files) = sink.files {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        files.finish(now, received, dropped)?;
    }
    note(format_args!("{captured} packets captured"));
    note(format_args!("{received} packets received by filter"));
    note(format_args!("{dropped} packets dropped by kernel"));
    sink.output.event(
        "summary",
        json!({ "captured": captured, "received": received, "dropped": dropped }),
    )?;
    Ok(Exit::Success)
}
