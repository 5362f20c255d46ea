//! quinn connects to us.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, VarInt};
use sockeye_quic::QuicOptions;

use crate::ours::Server;
use crate::setting::{Identity, pattern};

const PATIENCE: Duration = Duration::from_secs(120);

pub fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
}

fn endpoint(identity: &Identity) -> Endpoint {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut endpoint = Endpoint::client(any).unwrap();
    let mut tls = identity.client();
    tls.enable_early_data = true;
    let tls = QuicClientConfig::try_from(tls).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(tls)));
    endpoint
}

#[test]
fn a_hundred_megabytes_come_back_as_they_were() {
    let identity = Identity::new();
    let server = Server::start(&identity, QuicOptions::default());
    run(async {
        const PIECE: u32 = 1_000_000;
        let endpoint = endpoint(&identity);
        let connection = endpoint.connect(server.at, "localhost").unwrap().await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let piece = pattern(PIECE);
        let sent = piece.clone();
        let writer = async move {
            for _ in 0..100 {
                send.write_all(&sent).await.unwrap();
            }
            send.finish().unwrap();
            send
        };
        let reader = async move {
            let mut heard = vec![0; piece.len()];
            for nth in 0..100 {
                recv.read_exact(&mut heard).await.unwrap();
                assert!(heard == piece, "megabyte {nth}");
            }
            assert_eq!(recv.read(&mut heard).await.unwrap(), None);
        };
        let _ = tokio::join!(writer, reader);
        connection.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
    });
    let stats = server.counters.read();
    // Runs of datagrams leave in one call.
    assert!(stats.udp_out > 4 * stats.batches_out, "{stats:?}");
}

#[test]
fn a_thousand_streams_at_once() {
    let identity = Identity::new();
    let options = QuicOptions {
        max_streams: 1_000,
        ..QuicOptions::default()
    };
    let server = Server::start(&identity, options);
    run(async {
        let endpoint = endpoint(&identity);
        let connection = endpoint.connect(server.at, "localhost").unwrap().await.unwrap();
        let mut open = Vec::new();
        for nth in 0..1_000_u32 {
            let (mut send, recv) = connection.open_bi().await.unwrap();
            send.write_all(&nth.to_be_bytes()).await.unwrap();
            open.push((nth, send, recv));
        }
        for (nth, mut send, mut recv) in open {
            send.finish().unwrap();
            assert_eq!(recv.read_to_end(100).await.unwrap(), nth.to_be_bytes());
        }
        // As many again: the places of the first are free.
        for nth in 0..1_000_u32 {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(&nth.to_be_bytes()).await.unwrap();
            send.finish().unwrap();
            assert_eq!(recv.read_to_end(100).await.unwrap(), nth.to_be_bytes());
        }
    });
    assert_eq!(server.counters.read().streams, 2_000);
}

#[test]
fn datagrams_come_back() {
    let identity = Identity::new();
    let server = Server::start(&identity, QuicOptions::default());
    run(async {
        let endpoint = endpoint(&identity);
        let connection = endpoint.connect(server.at, "localhost").unwrap().await.unwrap();
        let most = connection.max_datagram_size().unwrap();
        for len in [0, 1, 500, most.min(1_100)] {
            // Any of them may be lost, if not on the loopback.
            let data = vec![7; len];
            connection.send_datagram(data.clone().into()).unwrap();
            assert_eq!(connection.read_datagram().await.unwrap(), data);
        }
    });
}

#[test]
fn early_data_is_taken_the_second_time() {
    let identity = Identity::new();
    let server = Server::start(&identity, QuicOptions::default());
    run(async {
        let endpoint = endpoint(&identity);
        let first = endpoint.connect(server.at, "localhost").unwrap();
        let connection = first.into_0rtt().map(|_| ()).unwrap_err().await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"first").await.unwrap();
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), b"first");
        connection.close(VarInt::from_u32(0), b"");
        let second = endpoint.connect(server.at, "localhost").unwrap();
        let Ok((connection, accepted)) = second.into_0rtt() else {
            panic!("there is a ticket");
        };
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"early").await.unwrap();
        send.finish().unwrap();
        assert_eq!(recv.read_to_end(100).await.unwrap(), b"early");
        assert!(accepted.await);
    });
}

#[test]
fn a_client_that_moves_is_followed() {
    let identity = Identity::new();
    let server = Server::start(&identity, QuicOptions::default());
    run(async {
        let endpoint = endpoint(&identity);
        let connection = endpoint.connect(server.at, "localhost").unwrap().await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        for nth in 0..4_u8 {
            send.write_all(&[nth; 10_000]).await.unwrap();
            let mut heard = vec![0; 10_000];
            recv.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, [nth; 10_000]);
            let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            let port = socket.local_addr().unwrap().port();
            endpoint.rebind(socket).unwrap();
            send.write_all(&[9]).await.unwrap();
            recv.read_exact(&mut heard[..1]).await.unwrap();
            assert_eq!(server.moves.recv_timeout(PATIENCE).unwrap().port(), port);
        }
    });
}
