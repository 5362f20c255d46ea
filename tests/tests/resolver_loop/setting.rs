//! A client, name servers and a web server, each on a simulated host, and what the client is told.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectFault, ConnectId, ConnectRequest, Context, ServiceHandle, Stream,
    StreamId, StreamOptions, StreamService, Time,
};
use sockeye_resolver::dns::{
    Answer, DnsOptions, DnsStats, Event, LookupId, Name, QueryError, RecordType, Request,
};
use sockeye_sim::names::{NameServer, Served, Zones};
use sockeye_sim::{HostId, Sim};

pub const ZONE: &str = r#"
$ORIGIN example.test.
$TTL 300
@     SOA   ns admin 1 2h 15m 14d 60
@     NS    ns
@     MX    10 mail
@     TXT   "one" "two; three"
@     CAA   0 issue "ca.example.test"
@     HTTPS 1 . alpn="h2" port=8443
@     TYPE65400 \# 3 010203
ns    A     10.0.0.53
mail  A     192.0.2.25
www   A     192.0.2.80
www   AAAA  2001:db8::80
v4    A     192.0.2.80
v6    AAAA  2001:db8::80
alias CNAME www
brief 1 A   192.0.2.80
brief 1 AAAA 2001:db8::80
svc   SVCB  1 www port=8443
_sip._udp SRV 0 5 5060 www
in-addr.arpa. SOA . . 1 1 1 1 60
80.2.0.192.in-addr.arpa. PTR www
"#;

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(120);
/// How long a name server may take, where a test says nothing else.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// What links, turns of loops and handshakes take at most: the links are ideal.
pub const AT_ONCE: Duration = Duration::from_millis(2);

pub const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));
pub const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80));

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn zones() -> Zones {
    ZONE.parse().unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A name server that tells the truth.
pub fn honest() -> NameServer {
    NameServer::new(zones())
}

pub fn to(host: &str) -> ConnectRequest {
    ConnectRequest::to_target(format!("tcp://{host}:80").parse().unwrap())
}

/// What the client was told, and when.
#[derive(Default)]
pub struct Notes {
    pub open: Vec<(Time, IpAddr)>,
    pub failed: Vec<(Time, ConnectFailure)>,
    pub answers: Vec<(Time, Event)>,
}

pub type Diary = Rc<RefCell<Notes>>;

/// The client's service: it connects and asks, and writes down what comes of it.
pub struct Asker(Diary);

impl StreamService for Asker {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let peer = stream.peer_addr().unwrap().ip();
        let now = stream.now();
        self.0.borrow_mut().open.push((now, peer));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let now = context.now();
        self.0.borrow_mut().failed.push((now, failure));
    }

    fn on_answer(&mut self, context: &mut Context<'_>, event: Event) {
        let now = context.now();
        self.0.borrow_mut().answers.push((now, event));
    }
}

/// Takes connections and leaves them open.
struct Web;

impl StreamService for Web {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), _: CloseReason) {}
}

pub struct Ground {
    pub sim: Sim,
    pub client: HostId,
    pub web: HostId,
    pub servers: Vec<NameServer>,
    pub hosts: Vec<HostId>,
    pub served: Vec<Served>,
    pub diary: Diary,
    pub asker: ServiceHandle<Asker>,
}

impl Ground {
    pub fn new(server: NameServer) -> Self {
        Self::with(1, [server])
    }

    /// A client of both families, name servers from 10.0.0.53 on, and a web server. The client asks them in their order.
    pub fn with(seed: u64, servers: impl IntoIterator<Item = NameServer>) -> Self {
        let ground = Self::of(seed, servers, &["10.0.0.1", "2001:db8::1"]);
        ground.configured(|_| {})
    }

    /// The same with a client of these addresses, which knows of no name servers yet.
    pub fn of(seed: u64, servers: impl IntoIterator<Item = NameServer>, client: &[&str]) -> Self {
        let mut sim = Sim::new(seed);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let id = sim.host(address(client[0]));
        for more in &client[1..] {
            sim.add_address(id, address(more));
        }
        let web = sim.host(V4);
        sim.add_address(web, V6);
        for at in [V4, V6] {
            let events = sim.on(web);
            let service = events.add_stream_service(Web, StreamOptions::default());
            let at = SocketAddr::new(at, 80);
            events.listen(service, at, &Default::default()).unwrap();
        }
        let (mut hosts, mut served, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for (place, server) in (53..).zip(servers) {
            let host = sim.host([10, 0, 0, place]);
            served.push(server.serve(sim.on(host), ([0, 0, 0, 0], 53).into()).unwrap());
            hosts.push(host);
            handles.push(server);
        }
        let diary = Diary::default();
        let service = Asker(Rc::clone(&diary));
        let asker = sim.on(id).add_stream_service(service, StreamOptions::default());
        Self {
            sim,
            client: id,
            web,
            servers: handles,
            hosts,
            served,
            diary,
            asker,
        }
    }

    /// Where a name server is asked.
    pub fn server_at(place: usize) -> SocketAddr {
        ([10, 0, 0, 53 + u8::try_from(place).unwrap()], 53).into()
    }

    /// The client's options, changed, from now on.
    pub fn configure(&mut self, change: impl FnOnce(&mut DnsOptions)) {
        let servers = (0..self.servers.len()).map(Self::server_at);
        let mut options = DnsOptions::with_servers(servers);
        change(&mut options);
        let config = DnsConfig {
            options,
            ..DnsConfig::default()
        };
        self.sim
            .on(self.client)
            .set_names(NameSource::Dns(Box::new(config)));
    }

    pub fn configured(mut self, change: impl FnOnce(&mut DnsOptions)) -> Self {
        self.configure(change);
        self
    }

    pub fn stats(&mut self) -> DnsStats {
        self.sim.on(self.client).dns_stats()
    }

    pub fn cut_off(&mut self, server: usize) {
        self.sim.partition(self.client, self.hosts[server]);
    }

    /// Begins to connect.
    pub fn start(&mut self, request: ConnectRequest) -> ConnectId {
        self.sim.on(self.client).connect(self.asker, request)
    }

    /// Connects: how long it took, and to where or why not.
    #[track_caller]
    pub fn connect(&mut self, request: ConnectRequest) -> (Duration, Result<IpAddr, ConnectFailure>) {
        let begun = self.sim.now();
        self.start(request);
        self.decided(begun)
    }

    /// Waits for what becomes of the one connect that is under way.
    #[track_caller]
    pub fn decided(&mut self, begun: Time) -> (Duration, Result<IpAddr, ConnectFailure>) {
        let diary = Rc::clone(&self.diary);
        let decided = || !(diary.borrow().open.is_empty() && diary.borrow().failed.is_empty());
        self.sim.run_until(LONG, decided).unwrap();
        let mut notes = diary.borrow_mut();
        let (open, failed) = (notes.open.pop(), notes.failed.pop());
        assert!(notes.open.is_empty() && notes.failed.is_empty());
        match (open, failed) {
            (Some((at, ip)), None) => (at - begun, Ok(ip)),
            (None, Some((at, failure))) => (at - begun, Err(failure)),
            both => panic!("{both:?}"),
        }
    }

    /// Begins to ask.
    pub fn resolve(&mut self, request: Request) -> LookupId {
        let asked = self
            .sim
            .on(self.client)
            .with(self.asker, |_, context| context.resolve(request));
        asked.unwrap().unwrap()
    }

    /// Asks, and waits for all that is answered: how long it took, and what it was.
    #[track_caller]
    pub fn ask_all(&mut self, requests: Vec<Request>) -> (Duration, Vec<Event>) {
        let begun = self.sim.now();
        let count = requests.len();
        for request in requests {
            self.resolve(request);
        }
        let diary = Rc::clone(&self.diary);
        let last = |(_, event): &&(Time, Event)| event.is_last;
        let answered = || diary.borrow().answers.iter().filter(last).count() == count;
        self.sim.run_until(LONG, answered).unwrap();
        let answers = std::mem::take(&mut diary.borrow_mut().answers);
        let took = answers.last().unwrap().0 - begun;
        (took, answers.into_iter().map(|(_, event)| event).collect())
    }

    /// Asks for the records of a name.
    #[track_caller]
    pub fn ask(&mut self, text: &str, record_type: RecordType) -> (Duration, Result<Answer, QueryError>) {
        let (took, mut events) = self.ask_all(vec![Request::records(name(text), record_type)]);
        assert_eq!(events.len(), 1, "{events:?}");
        (took, events.remove(0).result)
    }

    /// Closes what is open, and waits until nothing but the servers' own sockets is left.
    #[track_caller]
    pub fn assert_idle(&mut self) {
        self.sim.run_for(LONG).unwrap();
        let stats = self.stats();
        assert_eq!((stats.under_way, stats.sockets), (0, 0), "{stats:?}");
        assert_eq!(
            self.sim.descriptors(self.client),
            0,
            "{:?}",
            self.sim.describe_leftover()
        );
        assert_eq!(self.sim.on(self.client).timers(), 0);
    }
}

/// The reason why nothing could be looked up, in words.
#[track_caller]
pub fn unresolved(failure: &ConnectFailure) -> String {
    match &failure.cause {
        ConnectFault::Unresolved(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The addresses of an answer.
pub fn addresses(answer: &Answer) -> Vec<String> {
    answer.addresses().map(|ip| ip.to_string()).collect()
}
