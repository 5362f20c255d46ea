//! A name server on the kernel, for `dig` and the like: `cargo run --features names --example name_server -- --help`.
#![expect(clippy::print_stdout, reason = "a program says what it does")]

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use sockeye_event_loop::EventLoop;
use sockeye_resolver::dns::Name;
use sockeye_sim::names::{NameServer, Zones};

const USAGE: &str = "\
Serves the names of a zone file by UDP and TCP, until it is killed.

usage: name_server [--listen ADDRESS:PORT] [--origin NAME] [ZONE-FILE]

  --listen ADDRESS:PORT  where to listen [default: 127.0.0.1:0, a port that is free]
  --origin NAME          what names without a dot at their end stand below [default: the root]
  ZONE-FILE              the zone [default: a small one, example.test]

It prints the address: dig @127.0.0.1 -p PORT www.example.test";

const EXAMPLE: &str = r#"
$ORIGIN example.test.
$TTL 300
@       SOA    ns admin (
                  1     ; serial
                  2h    ; refresh
                  15m   ; retry
                  14d   ; expire
                  60 )  ; for how long "no such name" may be kept
        NS     ns
        MX     10 mail
        TXT    "a name server of" "the simulated network"
        CAA    0 issue "ca.example.test"
        HTTPS  1 . alpn=h2,h3 ipv4hint=192.0.2.80
ns      A      192.0.2.53
mail    A      192.0.2.25
www     A      192.0.2.80
        AAAA   2001:db8::80
web     CNAME  www
_sip._udp SRV  0 5 5060 www
*.any   A      192.0.2.42
"#;

/// Where to listen, and what to serve.
struct Arguments {
    listen: SocketAddr,
    origin: Name,
    file: Option<String>,
}

impl Arguments {
    fn parse() -> Option<Self> {
        let mut parsed = Self {
            listen: ([127, 0, 0, 1], 0).into(),
            origin: Name::root(),
            file: None,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--listen" => parsed.listen = words.next()?.parse().ok()?,
                "--origin" => parsed.origin = words.next()?.parse().ok()?,
                file if !file.starts_with('-') && parsed.file.is_none() => parsed.file = Some(word),
                _ => return None,
            }
        }
        Some(parsed)
    }
}

fn serve(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let zones = match &arguments.file {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            Zones::from_text(&text, &arguments.origin).map_err(|error| format!("{path}: {error}"))?
        }
        None => EXAMPLE.parse()?,
    };
    let names = zones.name_count();
    let mut events = EventLoop::new()?;
    let served = NameServer::new(zones).serve(&mut events, arguments.listen)?;
    let mut out = std::io::stdout();
    writeln!(out, "serving {names} names on {} by UDP and TCP", served.address)?;
    out.flush()?;
    events.run()?;
    Ok(())
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse() else {
        println!("{USAGE}");
        let asked = env::args().any(|word| word == "--help" || word == "-h");
        return if asked {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    };
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("name_server: {error}");
            ExitCode::FAILURE
        }
    }
}
