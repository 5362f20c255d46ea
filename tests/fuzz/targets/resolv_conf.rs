//! resolv.conf with its environment, and nsswitch.conf: bounded whatever the bytes, and the same with either line end.

use sockeye_resolver::files::{Environment, MAX_IGNORED, MAX_SEARCH, MAX_SERVERS, NsSwitch, ResolvConf};

pub(crate) fn run(data: &[u8]) {
    let zone = |name: &str| u32::try_from(name.len()).ok();
    let conf = ResolvConf::parse(data, zone);
    check(&conf);
    let text = String::from_utf8_lossy(data).into_owned();
    let environment = Environment {
        local_domain: Some(text.clone()),
        options: Some(text.clone()),
        host_name: Some(text),
    };
    check(&conf.clone().with_environment(&environment));
    let switch = NsSwitch::parse(data);
    assert!(switch.entries.len() <= data.len().max(2));
    let _ = switch.needs_system();
    if !data.contains(&b'\r') {
        let other = data
            .split(|byte| *byte == b'\n')
            .collect::<Vec<_>>()
            .join(&b"\r\n"[..]);
        assert_eq!(ResolvConf::parse(&other, zone), conf);
        assert_eq!(NsSwitch::parse(&other), switch);
    }
}

fn check(conf: &ResolvConf) {
    assert!((1..=MAX_SERVERS).contains(&conf.servers.len()));
    assert!(
        conf.servers
            .iter()
            .all(|server| server.port() == 53 && !server.ip().is_unspecified())
    );
    assert!(conf.search.len() <= MAX_SEARCH);
    assert!(
        conf.search
            .iter()
            .all(|name| name.len() <= 253 && !name.ends_with('.'))
    );
    assert!(conf.options.ndots <= 15 && (1..=5).contains(&conf.options.attempts));
    assert!((1..=30).contains(&conf.options.timeout.as_secs()));
    assert!(conf.ignored.first().len() <= MAX_IGNORED.min(conf.ignored.total()));
}
