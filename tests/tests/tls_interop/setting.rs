//! Certificates in files, an echo service behind TLS, a caller, and programs that are talked to while the loop turns.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{ChildStdin, Command};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};
use sockeye::tls::{StreamTls, TlsCounters, TlsInfo, TlsServer};
use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, EventLoop, ListenOptions, Stream, StreamId, StreamOptions,
    StreamService,
};
use sockeye_tests::pattern;
use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::skip::Need;
use sockeye_tests::wait::PATIENCE;

pub const MIB: usize = 1 << 20;

/// As `openssl` writes them, and as rustls does.
pub const VERSIONS: [(&str, ProtocolVersion); 2] = [
    ("-tls1_2", ProtocolVersion::TLSv1_2),
    ("-tls1_3", ProtocolVersion::TLSv1_3),
];

/// An authority and what it has signed, in a folder, as programs want it: `ca.pem`, and `NAME.pem` with `NAME.key`.
pub struct Files {
    pub folder: tempfile::TempDir,
    pub authority: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    pub fn new() -> Self {
        let mut params = named("authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    pub fn path(&self, file: &str) -> String {
        let path = self.folder.path().join(file);
        path.to_str().expect("a path of UTF-8").to_owned()
    }

    pub fn sign(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = named(name, &[name]);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        roots
    }
}

/// With a subject of its own: OpenSSL takes a certificate whose subject and issuer are the same for self-signed.
pub fn named(subject: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

/// A MiB in lines of letters, and the same with each line reversed.
pub fn lines() -> (Vec<u8>, Vec<u8>) {
    let letters: Vec<u8> = pattern(MIB).iter().map(|byte| b'a' + byte % 26).collect();
    let (mut lines, mut reversed) = (Vec::new(), Vec::new());
    for line in letters.chunks(63) {
        lines.extend_from_slice(line);
        lines.push(b'\n');
        reversed.extend(line.iter().rev());
        reversed.push(b'\n');
    }
    (lines, reversed)
}

pub fn ring() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a service has heard.
#[derive(Default)]
pub struct Heard {
    pub opened: Vec<Rc<TlsInfo>>,
    pub received: Vec<u8>,
    pub eofs: usize,
    /// Why connections and connects ended, in words.
    pub ends: Vec<String>,
}

pub type Notes = Rc<RefCell<Heard>>;

/// Echoes, and ends after so many bytes of a connection.
pub struct Echo {
    pub notes: Notes,
    pub enough: usize,
}

impl StreamService for Echo {
    type Conn = usize;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> usize {
        self.notes.borrow_mut().opened.push(stream.tls().unwrap());
        0
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, count: &mut usize, data: &mut [u8]) -> usize {
        if !stream.write(data).is_taken() {
            return 0;
        }
        *count += data.len();
        if *count >= self.enough {
            stream.close();
        }
        data.len()
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, _: &mut usize) {
        self.notes.borrow_mut().eofs += 1;
        stream.close();
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, _: usize, reason: CloseReason) {
        self.notes.borrow_mut().ends.push(reason.to_string());
    }
}

/// Sends something, and ends its side when so many bytes have come back.
pub struct Caller {
    pub notes: Notes,
    pub say: Vec<u8>,
    pub sent: usize,
    /// So many bytes may be sent beyond those that have come back.
    pub ahead: usize,
    pub enough: usize,
}

impl Caller {
    fn push(&mut self, stream: &mut Stream<'_>) {
        let most = self.notes.borrow().received.len().saturating_add(self.ahead);
        let until = most.min(self.say.len());
        for piece in self.say[self.sent..until].chunks(10_000) {
            if !stream.write(piece).is_taken() {
                return;
            }
            self.sent += piece.len();
        }
    }
}

impl StreamService for Caller {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.notes.borrow_mut().opened.push(stream.tls().unwrap());
        self.push(stream);
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        self.push(stream);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.notes.borrow_mut().received.extend_from_slice(data);
        if self.notes.borrow().received.len() == self.enough {
            stream.shutdown_write();
        } else {
            self.push(stream);
        }
        data.len()
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        self.notes.borrow_mut().eofs += 1;
        stream.close();
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        self.notes.borrow_mut().ends.push(failure.to_string());
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        self.notes.borrow_mut().ends.push(reason.to_string());
    }
}

/// Turns the loop until `done`.
#[track_caller]
pub fn until(events: &mut EventLoop, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        events.turn(Some(Duration::from_millis(2))).unwrap();
    }
}

/// An echo service behind TLS.
pub struct Server {
    pub events: EventLoop,
    pub notes: Notes,
    pub counters: TlsCounters,
    pub v4: SocketAddr,
    pub v6: Option<SocketAddr>,
}

impl Server {
    /// It ends connections after `enough` bytes.
    pub fn new(files: &Files, enough: usize) -> Self {
        Self::with(config(files), enough)
    }

    pub fn with(config: ServerConfig, enough: usize) -> Self {
        Self::of(|notes| Echo { notes, enough }, config, &[b"h2", b"echo"])
    }

    /// Another service, which speaks these protocols.
    pub fn of<S: StreamService>(
        service: impl FnOnce(Notes) -> S,
        mut config: ServerConfig,
        protocols: &[&[u8]],
    ) -> Self {
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut events = EventLoop::new().unwrap();
        let notes = Notes::default();
        let inside = service(Rc::clone(&notes));
        let inside = events.add_stream_service(inside, StreamOptions::default());
        let counters = TlsCounters::default();
        let tls = TlsServer::new(config, inside).counters(&counters);
        let tls = events.add_stream_service(tls, StreamOptions::default());
        let mut listen = |at: SocketAddr| {
            let listener = events.listen(tls, at, &ListenOptions::default()).unwrap();
            events.local_addr(listener).unwrap()
        };
        let v4 = listen((Ipv4Addr::LOCALHOST, 0).into());
        let v6 = Need::Ipv6
            .is_met()
            .then(|| listen((Ipv6Addr::LOCALHOST, 0).into()));
        Self {
            events,
            notes,
            counters,
            v4,
            v6,
        }
    }

    /// Runs a program to its end, with these bytes on stdin, then end of file.
    #[track_caller]
    pub fn run(&mut self, command: &mut Command, input: &[u8]) -> Output {
        let output = std::thread::scope(|scope| {
            let program = scope.spawn(|| program::output_with_input(command, input, PATIENCE));
            while !program.is_finished() {
                self.events.turn(Some(Duration::from_millis(2))).unwrap();
            }
            program.join()
        });
        output.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Waits for the end of the n-th connection; why it ended.
    #[track_caller]
    pub fn end(&mut self, nth: usize) -> String {
        let notes = Rc::clone(&self.notes);
        until(&mut self.events, "the end of the connection", || {
            notes.borrow().ends.len() >= nth
        });
        self.notes.borrow().ends[nth - 1].clone()
    }

    pub fn opened(&self, nth: usize) -> Rc<TlsInfo> {
        Rc::clone(&self.notes.borrow().opened[nth - 1])
    }

    /// Waits for a line of what a program writes, while the loop turns.
    #[track_caller]
    pub fn line(&mut self, talk: &mut Talk, what: &str, accept: impl Fn(&str) -> bool) {
        let events = &mut self.events;
        talk.line(what, accept, || {
            events.turn(Some(Duration::from_millis(2))).unwrap()
        });
    }

    /// Says a line to a program, and waits until it comes back.
    #[track_caller]
    pub fn echo(&mut self, talk: &mut Talk, line: &str) {
        talk.say(line);
        self.line(talk, line, |got| got == line);
    }
}

pub fn config(files: &Files) -> ServerConfig {
    let (chain, key) = files.sign("localhost");
    ServerConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// A program that is talked to.
pub struct Talk {
    pub running: Running,
    pub stdin: ChildStdin,
    /// What it has written to stdout and stderr.
    pub lines: Vec<String>,
}

impl Talk {
    pub fn start(command: &mut Command) -> Self {
        let mut running = Running::start(command);
        let stdin = running.stdin();
        Self {
            running,
            stdin,
            lines: Vec::new(),
        }
    }

    pub fn say(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn take_lines(&mut self) {
        self.lines.extend(self.running.lines_so_far());
        let errors = std::iter::from_fn(|| self.running.error_line(Duration::ZERO));
        self.lines.extend(errors);
    }

    /// Waits for a line; the first that is accepted.
    #[track_caller]
    fn line(&mut self, what: &str, accept: impl Fn(&str) -> bool, mut meanwhile: impl FnMut()) -> String {
        let begun = Instant::now();
        loop {
            self.take_lines();
            if let Some(line) = self.lines.iter().find(|line| accept(line)) {
                return line.clone();
            }
            let lines = &self.lines;
            assert!(begun.elapsed() < PATIENCE, "{what} did not come: {lines:#?}");
            meanwhile();
        }
    }
}

/// Waits for a line of a program that does nothing with the loop yet; the first that is accepted.
#[track_caller]
pub fn until_line(talk: &mut Talk, what: &str, accept: impl Fn(&str) -> bool) -> String {
    talk.line(what, accept, || std::thread::sleep(Duration::from_millis(1)))
}

pub fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program::find(program).expect("looked for before"));
    command.args(words);
    command
}

pub fn s_client(files: &Files, to: SocketAddr, words: &[&str]) -> Command {
    let (to, authority) = (to.to_string(), files.path("ca.pem"));
    let mut command = command("openssl", &["s_client", "-connect", &to, "-CAfile", &authority]);
    command.args(["-servername", "localhost", "-verify_hostname", "localhost"]);
    command.arg("-verify_return_error").args(words);
    command
}
