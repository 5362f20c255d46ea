//! The relay while it runs: signals, reloads, the end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::CapabilitySet;
use serde_json::json;
use sockeye::endpoint::Address;
use sockeye::event_loop::EventLoop;
use sockeye::relay::{Condition, Config, ListenerConfig, Relay, Running};
use sockeye::unix::ServiceManager;

use super::LAST;
use super::arguments::Arguments;
use super::inherited::Passed;
use super::plan::Plan;
use super::told::{Journal, Seen};
use crate::exit::{Exit, Failure, classify, describe, words};
use crate::files::{Files, is_stdin};
use crate::output::log::Writer;
use crate::output::{Format, Output, is_closed, note, warn};
use crate::privileges;
use crate::probing::nanoseconds;

/// The signals (signal(7); the numbers are the same on every Unix).
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// The pause after a line about descriptors, or the log, before another one.
const QUIET: Duration = Duration::from_secs(10);

/// A relay that runs.
pub(super) struct Program<'a> {
    arguments: &'a Arguments,
    events: EventLoop,
    relay: Running,
    passed: Vec<Passed>,
    signals: Rc<RefCell<VecDeque<i32>>>,
    manager: Option<ServiceManager>,
    journal: Journal,
    /// Nobody reads stdout any more: that is no reason to end.
    unread: bool,
    back_offs: u64,
    told_descriptors: Option<Instant>,
    /// Lines of the log that were dropped, as far as it was said, and when.
    dropped: u64,
    told_dropped: Option<Instant>,
    /// The listeners that there are, by their names or addresses.
    current: Vec<String>,
    /// How many of them were lost since they were opened.
    lost: usize,
    next_stats: Option<Instant>,
    /// When a drain is over at the latest.
    ends_by: Option<Instant>,
}

impl<'a> Program<'a> {
    /// Opens everything.
    ///
    /// # Errors
    /// What cannot be opened.
    pub(super) fn start(
        arguments: &'a Arguments,
        plan: Plan,
        mut passed: Vec<Passed>,
    ) -> anyhow::Result<Self> {
        // Each session is two descriptors, and the soft limit is made for programs that use select(2).
        sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;
        let manager = ServiceManager::from_env().context("tell the service manager")?;
        #[cfg(feature = "metrics")]
        arguments
            .metrics
            .apart_from(plan.config.listeners.iter().map(|listener| &listener.at))?;
        let mut events = EventLoop::new().context("make an event loop")?;
        let signals = Rc::new(RefCell::new(VecDeque::new()));
        let queue = Rc::clone(&signals);
        events
            .on_signals(&[SIGHUP, SIGINT, SIGTERM], move |_, signal| {
                queue.borrow_mut().push_back(signal);
            })
            .context("take signals")?;
        let journal = Journal::new(crate::output::is_quiet());
        let config = plan.config;
        let mut relay = Relay::new(config.clone())?.hooks(journal.told.clone());
        relay = plan.tls.give(relay);
        #[cfg(all(feature = "metrics", feature = "tls"))]
        {
            let limits = sockeye::tls::HandshakeLimits::default();
            relay = relay.tls_handshakes(limits, &journal.accounts.handshakes);
        }
        for (listener, place) in plan.sockets {
            if let Some(socket) = passed.get_mut(place).and_then(|passed| passed.socket.take()) {
                relay = relay.inherited(listener, socket);
            }
        }
        for unused in passed.iter().filter(|passed| passed.socket.is_some()) {
            warn(format_args!(
                "sockeye: relay: {unused}: no listener has that address, and it is left alone"
            ));
        }
        let relay = relay.start(&mut events)?;
        let mut program = Self {
            arguments,
            events,
            relay,
            passed,
            signals,
            manager,
            journal,
            unread: false,
            back_offs: 0,
            told_descriptors: None,
            dropped: 0,
            told_dropped: None,
            current: Vec::new(),
            lost: 0,
            next_stats: arguments.stats.map(after),
            ends_by: None,
        };
        program.call_listeners(&config);
        Ok(program)
    }

    /// Says where the relay listens, and relays until a signal ends it.
    ///
    /// # Errors
    /// When stdout or the poller fails.
    pub(super) fn run(&mut self, config: &Config, output: &mut Output, log: &Writer) -> anyhow::Result<Exit> {
        self.say_listeners(config, &[], output)?;
        #[cfg(feature = "metrics")]
        self.serve_metrics(output)?;
        privileges::keep(needed(config))?;
        self.tell_manager(|manager, status| manager.ready(status));
        loop {
            let timeout = self
                .wakes()
                .map(|at| at.saturating_duration_since(Instant::now()));
            self.events.turn(timeout).context("run the event loop")?;
            let seen = self.print(output)?;
            self.look_at_listeners(seen, output)?;
            self.look_at_descriptors(seen);
            self.look_at_log(log);
            self.say_stats();
            loop {
                let signal = self.signals.borrow_mut().pop_front();
                match signal {
                    Some(SIGHUP) => self.reload(output)?,
                    Some(_) => self.end(output)?,
                    None => break,
                }
            }
            if let Some(by) = self.ends_by
                && (self.relay.is_drained(&mut self.events) || Instant::now() >= by)
            {
                self.print(output)?;
                return if self.is_cut_off() {
                    Err(Failure::with(
                        Exit::Io,
                        "relay: every listener is lost, nobody can come in any more",
                    ))
                } else {
                    Ok(Exit::Success)
                };
            }
        }
    }

    #[cfg(feature = "metrics")]
    fn serve_metrics(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let (relay, accounts) = (self.relay.service(), self.journal.accounts.clone());
        let arguments = &self.arguments.metrics;
        let said = arguments.start(&mut self.events, "relay", output, move |remote, ask| {
            let accounts = accounts.clone();
            remote.with(relay, move |relay, context| {
                ask.answer_on(context, accounts.snapshot(relay.stats()));
            })
        });
        self.or_unread(said)
    }

    fn wakes(&self) -> Option<Instant> {
        self.next_stats.into_iter().chain(self.ends_by).min()
    }

    fn print(&mut self, output: &mut Output) -> anyhow::Result<Seen> {
        if self.unread {
            let mut nowhere = Output::to(std::io::sink(), Format::default());
            return Ok(self.journal.print(&mut nowhere)?);
        }
        let printed = self.journal.print(output);
        self.or_unread(printed.map_err(Into::into))
    }

    /// Takes a closed stdout as a wish to hear no more.
    fn or_unread<T: Default>(&mut self, printed: anyhow::Result<T>) -> anyhow::Result<T> {
        match printed {
            Err(error) if is_closed(&error) => {
                self.unread = true;
                Ok(T::default())
            }
            printed => printed,
        }
    }

    /// Listeners are called by their names in a file, else by where they really are.
    fn call_listeners(&mut self, config: &Config) {
        self.current = config.listeners.iter().map(ListenerConfig::label).collect();
        for listener in &config.listeners {
            let label = listener.label();
            let name = match &listener.name {
                Some(name) if self.arguments.config.is_some() => name.clone(),
                _ => self.address_of(listener).to_string(),
            };
            self.journal.listeners.insert(label, name);
        }
        #[cfg(feature = "metrics")]
        self.journal.accounts.call(&self.journal.listeners);
    }

    /// Where a listener is: port 0 has become a real one.
    fn address_of(&mut self, listener: &ListenerConfig) -> Address {
        let bound = self.relay.local_addr(&mut self.events, &listener.label());
        match (listener.at, bound) {
            (Address::Ip { carrier, endpoint }, Some(bound)) => Address::Ip {
                carrier,
                endpoint: endpoint.with_port(bound.port()),
            },
            (at, _) => at,
        }
    }

    /// Says where it listens, but for what it has said before.
    fn say_listeners(
        &mut self,
        config: &Config,
        before: &[String],
        output: &mut Output,
    ) -> anyhow::Result<()> {
        for listener in &config.listeners {
            if before.contains(&listener.label()) {
                continue;
            }
            let at = self.address_of(listener);
            let name = listener.name.as_ref().filter(|_| self.arguments.config.is_some());
            let said = match name {
                Some(name) => output.line(format_args!("listening on {at} ({name})")),
                None => output.line(format_args!("listening on {at}")),
            };
            let said = said.and_then(|()| {
                let fields = json!({ "endpoint": at.to_string(), "listener": name });
                output.event("listening", fields)
            });
            self.or_unread(said.map_err(Into::into))?;
        }
        Ok(())
    }

    /// Reads everything again. What cannot be taken over is said, and changes nothing.
    fn reload(&mut self, output: &mut Output) -> anyhow::Result<()> {
        if self.ends_by.is_some() {
            note("sockeye: relay: SIGHUP: the relay ends already");
            return Ok(());
        }
        if let Some(manager) = &self.manager {
            tolerate(manager.reloading());
        }
        let before = self.current.clone();
        let outcome = self.take_over();
        #[cfg(feature = "metrics")]
        self.journal.accounts.reloaded(outcome.is_ok());
        match &outcome {
            Ok(config) => {
                // Those that were lost are open again.
                self.lost = 0;
                self.call_listeners(config);
                note("sockeye: relay: reloaded");
                let said = output.event("reloaded", json!({}));
                self.or_unread(said.map_err(Into::into))?;
                self.say_listeners(config, &before, output)?;
            }
            Err(error) => {
                let mut why = describe(error);
                if classify(error) == Exit::Permission {
                    why += "; a relay gives up what it did not need when it began: start it again for a new need";
                }
                warn(format_args!(
                    "sockeye: relay: not reloaded, the old configuration stays: {why}"
                ));
                let said = output.event("not-reloaded", json!({ "message": why }));
                self.or_unread(said.map_err(Into::into))?;
            }
        }
        self.tell_manager(|manager, status| manager.ready(status));
        Ok(())
    }

    fn take_over(&mut self) -> anyhow::Result<Config> {
        let from = &self.arguments;
        let all = [&from.config, &from.cert, &from.key, &from.ca];
        if all.into_iter().flatten().any(|path: &PathBuf| is_stdin(path)) {
            return Err(Failure::usage(
                "what came from stdin cannot be read again: give it by the name of a file",
            ));
        }
        let plan = Plan::read(from, &mut Files::default(), &self.passed)?;
        let config = plan.config.clone();
        #[cfg(feature = "tls")]
        let outcome = self.relay.reload_with(&mut self.events, plan.config, plan.tls.0);
        #[cfg(not(feature = "tls"))]
        let outcome = self.relay.reload(&mut self.events, plan.config);
        outcome?;
        Ok(config)
    }

    /// A signal to end: the first lets sessions go on, the second does not.
    fn end(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let open = self.open();
        let sessions = if open == 1 { "session" } else { "sessions" };
        let seconds = self.arguments.drain_timeout;
        if self.ends_by.is_some() || seconds == 0.0 {
            note(format_args!("sockeye: relay: ends now: {open} {sessions} cut"));
            self.relay.drain(&mut self.events, Duration::ZERO);
            self.ends_by = Some(Instant::now() + LAST);
        } else {
            if open > 0 {
                warn(format_args!(
                    "sockeye: relay: ends: {open} {sessions} may go on for {seconds} s; another signal cuts them"
                ));
            }
            let within = Duration::from_secs_f64(seconds);
            self.relay.drain(&mut self.events, within);
            self.ends_by = Some(Instant::now() + within + LAST);
        }
        let said = output.event(
            "draining",
            json!({ "sessions": open, "timeout_ns": nanoseconds(Duration::from_secs_f64(seconds)) }),
        );
        self.or_unread(said.map_err(Into::into))?;
        if let Some(manager) = &self.manager {
            tolerate(manager.stopping(&format!("{open} {sessions} left")));
        }
        Ok(())
    }

    /// Sessions that there are.
    fn open(&mut self) -> usize {
        let stats = self.relay.stats(&mut self.events);
        stats.listeners.iter().map(|listener| listener.open).sum()
    }

    fn tell_manager(&mut self, tell: impl Fn(&ServiceManager, &str) -> std::io::Result<()>) {
        let status = self.summary();
        if let Some(manager) = &self.manager {
            tolerate(tell(manager, &status));
        }
    }

    /// Everything in one line.
    fn summary(&mut self) -> String {
        let stats = self.relay.stats(&mut self.events);
        let (mut open, mut ended, mut unserved, mut bytes_in, mut bytes_out) = (0, 0, 0, 0, 0);
        for listener in &stats.listeners {
            open += listener.open;
            ended += listener.counters.ended;
            unserved += listener.counters.unserved;
            bytes_in += listener.counters.bytes_in;
            bytes_out += listener.counters.bytes_out;
        }
        let backends = stats.pools.iter().flat_map(|pool| &pool.backends);
        let (up, all) = backends.fold((0, 0), |(up, all), backend| {
            (up + usize::from(backend.condition == Condition::Up), all + 1)
        });
        format!(
            "{open} sessions open, {ended} ended ({unserved} without a backend), {bytes_in} bytes in, {bytes_out} out, \
             {up} of {all} backends up"
        )
    }

    fn say_stats(&mut self) {
        let Some(seconds) = self.arguments.stats else {
            return;
        };
        if self.next_stats.is_some_and(|at| Instant::now() >= at) {
            self.next_stats = Some(after(seconds));
            let summary = self.summary();
            warn(format_args!("sockeye: relay: {summary}"));
            self.tell_manager(|manager, status| manager.status(status));
        }
    }

    /// Says that lines of the log were dropped, once in a while.
    fn look_at_log(&mut self, log: &Writer) {
        let dropped = log.dropped();
        if dropped > self.dropped && is_due(self.told_dropped) {
            let lines = dropped - self.dropped;
            warn(format_args!(
                "sockeye: relay: {lines} lines of the log were dropped: whoever reads stdout is too slow (-q: no lines)"
            ));
            (self.dropped, self.told_dropped) = (dropped, Some(Instant::now()));
        }
    }

    /// Ends once nobody can come in any more: whoever looks after the program starts it again.
    fn look_at_listeners(&mut self, seen: Seen, output: &mut Output) -> anyhow::Result<()> {
        self.lost += seen.lost;
        if seen.lost > 0 && self.is_cut_off() && self.ends_by.is_none() {
            warn("sockeye: relay: every listener is lost: it ends when its sessions have");
            self.end(output)?;
        }
        Ok(())
    }

    fn is_cut_off(&self) -> bool {
        self.lost > 0 && self.lost >= self.current.len()
    }

    /// Says that descriptors have run out, once in a while.
    fn look_at_descriptors(&mut self, seen: Seen) {
        let back_offs = self.events.stats().accept_back_offs;
        let is_short = seen.no_room || back_offs > self.back_offs;
        self.back_offs = back_offs;
        if is_short && is_due(self.told_descriptors) {
            self.told_descriptors = Some(Instant::now());
            warn(no_descriptor());
        }
    }
}

/// What the relay needs again and again: a reload binds ports, and each session connects to its backend. A relay without
/// ports below 1024 gives up the right to them.
fn needed(config: &Config) -> CapabilitySet {
    let port = |listener: &ListenerConfig| match listener.at {
        Address::Ip { endpoint, .. } => Some(endpoint.port()),
        Address::Unix(_) => None,
    };
    let mut needed = privileges::for_ports(config.listeners.iter().filter_map(port));
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        if let Address::Unix(name) = &backend.at {
            needed |= privileges::for_unix(name);
        }
    }
    needed
}

fn is_due(told: Option<Instant>) -> bool {
    told.is_none_or(|at| at.elapsed() >= QUIET)
}

fn after(seconds: f64) -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds)
}

/// A manager that cannot be told is no reason to relay nothing.
fn tolerate(told: std::io::Result<()>) {
    if let Err(error) = told {
        warn(format_args!(
            "sockeye: relay: tell the service manager: {}",
            words(&error)
        ));
    }
}

fn no_descriptor() -> String {
    let limit = sockeye::socket::os::nofile_limit().map_or_else(
        |_| String::new(),
        |(soft, _)| {
            format!(
                " (this process may have {soft}, a session takes two: ulimit -Hn, LimitNOFILE= of a systemd unit)"
            )
        },
    );
    format!("sockeye: relay: no descriptor or no memory is left: clients wait until a session ends{limit}")
}
