//! SIGHUP, SIGTERM, and sessions that neither of them loses.

use std::net::TcpStream;

use sockeye_tests::wait::{PATIENCE, until};

use super::secure::Authority;
use super::{Backend, Relay, asks, client_of, file, finish, name_from};

/// A configuration with a listener of this name at any port.
fn config(listener: &str, backend: &Backend, more: &str) -> String {
    format!(
        "[[listeners]]\nname = \"{listener}\"\nat = \"tcp://127.0.0.1:0\"\nto = \"all\"\n\n\
         [[pools]]\nname = \"all\"\nbackends = [{{ at = \"{}\" }}]\n{more}",
        backend.to()
    )
}

#[test]
fn a_reload_keeps_sessions_and_takes_new_ones_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (Backend::start("one"), Backend::start("two"));
    let path = file(&folder, "relay.toml", &config("in", &one, "drain = \"1h\"\n"));
    let mut relay = Relay::start(&["--config", &path], 1);
    assert!(relay.at[0].ends_with(" (in)"), "{:?}", relay.at);
    let old = relay.client();
    assert_eq!(name_from(&old), "one");
    file(&folder, "relay.toml", &config("in", &two, "drain = \"1h\"\n"));
    relay.running.signal(libc::SIGHUP);
    relay.says("reloaded");
    let new = relay.client();
    assert_eq!(name_from(&new), "two");
    asks(&old, "the old one goes on");
    for (client, backend) in [(old, &one), (new, &two)] {
        finish(client);
        let line = relay.logs();
        assert!(line.starts_with("in ") && line.contains(&backend.to()), "{line}");
    }
    relay.end();
}

#[test]
fn a_reload_may_bring_a_listener_with_a_certificate_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, backend) = (Authority::new(), Backend::start("one"));
    let path = file(&folder, "relay.toml", &config("in", &backend, ""));
    let mut relay = Relay::start(&["--config", &path], 1);
    let [cert, key] = authority.sign();
    file(&folder, "cert.pem", &cert);
    file(&folder, "key.pem", &key);
    let more = "[[listeners]]\nname = \"safe\"\nat = \"tls://127.0.0.1:0\"\nto = \"all\"\ntls = \"site\"\n\
                [tls.server.site]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    file(&folder, "relay.toml", &config("in", &backend, more));
    relay.running.signal(libc::SIGHUP);
    let line = relay.logs();
    let at = line
        .strip_prefix("listening on tls://")
        .and_then(|at| at.strip_suffix(" (safe)"));
    let at = at
        .unwrap_or_else(|| panic!("{line}"))
        .parse()
        .expect("an address");
    let mut client = authority.connects(client_of(at));
    let mut name = [0; 4];
    std::io::Read::read_exact(&mut client, &mut name).expect("a name");
    assert_eq!(&name, b"one\n");
}

#[test]
fn a_listener_may_begin_to_speak_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, backend) = (Authority::new(), Backend::start("one"));
    let text = config("in", &backend, "");
    let path = file(&folder, "relay.toml", &text);
    let mut relay = Relay::start(&["--config", &path], 1);
    let [cert, key] = authority.sign();
    file(&folder, "cert.pem", &cert);
    file(&folder, "key.pem", &key);
    let tls = "[tls.server.default]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let text = format!(
        "{}{tls}",
        text.replace("at = \"tcp://127.0.0.1:0\"", "at = \"tls://127.0.0.1:0\"")
    );
    file(&folder, "relay.toml", &text);
    relay.running.signal(libc::SIGHUP);
    relay.says("reloaded");
    let mut client = authority.connects(relay.client());
    let mut name = [0; 4];
    std::io::Read::read_exact(&mut client, &mut name).expect("a name");
    assert_eq!(&name, b"one\n");
}

#[test]
fn what_is_wrong_with_the_new_file_leaves_the_old_running() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start("one");
    let right = config("in", &backend, "");
    let path = file(&folder, "relay.toml", &right);
    let mut relay = Relay::start(&["--config", &path], 1);
    let old = relay.client();
    assert_eq!(name_from(&old), "one");
    for (wrong, why) in [
        ("[[listeners]\n".to_owned(), "relay.toml:1:"),
        (
            config("in", &backend, "colour = 1\n"),
            "relay.toml:9:1: unknown field `colour`",
        ),
        (
            right.replace("to = \"all\"", "to = \"none\""),
            "listeners[0].to: no pool named `none`",
        ),
    ] {
        file(&folder, "relay.toml", &wrong);
        relay.running.signal(libc::SIGHUP);
        let said = relay.says("not reloaded, the old configuration stays");
        assert!(said.contains(why), "{said}");
        let client = relay.client();
        assert_eq!(name_from(&client), "one");
        asks(&old, "still here");
    }
    std::fs::remove_file(&path).expect("the file");
    relay.running.signal(libc::SIGHUP);
    assert!(relay.says("not reloaded").contains("No such file"));
    assert_eq!(name_from(&relay.client()), "one");
}

/// Whether nobody accepts there any more.
fn is_closed(at: std::net::SocketAddr) -> bool {
    TcpStream::connect(at).is_err()
}

#[test]
fn a_drain_waits_for_the_last_session() {
    let backend = Backend::start("one");
    let mut relay = Relay::start(&["--listen", "127.0.0.1:0", "--to", &backend.to()], 1);
    let client = relay.client();
    assert_eq!(name_from(&client), "one");
    relay.running.signal(libc::SIGTERM);
    relay.says("1 session may go on for 30 s");
    let at = relay.addr(0);
    until("a listener that is closed", PATIENCE, || is_closed(at));
    asks(&client, "until it ends");
    assert!(relay.running.is_running());
    finish(client);
    assert_eq!(relay.running.wait(PATIENCE).code(), Some(0));
    assert!(relay.logs().ends_with(", done"));
}

#[test]
fn a_second_signal_and_a_drain_that_is_over_cut_sessions() {
    let backend = Backend::start("one");
    for (seconds, again) in [("3600", true), ("0.05", false), ("0", false)] {
        let words = [
            "--drain-timeout",
            seconds,
            "--listen",
            "127.0.0.1:0",
            "--to",
            &backend.to(),
        ];
        let mut relay = Relay::start(&words, 1);
        let client = relay.client();
        assert_eq!(name_from(&client), "one");
        relay.running.signal(libc::SIGINT);
        if again {
            relay.says("another signal cuts them");
            relay.running.signal(libc::SIGTERM);
            relay.says("1 session cut");
        }
        assert_eq!(relay.running.wait(PATIENCE).code(), Some(0), "{seconds}");
        let line = relay.logs();
        assert!(line.ends_with(", drained"), "{seconds}: {line}");
    }
}
