//! Which clients are measured, and what ours has to reach beside each.

/// The client of the event loop.
pub(super) const OURS: &str = "event loop";

/// 10,000 queries under way have to stay below so many bytes each.
pub(super) const MEMORY_BELOW: f64 = 1_024.0;

/// Clients beside each other.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) title: &'static str,
    /// Queries of a sample.
    pub(super) queries: usize,
    /// The first is what the others are compared with.
    pub(super) clients: &'static [Client],
}

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) name: &'static str,
    /// The first argument of `names_load`.
    pub(super) program: &'static str,
    pub(super) under_way: usize,
    /// What ours has to reach beside it.
    pub(super) bound: Option<Bound>,
}

impl Client {
    /// Whether it asks whom the files of the machine say.
    pub(super) fn is_system(&self) -> bool {
        self.program == "getaddrinfo"
    }
}

/// What ours has to reach beside a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// At least so many times its queries a second.
    pub(super) queries: f64,
    /// At most this part of its CPU time a query.
    pub(super) cpu: Option<f64>,
}

const fn ours(name: &'static str, under_way: usize) -> Client {
    Client {
        name,
        program: "event-loop",
        under_way,
        bound: None,
    }
}

const fn hickory(under_way: usize) -> Client {
    Client {
        name: "hickory-resolver",
        program: "hickory",
        under_way,
        bound: Some(Bound {
            queries: 1.0,
            cpu: Some(0.5),
        }),
    }
}

/// As many threads as queries under way.
const fn system(name: &'static str, threads: usize) -> Client {
    Client {
        name,
        program: "getaddrinfo",
        under_way: threads,
        bound: Some(Bound {
            queries: 1.0,
            cpu: None,
        }),
    }
}

/// What is measured beside each server.
pub(super) const CASES: &[Case] = &[
    Case {
        title: "1 under way",
        queries: 5_000,
        clients: &[
            ours(OURS, 1),
            ours("the same again", 1),
            // What the kernel takes to send, to sleep and to wake, more than half of what hickory takes in all.
            Client {
                name: "by hand",
                program: "by-hand",
                under_way: 1,
                bound: None,
            },
            hickory(1),
            system("getaddrinfo x 1", 1),
        ],
    },
    Case {
        title: "100 under way",
        queries: 20_000,
        clients: &[
            ours(OURS, 100),
            ours("the same again", 100),
            hickory(100),
            system("getaddrinfo x 16", 16),
            system("getaddrinfo x 64", 64),
        ],
    },
    Case {
        title: "1000 under way",
        queries: 20_000,
        clients: &[
            ours(OURS, 1_000),
            ours("the same again", 1_000),
            hickory(1_000),
            system("getaddrinfo x 16", 16),
            system("getaddrinfo x 64", 64),
        ],
    },
];

/// Whose memory is measured.
pub(super) const MEMORY: &[Client] = &[
    ours(OURS, 10_000),
    Client {
        bound: None,
        ..hickory(10_000)
    },
];
