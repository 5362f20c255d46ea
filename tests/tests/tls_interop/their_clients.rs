//! Their clients, our server.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};
use sockeye::tls::{StreamTls, TlsInfo};
use sockeye_event_loop::{Stream, StreamService};
use sockeye_tests::pattern;
use sockeye_tests::skip::{self, Need};

use crate::setting::{Files, MIB, Server, Talk, VERSIONS, command, config, lines, ring, s_client, until};

/// Who ends the connection, once all has come back.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Service,
    Program,
}

/// Has a program carry a line and a MiB to the service and back, over both versions of IP.
fn a_program_is_echoed(
    program: &'static str,
    ends: Ends,
    client: impl Fn(&Files, SocketAddr) -> Command,
    check: impl Fn(&TlsInfo),
) {
    if !skip::require(&[Need::program(program), Need::Ipv6]) {
        return;
    }
    let files = Files::new();
    for sent in [b"salmon\n".to_vec(), pattern(MIB)] {
        let enough = match ends {
            Ends::Service => sent.len(),
            Ends::Program => usize::MAX,
        };
        let mut server = Server::new(&files, enough);
        for (nth, to) in [(1, server.v4), (2, server.v6.expect("asked for"))] {
            let output = server.run(&mut client(&files, to), &sent);
            assert!(output.status.success(), "{}", output.stderr);
            let got = output.stdout.len();
            assert!(
                output.stdout == sent,
                "{to}: {got} bytes came back; {}",
                output.stderr
            );
            assert_eq!(server.end(nth), "closed");
            if ends == Ends::Program {
                assert_eq!(server.notes.borrow().eofs, nth);
            }
            check(&server.opened(nth));
        }
        let stats = server.counters.read();
        assert_eq!((stats.completed, stats.failed, stats.truncated), (2, 0, 0));
    }
}

fn ncat(files: &Files, to: SocketAddr) -> Command {
    let (authority, ip, port) = (files.path("ca.pem"), to.ip().to_string(), to.port().to_string());
    let mut ncat = command("ncat", &["--ssl", "--ssl-verify", "--ssl-trustfile", &authority]);
    // Without `--no-shutdown` it ends TCP at the end of its input, under TLS.
    ncat.args(["--ssl-servername", "localhost", "--no-shutdown", &ip, &port]);
    ncat
}

fn socat(files: &Files, to: SocketAddr) -> Command {
    let authority = files.path("ca.pem");
    let to = format!("OPENSSL:{to},cafile={authority},verify=1,commonname=localhost,snihost=localhost");
    // So many seconds it waits for the other side when its own has ended.
    command("socat", &["-t20", "-", &to])
}

fn gnutls_cli(files: &Files, to: SocketAddr) -> Command {
    let (authority, ip, port) = (files.path("ca.pem"), to.ip().to_string(), to.port().to_string());
    let mut gnutls = command("gnutls-cli", &["--x509cafile", &authority, "-p", &port, &ip]);
    gnutls.args(["--sni-hostname", "localhost", "--verify-hostname", "localhost"]);
    gnutls
}

fn curl(files: &Files, url: &str) -> Command {
    let authority = files.path("ca.pem");
    let written = "\n%{http_code} %{http_version} %{ssl_verify_result}";
    let mut curl = command("curl", &["-sv", "-m", "10", "-w", written]);
    // The proxies of whoever runs the tests are none of it.
    curl.args(["--cacert", &authority, "--noproxy", "*", url]);
    curl
}

#[test]
fn s_client_is_echoed_by_both_versions() {
    for (flag, version) in VERSIONS {
        a_program_is_echoed(
            "openssl",
            Ends::Service,
            |files, to| s_client(files, to, &["-quiet", flag, "-alpn", "echo,h3"]),
            |tls| {
                assert_eq!(tls.version, version);
                assert_eq!(tls.server_name.as_deref(), Some("localhost"));
                assert_eq!(tls.alpn.as_deref(), Some(&b"echo"[..]));
            },
        );
    }
}

#[test]
fn s_client_resumes_its_session() {
    if !skip::require(&[Need::program("openssl")]) {
        return;
    }
    let files = Files::new();
    for (flag, version) in VERSIONS {
        // Sessions that the server keeps, and tickets that the client keeps.
        for tickets in [false, true] {
            let mut config = config(&files);
            if tickets {
                config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
            }
            let mut server = Server::with(config, 7);
            let at = server.v4;
            let session = files.path("session");
            let first = ["-ign_eof", flag, "-sess_out", &session];
            let output = server.run(&mut s_client(&files, at, &first), b"salmon\n");
            assert!(output.text().contains("\nNew, TLSv1."), "{}", output.text());
            // Often what the client says comes together with the end of its handshake. A session of TLS 1.3 is for once.
            let times = if version == ProtocolVersion::TLSv1_2 { 4 } else { 1 };
            for nth in 2..2 + times {
                let again = ["-ign_eof", flag, "-sess_in", &session];
                let output = server.run(&mut s_client(&files, at, &again), b"salmon\n");
                assert!(output.text().contains("\nReused, TLSv1."), "{}", output.text());
                assert!(output.text().contains("salmon\n"), "{}", output.text());
                assert_eq!(server.end(nth), "closed");
                assert_eq!(server.opened(nth).handshake, Some(HandshakeKind::Resumed));
                assert_eq!(server.opened(nth).version, version);
            }
            assert_eq!(server.opened(1).handshake, Some(HandshakeKind::Full));
            assert_eq!(server.counters.read().resumed, times as u64);
        }
    }
}

#[test]
fn s_client_shows_a_certificate_or_stays_outside() {
    if !skip::require(&[Need::program("openssl")]) {
        return;
    }
    let files = Files::new();
    let (chain, key) = files.sign("localhost");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(files.roots()), ring());
    let config = ServerConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let (known, _) = files.sign("client");
    // Of the same name, signed by somebody else.
    let strangers = Files::new();
    strangers.sign("client");
    for (flag, _) in VERSIONS {
        let mut server = Server::with(config.clone(), 7);
        let at = server.v4;
        let mut run = |shown: Option<&Files>, refused: u64| {
            let mut command = s_client(&files, at, &["-quiet", flag]);
            if let Some(shown) = shown {
                let (certificate, key) = (shown.path("client.pem"), shown.path("client.key"));
                command.args(["-cert", &certificate, "-key", &key]);
            }
            let output = server.run(&mut command, b"salmon\n");
            let counters = server.counters.clone();
            until(&mut server.events, "the refusals", || {
                counters.read().failed == refused
            });
            output
        };
        let output = run(Some(&files), 0);
        assert_eq!(output.text(), "salmon\n", "{}", output.stderr);
        for (shown, refused) in [(None, 1), (Some(&strangers), 2)] {
            let output = run(shown, refused);
            assert_eq!(output.text(), "");
            assert!(output.stderr.contains("alert"), "{}", output.stderr);
        }
        assert_eq!(server.notes.borrow().opened.len(), 1);
        // OpenSSL sends the authority's along.
        assert_eq!(server.opened(1).peer_certificates[..1], known);
    }
}

#[test]
fn renegotiation_is_refused_and_others_go_on() {
    if !skip::require(&[Need::program("openssl")]) {
        return;
    }
    let files = Files::new();
    let mut server = Server::new(&files, usize::MAX);
    let at = server.v4;
    let mut other = Talk::start(&mut s_client(&files, at, &["-quiet", "-tls1_2"]));
    server.echo(&mut other, "trout");
    let mut talk = Talk::start(&mut s_client(&files, at, &["-tls1_2"]));
    server.echo(&mut talk, "salmon");
    talk.say("R");
    server.line(&mut talk, "the attempt", |line| line == "RENEGOTIATING");
    // OpenSSL takes the refusal (RFC 5746, section 4.5: a warning) for the end of the connection.
    server.line(&mut talk, "the refusal", |line| line.contains("no renegotiation"));
    let end = server.end(1);
    assert!(end.contains("handshake_failure"), "{end}");
    assert_eq!(server.notes.borrow().opened.len(), 2);
    server.echo(&mut other, "still there");
    let mut new = Talk::start(&mut s_client(&files, at, &["-quiet", "-tls1_2"]));
    server.echo(&mut new, "and a new one");
    let stats = server.counters.read();
    assert_eq!((stats.completed, stats.failed), (3, 0));
}

#[test]
fn s_client_updates_its_keys_and_asks_for_new_ones() {
    if !skip::require(&[Need::program("openssl")]) {
        return;
    }
    let files = Files::new();
    let mut server = Server::new(&files, usize::MAX);
    let mut talk = Talk::start(&mut s_client(&files, server.v4, &["-tls1_3", "-msg"]));
    server.echo(&mut talk, "salmon");
    // `k`: new keys of its own. `K`: of ours too. The messages are seen by `-msg`.
    for (word, sent, answered) in [("k", 1, 0), ("K", 2, 1), ("k", 3, 1), ("K", 4, 2)] {
        talk.say(word);
        server.line(&mut talk, "the update", |line| line == "KEYUPDATE");
        talk.lines.retain(|line| line != "KEYUPDATE");
        for n in 0..3 {
            server.echo(&mut talk, &format!("{n} after {word} {sent}"));
        }
        let updates = talk.lines.iter().filter(|line| line.contains("KeyUpdate"));
        let (to, from): (Vec<_>, Vec<_>) = updates.partition(|line| line.starts_with(">>>"));
        assert_eq!((to.len(), from.len()), (sent, answered), "{:#?}", talk.lines);
    }
    drop(talk.stdin);
    assert_eq!(server.end(1), "closed");
    assert_eq!(server.notes.borrow().eofs, 1);
}

#[test]
fn gnutls_cli_is_echoed_and_resumes() {
    if !skip::require(&[Need::program("gnutls-cli")]) {
        return;
    }
    let files = Files::new();
    let versions = [
        ("NORMAL:-VERS-ALL:+VERS-TLS1.2", ProtocolVersion::TLSv1_2),
        ("NORMAL:-VERS-ALL:+VERS-TLS1.3", ProtocolVersion::TLSv1_3),
    ];
    for (priority, version) in versions {
        let mut server = Server::new(&files, usize::MAX);
        let mut gnutls = gnutls_cli(&files, server.v4);
        // With `--resume` it connects twice. In TLS 1.3 it waits for a ticket for 50 ms only, unless it is told to wait.
        gnutls.args([
            "--priority",
            priority,
            "--alpn",
            "echo",
            "--resume",
            "--waitresumption",
        ]);
        let mut talk = Talk::start(&mut gnutls);
        server.line(&mut talk, "the second session", |line| {
            line.contains("This is a resumed session")
        });
        server.echo(&mut talk, "salmon");
        let tls = server.opened(2);
        assert_eq!((tls.version, tls.alpn.as_deref()), (version, Some(&b"echo"[..])));
        assert_eq!(tls.server_name.as_deref(), Some("localhost"));
        assert_eq!(server.counters.read().resumed, 1);
        drop(talk.stdin);
        assert_eq!((server.end(1), server.end(2)), ("closed".into(), "closed".into()));
        assert_eq!(server.counters.read().truncated, 0);
    }
}

/// It writes more than what comes back, and takes what it says line by line.
#[test]
fn gnutls_cli_is_echoed_a_mib() {
    if !skip::require(&[Need::program("gnutls-cli")]) {
        return;
    }
    let files = Files::new();
    let (sent, _) = lines();
    let mut server = Server::new(&files, sent.len());
    let output = server.run(&mut gnutls_cli(&files, server.v4), &sent);
    let begin = output.stdout.windows(63).position(|piece| piece == &sent[..63]);
    let back = &output.stdout[begin.expect("something came back")..];
    let got = back.len();
    assert!(
        back.starts_with(&sent),
        "{got} bytes came back; {}",
        output.stderr
    );
    assert_eq!(server.end(1), "closed");
}

#[test]
fn ncat_is_echoed() {
    a_program_is_echoed("ncat", Ends::Service, ncat, |tls| {
        assert_eq!(tls.server_name.as_deref(), Some("localhost"));
    });
}

#[test]
fn socat_is_echoed_and_ends_its_side() {
    a_program_is_echoed("socat", Ends::Program, socat, |tls| {
        assert_eq!(tls.server_name.as_deref(), Some("localhost"));
    });
}

/// What the others do is worth something only if they look at the certificate.
#[test]
fn nobody_trusts_an_unknown_authority() {
    let programs = ["openssl", "gnutls-cli", "ncat", "socat", "curl"];
    if !skip::require(&programs.map(Need::program)) {
        return;
    }
    let (files, strangers) = (Files::new(), Files::new());
    let mut server = Server::new(&files, 7);
    let at = server.v4;
    let url = format!("https://localhost:{}/", at.port());
    let clients = [
        s_client(&strangers, at, &["-quiet"]),
        gnutls_cli(&strangers, at),
        ncat(&strangers, at),
        socat(&strangers, at),
        curl(&strangers, &url),
    ];
    for (mut client, nth) in clients.into_iter().zip(1..) {
        let output = server.run(&mut client, b"salmon\n");
        assert!(!output.status.success(), "{client:?}: {}", output.stderr);
        assert!(!output.text().contains("salmon"), "{client:?}");
        let counters = server.counters.clone();
        until(&mut server.events, "the failure", || {
            counters.read().failed == nth
        });
    }
    assert_eq!(server.counters.read().completed, 0);
}

/// Answers each request with the version of TLS.
struct Page;

impl StreamService for Page {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let Some(end) = data.windows(4).position(|window| window == b"\r\n\r\n") else {
            return 0;
        };
        let page = format!("{:?}", stream.tls().unwrap().version);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
        assert!(stream.write((head + &page).as_bytes()).is_taken());
        end + 4
    }
}

#[test]
fn curl_gets_a_page_and_plain_http_an_answer() {
    if !skip::require(&[Need::program("curl")]) {
        return;
    }
    let files = Files::new();
    let mut server = Server::of(|_| Page, config(&files), &[b"http/1.1"]);
    let port = server.v4.port();
    // Two pages over one connection, which curl keeps.
    let url = format!("https://localhost:{port}/[1-2]");
    let output = server.run(&mut curl(&files, &url), b"");
    assert!(output.status.success(), "{}", output.stderr);
    let pages = output.text();
    assert_eq!(pages.matches("TLSv1_3\n").count(), 2, "{pages}");
    assert_eq!(pages.matches("\n200 1.1 0").count(), 2, "{pages}");
    let stats = server.counters.read();
    assert_eq!((stats.completed, stats.failed), (1, 0));
    assert!(
        output.stderr.contains("ALPN: server accepted http/1.1"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("Re-using existing connection"));

    let output = server.run(&mut curl(&files, &format!("http://localhost:{port}/")), b"");
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.text().contains("Use https://"), "{}", output.text());
    assert!(output.text().ends_with("\n400 1.1 0"), "{}", output.text());
    assert_eq!(server.counters.read().plain_http, 1);
}
