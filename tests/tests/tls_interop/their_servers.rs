//! Their servers, our connector.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use sockeye::tls::{ConnectorOptions, TlsConnector, TlsCounters};
use sockeye_event_loop::{ConnectRequest, EventLoop, StreamOptions};
use sockeye_tests::ports::free_port;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

use crate::setting::{Caller, Files, Notes, Talk, command, lines, ring, until, until_line};

/// As rustls names them, and as `openssl` and GnuTLS do.
const VERSIONS: [(&SupportedProtocolVersion, &str, &str); 2] = [
    (&TLS12, "-tls1_2", "NORMAL:-VERS-ALL:+VERS-TLS1.2"),
    (&TLS13, "-tls1_3", "NORMAL:-VERS-ALL:+VERS-TLS1.3"),
];

/// With the certificate of a client, or without.
fn config(files: &Files, known: bool) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(files.roots());
    let mut config = if known {
        let (chain, key) = files.sign("client");
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h3".to_vec(), b"echo".to_vec()];
    config
}

/// What calls, from a loop of its own.
struct Client {
    events: EventLoop,
    notes: Notes,
    counters: TlsCounters,
}

impl Client {
    /// Connects and says something. Its side ends when `enough` bytes have come back.
    fn call(config: ClientConfig, to: SocketAddr, say: &[u8], enough: usize) -> Self {
        Self::call_in_turns(config, to, say, enough, usize::MAX)
    }

    /// The same with no more than `ahead` bytes sent that have not come back.
    fn call_in_turns(config: ClientConfig, to: SocketAddr, say: &[u8], enough: usize, ahead: usize) -> Self {
        let mut events = EventLoop::new().unwrap();
        let (notes, counters) = (Notes::default(), TlsCounters::default());
        let options = ConnectorOptions {
            counters: counters.clone(),
            ..ConnectorOptions::default()
        };
        let connector = TlsConnector::new(&mut events, config, options);
        let caller = Caller {
            notes: Rc::clone(&notes),
            say: say.to_vec(),
            sent: 0,
            ahead,
            enough,
        };
        let caller = events.add_stream_service(caller, StreamOptions::default());
        let name = ServerName::try_from("localhost").unwrap();
        let asked = events.with(caller, |_, context| {
            connector.connect(context, caller, name, ConnectRequest::new(to))
        });
        asked.unwrap().unwrap();
        Self {
            events,
            notes,
            counters,
        }
    }

    /// Waits for the end of the connection, or of the attempt; why it ended.
    #[track_caller]
    fn end(&mut self) -> String {
        let notes = Rc::clone(&self.notes);
        until(&mut self.events, "the end of the connection", || {
            !notes.borrow().ends.is_empty()
        });
        self.notes.borrow().ends[0].clone()
    }

    /// Waits for an end in order, of both sides; what had come until then.
    #[track_caller]
    fn received(mut self) -> Vec<u8> {
        assert_eq!(self.end(), "closed");
        assert_eq!(self.notes.borrow().eofs, 1);
        let stats = self.counters.read();
        assert_eq!((stats.completed, stats.failed, stats.truncated), (1, 0, 0));
        std::mem::take(&mut self.notes.borrow_mut().received)
    }

    fn version(&self) -> Option<ProtocolVersion> {
        self.notes.borrow().opened.first().map(|tls| tls.version)
    }
}

#[test]
fn s_server_reverses_lines_of_a_client_that_it_knows() {
    if !skip::require(&[Need::program("openssl")]) {
        return;
    }
    let files = Files::new();
    let (shown, _) = files.sign("localhost");
    let [authority, certificate, key] =
        ["ca.pem", "localhost.pem", "localhost.key"].map(|file| files.path(file));
    for (version, flag, _) in VERSIONS {
        let words = [
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-rev",
            flag,
            "-alpn",
            "echo",
        ];
        let mut openssl = command("openssl", &words);
        openssl.args(["-cert", &certificate, "-key", &key]);
        openssl.args(["-CAfile", &authority, "-Verify", "1", "-verify_return_error"]);
        let mut server = Talk::start(&mut openssl);
        let line = until_line(&mut server, "where it listens", |line| {
            line.starts_with("ACCEPT 127.0.0.1:")
        });
        let at: SocketAddr = line["ACCEPT ".len()..].parse().unwrap();

        // Who is known ends first: `close_notify` answers `close_notify`.
        let (say, reversed) = lines();
        let client = Client::call(config(&files, true), at, &say, say.len());
        let notes = Rc::clone(&client.notes);
        assert!(client.received() == reversed);
        let tls = Rc::clone(&notes.borrow().opened[0]);
        assert_eq!(
            (tls.version, tls.alpn.as_deref()),
            (version.version, Some(&b"echo"[..]))
        );
        assert_eq!(tls.peer_certificates[..1], shown);

        // On this word the server ends first.
        let client = Client::call(config(&files, true), at, b"salmon\nCLOSE\n", usize::MAX);
        assert_eq!(client.received(), b"nomlas\n");

        // A client in TLS 1.3 learns of its refusal after its handshake (RFC 8446, section 4.4.2.4), in 1.2 before.
        let mut client = Client::call(config(&files, false), at, b"salmon\n", 7);
        let end = client.end();
        let alert = ["certificate_required", "handshake_failure"];
        assert!(alert.iter().any(|alert| end.contains(alert)), "{end}");
        let after = client.version().is_some();
        assert_eq!(after, version.version == ProtocolVersion::TLSv1_3);
        assert!(client.notes.borrow().received.is_empty());
    }
}

/// GnuTLS' takes what a read gives it for a command: one line at a time.
#[test]
fn gnutls_serv_echoes() {
    if !skip::require(&[Need::program("gnutls-serv")]) {
        return;
    }
    let files = Files::new();
    files.sign("localhost");
    let [certificate, key] = ["localhost.pem", "localhost.key"].map(|file| files.path(file));
    for (version, _, priority) in VERSIONS {
        let port = free_port();
        let words = ["--echo", "--disable-client-cert", "--priority", priority];
        let mut gnutls = command("gnutls-serv", &words);
        gnutls.args([
            "--x509certfile",
            &certificate,
            "--x509keyfile",
            &key,
            "--alpn",
            "echo",
        ]);
        let mut server = Talk::start(gnutls.args(["-p", &port.to_string()]));
        until_line(&mut server, "that it listens", |line| {
            line.contains("listening on IPv4") && line.ends_with("done")
        });
        let say = b"salmon\ntrout.\n".repeat(100);
        let at = (Ipv4Addr::LOCALHOST, port).into();
        let client = Client::call_in_turns(config(&files, false), at, &say, say.len(), 7);
        let notes = Rc::clone(&client.notes);
        assert!(client.received() == say);
        let tls = Rc::clone(&notes.borrow().opened[0]);
        assert_eq!(
            (tls.version, tls.alpn.as_deref()),
            (version.version, Some(&b"echo"[..]))
        );
    }
}

/// A MiB each way at the same time.
#[test]
fn ncat_listens() {
    if !skip::require(&[Need::program("ncat")]) {
        return;
    }
    let files = Files::new();
    files.sign("localhost");
    let [certificate, key] = ["localhost.pem", "localhost.key"].map(|file| files.path(file));
    let port = free_port();
    let words = ["-v", "--ssl", "--ssl-cert", &certificate, "--ssl-key", &key];
    let mut ncat = command("ncat", &words);
    ncat.args(["--no-shutdown", "-l", "127.0.0.1", &port.to_string()]);
    let mut server = Talk::start(&mut ncat);
    until_line(&mut server, "that it listens", |line| {
        line.contains("Listening on")
    });
    let (says, hears) = lines();
    let at = (Ipv4Addr::LOCALHOST, port).into();
    let (mut stdin, input) = (server.stdin, says.clone());
    // It ends with the program, which ends with the test.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let client = Client::call(config(&files, false), at, &hears, says.len());
    assert!(client.received() == says);
    writer.join().unwrap().unwrap();
    assert!(server.running.wait(PATIENCE).success());
    let heard = server.running.last_lines(PATIENCE).join("\n") + "\n";
    assert!(heard.as_bytes() == hears, "it wrote {} bytes", heard.len());
}
