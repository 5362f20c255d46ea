//! Orders of steps that are known to be hard, and every order of a few.

use std::net::Shutdown;

use crate::pair::{Pair, Step};
use crate::tcp_common::{accept, connect, listener};

/// Bytes of which the reader's shutdown says nothing are on their way when it closes: a FIN, and then a reset.
const SHUT_WITH_BYTES_UNDER_WAY: [Step; 8] = [
    Step::write(1),
    Step::write(0),
    Step::write(1),
    Step::Shutdown {
        end: 0,
        how: Shutdown::Read,
    },
    Step::write(1),
    Step::read(0, 2),
    Step::Close { end: 0 },
    Step::write(0),
];

fn run(mut pair: Pair, steps: &[Step]) {
    for &step in steps {
        pair.step(step);
    }
    pair.finish();
}

#[test]
fn a_reading_end_is_shut_and_closed_with_bytes_under_way() {
    for _ in 0..500 {
        run(Pair::new(), &SHUT_WITH_BYTES_UNDER_WAY);
    }
}

/// The same with the third byte held back for certain: end 1 sees the end and not a reset, and its byte is lost.
#[test]
fn a_byte_held_back_arrives_after_the_close() {
    for at in 0..SHUT_WITH_BYTES_UNDER_WAY.len() {
        let mut pair = Pair::new();
        let (before, after) = SHUT_WITH_BYTES_UNDER_WAY.split_at(at);
        before.iter().for_each(|&step| pair.step(step));
        pair.hold(1);
        run(pair, after);
    }
}

/// Every order of four steps, with what is written sent at once, and held back until the end.
#[test]
fn every_order_of_shutdown_close_abort_and_unread_bytes() {
    let all: Vec<Step> = [0, 1].into_iter().flat_map(steps_of).collect();
    let (listener, address) = listener();
    let mut orders = 0_u32;
    let mut order = [0_usize; 4];
    loop {
        let steps = order.map(|at| all[at]);
        for held in [false, true] {
            let client = connect(address);
            let pair = Pair::of(client, accept(&listener));
            if held {
                (0..2).for_each(|end| pair.hold(end));
            }
            run(pair, &steps);
        }
        orders += 1;
        // The ends are alike, so the first step is end 0's.
        let Some(at) = (0..4)
            .rev()
            .find(|&at| order[at] + 1 < if at == 0 { all.len() / 2 } else { all.len() })
        else {
            break;
        };
        order[at] += 1;
        order[at + 1..].fill(0);
    }
    assert_eq!(orders, 7 * 14 * 14 * 14);
}

fn steps_of(end: usize) -> [Step; 7] {
    let shutdown = |how| Step::Shutdown { end, how };
    [
        Step::write(end),
        Step::read(end, 1),
        shutdown(Shutdown::Read),
        shutdown(Shutdown::Write),
        shutdown(Shutdown::Both),
        Step::Close { end },
        Step::Abort { end },
    ]
}
