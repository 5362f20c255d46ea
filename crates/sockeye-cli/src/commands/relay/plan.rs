//! What is to be relayed: from the options or a file, checked as a whole before anything is opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use sockeye::endpoint::{Address, Scheme};
use sockeye::relay::{
    self, CheckKind, CheckRules, Config, ConfigErrors, ConfigFault, ListenerConfig, NameRules, PoolConfig,
    ProxyIn, ProxyVersion, SourceLimits,
};

use super::arguments::{Arguments, Balance, Check, Listen, Proxy};
use super::certificates::{DEFAULT, Settings, Tables};
use super::inherited::{Passed, Place};
use crate::exit::Failure;
use crate::files::{Files, is_stdin, one_stdin};
use crate::identity::{Client, Server};

/// The pools of the options.
const STREAMS: &str = "streams";
const DATAGRAMS: &str = "datagrams";
/// How long a PROXY header may take.
const HEADER: Duration = Duration::from_secs(5);

/// Everything that is in order, and nothing opened.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) tls: Settings,
    /// Which listeners, by their names or addresses, have which of the sockets that were passed.
    pub(super) sockets: BTreeMap<String, usize>,
}

/// A file: the relay's configuration, and TLS.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listeners: Vec<ListenerConfig>,
    pools: Vec<PoolConfig>,
    #[serde(default)]
    sources: SourceLimits,
    #[serde(default)]
    names: NameRules,
    #[serde(default)]
    tls: Tables,
}

impl Plan {
    /// Reads and checks all of it.
    ///
    /// # Errors
    /// All that is wrong.
    pub(super) fn read(arguments: &Arguments, files: &mut Files, passed: &[Passed]) -> anyhow::Result<Self> {
        match &arguments.config {
            Some(path) => Self::of_file(path, files, passed),
            None => Self::of_options(arguments, files, passed),
        }
    }

    fn of_file(path: &Path, files: &mut Files, passed: &[Passed]) -> anyhow::Result<Self> {
        let name = if is_stdin(path) {
            "stdin".to_owned()
        } else {
            path.display().to_string()
        };
        let bytes = files.read(path).context("read the configuration")?;
        let text = String::from_utf8(bytes)
            .map_err(|error| Failure::usage(format!("{name}: no text: {}", error.utf8_error())))?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let at = error.span().map(|span| position(&text, span.start));
            let at = at.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
            Failure::usage(format!("{name}{at}: {}", error.message().trim_end()))
        })?;
        let mut tables = file.tls;
        if !is_stdin(path) {
            tables.within(path.parent().unwrap_or(Path::new("")));
        }
        one_stdin(
            [("--config", path)]
                .into_iter()
                .chain(tables.paths().into_iter().map(|path| ("[tls]", path))),
        )?;
        let config = Config {
            listeners: file.listeners,
            pools: file.pools,
            sources: file.sources,
            names: file.names,
        };
        config
            .check()
            .map_err(|errors| faults(&errors, |fault| format!("{name}: {fault}")))?;
        let tls = settings(&config, tables, files, &|place| format!("{name}: {place}"), false)?;
        let sockets = by_address(&config, passed);
        Ok(Self { config, tls, sockets })
    }

    fn of_options(arguments: &Arguments, files: &mut Files, passed: &[Passed]) -> anyhow::Result<Self> {
        let named = [
            ("--cert", &arguments.cert),
            ("--key", &arguments.key),
            ("--ca", &arguments.ca),
        ];
        one_stdin(
            named
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.as_deref()?))),
        )?;
        let (addresses, places) = listen_at(arguments, passed)?;
        if arguments.to.is_empty() {
            return Err(Failure::usage(
                "there is no backend: give one or more by --to ADDRESS, or a file by --config",
            ));
        }
        let mut sockets = BTreeMap::new();
        let mut listeners: Vec<ListenerConfig> = Vec::new();
        for (at, place) in addresses.into_iter().zip(places) {
            let mut listener = listener(arguments, at);
            // Any free port is another one each time, and the two are to be told apart.
            if at_port_0(&at) && listeners.iter().any(|other| other.at == at) {
                listener.name = Some(format!("{at}#{}", listeners.len()));
            }
            if let Some(place) = place {
                sockets.insert(listener.label(), place);
            }
            listeners.push(listener);
        }
        let pools = pools(arguments, &listeners)?;
        let config = Config {
            listeners,
            pools,
            sources: SourceLimits {
                max_sessions: arguments.max_per_source,
                ..SourceLimits::default()
            },
            names: NameRules::default(),
        };
        config.check().map_err(|errors| {
            faults(&errors, |fault| {
                format!("{}: {}", option_of(&config, &fault.place), fault.fault)
            })
        })?;
        let tables = tables(arguments, &config)?;
        let tls = settings(&config, tables, files, &|place| option_of(&config, place), true)?;
        Ok(Self { config, tls, sockets })
    }
}

/// Line and column of a byte, both from 1; columns are characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

fn faults(errors: &ConfigErrors, say: impl Fn(&ConfigFault) -> String) -> anyhow::Error {
    let all: Vec<String> = errors.faults().iter().map(say).collect();
    Failure::usage(all.join("; "))
}

/// What the options say of where clients come in, with the sockets that were passed.
fn listen_at(arguments: &Arguments, passed: &[Passed]) -> anyhow::Result<(Vec<Address>, Vec<Option<usize>>)> {
    let mut all = Vec::new();
    for listen in &arguments.listen {
        all.push(match listen {
            Listen::At(address) => (*address, None),
            Listen::Passed { which, tls } => {
                let place = which.find(passed)?;
                let at = passed.get(place).map(|passed| passed.place);
                match at {
                    Some(Place::Tcp(_)) => {}
                    _ if *tls => {
                        return Err(Failure::usage(format!(
                            "--listen tls://{which}: TLS is for sockets of TCP"
                        )));
                    }
                    _ => {}
                }
                let Some(at) = at else { continue };
                (at.address(*tls), Some(place))
            }
        });
    }
    if all.is_empty() {
        // Whoever has passed sockets has said where.
        all.extend(
            passed
                .iter()
                .enumerate()
                .map(|(place, passed)| (passed.place.address(false), Some(place))),
        );
    }
    if all.is_empty() {
        return Err(Failure::usage(
            "there is no listener: give one or more by --listen ADDRESS, or a file by --config",
        ));
    }
    Ok(all.into_iter().unzip())
}

fn at_port_0(address: &Address) -> bool {
    matches!(address, Address::Ip { endpoint, .. } if endpoint.port() == 0)
}

fn listener(arguments: &Arguments, at: Address) -> ListenerConfig {
    let is_udp = at.scheme() == Scheme::Udp;
    let mut listener = ListenerConfig::new(at, if is_udp { DATAGRAMS } else { STREAMS });
    let most = arguments.max_sessions.and_then(|most| usize::try_from(most).ok());
    if is_udp {
        listener.udp.max_flows = most.unwrap_or(listener.udp.max_flows);
    } else {
        listener.max_sessions = most;
        listener.proxy = (!arguments.proxy_in.is_empty()).then(|| ProxyIn {
            trusted: arguments.proxy_in.iter().copied().collect(),
            deadline: HEADER,
        });
    }
    if let Some(idle) = arguments.idle_timeout.map(Duration::from_secs_f64) {
        listener.timeouts.idle = idle;
        listener.udp.idle = idle;
    }
    listener
}

/// Streams and datagrams apart, as the listeners want them.
fn pools(arguments: &Arguments, listeners: &[ListenerConfig]) -> anyhow::Result<Vec<PoolConfig>> {
    let mut pools = Vec::new();
    for (name, what, example) in [
        (STREAMS, "streams", "tcp://127.0.0.1:80"),
        (DATAGRAMS, "datagrams", "udp://127.0.0.1:53"),
    ] {
        let backends: Vec<_> = arguments
            .to
            .iter()
            .filter(|to| (to.scheme() == Scheme::Udp) == (name == DATAGRAMS))
            .cloned()
            .collect();
        let listener = listeners.iter().find(|listener| listener.to == name);
        match (listener, backends.first()) {
            (None, None) => continue,
            (Some(listener), None) => {
                return Err(Failure::usage(format!(
                    "--listen {}: it takes {what}, and there is no backend for them: give one such as --to {example}",
                    listener.at
                )));
            }
            (None, Some(backend)) => {
                return Err(Failure::usage(format!(
                    "--to {backend}: it takes {what}, and no listener does: give one such as --listen {example}"
                )));
            }
            (Some(_), Some(_)) => {}
        }
        let mut pool = PoolConfig::new(name, backends);
        pool.balance = match arguments.balance {
            Balance::RoundRobin => relay::Balance::RoundRobin,
            Balance::LeastSessions => relay::Balance::LeastSessions,
            Balance::Source => relay::Balance::SourceHash,
        };
        pool.connect.deadline = Duration::from_secs_f64(arguments.connect_timeout);
        pool.health.check = arguments.check.map(|check| CheckRules {
            kind: match check {
                Check::Connect => CheckKind::Connect,
                Check::Tls => CheckKind::Tls,
            },
            interval: Duration::from_secs_f64(arguments.check_interval),
            ..CheckRules::default()
        });
        if name == STREAMS {
            for backend in &mut pool.backends {
                backend.proxy = arguments.proxy_out.map(|version| match version {
                    Proxy::V1 => ProxyVersion::V1,
                    Proxy::V2 => ProxyVersion::V2,
                });
            }
        }
        pools.push(pool);
    }
    Ok(pools)
}

/// TLS as the options have it. What nobody would use is a mistake.
fn tables(arguments: &Arguments, config: &Config) -> anyhow::Result<Tables> {
    let mut tables = Tables::default();
    if let (Some(cert), Some(key)) = (&arguments.cert, &arguments.key) {
        if !config
            .listeners
            .iter()
            .any(|listener| is_secret(listener.at.scheme()))
        {
            return Err(Failure::usage(
                "--cert: it is for tls:// and quic:// listeners, and there is none",
            ));
        }
        let server = Server {
            cert: cert.clone(),
            key: key.clone(),
            alpn: Vec::new(),
        };
        tables.server.insert(DEFAULT.to_owned(), server);
    }
    if arguments.ca.is_some() || arguments.insecure {
        if !wants_client(config, None) {
            let option = if arguments.insecure { "--insecure" } else { "--ca" };
            return Err(Failure::usage(format!(
                "{option}: it is for tls:// and quic:// backends, and there is none"
            )));
        }
        let client = Client {
            ca: arguments.ca.clone(),
            insecure: arguments.insecure,
            ..Client::default()
        };
        tables.client.insert(DEFAULT.to_owned(), client);
    }
    Ok(tables)
}

/// Whether there is TLS at addresses of that form, alone or in QUIC.
fn is_secret(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Tls | Scheme::Quic)
}

/// Whether a backend wants TLS by that name.
fn wants_client(config: &Config, name: Option<&str>) -> bool {
    config.pools.iter().any(|pool| {
        let checks = pool.health.check.as_ref();
        let checked = checks.is_some_and(|check| check.kind == CheckKind::Tls);
        let mut backends = pool.backends.iter();
        backends.any(|backend| (checked || is_secret(backend.at.scheme())) && backend.tls.as_deref() == name)
    })
}

/// Reads what TLS needs, after a look whether everything that is asked for is there.
fn settings(
    config: &Config,
    mut tables: Tables,
    files: &mut Files,
    say: &dyn Fn(&str) -> String,
    by_options: bool,
) -> anyhow::Result<Settings> {
    for (nth, listener) in config.listeners.iter().enumerate() {
        if !is_secret(listener.at.scheme()) {
            continue;
        }
        let name = listener.tls.as_deref().unwrap_or(DEFAULT);
        if !tables.server.contains_key(name) {
            let place = say(&format!("listeners[{nth}].tls"));
            let how = if by_options {
                "--cert FILE --key FILE".to_owned()
            } else {
                format!("a table [tls.server.{name}] with cert and key")
            };
            return Err(Failure::usage(format!(
                "{place}: it has no certificate: add {how}"
            )));
        }
    }
    for (nth, pool) in config.pools.iter().enumerate() {
        for (at, backend) in pool.backends.iter().enumerate() {
            if let Some(name) = backend
                .tls
                .as_deref()
                .filter(|name| !tables.client.contains_key(*name))
            {
                let place = say(&format!("pools[{nth}].backends[{at}].tls"));
                return Err(Failure::usage(format!(
                    "{place}: there is no table [tls.client.{name}]"
                )));
            }
        }
    }
    if wants_client(config, None) {
        // Whom this machine trusts.
        tables.client.entry(DEFAULT.to_owned()).or_default();
    }
    Settings::load(&tables, files)
}

/// The sockets that were passed go to the listeners of a file that have their addresses.
fn by_address(config: &Config, passed: &[Passed]) -> BTreeMap<String, usize> {
    let of = |listener: &ListenerConfig| {
        let is_it = |passed: &Passed| {
            let tls = listener.at.scheme() == Scheme::Tls;
            passed.place.address(tls) == listener.at
        };
        Some((listener.label(), passed.iter().position(is_it)?))
    };
    config.listeners.iter().filter_map(of).collect()
}

/// The option that a place in the configuration comes from.
fn option_of(config: &Config, place: &str) -> String {
    let numbers: Vec<usize> = place
        .split(['[', ']'])
        .filter_map(|part| part.parse().ok())
        .collect();
    let found = match (place.starts_with("listeners"), numbers.as_slice()) {
        (true, _) if place.ends_with(".timeouts.idle") => Some("--idle-timeout".to_owned()),
        (true, _) if place.ends_with(".udp.max_flows") => Some("--max-sessions".to_owned()),
        (true, [nth, ..]) => config
            .listeners
            .get(*nth)
            .map(|listener| format!("--listen {}", listener.at)),
        (false, [_]) if place.contains(".connect.") => Some("--connect-timeout".to_owned()),
        (false, [_]) if place.contains(".check.interval") => Some("--check-interval".to_owned()),
        (false, [pool, nth, ..]) => {
            let pool = config.pools.get(*pool);
            let backend = pool.and_then(|pool| pool.backends.get(*nth));
            backend.map(|backend| format!("--to {}", backend.at))
        }
        _ => None,
    };
    found.unwrap_or_else(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one() {
        let text = "a\nbé c\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 6), (2, 4));
        assert_eq!(position(text, 99), (3, 1));
    }

    #[test]
    fn a_place_is_told_by_its_option() {
        let config = Config {
            listeners: vec![ListenerConfig::new("tcp://127.0.0.1:1".parse().unwrap(), STREAMS)],
            pools: vec![PoolConfig::new(STREAMS, ["tcp://127.0.0.1:2".parse().unwrap()])],
            ..Config::default()
        };
        for (place, option) in [
            ("listeners[0].at", "--listen tcp://127.0.0.1:1"),
            ("listeners[0].timeouts.idle", "--idle-timeout"),
            ("pools[0].backends[0].at", "--to tcp://127.0.0.1:2"),
            ("pools[0].connect.deadline", "--connect-timeout"),
            ("pools[7].backends[0].at", "pools[7].backends[0].at"),
        ] {
            assert_eq!(option_of(&config, place), option);
        }
    }
}
