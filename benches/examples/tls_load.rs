//! A closed loop under TLS, against an echo on the loopback:
//!
//! - `tls_load PORT CONNECTIONS SIZE MESSAGES [PID]` sends that many messages, one under way on each connection;
//! - `tls_load PORT handshakes|resumed COUNT [PID]` makes so many connections, one after another, and sends a byte through each;
//! - `tls_load PORT idle COUNT PID` has so many at once.
//!
//! It checks every byte that comes back, and that what is to be resumed is, and prints how long it took; of the process PID
//! besides what CPU time it spent meanwhile, or how much more memory it has.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use sockeye_benches::meter::{cpu_ns, resident_bytes};

type Error = Box<dyn std::error::Error>;
type Connection = StreamOwned<ClientConnection, TcpStream>;

const USAGE: &str = "tls_load PORT CONNECTIONS SIZE MESSAGES [PID], tls_load PORT handshakes|resumed COUNT [PID], \
or tls_load PORT idle COUNT PID";

/// Messages of each connection before those that count, where CPU time is measured.
const WARM: usize = 8;

/// The command line after the port.
struct Words(Vec<String>);

impl Words {
    fn number<T: std::str::FromStr>(&self, place: usize) -> Result<T, Error>
    where
        T::Err: std::error::Error + 'static,
    {
        Ok(self.0.get(place).ok_or(USAGE)?.parse()?)
    }

    fn pid(&self, place: usize) -> Result<Option<u32>, Error> {
        self.0.get(place).map(|_| self.number(place)).transpose()
    }
}

fn connect(port: u16, config: &Arc<ClientConfig>) -> Result<Connection, Error> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    let mut connection = StreamOwned::new(tls, stream);
    // The handshake, and the tickets with the answer.
    connection.write_all(&[7])?;
    connection.flush()?;
    let mut answer = [0];
    connection.read_exact(&mut answer)?;
    if answer != [7] {
        return Err("other bytes came back".into());
    }
    Ok(connection)
}

/// Sends so many messages in all, one at a time on each connection.
fn exchange(all: &mut [Connection], message: &[u8], messages: usize) -> Result<(), Error> {
    let mut answer = vec![0; message.len()];
    let mut left = messages;
    while left > 0 {
        let now = left.min(all.len());
        for connection in &mut all[..now] {
            connection.write_all(message)?;
            connection.flush()?;
        }
        for connection in &mut all[..now] {
            connection.read_exact(&mut answer)?;
            if answer != message {
                return Err("other bytes came back".into());
            }
        }
        left -= now;
    }
    Ok(())
}

/// Does it, and prints what it took.
fn measured(pid: Option<u32>, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let before = pid.map(cpu_ns).transpose()?;
    let begun = Instant::now();
    work()?;
    let time = begun.elapsed();
    let after = pid.map(cpu_ns).transpose()?;
    writeln!(std::io::stdout(), "{} ns", time.as_nanos())?;
    if let Some((after, before)) = after.zip(before) {
        writeln!(std::io::stdout(), "cpu {}", after - before)?;
    }
    Ok(())
}

fn handshakes(port: u16, mut config: ClientConfig, words: &Words, resumed: bool) -> Result<(), Error> {
    let (count, pid) = (words.number::<u64>(2)?, words.pid(3)?);
    if !resumed {
        config.resumption = Resumption::disabled();
    }
    let wanted = if resumed {
        HandshakeKind::Resumed
    } else {
        HandshakeKind::Full
    };
    let config = Arc::new(config);
    connect(port, &config)?;
    measured(pid, || {
        for _ in 0..count {
            let mut connection = connect(port, &config)?;
            if connection.conn.handshake_kind() != Some(wanted) {
                return Err(format!("not {wanted:?}: {:?}", connection.conn.handshake_kind()).into());
            }
            connection.conn.send_close_notify();
            connection.flush()?;
        }
        Ok(())
    })
}

fn main() -> Result<(), Error> {
    let words = Words(std::env::args().skip(1).collect());
    let port = words.number(0)?;
    let config = Arc::unwrap_or_clone(sockeye_benches::tls::client_config()?);
    match words.0.get(1).map(String::as_str) {
        Some("handshakes") => handshakes(port, config, &words, false),
        Some("resumed") => handshakes(port, config, &words, true),
        Some("idle") => {
            let (count, pid) = (words.number::<usize>(2)?, words.number(3)?);
            let config = Arc::new(config);
            // The first brings what there is only once.
            let mut all = vec![connect(port, &config)?];
            let before = resident_bytes(pid)?;
            for _ in 0..count {
                all.push(connect(port, &config)?);
            }
            let more = resident_bytes(pid)?.saturating_sub(before);
            writeln!(std::io::stdout(), "memory {more}")?;
            Ok(())
        }
        _ => {
            let (connections, size): (usize, usize) = (words.number(1)?, words.number(2)?);
            let (messages, pid) = (words.number(3)?, words.pid(4)?);
            let config = Arc::new(config);
            let mut all = (0..connections)
                .map(|_| connect(port, &config))
                .collect::<Result<Vec<_>, _>>()?;
            let message = vec![7; size];
            if pid.is_some() {
                exchange(&mut all, &message, WARM * connections)?;
            }
            measured(pid, || exchange(&mut all, &message, messages))
        }
    }
}
