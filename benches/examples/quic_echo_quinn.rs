//! An echo over QUIC by quinn on one thread of tokio, as people write it: `quic_echo_quinn PORT`. The same quinn-proto and the
//! same provider as ours.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, ServerConfig};

async fn serve(connection: Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
                if send.write_chunk(chunk.bytes).await.is_err() {
                    return;
                }
            }
            let _ = send.finish();
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("which port?")?.parse()?;
    let tls = QuicServerConfig::try_from(sockeye_benches::tls::server_config()?)?;
    let config = ServerConfig::with_crypto(Arc::new(tls));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let endpoint = Endpoint::server(config, at)?;
    writeln!(
        std::io::stdout(),
        "listening on quic://{}",
        endpoint.local_addr()?
    )?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connecting) = incoming.accept()
                && let Ok(connection) = connecting.await
            {
                serve(connection).await;
            }
        });
    }
    Ok(())
}
