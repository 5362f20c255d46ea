//! Clients of datagrams: one question at a time on each socket, its answer checked.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams, EventLoop,
};

use crate::Error;
use crate::clients::Totals;
use crate::serving::Serving;

/// Sockets of each kind.
const SOCKETS: usize = 4;
/// The longest datagram, in bytes.
const MAX_LEN: usize = 1400;
/// After so long without an answer, it is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// Questions in a row without an answer, after which something stands still.
const PATIENCE: u32 = 40;

struct Asker {
    to: SocketAddr,
    pattern: Rc<[u8]>,
    question: Vec<u8>,
    number: u64,
    tries: u32,
    totals: Rc<RefCell<Totals>>,
}

impl Asker {
    fn ask(&mut self, socket: &mut Datagrams<'_>) {
        self.number += 1;
        self.tries = 0;
        let len = usize::try_from(socket.random()).unwrap_or_default() % MAX_LEN;
        self.question.clear();
        self.question.extend_from_slice(&self.number.to_le_bytes());
        self.question.extend_from_slice(&self.pattern[..len]);
        let _ = socket.send_to(&self.question, self.to);
    }
}

impl DatagramService for Asker {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.ask(socket);
        socket.set_timer(AGAIN, 0);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if *datagram.data != *self.question {
            // An answer to a question that was asked twice is a copy, and late.
            let number = datagram
                .data
                .first_chunk()
                .map(|number| u64::from_le_bytes(*number));
            if number.is_none_or(|number| number >= self.number) {
                self.totals
                    .borrow_mut()
                    .wrong
                    .push("other bytes in a datagram".to_owned());
            }
            return;
        }
        self.totals.borrow_mut().answered += 1;
        if !self.totals.borrow().stopping {
            self.ask(socket);
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        if self.totals.borrow().stopping {
            return socket.close();
        }
        // Asked since the last look: then its answer may be on its way.
        if self.tries > 0 {
            self.totals.borrow_mut().again += 1;
            let _ = socket.send_to(&self.question, self.to);
        }
        self.tries += 1;
        if self.tries > PATIENCE {
            let wrong = format!("no answer from {} any more", self.to);
            self.totals.borrow_mut().wrong.push(wrong);
        }
        socket.set_timer(AGAIN, 0);
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: DatagramId, reason: CloseReason) {
        if !matches!(reason, CloseReason::Closed | CloseReason::LoopEnded) {
            self.totals
                .borrow_mut()
                .wrong
                .push(format!("a socket of datagrams: {reason}"));
        }
    }
}

/// Starts the questions of every kind.
pub(crate) fn start(
    events: &mut EventLoop,
    serving: &Serving,
    totals: &Rc<RefCell<Totals>>,
) -> Result<(), Error> {
    let pattern: Rc<[u8]> = sockeye_tests::pattern(MAX_LEN).into();
    for to in [serving.udp, serving.relay_udp] {
        for _ in 0..SOCKETS {
            let asker = Asker {
                to,
                pattern: Rc::clone(&pattern),
                question: Vec::new(),
                number: 0,
                tries: 0,
                totals: Rc::clone(totals),
            };
            let service = events.add_datagram_service(asker);
            events.bind(
                service,
                SocketAddr::from(([127, 0, 0, 1], 0)),
                &DatagramOptions::default(),
            )?;
        }
    }
    Ok(())
}
