//! Names on the loop: `cargo run -p sockeye-event-loop --features resolver --example resolve -- example.com:80`.
//!
//! Looks up the addresses and mail servers of a name with [`Context::resolve`], and connects to it by Happy Eyeballs. An
//! address of a name server after it, such as `127.0.0.1:5353`, is asked in place of those of resolv.conf.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "an example prints what it does, and is short"
)]

use std::error::Error;
use std::time::Duration;

use sockeye_endpoint::{Host, Target};
use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_event_loop::{
    ConnectFailure, ConnectRequest, Context, EventLoop, Stream, StreamOptions, StreamService,
};
use sockeye_resolver::dns::{Event, Name, RecordType, Request, StartError};

const WAIT: Duration = Duration::from_secs(10);

/// Looks up, connects, and stops the loop once everything has its result.
struct Finder {
    waiting: usize,
}

impl Finder {
    fn begin(&mut self, context: &mut Context<'_>, name: Name, target: Target) -> Result<(), StartError> {
        context.resolve(Request::addresses(name.clone()).within(WAIT))?;
        context.resolve(Request::records(name, RecordType::MX).within(WAIT))?;
        context.connect(ConnectRequest::to_target(target).deadline(WAIT));
        self.waiting = 3;
        Ok(())
    }

    fn done(&mut self, context: &mut Context<'_>) {
        self.waiting -= 1;
        if self.waiting == 0 {
            context.stop();
        }
    }
}

impl StreamService for Finder {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        println!("connected to {:?}", stream.peer_addr());
        stream.close();
        self.done(&mut stream.context());
    }

    fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        println!("not connected: {failure}");
        self.done(context);
    }

    // A lookup of addresses has two results, one for each family.
    fn on_answer(&mut self, context: &mut Context<'_>, event: Event) {
        match event.result {
            Ok(answer) if answer.content.records.is_empty() => {
                println!("{}: {}", event.record_type, answer.content.code);
            }
            Ok(answer) => answer
                .content
                .records
                .iter()
                .for_each(|record| println!("{record}")),
            Err(error) => println!("{}: {error}", event.record_type),
        }
        if event.is_last {
            self.done(context);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let target: Target = match arguments.next() {
        Some(target) => target.parse()?,
        None => return Err("usage: resolve HOST:PORT [NAME-SERVER:PORT]".into()),
    };
    let Host::Name(host) = target.host() else {
        return Err(format!("{target} has an address, not a name").into());
    };
    let name = Name::try_from(host)?;
    let mut events = EventLoop::new()?;
    if let Some(server) = arguments.next() {
        let config = DnsConfig::with_servers([server.parse()?]);
        events.set_names(NameSource::Dns(Box::new(config)));
    }
    let finder = events.add_stream_service(Finder { waiting: 0 }, StreamOptions::default());
    let begun = events.with(finder, |finder, context| finder.begin(context, name, target));
    begun.expect("the service is this loop's")?;
    events.run()?;
    Ok(())
}
