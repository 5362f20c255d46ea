//! What is Unix sockets' own on a loop: names, peers, a backlog that is full, paths, descriptors.

use std::cell::Cell;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use sockeye::unix::{UnixOutgoing, name_of_path};
use sockeye_event_loop::{
    ConnectRequest, Datagram, DatagramService, Datagrams, EventLoop, ListenerId, PairOptions, Peer,
    SendFailure, ServiceHandle, StreamOptions, UnixDatagramOptions, UnixListenOptions, UnixName,
};
use sockeye_socket::Outgoing;
use sockeye_socket::unix::recv_unix_msg;

use crate::probe::{Log, Probe, Told};
use crate::world::{OnKernel, World};

type Handle = ServiceHandle<Probe>;

fn add(events: &mut EventLoop, probe: Probe) -> (Handle, Log) {
    let log = probe.log.clone();
    (events.add_stream_service(probe, StreamOptions::default()), log)
}

fn echo() -> Probe {
    Probe::new().data(|stream, data| {
        assert!(stream.write(data).is_taken());
        data.len()
    })
}

/// A service of the server at a path in a folder of its own.
fn serve(world: &mut OnKernel, probe: Probe) -> (tempfile::TempDir, UnixName, Log, ListenerId) {
    let folder = tempfile::tempdir().unwrap();
    let name = name_of_path(folder.path().join("app.sock")).unwrap();
    let (handle, log) = add(world.server(), probe);
    let listener = world
        .server()
        .listen_unix(handle, &name, &UnixListenOptions::default())
        .unwrap();
    assert_eq!(world.server().local_unix(listener).unwrap(), name);
    (folder, name, log, listener)
}

fn is_there(folder: &Path) -> bool {
    folder.join("app.sock").symlink_metadata().is_ok()
}

#[test]
fn both_sides_know_who_is_there() {
    let mut world = OnKernel::new();
    let told: Rc<Cell<Option<Peer>>> = Rc::default();
    let tell = Rc::clone(&told);
    let server = Probe::new().open(move |stream| {
        tell.set(stream.peer());
        assert!(stream.peer_addr().is_none());
        let error = stream.local_addr().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        assert!(stream.unix().is_some() && stream.tcp().is_none() && stream.detach().is_none());
    });
    let (_folder, name, ..) = serve(&mut world, server);
    let seen: Rc<Cell<Option<Peer>>> = Rc::default();
    let see = Rc::clone(&seen);
    let client = Probe::new()
        .open(move |stream| see.set(stream.peer()))
        .connect_with(
            &mut world,
            ConnectRequest::to_unix(name).tag(7),
            StreamOptions::default(),
        );
    let (log, told) = (client.log.clone(), told);
    world.until("both", || log.opened() == 1 && told.get().is_some());
    for (peer, expected) in [(told.get(), UnixName::UNNAMED), (seen.get(), name)] {
        let Some(Peer::Unix { name, credentials }) = peer else {
            panic!("{peer:?}");
        };
        assert_eq!(name, expected);
        let pid = credentials.and_then(|credentials| credentials.pid).map(u32::from);
        assert_eq!(pid, Some(std::process::id()));
    }
}

#[test]
fn an_end_of_a_pair_answers_like_a_unix_connection() {
    let mut world = OnKernel::new();
    let (carried, _) = add(world.server(), Probe::new());
    let told: Rc<Cell<[Option<Peer>; 3]>> = Rc::default();
    let tell = Rc::clone(&told);
    let server = Probe::new().open(move |stream| {
        let id = stream.id();
        let like = PairOptions {
            second_like: Some(id),
            ..PairOptions::default()
        };
        let mut context = stream.context();
        let (one, two) = context.pair(carried, carried, &like).unwrap();
        let plain = context.stream(one).unwrap().peer();
        let like = context.stream(two).unwrap().peer();
        tell.set([stream.peer(), plain, like]);
    });
    let (_folder, name, ..) = serve(&mut world, server);
    let client = Probe::new();
    client.connect_with(
        &mut world,
        ConnectRequest::to_unix(name),
        StreamOptions::default(),
    );
    world.until("told", || told.get()[0].is_some());
    let [own, plain, like] = told.get();
    assert_eq!(plain, Some(Peer::Pair));
    assert!(
        matches!(own, Some(Peer::Unix { .. })) && own == like,
        "{own:?} {like:?}"
    );
}

#[test]
fn a_path_goes_with_its_listener_and_with_the_loop() {
    let mut world = OnKernel::new();
    let (folder, _, _, listener) = serve(&mut world, Probe::new());
    assert!(is_there(folder.path()));
    world.server().close_listener(listener);
    assert!(!is_there(folder.path()));
    let (folder, ..) = serve(&mut world, Probe::new());
    drop(world);
    assert!(!is_there(folder.path()));
}

#[test]
fn a_path_has_the_permissions_that_were_asked_for() {
    let mut world = OnKernel::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let (handle, _) = add(world.server(), Probe::new());
    let options = UnixListenOptions {
        mode: Some(0o620),
        ..UnixListenOptions::default()
    };
    let name = name_of_path(&path).unwrap();
    world.server().listen_unix(handle, &name, &options).unwrap();
    let metadata = path.symlink_metadata().unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o620);
    // Live: the second one is told which.
    let error = world.server().listen_unix(handle, &name, &options).unwrap_err();
    assert!(error.to_string().contains("app.sock"), "{error}");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn a_connect_to_nothing_says_where_and_why() {
    let mut world = OnKernel::new();
    let folder = tempfile::tempdir().unwrap();
    let name = name_of_path(folder.path().join("none.sock")).unwrap();
    let client = Probe::new();
    let log = client.log.clone();
    client.connect_with(
        &mut world,
        ConnectRequest::to_unix(name),
        StreamOptions::default(),
    );
    world.until("told", || !log.all().is_empty());
    let Told::ConnectFailed(why) = log.all().remove(0) else {
        panic!("{:?}", log.all());
    };
    assert_eq!(
        why,
        format!("connect unix:{name}: No such file or directory (os error 2)")
    );
}

/// While the backlog is full nothing tells of room: the loop tries again by itself, up to the deadline.
#[test]
fn a_full_backlog_is_waited_for() {
    let mut world = OnKernel::new();
    let folder = tempfile::tempdir().unwrap();
    let name = name_of_path(folder.path().join("app.sock")).unwrap();
    let listener = sockeye::unix::ListenOptions::new()
        .backlog(1)
        .bind(&name)
        .unwrap();
    let mut first = Vec::new();
    while let sockeye::unix::ConnectOutcome::Connected(stream) =
        sockeye::unix::UnixStream::start_connect(&name).unwrap().outcome()
    {
        first.push(stream);
        assert!(first.len() < 100);
    }
    let late = Probe::new();
    let log = late.log.clone();
    let request = ConnectRequest::to_unix(name).deadline(Duration::from_millis(30));
    late.connect_with(&mut world, request, StreamOptions::default());
    world.until("the deadline", || !log.all().is_empty());
    assert_eq!(
        log.all(),
        [Told::ConnectFailed("connect: the deadline passed".into())]
    );
    let patient = Probe::new();
    let log = patient.log.clone();
    patient.connect_with(
        &mut world,
        ConnectRequest::to_unix(name),
        StreamOptions::default(),
    );
    world.pass(Duration::from_millis(5));
    assert_eq!(log.opened(), 0);
    let accepted = listener.accept().unwrap();
    world.until("room", || log.opened() == 1);
    drop(accepted);
}

#[test]
fn descriptors_go_beside_the_stream() {
    let mut world = OnKernel::new();
    let (mut inside, outside) = std::os::unix::net::UnixStream::pair().unwrap();
    let server = Probe::new().open(move |stream| {
        use std::os::fd::AsFd as _;
        let fds = [outside.as_fd()];
        let unix = stream.unix().unwrap();
        assert_eq!(unix.send_msg(&UnixOutgoing::new(b"x").fds(&fds)).unwrap(), 1);
    });
    let (_folder, name, log, _) = serve(&mut world, server);
    let client = sockeye::unix::UnixStream::start_connect(&name)
        .unwrap()
        .wait(Duration::from_secs(5))
        .unwrap();
    world.until("accepted", || log.opened() == 1);
    let got = recv_unix_msg(&client, &mut [0; 8]).unwrap();
    assert_eq!((got.len, got.fds.len()), (1, 1));
    let mut outside = std::os::unix::net::UnixStream::from(got.fds.into_iter().next().unwrap());
    std::io::Write::write_all(&mut outside, b"through").unwrap();
    let mut buffer = [0; 7];
    std::io::Read::read_exact(&mut inside, &mut buffer).unwrap();
}

#[test]
fn a_unix_connection_is_joined_with_tcp() {
    let mut world = OnKernel::new();
    let (backend, at) = echo().serve(&mut world, StreamOptions::default());
    let front: Rc<Cell<Option<sockeye_event_loop::StreamId>>> = Rc::default();
    let relay = Probe::new().open(move |stream| {
        if stream.tag() == 0 {
            stream.pause();
            front.set(Some(stream.id()));
            stream.context().connect(ConnectRequest::new(at).tag(1));
        } else {
            assert!(stream.join(front.take().unwrap()));
        }
    });
    let (_folder, name, ..) = serve(&mut world, relay);
    let data = sockeye_tests::pattern(3 << 20);
    let sent = data.clone();
    let client = Probe::new();
    let log = client.log.clone();
    let options = StreamOptions {
        watermarks: sockeye_event_loop::Watermarks {
            max_write: 4 << 20,
            ..Default::default()
        },
        ..StreamOptions::default()
    };
    client
        .open(move |stream| {
            assert!(stream.write(&sent).is_taken());
            stream.shutdown_write();
        })
        .connect_with(&mut world, ConnectRequest::to_unix(name), options);
    world.until("all of it", || log.has(&Told::Dropped));
    assert!(log.received(0) == data && backend.log.received(0) == data);
    assert_eq!(log.closes(), ["closed"]);
}

/// Ten thousand connections one after another: none is left, neither in the loop nor as a descriptor.
#[test]
fn ten_thousand_connections_leave_nothing() {
    let mut world = OnKernel::new();
    let (_folder, name, server, _) = serve(&mut world, echo());
    let (handle, log) = add(
        world.client(),
        Probe::new()
            .open(|stream| assert!(stream.write(b"x").is_taken()))
            .data(|stream, data| {
                stream.close();
                data.len()
            }),
    );
    for round in 1..=100 {
        for _ in 0..100 {
            world.client().connect(handle, ConnectRequest::to_unix(name));
        }
        world.until("a round", || log.closes().len() == round * 100);
    }
    world.until("all closed", || server.closes().len() == 10_000);
    assert!(
        server
            .closes()
            .iter()
            .chain(&log.closes())
            .all(|why| why == "closed")
    );
    assert_eq!(
        (world.server().open_streams(), world.client().open_streams()),
        (0, 0)
    );
}

/// Answers each datagram, and remembers from whom it came.
struct Answers {
    log: Rc<std::cell::RefCell<Vec<(Option<UnixName>, Vec<u8>)>>>,
    failures: Rc<std::cell::RefCell<Vec<String>>>,
    /// Whom to send to at first.
    greets: Option<UnixName>,
    answers: bool,
}

type Seen = Rc<std::cell::RefCell<Vec<(Option<UnixName>, Vec<u8>)>>>;

impl Answers {
    fn new(greets: Option<UnixName>, answers: bool) -> (Self, Seen) {
        let log = Seen::default();
        let service = Self {
            log: Rc::clone(&log),
            failures: Rc::default(),
            greets,
            answers,
        };
        (service, log)
    }
}

impl DatagramService for Answers {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        if let Some(to) = self.greets.and_then(|name| socket.unix_addr(&name)) {
            assert!(socket.send_to(b"hello", to).is_taken());
            assert!(socket.send_to(b"", to).is_taken());
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let from = socket.unix_name(datagram.source);
        self.log.borrow_mut().push((from, datagram.data.to_vec()));
        if self.answers {
            let _ = socket.send(&datagram.echo());
        }
    }

    fn on_send_error(&mut self, _: &mut Datagrams<'_>, failure: SendFailure) {
        self.failures
            .borrow_mut()
            .push(format!("{:?}", failure.error.fault()));
    }
}

/// Where simulated hosts have no folders, names are abstract.
fn datagrams_go_there_and_back<W: World>() {
    let mut world = W::new();
    let name = |what: &str| {
        let text = format!(
            "sockeye-{what}-{}-{}",
            std::process::id(),
            std::any::type_name::<W>()
        );
        UnixName::from_abstract_name(text.as_bytes().get(..40.min(text.len())).unwrap()).unwrap()
    };
    let (server, client) = (name("s"), name("c"));
    let (answers, heard) = Answers::new(None, true);
    let service = world.server().add_datagram_service(answers);
    let options = UnixDatagramOptions::default();
    let socket = world.server().bind_unix(service, &server, &options).unwrap();
    assert_eq!(world.server().local_unix(socket).unwrap(), server);
    assert_eq!(
        world.server().local_addr(socket).unwrap_err().kind(),
        std::io::ErrorKind::Unsupported
    );
    let taken = world.server().bind_unix(service, &server, &options).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let (asks, answered) = Answers::new(Some(server), false);
    let asks = world.server().add_datagram_service(asks);
    world.server().bind_unix(asks, &client, &options).unwrap();
    world.until("answers", || answered.borrow().len() == 2);
    let both = |who| vec![(Some(who), b"hello".to_vec()), (Some(who), Vec::new())];
    assert_eq!(*heard.borrow(), both(client));
    assert_eq!(*answered.borrow(), both(server));
}

#[test]
fn datagrams_go_there_and_back_on_the_kernel() {
    datagrams_go_there_and_back::<OnKernel>();
}

#[test]
fn datagrams_go_there_and_back_simulated() {
    datagrams_go_there_and_back::<crate::world::OverUnixSimulated>();
}

#[test]
fn a_datagram_from_nobody_cannot_be_answered() {
    let mut world = OnKernel::new();
    let folder = tempfile::tempdir().unwrap();
    let name = name_of_path(folder.path().join("app.sock")).unwrap();
    let (answers, heard) = Answers::new(None, true);
    let failures = Rc::clone(&answers.failures);
    let service = world.server().add_datagram_service(answers);
    world
        .server()
        .bind_unix(service, &name, &UnixDatagramOptions::default())
        .unwrap();
    let unnamed = sockeye::unix::UnixDatagram::unbound().unwrap();
    unnamed.send_to_name(b"who am I", &name).unwrap();
    // Longer than the loop has room for: cut, and told.
    let long = vec![7; 70_000];
    unnamed.send_to_name(&long, &name).unwrap();
    world.until("both", || heard.borrow().len() == 2);
    assert_eq!(heard.borrow()[0], (None, b"who am I".to_vec()));
    assert_eq!(heard.borrow()[1].1.len(), 65_535);
    world.until("told", || failures.borrow().len() == 2);
}

/// Sends a thousand datagrams to the first and one to the second.
struct Floods {
    to: [UnixName; 2],
    failures: Rc<Cell<u32>>,
}

impl DatagramService for Floods {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let to = socket.unix_addr(&self.to[0]).unwrap();
        for _ in 0..1_000 {
            assert!(socket.send_to(b"x", to).is_taken());
        }
        let to = socket.unix_addr(&self.to[1]).unwrap();
        assert!(socket.send_to(b"fine", to).is_taken());
    }

    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {}

    fn on_send_error(&mut self, _: &mut Datagrams<'_>, failure: SendFailure) {
        assert_eq!(failure.error.fault(), sockeye_socket::Fault::Congested);
        self.failures.set(self.failures.get() + 1);
    }
}

#[test]
fn a_full_peer_costs_its_datagrams_and_nothing_else() {
    let mut world = OnKernel::new();
    let folder = tempfile::tempdir().unwrap();
    let (full, fine) = (
        name_of_path(folder.path().join("full")).unwrap(),
        name_of_path(folder.path().join("fine")).unwrap(),
    );
    let never_reads = sockeye::unix::DatagramOptions::new().bind(&full).unwrap();
    let reads = sockeye::unix::DatagramOptions::new().bind(&fine).unwrap();
    let failures = Rc::new(Cell::new(0));
    let service = world.server().add_datagram_service(Floods {
        to: [full, fine],
        failures: Rc::clone(&failures),
    });
    world
        .server()
        .bind_unix(service, &UnixName::UNNAMED, &UnixDatagramOptions::default())
        .unwrap();
    assert!(reads.wait_readable(Duration::from_secs(5)).unwrap());
    assert_eq!(reads.recv(&mut [0; 8]).unwrap(), 4);
    world.until("told", || failures.get() > 900);
    drop(never_reads);
}

/// Sends numbers to its only peer.
struct Counts(u16);

impl DatagramService for Counts {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        for number in 0..self.0 {
            let sent = socket.send(&Outgoing::connected(&number.to_be_bytes()));
            assert!(sent.is_taken());
        }
    }

    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {}
}

#[test]
fn what_waits_for_the_only_peer_leaves_when_that_reads() {
    let mut world = OnKernel::new();
    let folder = tempfile::tempdir().unwrap();
    let name = name_of_path(folder.path().join("slow")).unwrap();
    let slow = sockeye::unix::DatagramOptions::new().bind(&name).unwrap();
    let service = world.server().add_datagram_service(Counts(1_000));
    let options = UnixDatagramOptions {
        connect: Some(name),
        ..UnixDatagramOptions::default()
    };
    world
        .server()
        .bind_unix(service, &UnixName::UNNAMED, &options)
        .unwrap();
    // The kernel has room for some of them; then it is full and empty in turns.
    for number in 0..1_000_u16 {
        let mut got = [0; 2];
        world.until("the next one", || matches!(slow.recv(&mut got), Ok(2)));
        assert_eq!(u16::from_be_bytes(got), number);
    }
    assert!(world.server().turn(Some(Duration::ZERO)).is_ok() && !world.server().has_work());
}
