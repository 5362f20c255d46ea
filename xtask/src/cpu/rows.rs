//! What is measured beside what, and how much of it there may be.

use super::peers::Program;

/// Servers beside each other, each under the same load.
#[derive(Debug)]
pub(super) struct Table {
    /// `cargo xtask bench tls`.
    pub(super) bench: &'static str,
    pub(super) title: &'static str,
    /// The first is what the others are compared with in the table.
    pub(super) servers: &'static [Server],
    /// They relay to an echo server.
    pub(super) relays: bool,
    pub(super) cases: &'static [Case],
}

/// A column of the table, so to speak.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) program: Program,
}

/// A load, and the bounds that hold under it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) load: Load,
    pub(super) bounds: &'static [Bound],
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// CPU time a message.
    Echo {
        connections: u32,
        size: u32,
        messages: u32,
    },
    /// CPU time a handshake, which begins and ends a connection of one byte.
    Handshakes { count: u32, resumed: bool },
    /// CPU time a piece of 64 KiB, over that many streams of one connection at once.
    Bulk { streams: u32, pieces: u32 },
    /// Memory a connection.
    Idle { count: u32 },
}

/// One server may take so many times what another one does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) of: &'static str,
    pub(super) against: &'static str,
    pub(super) at_most: f64,
}

const fn server(name: &'static str, program: Program) -> Server {
    Server { name, program }
}

const fn echo(connections: u32, size: u32, messages: u32, bounds: &'static [Bound]) -> Case {
    let load = Load::Echo {
        connections,
        size,
        messages,
    };
    Case { load, bounds }
}

const fn bound(of: &'static str, against: &'static str, at_most: f64) -> Bound {
    Bound { of, against, at_most }
}

const BY_HAND: &str = "rustls on mio by hand";
const TLS: &str = "event loop";
const TOKIO: &str = "tokio-rustls";
const QUINN: &str = "quinn";
const HAPROXY: &str = "haproxy";
const SPLICED: &str = "haproxy, splice";
const NGINX: &str = "nginx";
const TLS_RELAY: &str = "tls_relay";
const JOIN: &str = "bare join";
const WHOLE: &str = "whole relay";

const ECHO_BOUNDS: &[Bound] = &[bound(TLS, BY_HAND, 1.05), bound(TLS, TOKIO, 1.0)];
const QUIC_BOUNDS: &[Bound] = &[bound(TLS, QUINN, 0.95)];
const ENDING_BOUNDS: &[Bound] = &[bound(TLS_RELAY, HAPROXY, 1.0), bound(TLS_RELAY, NGINX, 1.0)];
const HANDSHAKE_BOUNDS: &[Bound] = &[bound(TLS_RELAY, HAPROXY, 1.0)];
const RELAY_BOUNDS: &[Bound] = &[
    bound(WHOLE, JOIN, 1.05),
    bound(WHOLE, HAPROXY, 1.0),
    bound(WHOLE, SPLICED, 1.0),
];

/// All tables.
pub(super) const TABLES: &[Table] = &[
    Table {
        bench: "tls",
        title: "echo under TLS 1.3",
        servers: &[
            server(BY_HAND, Program::Ours("tls_echo_mio", &["0"])),
            server("the same again", Program::Ours("tls_echo_mio", &["0"])),
            server(TLS, Program::Ours("tls_echo", &["0"])),
            server(TOKIO, Program::Ours("tls_echo_tokio", &["0"])),
        ],
        relays: false,
        cases: &[
            echo(1, 64, 20_000, ECHO_BOUNDS),
            echo(64, 64, 40_000, ECHO_BOUNDS),
            echo(1, 16_384, 10_000, ECHO_BOUNDS),
            echo(64, 16_384, 10_000, ECHO_BOUNDS),
            Case {
                load: Load::Handshakes {
                    count: 800,
                    resumed: false,
                },
                bounds: &[],
            },
            Case {
                load: Load::Handshakes {
                    count: 800,
                    resumed: true,
                },
                bounds: &[],
            },
            Case {
                load: Load::Idle { count: 1_000 },
                bounds: &[bound(TLS, TOKIO, 1.0)],
            },
        ],
    },
    Table {
        bench: "tls",
        title: "TLS 1.3 ended in front of an echo",
        servers: &[
            server(
                HAPROXY,
                Program::Haproxy {
                    tls: true,
                    splice: false,
                },
            ),
            server(
                "the same again",
                Program::Haproxy {
                    tls: true,
                    splice: false,
                },
            ),
            server(NGINX, Program::Nginx),
            server(
                TLS_RELAY,
                Program::Ours(
                    "tls_relay",
                    &[
                        "tls://127.0.0.1:0",
                        "{folder}/cert.pem",
                        "{folder}/key.pem",
                        "tcp://127.0.0.1:{backend}",
                    ],
                ),
            ),
        ],
        relays: true,
        cases: &[
            echo(1, 64, 10_000, ENDING_BOUNDS),
            echo(64, 64, 20_000, ENDING_BOUNDS),
            echo(1, 16_384, 5_000, ENDING_BOUNDS),
            echo(64, 16_384, 5_000, ENDING_BOUNDS),
            Case {
                load: Load::Handshakes {
                    count: 400,
                    resumed: false,
                },
                bounds: HANDSHAKE_BOUNDS,
            },
            Case {
                load: Load::Handshakes {
                    count: 400,
                    resumed: true,
                },
                bounds: HANDSHAKE_BOUNDS,
            },
            Case {
                load: Load::Idle { count: 1_000 },
                bounds: HANDSHAKE_BOUNDS,
            },
        ],
    },
    Table {
        bench: "quic",
        title: "echo over QUIC",
        servers: &[
            server(QUINN, Program::Ours("quic_echo_quinn", &["0"])),
            server("the same again", Program::Ours("quic_echo_quinn", &["0"])),
            server(TLS, Program::Ours("quic_echo", &["0"])),
        ],
        relays: false,
        cases: &[
            echo(64, 1_024, 40_000, QUIC_BOUNDS),
            echo(1, 1_024, 10_000, QUIC_BOUNDS),
            Case {
                load: Load::Bulk {
                    streams: 1,
                    pieces: 4_000,
                },
                bounds: QUIC_BOUNDS,
            },
            Case {
                load: Load::Bulk {
                    streams: 100,
                    pieces: 4_000,
                },
                bounds: QUIC_BOUNDS,
            },
            Case {
                load: Load::Handshakes {
                    count: 400,
                    resumed: false,
                },
                bounds: QUIC_BOUNDS,
            },
            Case {
                load: Load::Idle { count: 500 },
                bounds: &[bound(TLS, QUINN, 1.0)],
            },
        ],
    },
    Table {
        bench: "relay",
        title: "a relay in front of an echo",
        servers: &[
            server(JOIN, Program::Ours("relay_counted", &["{backend}"])),
            server("the same again", Program::Ours("relay_counted", &["{backend}"])),
            server(WHOLE, Program::Ours("relay_whole_counted", &["{backend}"])),
            server(
                HAPROXY,
                Program::Haproxy {
                    tls: false,
                    splice: false,
                },
            ),
            server(
                SPLICED,
                Program::Haproxy {
                    tls: false,
                    splice: true,
                },
            ),
        ],
        relays: true,
        cases: &[
            echo(1, 64, 10_000, RELAY_BOUNDS),
            echo(64, 64, 30_000, RELAY_BOUNDS),
            echo(1_000, 64, 30_000, RELAY_BOUNDS),
            echo(64, 4_096, 20_000, RELAY_BOUNDS),
            echo(64, 16_384, 10_000, RELAY_BOUNDS),
            echo(64, 65_536, 4_000, RELAY_BOUNDS),
            echo(8, 1 << 20, 400, RELAY_BOUNDS),
        ],
    },
];
