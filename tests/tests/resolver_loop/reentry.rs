//! Callbacks that look up, connect and cancel from within each other, with name servers that are bad in several ways.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectId, ConnectRequest, Context, Stream, StreamId, StreamOptions,
    StreamService,
};
use sockeye_resolver::dns::{Event, LookupId, RecordType, Request};
use sockeye_sim::names::{Behaviour, Lie, NameServer, TcpSupport};

use crate::setting::{Ground, honest, ms, name};

/// What is begun in one run.
const STEPS: u32 = 2_000;

#[derive(Default)]
struct Doings {
    left: u32,
    lookups: Vec<LookupId>,
    connects: Vec<ConnectId>,
    opened: u32,
    failed: u32,
    answered: u32,
}

/// Does two things by chance in each of its callbacks.
struct Busy(Rc<RefCell<Doings>>);

impl Busy {
    fn act(&mut self, context: &mut Context<'_>) {
        for _ in 0..2 {
            self.step(context);
        }
    }

    fn step(&mut self, context: &mut Context<'_>) {
        let mut doings = self.0.borrow_mut();
        if doings.left == 0 {
            return;
        }
        doings.left -= 1;
        let chance = context.random();
        let host = ["www", "v4", "v6", "alias", "brief", "none"][(chance % 6) as usize];
        let text = format!("{host}.example.test");
        let within = ms(1 + (chance >> 16 & 0xfff));
        let pick = usize::try_from(chance >> 32).unwrap();
        match chance >> 8 & 7 {
            0 | 1 => {
                let id = context.resolve(Request::addresses(name(&text)).within(within));
                doings.lookups.extend(id);
            }
            2 => {
                let request = Request::records(name(&text), RecordType::MX);
                doings.lookups.extend(context.resolve(Request {
                    fresh: true,
                    ..request
                }));
            }
            3 | 4 => {
                let target = format!("tcp://{text}:80").parse().unwrap();
                let id = context.connect(ConnectRequest::to_target(target).deadline(within));
                doings.connects.push(id);
            }
            5 if !doings.lookups.is_empty() => {
                let place = pick % doings.lookups.len();
                context.cancel_resolve(doings.lookups.swap_remove(place));
            }
            6 if !doings.connects.is_empty() => {
                let place = pick % doings.connects.len();
                context.cancel_connect(doings.connects.swap_remove(place));
            }
            _ => {
                context.set_timer(within / 64, 0);
            }
        }
    }
}

impl StreamService for Busy {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.0.borrow_mut().opened += 1;
        self.act(&mut stream.context());
        stream.close();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, _: ConnectFailure) {
        self.0.borrow_mut().failed += 1;
        self.act(context);
    }

    fn on_answer(&mut self, context: &mut Context<'_>, _: Event) {
        self.0.borrow_mut().answered += 1;
        self.act(context);
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _: u64) {
        self.act(context);
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, (): (), _: CloseReason) {
        self.act(context);
    }
}

fn bad(kind: u64) -> NameServer {
    honest().with(match kind % 4 {
        0 => Behaviour {
            truncate: true,
            loss_ppm: 200_000,
            ..Behaviour::tcp(TcpSupport::ClosesAfter(2))
        },
        1 => Behaviour {
            jitter: ms(900),
            loss_ppm: 100_000,
            ..Behaviour::spoofed(Lie::WrongId)
        },
        2 => Behaviour::lie(Lie::Nonsense),
        _ => Behaviour {
            truncate: true,
            ..Behaviour::tcp(TcpSupport::Reset)
        },
    })
}

#[test]
fn callbacks_may_do_anything_and_nothing_is_left() {
    let mut total = [0; 3];
    for seed in 0..12 {
        let mut ground = Ground::with(seed, [bad(seed), bad(seed + 1 + seed / 4)]);
        ground.configure(|options| (options.timeout, options.max_lookups) = (ms(700), 50));
        let doings = Rc::new(RefCell::new(Doings {
            left: STEPS,
            ..Doings::default()
        }));
        let busy = Busy(Rc::clone(&doings));
        let events = ground.sim.on(ground.client);
        let busy = events.add_stream_service(busy, StreamOptions::default());
        while doings.borrow().left > 0 {
            let events = ground.sim.on(ground.client);
            events.with(busy, |busy, context| busy.act(context)).unwrap();
            ground.sim.run_for(ms(200)).unwrap();
        }
        ground.sim.run_for(Duration::from_secs(120)).unwrap();
        let stats = ground.stats();
        assert_eq!((stats.under_way, stats.sockets), (0, 0), "seed {seed}");
        let doings = doings.borrow();
        total[0] += doings.opened;
        total[1] += doings.failed;
        total[2] += doings.answered;
    }
    assert!(total.iter().all(|count| *count > 100), "{total:?}");
}
