//! Faults of configurations, and where they are told.

use super::*;
use crate::config::{CheckRules, HealthRules, ProxyIn, ProxyVersion, ServerNameRoute};

fn listener(at: &str, to: &str) -> ListenerConfig {
    ListenerConfig::new(at.parse().unwrap(), to)
}

fn pool(name: &str, backends: &[&str]) -> PoolConfig {
    PoolConfig::new(name, backends.iter().map(|at| at.parse().unwrap()))
}

fn sound() -> Config {
    Config {
        listeners: vec![
            listener("tcp://127.0.0.1:80", "web"),
            listener("unix:/run/web.sock", "web"),
            listener("udp://127.0.0.1:53", "names"),
            ListenerConfig {
                name: Some("any".to_owned()),
                ..listener("tcp://[::1]:0", "web")
            },
            listener("tcp://[::1]:0", "web"),
        ],
        pools: vec![
            pool("web", &["tcp://192.0.2.1:80", "web.example:http", "unix:@web"]),
            pool("names", &["udp://192.0.2.1:53", "udp://127.0.0.1:5353"]),
        ],
        ..Config::default()
    }
}

#[track_caller]
fn faults(config: &Config) -> Vec<String> {
    match config.check() {
        Ok(()) => Vec::new(),
        Err(errors) => errors.faults().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_sound_one_passes() {
    assert_eq!(faults(&sound()), [""; 0]);
}

#[test]
fn every_fault_is_told_with_its_place() {
    let mut config = sound();
    config.listeners[1].to = "x".to_owned();
    config.listeners[2].to = "web".to_owned();
    config.listeners[4].name = Some("any".to_owned());
    config.listeners[4].max_sessions = Some(0);
    config.listeners[4].timeouts.idle = Duration::ZERO;
    config.listeners[4].udp.max_flows = 0;
    config.listeners.push(listener("tcp://127.0.0.1:80", "web"));
    config.listeners.push(listener("icmp://127.0.0.1", "web"));
    config.pools[0].backends[0].weight = 1_001;
    config.pools[0].backends[1].max_sessions = Some(0);
    config.pools[0].connect.retries = 17;
    config.pools[0].connect.deadline = Duration::from_secs(700_000);
    config.pools[0]
        .backends
        .push(BackendConfig::new("tcp://192.0.2.1:80".parse().unwrap()));
    config.pools.push(pool("web", &[]));
    config.sources.max_sessions = Some(0);
    config.sources.v4_prefix = 33;
    config.names.interval = Duration::ZERO;
    let expected = [
        "listeners[1].to: no pool named `x`",
        "listeners[2].to: the listener is for datagrams, and `web` has a backend at tcp://192.0.2.1:80",
        "listeners[4].name: another one is called `any` too",
        "listeners[4].max_sessions: 0 is not between 1 and 18446744073709551615",
        "listeners[4].timeouts.idle: 0ns is not between a millisecond and a week",
        "listeners[4].udp.max_flows: 0 is not between 1 and 16777216",
        "listeners[5].name: another one is called `tcp://127.0.0.1:80` too",
        "listeners[5].at: another listener has the address tcp://127.0.0.1:80 too",
        if cfg!(feature = "quic") {
            "listeners[6].at: ip+N:// addresses cannot be used here (tcp://, udp://, tls://, quic:// and unix: can)"
        } else {
            "listeners[6].at: ip+N:// addresses cannot be used here (tcp://, udp://, tls:// and unix: can)"
        },
        "pools[0].connect.deadline: 700000s is not between a millisecond and a week",
        "pools[0].connect.retries: 17 is not between 0 and 16",
        "pools[0].backends[0].weight: 1001 is not between 0 and 1000",
        "pools[0].backends[1].max_sessions: 0 is not between 1 and 4294967295",
        "pools[0].backends[3].name: another one is called `tcp://192.0.2.1:80` too",
        "pools[2].name: another one is called `web` too",
        "pools[2].backends: there is none",
        "sources.max_sessions: 0 is not between 1 and 4294967295",
        "sources.v4_prefix: 33 is not between 0 and 32",
        "names.interval: 0ns is not between a millisecond and a week",
    ];
    assert_eq!(faults(&config), expected);
}

#[test]
fn a_check_that_cannot_be_done_is_told() {
    let mut config = sound();
    config.pools[0].backends[0].proxy = Some(ProxyVersion::V2);
    let mut rules = CheckRules::default();
    config.pools[0].health.check = Some(rules.clone());
    assert_eq!(faults(&config), [""; 0]);
    rules.kind = CheckKind::Tls;
    config.pools[0].health.check = Some(rules);
    let told = faults(&config);
    let about = |place: &str| told.iter().filter(|fault| fault.starts_with(place)).count();
    assert_eq!(about("pools[0].backends[0].proxy: "), 0, "{told:?}");
    assert_eq!(
        about("pools[0].backends[2].at: a check of kind TLS is not for unix"),
        1,
        "{told:?}"
    );
}

#[test]
fn an_empty_one_has_nothing_to_relay() {
    assert_eq!(faults(&Config::default()), ["listeners: there is none"]);
}

#[test]
fn a_backend_that_is_the_listener_is_found() {
    let circles = [
        ("tcp://127.0.0.1:80", "tcp://127.0.0.1:80"),
        ("tcp://127.0.0.1:80", "tcp://[::ffff:127.0.0.1]:80"),
        ("tcp://0.0.0.0:80", "tcp://127.0.0.1:80"),
        ("tcp://0.0.0.0:80", "tcp://127.8.8.8:80"),
        ("tcp://[::]:80", "tcp://127.0.0.1:80"),
        ("tcp://[::]:80", "tcp://[::1]:80"),
        ("tcp://127.0.0.1:80", "tcp://0.0.0.0:80"),
        ("tcp://127.0.0.1:80", "localhost:80"),
        ("udp://127.0.0.1:80", "udp://127.0.0.1:80"),
        ("unix:/run/a", "unix:/run/a"),
        ("unix:@a", "unix:@a"),
    ];
    for (at, backend) in circles {
        assert!(
            is_same(&at.parse().unwrap(), &backend.parse().unwrap()),
            "{at} {backend}"
        );
    }
    let lines = [
        ("tcp://127.0.0.1:80", "tcp://127.0.0.1:81"),
        ("tcp://127.0.0.1:80", "udp://127.0.0.1:80"),
        ("tcp://0.0.0.0:80", "tcp://[::1]:80"),
        ("tcp://0.0.0.0:80", "tcp://192.0.2.1:80"),
        ("tcp://192.0.2.1:80", "localhost:80"),
        ("unix:/run/a", "unix:@a"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:80"),
    ];
    for (at, backend) in lines {
        assert!(
            !is_same(&at.parse().unwrap(), &backend.parse().unwrap()),
            "{at} {backend}"
        );
    }
    let mut config = sound();
    config.pools[0].backends[1].at = "tcp://127.0.0.1:80".parse().unwrap();
    let told = "pools[0].backends[1].at: tcp://127.0.0.1:80 is the listener tcp://127.0.0.1:80 itself: sessions would go in circles";
    assert_eq!(faults(&config), [told]);
}

#[test]
fn what_does_not_go_together_is_told() {
    let mut config = sound();
    config.listeners[0].tls = Some("default".to_owned());
    config.listeners[2].proxy = Some(ProxyIn {
        trusted: sockeye_endpoint::NetSet::new(),
        deadline: Duration::from_secs(1),
    });
    config.listeners[2].server_names = vec![ServerNameRoute {
        names: vec!["Example.org".to_owned(), "*.example.org".to_owned()],
        to: "names".to_owned(),
    }];
    config.pools[1].backends[0].proxy = Some(ProxyVersion::V1);
    config.pools[0].health = HealthRules {
        check: Some(CheckRules {
            kind: CheckKind::Line {
                send: String::new(),
                expect: String::new(),
            },
            rise: 0,
            port: Some(0),
            ..CheckRules::default()
        }),
        ..HealthRules::default()
    };
    let expected = [
        "listeners[0].tls: TLS is not for tcp:// addresses",
        "listeners[2].server_names: a route by server name is not for udp:// addresses",
        "listeners[2].server_names[0].names: `Example.org` is not a host name in lower case",
        "listeners[2].proxy: the PROXY protocol is not for udp:// addresses",
        "listeners[2].proxy.trusted: it is empty",
        "pools[0].health.check.rise: 0 is not between 1 and 1000",
        "pools[0].health.check.port: port 0 is no backend's",
        "pools[0].health.check.kind.expect: it is empty",
        "pools[1].backends[0].proxy: the PROXY protocol is not for udp:// addresses",
    ];
    assert_eq!(faults(&config), expected);
}

#[test]
#[cfg(not(feature = "tls"))]
fn tls_takes_the_feature() {
    let mut config = sound();
    config.listeners.push(listener("tls://127.0.0.1:443", "web"));
    config.pools[0].backends[0].at = "tls://192.0.2.1:443".parse().unwrap();
    let told = [
        "listeners[5].at: tls:// cannot be had: build with the feature `tls`",
        "pools[0].backends[0].at: tls:// cannot be had: build with the feature `tls`",
    ];
    assert_eq!(faults(&config), told);
}

#[test]
#[cfg(feature = "serde")]
fn it_is_read_from_text_and_written_again() {
    let text = r#"{
        "listeners": [{"at": "tcp://127.0.0.1:80", "to": "web", "timeouts": {"idle": "10m"}}],
        "pools": [{
            "name": "web",
            "backends": [{"at": "web.example:80", "weight": 3, "max-sessions": 7}],
            "balance": "least-sessions",
            "health": {"check": {"kind": {"line": {"send": "PING\r\n", "expect": "PONG"}}, "interval": "250ms"}}
        }]
    }"#;
    // A key that nobody knows is a mistake of whoever wrote it.
    let error = serde_json::from_str::<Config>(text).unwrap_err().to_string();
    assert!(error.contains("unknown field `max-sessions`"), "{error}");
    let config: Config = serde_json::from_str(&text.replace("max-sessions", "max_sessions")).unwrap();
    assert_eq!(config.listeners[0].timeouts.idle, Duration::from_secs(600));
    assert_eq!(config.pools[0].backends[0].max_sessions, Some(7));
    assert_eq!(config.pools[0].connect, crate::config::ConnectRules::default());
    assert_eq!(faults(&config), [""; 0]);
    let again = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&again).unwrap(), config);
    let wrong = text
        .replace("250ms", "250")
        .replace("max-sessions", "max_sessions");
    let error = serde_json::from_str::<Config>(&wrong).unwrap_err().to_string();
    assert!(error.contains("`250` is not a duration such as 250ms"), "{error}");
}

#[test]
fn a_star_stands_for_one_label() {
    let route = ServerNameRoute {
        names: vec!["example.org".to_owned(), "*.example.net".to_owned()],
        to: "web".to_owned(),
    };
    for name in ["example.org", "a.example.net", "b.example.net"] {
        assert!(route.covers(name), "{name}");
    }
    for name in [
        "",
        "www.example.org",
        "example.net",
        "a.b.example.net",
        "*",
        "xexample.net",
    ] {
        assert!(!route.covers(name), "{name}");
    }
}
