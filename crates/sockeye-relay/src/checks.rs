//! Active checks: each backend is connected to at intervals, and asked something if it is to be.

use std::collections::BTreeSet;
use std::time::Duration;

use sockeye_endpoint::{Address, Scheme};
use sockeye_event_loop::{ConnectRequest, Context, Sent, Stream};

use crate::config::{CheckKind, CheckRules, ProxyVersion};
use crate::greeting;
use crate::pool::{Backend, Place};
use crate::shared::Shared;

/// The mark of a check in the tags of connects and in the keys of timers; the rest is the backend's serial.
pub(crate) const CHECK: u64 = 1 << 63;
/// The timer of a check's connection.
pub(crate) const ANSWER: u64 = 3;
/// Bytes of an answer that are looked at.
const LINE_MAX: usize = 1024;

/// One check that is under way.
#[derive(Debug)]
pub(crate) struct Check {
    serial: u64,
    expect: String,
    heard: Vec<u8>,
    /// The outcome was told.
    done: bool,
}

impl Check {
    /// Whose check it is.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }
}

/// What is known of all checks.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Backends whose timer is set, or whose check is under way.
    scheduled: BTreeSet<u64>,
}

impl Checks {
    /// Sees to it that every backend of a pool with checks is checked. New ones begin somewhere within an interval, so that
    /// not all are asked at once.
    pub(crate) fn schedule(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let known = &shared.by_serial;
        self.scheduled.retain(|serial| known.contains_key(serial));
        for (serial, (pool, _)) in known {
            let rules = shared
                .pools
                .get(*pool)
                .and_then(|pool| pool.config.health.check.as_ref());
            if let Some(rules) = rules
                && self.scheduled.insert(*serial)
            {
                let nanos = u64::try_from(rules.interval.as_nanos())
                    .unwrap_or(u64::MAX)
                    .max(1);
                let first = Duration::from_nanos(cx.random() % nanos);
                cx.set_timer(first, CHECK | serial);
            }
        }
    }

    /// It is time to check a backend.
    pub(crate) fn begin(&mut self, shared: &Shared, cx: &mut Context<'_>, serial: u64) {
        let Some((rules, backend)) = backend_of(shared, serial) else {
            self.scheduled.remove(&serial);
            return;
        };
        match request(rules, backend) {
            Some(request) => {
                let under_tls = is_under_tls(rules, backend);
                let request = request.tag(CHECK | serial).deadline(rules.deadline);
                let header = |_: &mut Context<'_>, version| own_header(version);
                let begun = shared
                    .tls
                    .connect(cx, &backend.config, under_tls, request, header);
                if begun.is_none() {
                    // Settings that were there are not any more: as a name that is not known yet.
                    cx.set_timer(rules.interval, CHECK | serial);
                }
            }
            // A name that is not known yet.
            None => {
                cx.set_timer(rules.interval, CHECK | serial);
            }
        }
    }

    /// The connect of a check succeeded. `None`: that was all.
    pub(crate) fn connected(
        &mut self,
        shared: &mut Shared,
        stream: &mut Stream<'_>,
        serial: u64,
    ) -> Option<Box<Check>> {
        let asked = backend_of(shared, serial);
        let plain = asked.filter(|(rules, backend)| !is_under_tls(rules, backend));
        if let Some(version) = plain.and_then(|(_, backend)| backend.config.proxy) {
            let _ = stream.write(&own_header(version));
        }
        let asked = asked.map(|(rules, _)| (rules.kind.clone(), rules.deadline));
        let Some((CheckKind::Line { send, expect }, within)) = asked else {
            stream.close();
            self.tell(shared, &mut stream.context(), serial, true);
            return None;
        };
        if !send.is_empty() && stream.write(send.as_bytes()) == Sent::Gone {
            self.tell(shared, &mut stream.context(), serial, false);
            return None;
        }
        stream.set_timer(within, ANSWER);
        Some(Box::new(Check {
            serial,
            expect,
            heard: Vec::new(),
            done: false,
        }))
    }

    /// A part of the answer. It is judged once the line is whole.
    pub(crate) fn heard(
        &mut self,
        shared: &mut Shared,
        stream: &mut Stream<'_>,
        check: &mut Check,
        data: &[u8],
    ) {
        let room = LINE_MAX - check.heard.len().min(LINE_MAX);
        check.heard.extend_from_slice(&data[..data.len().min(room)]);
        if check.heard.contains(&b'\n') || check.heard.len() >= LINE_MAX {
            self.judge(shared, stream, check);
        }
    }

    /// The answer is over, or its time.
    pub(crate) fn judge(&mut self, shared: &mut Shared, stream: &mut Stream<'_>, check: &mut Check) {
        stream.close();
        if std::mem::replace(&mut check.done, true) {
            return;
        }
        let line = check
            .heard
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let passed = line
            .windows(check.expect.len())
            .any(|part| part == check.expect.as_bytes());
        self.tell(shared, &mut stream.context(), check.serial, passed);
    }

    /// The connection of a check is gone: without an outcome it failed.
    pub(crate) fn closed(&mut self, shared: &mut Shared, cx: &mut Context<'_>, check: &Check) {
        if !check.done {
            self.tell(shared, cx, check.serial, false);
        }
    }

    /// The outcome of a check; the next one is in an interval.
    pub(crate) fn tell(&mut self, shared: &mut Shared, cx: &mut Context<'_>, serial: u64, passed: bool) {
        let interval = backend_of(shared, serial).map(|(rules, _)| rules.interval);
        let Some((interval, &(pool, key))) = interval.zip(shared.by_serial.get(&serial)) else {
            self.scheduled.remove(&serial);
            return;
        };
        let now = cx.now();
        if let Some(pool) = shared.pools.get_mut(pool) {
            pool.checked(key, passed, now);
        }
        shared.tell_changes(pool);
        cx.set_timer(interval, CHECK | serial);
    }
}

/// The backend, if it is still in the configuration and has checks.
fn backend_of(shared: &Shared, serial: u64) -> Option<(&CheckRules, &Backend)> {
    let (pool, key) = shared.by_serial.get(&serial)?;
    let pool = shared.pools.get(*pool)?;
    Some((pool.config.health.check.as_ref()?, pool.backend(*key)?))
}

fn is_under_tls(rules: &CheckRules, backend: &Backend) -> bool {
    rules.kind == CheckKind::Tls || backend.config.at.scheme() == Scheme::Tls
}

/// A backend of the PROXY protocol waits for a header whoever comes. This one says that the relay asks for itself.
fn own_header(version: ProxyVersion) -> Vec<u8> {
    greeting::proxy_header(version, None, None)
}

fn request(rules: &CheckRules, backend: &Backend) -> Option<ConnectRequest> {
    match (&backend.place, &backend.config.at) {
        (Place::Unix(name), _) => Some(ConnectRequest::to_unix(*name)),
        (Place::Ip(addresses), Address::Ip { .. }) if !addresses.is_empty() => {
            let with_port = addresses.iter().map(|address| {
                let mut address = *address;
                address.set_port(rules.port.unwrap_or(address.port()));
                address
            });
            Some(ConnectRequest::any_of(with_port))
        }
        _ => None,
    }
}
