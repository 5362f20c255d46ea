//! The sockets of each crate without a loop.

use std::io::{self, Read, Seek as _, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use sockeye::raw::{Access, Family, IcmpSocket, IpSocket};
use sockeye::tcp::{AcceptOutcome, TcpListener, TcpState, TcpStream};
use sockeye::udp::{UdpOptions, UdpSocket};
use sockeye::unix::{UnixListener, UnixOutgoing, UnixStream};
use sockeye_socket::os::Pipe;
use sockeye_socket::{Metadata, Outgoing, RecvBatch, SendBatch};

use crate::ground::{DEADLINE, Failure, loopback};

const BYTES: usize = 100_000;
/// One wait; the deadline is over all of them.
const WAIT: Duration = Duration::from_millis(200);

/// Repeats a call as a user of a nonblocking socket does: `WouldBlock` waits, `Interrupted` begins again.
fn patiently<T>(
    mut call: impl FnMut() -> io::Result<T>,
    mut wait: impl FnMut() -> io::Result<bool>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
        if begun.elapsed() > DEADLINE {
            return Err(Failure::Stuck("a socket that becomes ready".to_owned()));
        }
    }
}

fn wrong(what: &str) -> Failure {
    Failure::Wrong(what.to_owned())
}

/// Two ends of a connection.
fn connected() -> Result<(TcpStream, TcpStream), Failure> {
    let listener = TcpListener::bind(loopback())?;
    let client = TcpStream::start_connect(listener.local_addr()?)?.wait(DEADLINE)?;
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        match listener.accept_outcome() {
            AcceptOutcome::Accepted(server, peer) => {
                if peer != client.local_addr()? {
                    return Err(wrong("another peer"));
                }
                return Ok((client, server));
            }
            AcceptOutcome::Empty => {
                listener.wait_readable(WAIT)?;
            }
            AcceptOutcome::Retry(_) => {}
            AcceptOutcome::BackOff(error) | AcceptOutcome::Fatal(error) => return Err(error.into()),
        }
    }
    Err(Failure::Stuck("the accept".to_owned()))
}

/// Writes a pattern into one end and reads it from the other, in turns.
fn carried(
    mut from: impl Write,
    to: impl Read,
    room: impl FnMut() -> io::Result<bool>,
    data: impl FnMut() -> io::Result<bool>,
) -> Result<(), Failure> {
    let pattern = sockeye_tests::pattern(BYTES);
    let mut received = vec![0; BYTES];
    let (mut to, mut room, mut data) = (to, room, data);
    let (mut sent, mut got) = (0, 0);
    while got < BYTES {
        if sent < BYTES {
            let end = BYTES.min(sent + 16_000);
            sent += patiently(|| from.write(&pattern[sent..end]), &mut room)?;
        }
        match patiently(|| to.read(&mut received[got..]), &mut data)? {
            0 => return Err(wrong("an end that nobody sent")),
            len => got += len,
        }
    }
    if received != pattern {
        return Err(wrong("other bytes"));
    }
    Ok(())
}

pub(crate) fn tcp() -> Result<(), Failure> {
    let (client, server) = connected()?;
    client.set_nodelay(true)?;
    server.set_linger(None)?;
    let info = client.info()?;
    if info.state() != TcpState::Established {
        return Err(wrong("the state of the connection"));
    }
    carried(
        &client,
        &server,
        || client.wait_writable(WAIT),
        || server.wait_readable(WAIT),
    )?;
    client.shutdown(std::net::Shutdown::Write)?;
    let mut rest = [0; 16];
    if patiently(|| (&server).read(&mut rest), || server.wait_readable(WAIT))? != 0 {
        return Err(wrong("bytes after the end"));
    }
    let copy = server.try_clone()?;
    drop(server);
    copy.abort()?;
    Ok(())
}

/// From a file into a socket, and on through a pipe into another one.
pub(crate) fn splice() -> Result<(), Failure> {
    const LEN: usize = 50_000;
    let pattern = sockeye_tests::pattern(LEN);
    let mut file = tempfile::tempfile()?;
    file.write_all(&pattern)?;
    file.rewind()?;
    let (client, front) = connected()?;
    let (back, server) = connected()?;
    let mut offset = 0;
    while offset < LEN as u64 {
        patiently(
            || client.send_file(&file, &mut offset, LEN),
            || client.wait_writable(WAIT),
        )?;
    }
    let mut pipe = Pipe::new()?;
    let mut received = Vec::new();
    let mut buffer = vec![0; LEN];
    let mut moved = 0;
    while received.len() < LEN {
        if moved < LEN {
            let filled = patiently(|| front.splice_into(&mut pipe, LEN), || front.wait_readable(WAIT))?;
            if filled == 0 {
                return Err(wrong("an end that nobody sent"));
            }
            moved += filled;
            while !pipe.is_empty() {
                patiently(|| back.splice_from(&mut pipe, false), || back.wait_writable(WAIT))?;
            }
        }
        let len = patiently(|| (&server).read(&mut buffer), || server.wait_readable(WAIT))?;
        received.extend_from_slice(&buffer[..len]);
    }
    if received != pattern {
        return Err(wrong("other bytes"));
    }
    Ok(())
}

pub(crate) fn udp() -> Result<(), Failure> {
    const COUNT: usize = 8;
    const LEN: usize = 500;
    let pattern = sockeye_tests::pattern(COUNT * LEN);
    let here = UdpSocket::bind_with(loopback(), &UdpOptions::default())?;
    let there = UdpSocket::bind(loopback())?;
    there.set_metadata(Metadata::ALL)?;
    here.set_error_queue(true)?;
    here.connect(there.local_addr()?)?;
    let mut batch = SendBatch::new(COUNT);
    let report = here.send_batch(&mut batch, 0..COUNT, |index| {
        Outgoing::connected(&pattern[index * LEN..][..LEN])
    });
    let sent = report.count;
    let mut buffer = RecvBatch::new(COUNT, 2000);
    let mut got = 0;
    while got < sent {
        patiently(
            || there.recv_batch(&mut buffer),
            || there.wait_readable(Duration::from_millis(200)),
        )?;
        for message in buffer.iter() {
            if message.payload != &pattern[got * LEN..][..LEN] || message.truncated {
                return Err(wrong("other bytes"));
            }
            got += 1;
        }
    }
    if let Some(failure) = report.error {
        return Err(failure.into());
    }
    if sent < COUNT {
        return Err(wrong("fewer were sent, and no error"));
    }
    // The other way, one by one.
    let to = here.local_addr()?;
    patiently(|| there.send_to(&pattern[..LEN], to), || Ok(true))?;
    let mut one = vec![0; 2000];
    let len = patiently(
        || here.recv(&mut one),
        || here.wait_readable(Duration::from_millis(200)),
    )?;
    if one[..len] != pattern[..LEN] {
        return Err(wrong("other bytes"));
    }
    if here.recv_error()?.is_some() {
        return Err(wrong("an error in the queue"));
    }
    Ok(())
}

/// Bytes and descriptors over a Unix socket with a name.
pub(crate) fn unix() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    let client = UnixStream::connect(&path)?;
    let (server, _) = patiently(|| listener.accept(), || listener.wait_readable(WAIT))?;
    carried(
        &client,
        &server,
        || client.wait_writable(WAIT),
        || server.wait_readable(WAIT),
    )?;
    let mut file = tempfile::tempfile()?;
    file.write_all(b"what is in the file")?;
    file.rewind()?;
    let fds = [file.as_fd(), file.as_fd()];
    let message = UnixOutgoing::new(b"two").fds(&fds);
    patiently(|| client.send_msg(&message), || client.wait_writable(WAIT))?;
    let mut buffer = [0; 16];
    let message = patiently(|| server.recv_msg(&mut buffer), || server.wait_readable(WAIT))?;
    if message.fds_lost {
        return Err(Failure::Told("descriptors were lost".to_owned()));
    }
    if &buffer[..message.len] != b"two" || message.fds.len() != 2 {
        return Err(wrong("another message"));
    }
    let mut text = String::new();
    let first: OwnedFd = message
        .fds
        .into_iter()
        .next()
        .ok_or_else(|| wrong("no descriptor"))?;
    std::fs::File::from(first).read_to_string(&mut text)?;
    if text != "what is in the file" {
        return Err(wrong("another file"));
    }
    server.peer_credentials()?;
    Ok(())
}

/// A ping by hand, and a packet of an experimental protocol.
pub(crate) fn raw() -> Result<(), Failure> {
    let here: SocketAddr = loopback();
    let icmp = IcmpSocket::open(Family::V4, Access::Auto)?;
    icmp.set_error_queue(true)?;
    let mut request = [0; 64];
    let len = icmp.write_echo(&mut request, 1, b"payload")?;
    patiently(|| icmp.send_to(&request[..len], here), || Ok(true))?;
    let mut buffer = [0; 256];
    let begun = Instant::now();
    loop {
        let message = patiently(
            || icmp.recv_msg(&mut buffer).map(|packet| packet.payload.to_vec()),
            || icmp.wait_readable(Duration::from_millis(200)),
        )?;
        // A raw socket sees the request too, and what others send.
        if message.first() == Some(&0) && message.ends_with(b"payload") {
            break;
        }
        if begun.elapsed() > DEADLINE {
            return Err(Failure::Stuck("the answer to a ping".to_owned()));
        }
    }
    // RFC 3692: for experiments.
    let packets = IpSocket::bind(here, 253)?;
    patiently(|| packets.send_to(b"experiment", here), || Ok(true))?;
    let payload = patiently(
        || {
            packets
                .recv_msg(&mut buffer)
                .map(|packet| packet.payload.to_vec())
        },
        || packets.wait_readable(Duration::from_millis(200)),
    )?;
    if payload != b"experiment" {
        return Err(wrong("other bytes"));
    }
    Ok(())
}
