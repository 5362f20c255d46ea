//! Frames of one size, received by a framed service.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use sockeye::event_loop::codec::{FrameService, FrameStream, Framed, LengthPrefixed, Width};
use sockeye::event_loop::{EventLoop, ListenOptions, StreamOptions, Watermarks};

use super::{Cost, Error, measured, timed};

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

/// Bytes in all, whatever the frames are.
const TOTAL: usize = 1 << 30;

/// KiB of frames of `size` KiB.
pub(super) fn frames(size: usize) -> Result<Cost, Error> {
    let mut events = None;
    let sender = begin(size, &mut events)?;
    let cost = measured(|| {
        events.as_mut().ok_or("no loop")?.run()?;
        Ok((TOTAL / 1024) as u64)
    })?;
    drop(sender.join());
    Ok(cost)
}

/// The same by the clock on the wall: MB/s are what a user sees.
pub(super) fn rate(size: usize) -> Result<Cost, Error> {
    let mut events = None;
    let sender = begin(size, &mut events)?;
    let cost = timed(|| {
        events.as_mut().ok_or("no loop")?.run()?;
        Ok((TOTAL / 1024) as u64)
    })?;
    drop(sender.join());
    Ok(cost)
}

type Sender = std::thread::JoinHandle<std::io::Result<TcpStream>>;

fn begin(size: usize, events: &mut Option<EventLoop>) -> Result<Sender, Error> {
    let size = size * 1024;
    let count = (TOTAL / size).max(1);
    let events = events.insert(EventLoop::new()?);
    let options = StreamOptions {
        watermarks: Watermarks {
            max_tail: size + 4,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let codec = LengthPrefixed::new(Width::Four, size);
    let service = Framed::new(codec, Counts { left: count as u64 });
    let service = events.add_stream_service(service, options);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = events.listen(service, any, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    Ok(std::thread::spawn(move || {
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
    }))
}
