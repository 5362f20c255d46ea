//! Datagrams and packets on the loop: UDP, Unix sockets, the DNS, ICMP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sockeye::probe::services;
use sockeye::probe::{
    Pace, PingOptions, PingOutcome, Pinger, TraceEnd, TraceEvent, TraceMethod, TraceOptions, Tracer,
};
use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams, EventLoop,
    SendFailure, UnixDatagramOptions,
};
use sockeye_resolver::dns::{Name, Request};
use sockeye_sim::names::{Behaviour, NameServer, Zones};

use crate::ground::{DEADLINE, Failure, Notes, finish, loopback, turn_until};

/// Datagrams of a client.
const QUESTIONS: usize = 6;
/// Bytes of each.
const LEN: usize = 700;
/// After so long without all answers, those that are missing are asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// Sends back what comes.
pub(crate) struct DatagramEcho(pub(crate) Notes);

impl DatagramService for DatagramEcho {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        // What is lost is asked for again.
        let _ = socket.send(&datagram.echo());
    }

    fn on_send_error(&mut self, _: &mut Datagrams<'_>, failure: SendFailure) {
        self.0.told(failure.error.to_string());
    }

    fn on_recv_error(&mut self, _: &mut Datagrams<'_>, error: std::io::Error) {
        self.0.told(error.to_string());
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: DatagramId, reason: CloseReason) {
        if !matches!(reason, CloseReason::Closed | CloseReason::LoopEnded) {
            self.0.told(format!("the echo's socket: {reason}"));
        }
    }
}

/// Sends datagrams until an answer to each has come, and checks the bytes.
pub(crate) struct Questions {
    to: SocketAddr,
    name: Option<sockeye_event_loop::UnixName>,
    pattern: Vec<u8>,
    answered: [bool; QUESTIONS],
    over: bool,
    notes: Notes,
}

impl Questions {
    fn new(notes: &Notes, to: SocketAddr) -> Self {
        Self {
            to,
            name: None,
            pattern: sockeye_tests::pattern(QUESTIONS * LEN),
            answered: [false; QUESTIONS],
            over: false,
            notes: notes.clone(),
        }
    }

    /// Asks an echo at `to` from a socket of this loop, and waits for all the answers.
    pub(crate) fn ask(mut events: EventLoop, notes: &Notes, to: SocketAddr) -> Result<(), Failure> {
        let questions = events.add_datagram_service(Self::new(notes, to));
        events.bind(questions, loopback(), &DatagramOptions::default())?;
        finish(events, notes, 1)
    }

    fn message(&self, index: usize) -> Vec<u8> {
        let mut message = self.pattern[index * LEN..][..LEN].to_vec();
        message[0] = u8::try_from(index).unwrap_or_default();
        message
    }

    fn send_missing(&self, socket: &mut Datagrams<'_>) {
        for index in (0..QUESTIONS).filter(|&index| !self.answered[index]) {
            let _ = socket.send_to(&self.message(index), self.to);
        }
    }
}

impl DatagramService for Questions {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        if let Some(name) = &self.name
            && let Some(address) = socket.unix_addr(name)
        {
            self.to = address;
        }
        self.send_missing(socket);
        socket.set_timer(AGAIN, 0);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let index = datagram.data.first().map_or(QUESTIONS, |&index| index.into());
        if index >= QUESTIONS || self.message(index) != datagram.data {
            self.notes.wrong(format!("other bytes in the answer to {index}"));
            return;
        }
        self.answered[index] = true;
        if self.answered.iter().all(|&answered| answered) && !self.over {
            self.over = true;
            self.notes.done();
            self.notes.ended();
            socket.close();
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        if !self.over {
            self.send_missing(socket);
            socket.set_timer(AGAIN, 0);
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: DatagramId, reason: CloseReason) {
        if !self.over {
            self.over = true;
            self.notes.told(format!("the client's socket: {reason}"));
            self.notes.ended();
        }
    }
}

pub(crate) fn udp_echo() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_datagram_service(DatagramEcho(notes.clone()));
    let socket = events.bind(echo, loopback(), &DatagramOptions::default())?;
    let to = events.local_addr(socket)?;
    Questions::ask(events, &notes, to)
}

pub(crate) fn unix_datagrams() -> Result<(), Failure> {
    let notes = Notes::default();
    let folder = tempfile::tempdir()?;
    let name = |name: &str| folder.path().join(name).to_string_lossy().parse();
    let mut events = EventLoop::new()?;
    let echo = events.add_datagram_service(DatagramEcho(notes.clone()));
    let options = UnixDatagramOptions::default();
    events.bind_unix(echo, &name("echo")?, &options)?;
    let mut questions = Questions::new(&notes, loopback());
    questions.name = Some(name("echo")?);
    let questions = events.add_datagram_service(questions);
    events.bind_unix(questions, &name("client")?, &options)?;
    finish(events, &notes, 1)
}

const ZONE: &str = "$ORIGIN example.test.\n$TTL 300\n@ SOA ns admin ( 1 2h 15m 14d 60 )\n NS ns\nns A 192.0.2.53\n\
                    www A 192.0.2.80\n AAAA 2001:db8::80\n";

fn zones() -> Result<Zones, Failure> {
    Ok(ZONE.parse()?)
}

/// A name server for the thread of its caller.
pub(crate) fn name_server() -> Result<NameServer, Failure> {
    Ok(NameServer::new(zones()?))
}

pub(crate) fn question() -> Result<Request, Failure> {
    let name: Name = "www.example.test".parse()?;
    Ok(Request::addresses(name).within(DEADLINE / 2))
}

pub(crate) fn names() -> Result<(), Failure> {
    ask(name_server()?)
}

/// The answer is cut, and fetched again by TCP.
pub(crate) fn names_by_tcp() -> Result<(), Failure> {
    let behaviour = Behaviour {
        truncate: true,
        ..Behaviour::default()
    };
    ask(name_server()?.with(behaviour))
}

fn ask(server: NameServer) -> Result<(), Failure> {
    let mut events = EventLoop::new()?;
    let served = server.serve(&mut events, loopback())?;
    let config = DnsConfig::with_servers([served.address]);
    events.set_names(NameSource::Dns(Box::new(config)));
    events.resolve(question()?)?;
    let mut results = Vec::new();
    turn_until(&mut events, "both answers", |events| {
        while let Some(event) = events.next_answer() {
            results.push(event);
        }
        results.iter().any(|event| event.is_last)
    })?;
    events.drain(Duration::from_secs(2))?;
    drop(events);
    let expected: [IpAddr; 2] = ["192.0.2.80".parse()?, "2001:db8::80".parse()?];
    for event in results {
        let answer = event.result?;
        let addresses: Vec<IpAddr> = answer.addresses().collect();
        if !matches!(addresses[..], [one] if expected.contains(&one)) {
            return Err(Failure::Wrong(format!("other addresses: {addresses:?}")));
        }
    }
    Ok(())
}

/// Any secret serves: nobody is to be deceived here.
const SECRET: u64 = 7;

pub(crate) fn ping() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut pinger = Pinger::new(PingOptions {
        count: Some(4),
        pace: Pace::Every(Duration::from_millis(20)),
        timeout: Duration::from_millis(500),
        ..PingOptions::new(SECRET)
    });
    pinger.add(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let mut events = EventLoop::new()?;
    let book = notes.clone();
    services::ping(&mut events, pinger, move |_, pinger, event| match event.outcome {
        PingOutcome::Reply { .. } => book.done(),
        PingOutcome::Corrupt { at } => book.wrong(format!("other bytes from {at} on")),
        // Loss is an outcome that the user sees.
        PingOutcome::Failed { .. } | PingOutcome::Lost => book.told(format!("{:?}", event.outcome)),
        _ if pinger.is_finished() => book.ended(),
        _ => {}
    })?;
    turn_until(&mut events, "the pings", |_| notes.has_ended(1))?;
    drop(events);
    notes.outcome(4)
}

/// One hop, as the target is this host.
pub(crate) fn trace() -> Result<(), Failure> {
    let notes = Notes::default();
    let options = TraceOptions {
        max_hops: 2,
        timeout: Duration::from_millis(500),
        ..TraceOptions::new(TraceMethod::Icmp, SECRET)
    };
    let tracer = Tracer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options)?;
    let mut events = EventLoop::new()?;
    let book = notes.clone();
    services::trace(&mut events, tracer, move |_, _, event| {
        let TraceEvent::Done(end) = event else {
            return;
        };
        match end {
            TraceEnd::Reached { .. } => book.done(),
            // Loss and failure are outcomes that the user sees.
            other => book.told(format!("{other:?}")),
        }
        book.ended();
    })?;
    turn_until(&mut events, "the trace", |_| notes.has_ended(1))?;
    drop(events);
    notes.outcome(1)
}
