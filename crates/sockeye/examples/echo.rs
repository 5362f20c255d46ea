//! Echoes TCP and UDP on one port: the example of the README, as a program.

use sockeye::event_loop::{Datagram, DatagramService, Datagrams, EventLoop, Stream, StreamService};

struct Echo;

impl StreamService for Echo {
    type Conn = (); // nothing to remember about a connection
    fn on_open(&mut self, _: &mut Stream<'_>) {}
    fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
        let taken = stream.write(data).is_taken(); // what is not taken is offered again once there is room
        if taken { data.len() } else { 0 }
    }
}

impl DatagramService for Echo {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let _ = socket.send(&datagram.echo()); // a datagram that finds the queue full is lost
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut events = EventLoop::new()?;
    let tcp = events.add_stream_service(Echo, Default::default());
    let udp = events.add_datagram_service(Echo);
    let listener = events.listen(tcp, "127.0.0.1:7007".parse()?, &Default::default())?;
    events.bind(udp, events.local_addr(listener)?, &Default::default())?;
    Ok(events.run()?)
}
