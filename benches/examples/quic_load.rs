//! A load of QUIC by quinn, against an echo on the loopback:
//!
//! - `quic_load PORT CONNECTIONS SIZE MESSAGES [PID]` sends that many messages, one under way on each connection;
//! - `quic_load PORT bulk STREAMS PIECES [PID]` sends so many pieces of 64 KiB over the streams of one connection, all at once;
//! - `quic_load PORT handshakes COUNT [PID]` makes so many connections, one after another, and sends a byte through each;
//! - `quic_load PORT idle COUNT PID` has so many at once.
//!
//! It checks every byte that comes back, and prints how long it took; of the process PID besides what CPU time it spent
//! meanwhile, or how much more memory it has.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::client::Resumption;
use sockeye_benches::meter::{cpu_ns, resident_bytes};

type Error = Box<dyn std::error::Error>;

const USAGE: &str = "quic_load PORT CONNECTIONS SIZE MESSAGES [PID], quic_load PORT bulk STREAMS PIECES [PID], \
quic_load PORT handshakes COUNT [PID], or quic_load PORT idle COUNT PID";

/// Messages of each connection before those that count, where CPU time is measured.
const WARM: usize = 8;
/// One piece of a bulk transfer.
const PIECE: usize = 64 * 1024;

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

/// A connection with one stream.
struct Open {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

async fn connect(endpoint: &Endpoint, at: SocketAddr) -> Result<Open, Error> {
    let connection = endpoint.connect(at, "localhost")?.await?;
    let (send, recv) = connection.open_bi().await?;
    let mut open = Open {
        connection,
        send,
        recv,
    };
    exchange(&mut open, &[7], &mut [0]).await?;
    Ok(open)
}

async fn exchange(open: &mut Open, message: &[u8], answer: &mut [u8]) -> Result<(), Error> {
    open.send.write_all(message).await?;
    open.recv.read_exact(answer).await?;
    if answer != message {
        return Err("other bytes came back".into());
    }
    Ok(())
}

/// Sends so many messages in all, one at a time on each connection.
async fn exchange_all(all: &mut [Open], message: &[u8], messages: usize) -> Result<(), Error> {
    let mut answer = vec![0; message.len()];
    let mut left = messages;
    while left > 0 {
        let now = left.min(all.len());
        for open in &mut all[..now] {
            open.send.write_all(message).await?;
        }
        for open in &mut all[..now] {
            open.recv.read_exact(&mut answer).await?;
            if answer != message {
                return Err("other bytes came back".into());
            }
        }
        left -= now;
    }
    Ok(())
}

/// Sends pieces over all streams at once, and reads them back.
async fn bulk(connection: &Connection, streams: usize, pieces: usize) -> Result<(), Error> {
    let mut tasks = Vec::new();
    for nth in 0..streams {
        let (mut send, mut recv) = connection.open_bi().await?;
        let mine = pieces / streams + usize::from(nth < pieces % streams);
        tasks.push(tokio::spawn(async move {
            let sender = async {
                let piece = vec![7; PIECE];
                for _ in 0..mine {
                    send.write_all(&piece).await.ok()?;
                }
                send.finish().ok()
            };
            let reader = async {
                let mut heard = 0;
                while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.ok()? {
                    if chunk.bytes.iter().any(|byte| *byte != 7) {
                        return None;
                    }
                    heard += chunk.bytes.len();
                }
                (heard == mine * PIECE).then_some(())
            };
            let (sent, heard) = tokio::join!(sender, reader);
            sent.and(heard)
        }));
    }
    for task in tasks {
        task.await?.ok_or("other bytes came back, or not all of them")?;
    }
    Ok(())
}

/// Does it, and prints what it took.
async fn measured(pid: Option<u32>, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let before = pid.map(cpu_ns).transpose()?;
    let begun = Instant::now();
    work.await?;
    let time = begun.elapsed();
    let after = pid.map(cpu_ns).transpose()?;
    writeln!(std::io::stdout(), "{} ns", time.as_nanos())?;
    if let Some((after, before)) = after.zip(before) {
        writeln!(std::io::stdout(), "cpu {}", after - before)?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let words = Words(std::env::args().skip(1).collect());
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, words.number(0)?));
    let mut tls = Arc::unwrap_or_clone(sockeye_benches::tls::client_config()?);
    tls.resumption = Resumption::disabled();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(config);
    match words.0.get(1).map(String::as_str) {
        Some("handshakes") => {
            let (count, pid) = (words.number::<u64>(2)?, words.pid(3)?);
            connect(&endpoint, at).await?;
            let work = async {
                for _ in 0..count {
                    let open = connect(&endpoint, at).await?;
                    open.connection.close(VarInt::from_u32(0), b"");
                }
                Ok(())
            };
            measured(pid, work).await
        }
        Some("bulk") => {
            let (streams, pieces): (usize, usize) = (words.number(2)?, words.number(3)?);
            let pid = words.pid(4)?;
            let open = connect(&endpoint, at).await?;
            if pid.is_some() {
                bulk(&open.connection, streams, streams * WARM).await?;
            }
            measured(pid, bulk(&open.connection, streams, pieces)).await
        }
        Some("idle") => {
            let (count, pid) = (words.number::<usize>(2)?, words.number(3)?);
            // The first brings what there is only once.
            let mut all = vec![connect(&endpoint, at).await?];
            let before = resident_bytes(pid)?;
            for _ in 0..count {
                all.push(connect(&endpoint, at).await?);
            }
            let more = resident_bytes(pid)?.saturating_sub(before);
            writeln!(std::io::stdout(), "memory {more}")?;
            Ok(())
        }
        _ => {
            let (connections, size): (usize, usize) = (words.number(1)?, words.number(2)?);
            let (messages, pid) = (words.number(3)?, words.pid(4)?);
            let mut all = Vec::new();
            for _ in 0..connections {
                all.push(connect(&endpoint, at).await?);
            }
            let message = vec![7; size];
            if pid.is_some() {
                exchange_all(&mut all, &message, WARM * connections).await?;
            }
            measured(pid, exchange_all(&mut all, &message, messages)).await
        }
    }
}
