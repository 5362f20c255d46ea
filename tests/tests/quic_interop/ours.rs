//! Our side: a loop on a thread of its own that echoes streams and datagrams.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use sockeye_event_loop::{Context, EventLoop, Remote, Stream, StreamOptions, StreamService};
use sockeye_quic::{
    ConnectionService, QuicCounters, QuicHandle, QuicId, QuicOptions, QuicServer, socket_options,
};

use crate::setting::Identity;

/// Answers with what it receives, with back-pressure.
pub struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// The same for datagrams; says when a peer has moved.
pub struct Datagrams(pub mpsc::Sender<SocketAddr>);

impl ConnectionService for Datagrams {
    fn on_datagram(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, data: &[u8]) {
        let _ = quic.send_datagram(context, id, data);
    }

    fn on_path_change(&mut self, _: &QuicHandle, _: &mut Context<'_>, _: QuicId, remote: SocketAddr) {
        let _ = self.0.send(remote);
    }
}

/// A server that echoes, until it is dropped.
pub struct Server {
    pub at: SocketAddr,
    pub moves: mpsc::Receiver<SocketAddr>,
    pub counters: QuicCounters,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(identity: &Identity, options: QuicOptions) -> Self {
        let (told, heard) = mpsc::channel();
        let (moved, moves) = mpsc::channel();
        let tls = identity.server();
        let counters = QuicCounters::default();
        let counted = counters.clone();
        let thread = std::thread::spawn(move || {
            let mut events = EventLoop::new().unwrap();
            let echo = events.add_stream_service(Echo, StreamOptions::default());
            let quic = QuicServer::new(tls, echo)
                .unwrap()
                .options(options)
                .counters(&counted)
                .early_data()
                .connections(Datagrams(moved))
                .add_to(&mut events);
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let socket = events.bind(quic, any, &socket_options()).unwrap();
            told.send((events.local_addr(socket).unwrap(), events.remote()))
                .unwrap();
            events.run().unwrap();
        });
        let (at, remote) = heard.recv().unwrap();
        Self {
            at,
            moves,
            counters,
            remote,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
