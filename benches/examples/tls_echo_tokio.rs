//! An echo under TLS by tokio-rustls on one thread, as people write it: `tls_echo_tokio PORT`.

use std::io::Write as _;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("which port?")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    writeln!(std::io::stdout(), "listening on tls://{}", listener.local_addr()?)?;
    let acceptor = TlsAcceptor::from(sockeye_benches::tls::server_config()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(len) = stream.read(&mut buffer).await {
                if len == 0
                    || stream.write_all(&buffer[..len]).await.is_err()
                    || stream.flush().await.is_err()
                {
                    return;
                }
            }
        });
    }
}
