//! Frames of one size, received by a framed service: `framed_growth FRAME_BYTES TOTAL_BYTES`, and how fast.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use sockeye::event_loop::codec::{FrameService, FrameStream, Framed, LengthPrefixed, Width};
use sockeye::event_loop::{EventLoop, ListenOptions, StreamOptions, Watermarks};

struct Counts {
    left: u64,
}

impl FrameService for Counts {
    type Conn = ();

    fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, (): &mut (), frame: &mut [u8]) {
        assert!(frame.iter().step_by(4096).all(|&byte| byte == 7));
        self.left -= 1;
        if self.left == 0 {
            stream.stream().context().stop();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let size: usize = arguments.next().ok_or("how long is a frame?")?.parse()?;
    let total: usize = arguments.next().ok_or("how many bytes in all?")?.parse()?;
    let count = (total / size).max(1);
    let mut events = EventLoop::new()?;
    let options = StreamOptions {
        watermarks: Watermarks {
            max_tail: size + 4,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let service = Framed::new(
        LengthPrefixed::new(Width::Four, size),
        Counts { left: count as u64 },
    );
    let service = events.add_stream_service(service, options);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = events.listen(service, any, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let sender = std::thread::spawn(move || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(at)?;
        let head = u32::try_from(size).map_err(std::io::Error::other)?.to_be_bytes();
        // From the same memory for every size: it is the receiver that is measured.
        let piece = vec![7; size.min(1 << 20)];
        for _ in 0..count {
            stream.write_all(&head)?;
            let mut left = size;
            while left > 0 {
                let len = left.min(piece.len());
                stream.write_all(&piece[..len])?;
                left -= len;
            }
        }
        Ok(stream)
    });
    let begun = Instant::now();
    events.run()?;
    let took = begun.elapsed();
    drop(sender.join());
    writeln!(
        std::io::stdout(),
        "{size} bytes a frame: {:.0} MB/s",
        (count * size) as f64 / took.as_secs_f64() / 1e6
    )?;
    Ok(())
}
