//! First bytes and whose they are: the same in one piece and however they are cut.

use sockeye_relay::mux::{HttpPattern, Pattern, Sniffed, Sniffer, TlsPattern};

pub(crate) fn run(data: &[u8]) {
    let Some((&step, data)) = data.split_first() else {
        return;
    };
    let whole_hello = TlsPattern {
        whole: true,
        ..TlsPattern::default()
    };
    let post = HttpPattern {
        methods: vec!["POST".to_owned()],
        targets: vec!["/api".to_owned()],
    };
    let mut rules = vec![
        Pattern::server_names(["example.org", "*.example.net"]),
        Pattern::alpn(["h2"]),
        Pattern::Tls(whole_hello),
        Pattern::tls(),
        Pattern::Http1(post),
        Pattern::http1(),
        Pattern::Http2,
        Pattern::Ssh,
        Pattern::Socks4,
        Pattern::Socks5,
        Pattern::Proxy,
    ];
    let len = rules.len();
    rules.rotate_left(usize::from(step) % len);
    let whole = Sniffer::default().sniff(&rules, data);
    let mut sniffer = Sniffer::default();
    let mut at = 0;
    let pieced = loop {
        let sniffed = sniffer.sniff(&rules, &data[..at]);
        if let Sniffed::More { needed, .. } = sniffed {
            assert!(needed > at);
        }
        if at == data.len() || !matches!(sniffed, Sniffed::More { .. }) {
            break sniffed;
        }
        at = data.len().min(at + 1 + usize::from(step / 16));
    };
    assert_eq!(pieced, whole);
    if let Some(hello) = sniffer.take_hello() {
        assert!(hello.server_name.is_none_or(|name| name.is_ascii()));
    }
}
