//! The services with the programs that people ask them by.

use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use super::{check_daytime, check_time, file, seconds_now, serve, text_of};
use crate::relay::secure::Authority;
use crate::server::Server;

#[track_caller]
fn output(command: &mut Command) -> program::Output {
    let output = program::output(command, PATIENCE);
    assert!(output.status.success(), "{command:?}: {}", output.stderr);
    output
}

#[test]
fn rdate_reads_the_time() {
    if !require(&[Need::program("rdate")]) {
        return;
    }
    let begun = seconds_now();
    let server = Server::start(&["time"], &["tcp://127.0.0.1:0"]);
    let port = server.addresses[0].port().to_string();
    let mut rdate = Command::new(program::find("rdate").expect("it is there"));
    // It prints and sets nothing.
    rdate
        .args(["-p", "-o", &port, "127.0.0.1"])
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    let said = output(&mut rdate).text();
    let read = output(Command::new("date").args(["-u", "-d", said.trim(), "+%s"])).text();
    let seconds: u64 = read.trim().parse().expect("a number");
    assert!((begun..=seconds_now()).contains(&seconds), "{said}");
}

#[test]
fn nc_and_socat_read_what_is_said() {
    if !require(&[Need::program("nc"), Need::program("socat"), Need::Ipv6]) {
        return;
    }
    let begun = seconds_now();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sock");
    let server = Server::start(
        &["daytime"],
        &["tcp://127.0.0.1:0", "tcp://[::1]:0", "udp://127.0.0.1:0"],
    );
    let [port, port6, datagrams] = [0, 1, 2].map(|nth: usize| server.addresses[nth].port().to_string());
    check_daytime(
        &output(Command::new("nc").args(["127.0.0.1", &port])).stdout,
        begun,
    );
    check_daytime(&output(Command::new("nc").args(["::1", &port6])).stdout, begun);
    let socat = format!("TCP6:[::1]:{port6}");
    check_daytime(
        &output(Command::new("socat").args(["-u", &socat, "-"])).stdout,
        begun,
    );
    let udp = format!("UDP4:127.0.0.1:{datagrams}");
    let mut socat = Command::new("socat");
    // It ends a second after its stdin; an answer ends it at once.
    socat.args(["-t", "10", "-", &format!("{udp},readbytes=31")]);
    check_daytime(
        &program::output_with_input(&mut socat, &[b'?'; 31], PATIENCE).stdout,
        begun,
    );
    let at = format!("unix:{}", text_of(&path));
    let (_unix, _) = serve(&["time", "--listen", &at], 1);
    check_time(&output(Command::new("nc").arg("-U").arg(&path)).stdout, begun);
}

#[test]
fn openssl_and_python_read_what_is_said() {
    if !require(&[Need::program("openssl"), Need::program("python3")]) {
        return;
    }
    let begun = seconds_now();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let [cert, key] = authority.sign();
    let (cert, key) = (file(&folder, "cert", cert), file(&folder, "key", key));
    let ca = file(&folder, "ca", authority.pem());
    let with = ["--cert", text_of(&cert), "--key", text_of(&key)];
    let words = [&["daytime"], &with[..]].concat();
    let server = Server::start(&words, &["tls://127.0.0.1:0", "udp://127.0.0.1:0"]);
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            text_of(&ca),
        ])
        .arg("-ign_eof")
        .args(["-connect", &server.addresses[0].to_string()]);
    check_daytime(&output(&mut openssl).stdout, begun);
    let script = "\
import socket, sys
peer = ('127.0.0.1', int(sys.argv[1]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.sendto(bytes(40), peer)
answer, source = s.recvfrom(100)
assert source == peer
sys.stdout.buffer.write(answer)
";
    let port = server.addresses[1].port().to_string();
    check_daytime(
        &output(Command::new("python3").args(["-c", script, &port])).stdout,
        begun,
    );
}
