//! We connect to quinn.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, ServerConfig, TransportConfig};
use sockeye_event_loop::{Context, EventLoop, StreamOptions};
use sockeye_quic::{
    ConnectionService, QuicClient, QuicConnect, QuicHandle, QuicId, QuicInfo, QuicOptions, StreamQuic,
    socket_options,
};

use crate::probe::{Log, Probe};
use crate::setting::{Identity, pattern};
use crate::their_client::run;

async fn serve(connection: Connection) {
    let datagrams = connection.clone();
    tokio::spawn(async move {
        while let Ok(data) = datagrams.read_datagram().await {
            let _ = datagrams.send_datagram(data);
        }
    });
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
                if send.write_all(&chunk.bytes).await.is_err() {
                    return;
                }
            }
            let _ = send.finish();
        });
    }
}

/// quinn on a thread of its own, which echoes until the sender is dropped.
struct Theirs {
    at: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Theirs {
    fn start(identity: &Identity) -> Self {
        let mut tls = identity.server();
        tls.max_early_data_size = u32::MAX;
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let mut transport = TransportConfig::default();
        transport.max_concurrent_bidi_streams(1_000_u32.into());
        config.transport_config(Arc::new(transport));
        let (told, heard) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            run(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let endpoint = Endpoint::server(config, any).unwrap();
                told.send(endpoint.local_addr().unwrap()).unwrap();
                let accept = async {
                    while let Some(incoming) = endpoint.accept().await {
                        tokio::spawn(async move {
                            let connecting = incoming.accept().unwrap();
                            match connecting.into_0rtt() {
                                Ok((connection, _)) => serve(connection).await,
                                Err(connecting) => {
                                    if let Ok(connection) = connecting.await {
                                        serve(connection).await;
                                    }
                                }
                            }
                        });
                    }
                };
                tokio::select! { () = accept => {} _ = stopped => {} }
            });
        });
        Self {
            at: heard.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Our client, turned by the test.
struct Ours {
    events: EventLoop,
    quic: QuicHandle,
    own: sockeye_event_loop::ServiceHandle<QuicClient>,
    heard: Rc<RefCell<Vec<Vec<u8>>>>,
}

struct Keep(Rc<RefCell<Vec<Vec<u8>>>>);

impl ConnectionService for Keep {
    fn on_open(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, _: &QuicInfo) {
        for len in [0, 1, 1_000] {
            quic.send_datagram(context, id, &vec![7; len]).unwrap();
        }
    }

    fn on_datagram(&mut self, _: &QuicHandle, _: &mut Context<'_>, _: QuicId, data: &[u8]) {
        self.0.borrow_mut().push(data.to_vec());
    }
}

impl Ours {
    fn new(identity: &Identity) -> Self {
        let mut events = EventLoop::new().unwrap();
        let heard = Rc::default();
        let client = QuicClient::new(identity.client())
            .unwrap()
            .options(QuicOptions::default())
            .early_data()
            .connections(Keep(Rc::clone(&heard)));
        let quic = client.handle();
        let own = client.add_to(&mut events);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        events.bind(own, any, &socket_options()).unwrap();
        Self {
            events,
            quic,
            own,
            heard,
        }
    }

    fn connect(&mut self, request: QuicConnect) -> QuicId {
        let quic = self.quic.clone();
        self.events
            .with(self.own, move |_, context| {
                quic.connect(context, request).unwrap()
            })
            .unwrap()
    }

    fn add(&mut self, probe: Probe) -> (sockeye_event_loop::ServiceHandle<Probe>, Log) {
        let log = probe.log.clone();
        (
            self.events.add_stream_service(probe, StreamOptions::default()),
            log,
        )
    }

    fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !done() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(100), "{what}");
            self.events
                .turn(Some(std::time::Duration::from_millis(20)))
                .unwrap();
        }
    }
}

#[test]
fn a_hundred_megabytes_come_back_as_they_were() {
    const LEN: u32 = 100_000_000;
    let identity = Identity::new();
    let theirs = Theirs::start(&identity);
    let mut ours = Ours::new(&identity);
    let data = Rc::new(pattern(LEN));
    let (expected, heard) = (Rc::clone(&data), Rc::new(RefCell::new(0)));
    let sum = Rc::clone(&heard);
    let mut client = Probe::new().pushing(data).data(move |stream, data| {
        let mut at = sum.borrow_mut();
        assert!(data[..] == expected[*at..*at + data.len()]);
        *at += data.len();
        if *at == expected.len() {
            stream.close();
        }
        data.len()
    });
    client.log = Log::default();
    let (own, log) = ours.add(client);
    ours.connect(QuicConnect::new(theirs.at, "localhost").stream(own, 1));
    ours.until("the echo", || log.closes().len() == 1);
    assert_eq!(
        (*heard.borrow(), log.closes()),
        (LEN as usize, vec!["closed".to_owned()])
    );
}

#[test]
fn two_thousand_streams_of_which_a_thousand_may_be_open() {
    let identity = Identity::new();
    let theirs = Theirs::start(&identity);
    let mut ours = Ours::new(&identity);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(&stream.tag().to_be_bytes());
            stream.shutdown_write();
        })
        .eof(|stream| stream.close());
    let (own, log) = ours.add(client);
    let mut request = QuicConnect::new(theirs.at, "localhost");
    for tag in 0..2_000 {
        request = request.stream(own, tag);
    }
    ours.connect(request);
    ours.until("all streams", || log.closes().len() == 2_000);
    for nth in 0..2_000 {
        assert_eq!(log.received(nth), (nth as u64).to_be_bytes());
    }
}

#[test]
fn datagrams_come_back() {
    let identity = Identity::new();
    let theirs = Theirs::start(&identity);
    let mut ours = Ours::new(&identity);
    ours.connect(QuicConnect::new(theirs.at, "localhost").keep());
    let heard = Rc::clone(&ours.heard);
    ours.until("the echo", || heard.borrow().len() == 3);
    let lengths: Vec<usize> = heard.borrow().iter().map(Vec::len).collect();
    assert_eq!(lengths, [0, 1, 1_000]);
}

#[test]
fn early_data_is_taken_the_second_time() {
    let identity = Identity::new();
    let theirs = Theirs::start(&identity);
    let mut ours = Ours::new(&identity);
    let early = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..2 {
        let seen = Rc::clone(&early);
        let client = Probe::new()
            .open(move |stream| {
                seen.borrow_mut().push(stream.quic().unwrap().early);
                let _ = stream.write(b"hello");
                stream.shutdown_write();
            })
            .eof(|stream| stream.close());
        let (own, log) = ours.add(client);
        ours.connect(
            QuicConnect::new(theirs.at, "localhost")
                .stream(own, 1)
                .early_data(),
        );
        ours.until("an answer", || log.closes().len() == 1);
        assert_eq!(
            (log.received(0), log.closes()),
            (b"hello".to_vec(), vec!["closed".to_owned()])
        );
        let quic = ours.quic.clone();
        ours.until("the end", || quic.connections() == 0);
    }
    assert_eq!(*early.borrow(), [false, true]);
}

#[test]
fn we_move_and_are_followed() {
    let identity = Identity::new();
    let theirs = Theirs::start(&identity);
    let mut ours = Ours::new(&identity);
    let (own, log) = ours.add(Probe::new().open(|stream| {
        let _ = stream.write(b"x");
    }));
    let id = ours.connect(QuicConnect::new(theirs.at, "localhost").stream(own, 1));
    for nth in 1..5 {
        let heard = log.clone();
        ours.until("an answer", || heard.received_len(0) == nth);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let other = ours.events.bind(ours.own, any, &socket_options()).unwrap();
        let (quic, stream) = (ours.quic.clone(), log.id(0));
        ours.events
            .with(ours.own, move |_, context| {
                quic.migrate(context, id, other).unwrap();
                assert!(context.write(stream, b"y").is_taken());
            })
            .unwrap();
    }
    let heard = log.clone();
    ours.until("the last answer", || heard.received_len(0) == 5);
    assert_eq!(log.closes().len(), 0);
}
