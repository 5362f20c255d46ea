//! unbound and dnsmasq as children of a test, and two clients that ask them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use sockeye_event_loop::EventLoop;
use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_resolver::dns::{
    Answer, Carrier, Client, DnsOptions, DnsStats, LocalNames, Name, QueryError, RecordType, Request, Server,
};
use sockeye_tests::ports::free_port;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

/// A server, until it is dropped.
pub struct Daemon {
    pub address: SocketAddr,
    running: Running,
    /// What its configuration is in.
    folder: Option<tempfile::TempDir>,
}

/// Starts it, on another port if somebody else was faster, and waits until it answers.
fn start(mut command: impl FnMut(u16) -> (Command, Option<tempfile::TempDir>)) -> Daemon {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (mut command, folder) = command(port);
        let mut running = Running::start(&mut command);
        while running.is_running() && begun.elapsed() < PATIENCE {
            let mut client = Client::new(DnsOptions::with_servers([address]), LocalNames::default());
            let name = "www.example.test".parse().unwrap();
            let request = Request::records(name, RecordType::A).within(Duration::from_secs(1));
            if client.query(request).is_ok() {
                return Daemon {
                    address,
                    running,
                    folder,
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        while let Some(line) = running.error_line(Duration::from_millis(100)) {
            eprintln!("{line}");
        }
    }
    panic!("it does not answer");
}

impl Daemon {
    /// unbound with the common zone, that asks these servers for the names below these, and nobody else.
    pub fn unbound(stubs: &[(&str, SocketAddr)]) -> Option<Self> {
        if !skip::require(&[Need::program("unbound")]) {
            return None;
        }
        let program = program::find("unbound").unwrap();
        Some(start(|port| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("unbound.conf");
            std::fs::write(&file, configuration(port, folder.path(), stubs)).unwrap();
            let mut command = Command::new(&program);
            command.args(["-d", "-p", "-c"]).arg(&file);
            (command, Some(folder))
        }))
    }

    /// dnsmasq with the same names, and addresses for everything below `wild.test`.
    pub fn dnsmasq() -> Option<Self> {
        if !skip::require(&[Need::program("dnsmasq")]) {
            return None;
        }
        let program = program::find("dnsmasq").unwrap();
        Some(start(|port| {
            let mut command = Command::new(&program);
            command.args([
                "-k",
                "-z",
                "--no-resolv",
                "--no-hosts",
                "--conf-file=/dev/null",
                "--pid-file=",
            ]);
            command.args([
                "-p",
                &port.to_string(),
                "-a",
                "127.0.0.1",
                "--local=/example.test/",
            ]);
            command.args([
                "--address=/wild.test/10.1.2.3",
                "--host-record=www.example.test,192.0.2.80,2001:db8::80,300",
                "--cname=alias.example.test,www.example.test,300",
                "--cname=chain.example.test,alias.example.test,300",
                "--mx-host=example.test,mail.example.test,10",
                "--txt-record=text.example.test,one,two",
                "--srv-host=_sip._udp.example.test,www.example.test,5060,0,5",
                "--caa-record=example.test,0,issue,ca.example.test",
            ]);
            command.args(
                super::long_texts()
                    .iter()
                    .map(|text| format!("--txt-record=big.example.test,{text}")),
            );
            (command, None)
        }))
    }
}

fn configuration(port: u16, folder: &std::path::Path, stubs: &[(&str, SocketAddr)]) -> String {
    let mut text = format!(
        r#"server:
  interface: 127.0.0.1
  port: {port}
  do-daemonize: no
  do-ip6: no
  chroot: ""
  username: ""
  directory: "{}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  module-config: "iterator"
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  local-zone: "." refuse
  local-zone: "example.test." static
  local-data: "example.test. 300 SOA ns.example.test. admin.example.test. 1 7200 900 1209600 60"
  local-data: "example.test. 300 MX 10 mail.example.test."
  local-data: 'example.test. 300 CAA 0 issue "ca.example.test"'
  local-data: 'example.test. 300 HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.80'
  local-data: "www.example.test. 300 A 192.0.2.80"
  local-data: "www.example.test. 300 AAAA 2001:db8::80"
  local-data: "alias.example.test. 300 CNAME www.example.test."
  local-data: "chain.example.test. 300 CNAME alias.example.test."
  local-data: 'text.example.test. 300 TXT "one" "two"'
  local-data: "_sip._udp.example.test. 300 SRV 0 5 5060 www.example.test."
  local-data-ptr: "192.0.2.80 300 www.example.test"
"#,
        folder.display()
    );
    for long in super::long_texts() {
        let _ = writeln!(text, "  local-data: 'big.example.test. 300 TXT \"{long}\"'");
    }
    for (zone, _) in stubs {
        let _ = writeln!(text, "  local-zone: \"{zone}.\" transparent");
    }
    for (zone, at) in stubs {
        let _ = writeln!(
            text,
            "stub-zone:\n  name: \"{zone}.\"\n  stub-addr: {}@{}",
            at.ip(),
            at.port()
        );
    }
    text + "remote-control:\n  control-enable: no\n"
}

/// The loop's client and the one that blocks, which ask the same server the same.
pub struct Asking {
    events: EventLoop,
    client: Client,
}

impl Asking {
    pub fn new(server: SocketAddr, carrier: Carrier) -> Self {
        let options = DnsOptions {
            servers: vec![Server::new(server).by(carrier)],
            ..DnsOptions::default()
        };
        let config = DnsConfig {
            options: options.clone(),
            ..DnsConfig::default()
        };
        let mut events = EventLoop::new().unwrap();
        events.set_names(NameSource::Dns(Box::new(config)));
        Self {
            events,
            client: Client::new(options, LocalNames::default()),
        }
    }

    pub fn stats(&self) -> [DnsStats; 2] {
        [self.events.dns_stats(), self.client.stats()]
    }

    fn both(&mut self, name: &Name, record_type: RecordType) -> [Result<Answer, QueryError>; 2] {
        let request = Request::records(name.clone(), record_type);
        let blocking = self.client.query(request.clone());
        let id = self.events.resolve(request).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(event) = self.events.next_answer() {
                assert_eq!(event.lookup, id);
                return [event.result, blocking];
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "{name} {record_type}");
            self.events.turn(Some(Duration::from_millis(100))).unwrap();
        }
    }

    /// What both are answered.
    #[track_caller]
    pub fn ask(&mut self, name: &Name, record_type: RecordType) -> [Answer; 2] {
        self.both(name, record_type).map(|result| match result {
            Ok(answer) => answer,
            Err(error) => panic!("{name} {record_type}: {error}"),
        })
    }

    /// Why neither is answered.
    #[track_caller]
    pub fn fail(&mut self, name: &Name, record_type: RecordType) -> [QueryError; 2] {
        self.both(name, record_type).map(|result| match result {
            Ok(answer) => panic!("{name} {record_type}: {answer:?}"),
            Err(error) => error,
        })
    }
}
