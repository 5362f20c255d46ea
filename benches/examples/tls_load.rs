//! A closed loop under TLS: `tls_load PORT CONNECTIONS SIZE MESSAGES` sends that many messages to an echo on the loopback, one
//! under way on each connection; `tls_load PORT handshakes COUNT [resumed]` makes so many connections, one after another, and
//! sends a byte through each. It checks every byte that comes back, and prints how long it took.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

type Error = Box<dyn std::error::Error>;
type Connection = StreamOwned<ClientConnection, TcpStream>;

const USAGE: &str = "tls_load PORT CONNECTIONS SIZE MESSAGES, or tls_load PORT handshakes COUNT [resumed]";

fn connect(port: u16, config: &Arc<ClientConfig>) -> Result<Connection, Error> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    let mut connection = StreamOwned::new(tls, stream);
    // The handshake, and the tickets with the answer.
    exchange(&mut connection, &[7], &mut [0])?;
    Ok(connection)
}

fn exchange(connection: &mut Connection, message: &[u8], answer: &mut [u8]) -> Result<(), Error> {
    connection.write_all(message)?;
    connection.flush()?;
    connection.read_exact(answer)?;
    if answer != message {
        return Err("other bytes came back".into());
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let port = words.first().ok_or(USAGE)?.parse()?;
    let mut config = Arc::unwrap_or_clone(sockeye_benches::tls::client_config()?);
    let begun;
    if words.get(1).is_some_and(|word| word == "handshakes") {
        let count: u64 = words.get(2).ok_or(USAGE)?.parse()?;
        if words.get(3).is_none() {
            config.resumption = Resumption::disabled();
        }
        let config = Arc::new(config);
        connect(port, &config)?;
        begun = Instant::now();
        for _ in 0..count {
            let mut connection = connect(port, &config)?;
            connection.conn.send_close_notify();
            connection.flush()?;
        }
    } else {
        let number = |place: usize| -> Result<usize, Error> { Ok(words.get(place).ok_or(USAGE)?.parse()?) };
        let (connections, size, messages) = (number(1)?, number(2)?, number(3)?);
        let config = Arc::new(config);
        let mut all = (0..connections)
            .map(|_| connect(port, &config))
            .collect::<Result<Vec<_>, _>>()?;
        let message = vec![7; size];
        let mut answer = vec![0; size];
        begun = Instant::now();
        let mut left = messages;
        while left > 0 {
            let now = left.min(connections);
            for connection in &mut all[..now] {
                connection.write_all(&message)?;
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
    }
    writeln!(std::io::stdout(), "{} ns", begun.elapsed().as_nanos())?;
    Ok(())
}
