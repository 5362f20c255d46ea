//! A connection against a model of one: random reads, writes, shutdowns, closes and aborts on both ends, and after each
//! step the bytes, their order, and the way every call ends are among those that the model allows.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test expects and does not get fails it"
)]

#[path = "../tcp_common/mod.rs"]
mod tcp_common;

mod model;
mod orders;
mod pair;
mod refusals;

use std::net::Shutdown;

use proptest::prelude::*;

use pair::{Pair, Step, Way};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || 0..2_usize;
    let way = || prop_oneof![Just(Way::Plain), Just(Way::Vectored), Just(Way::Other)];
    let len = || prop_oneof![1..20_usize, 1..2000_usize, 10_000..60_000_usize];
    let waits = || prop_oneof![3 => Just(true), 1 => Just(false)];
    let how = prop_oneof![4 => Just(Shutdown::Write), 1 => Just(Shutdown::Read), 1 => Just(Shutdown::Both)];
    let step = prop_oneof![
        10 => (end(), len(), way()).prop_map(|(end, len, way)| Step::Write { end, len, way }),
        10 => (end(), len(), way(), waits()).prop_map(|(end, len, way, waits)| Step::Read { end, len, way, waits }),
        3 => (end(), len(), waits()).prop_map(|(end, len, waits)| Step::Peek { end, len, waits }),
        1 => (end(), how).prop_map(|(end, how)| Step::Shutdown { end, how }),
        1 => end().prop_map(|end| Step::Close { end }),
        1 => end().prop_map(|end| Step::Abort { end }),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn prop_a_connection_is_what_its_model_says(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.step(step);
        }
        pair.finish();
    }
}
