//! Listeners and streams of a simulated host.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::num::NonZeroU32;

use sockeye_endpoint::UnixName;
use sockeye_event_loop::StreamOption;
use sockeye_event_loop::backend::{ConnectProgress, ListenerIo, StreamIo};
use sockeye_socket::unix::Credentials;

use super::{SimListener, SimStream, no_address, no_name};
use crate::errno::error;
use crate::mutant::Mutant;
use crate::world::{Call, World};

impl ListenerIo for SimListener {
    type Stream = SimStream;

    fn accept(&mut self) -> io::Result<(SimStream, Option<SocketAddr>)> {
        let mut world = self.world.borrow_mut();
        let (index, peer) = world.accept(self.index).map_err(error)?;
        let peer = world.streams[index as usize].unix.is_none().then_some(peer);
        drop(world);
        Ok((
            SimStream {
                world: self.world.clone(),
                index,
            },
            peer,
        ))
    }

    fn local_unix(&self) -> io::Result<UnixName> {
        let world = self.world.borrow();
        let unix = world.listeners[self.index as usize].unix;
        unix.map(|(name, _)| name).ok_or_else(no_name)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let world = self.world.borrow();
        if world.listeners[self.index as usize].unix.is_some() {
            return Err(no_address());
        }
        let mut local = world.listeners[self.index as usize].local;
        if world.mutated(Mutant::LocalPortIsZero) {
            local.set_port(0);
        }
        Ok(local)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.world.borrow_mut().close_listener(self.index);
    }
}

/// Buffers that one vectored write takes (UIO_MAXIOV, writev(2)).
const IOV_MAX: usize = 1024;

impl StreamIo for SimStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.world.borrow_mut().read(self.index, buf).map_err(error)
    }

    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.world.borrow_mut().write(self.index, buf).map_err(error)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        if world.mutated(Mutant::VectoredDropsRest) && bufs.len() > 1 {
            let all = bufs.iter().map(|buf| buf.len()).sum();
            return world.write(self.index, &bufs[0]).map(|_| all).map_err(error);
        }
        let most = if world.mutated(Mutant::AnyNumberOfBuffers) {
            bufs.len()
        } else {
            IOV_MAX.min(bufs.len())
        };
        let mut parts = bufs[..most].iter().filter(|buf| !buf.is_empty());
        let first: &[u8] = parts.next().map_or(&[], |buf| buf);
        let Some(second) = parts.next() else {
            return world.write(self.index, first).map_err(error);
        };
        // One call, and on the way one run: what it meets there, all of it meets.
        let mut whole = first.to_vec();
        whole.extend_from_slice(second);
        parts.for_each(|buf| whole.extend_from_slice(buf));
        world.write(self.index, &whole).map_err(error)
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        let mut world = self.world.borrow_mut();
        if world.streams[self.index as usize].unix.is_some() {
            // It was decided when the call returned; an error since then is for the next read or write.
            return ConnectProgress::Connected;
        }
        match world.connect_state(self.index) {
            // What the kernel calls a connection is none: nobody else is there. The TCP crate says so too.
            Ok(true) if world.is_own_peer(self.index) => {
                ConnectProgress::Failed(io::ErrorKind::ConnectionRefused.into())
            }
            Ok(true) => ConnectProgress::Connected,
            Ok(false) => ConnectProgress::Pending,
            Err(number) => ConnectProgress::Failed(error(number)),
        }
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.world.borrow_mut().shutdown(self.index, how).map_err(error)
    }

    fn abort(&mut self) {
        self.world.borrow_mut().streams[self.index as usize].abort = true;
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let world = self.world.borrow();
        if world.streams[self.index as usize].unix.is_some() {
            return Err(no_address());
        }
        Ok(world.stream_local_addr(self.index))
    }

    fn local_unix(&self) -> io::Result<UnixName> {
        let world = self.world.borrow();
        let end = world.streams[self.index as usize].unix.as_deref();
        end.map(|end| end.local).ok_or_else(no_name)
    }

    /// Each simulated host runs one process, as root: number 1 of its own.
    fn unix_peer(&self) -> Option<(UnixName, Option<Credentials>)> {
        let world = self.world.borrow();
        let end = world.streams[self.index as usize].unix.as_deref()?;
        let credentials = Credentials {
            pid: NonZeroU32::new(1),
            uid: 0,
            gid: 0,
        };
        Some((end.remote, Some(credentials)))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        if self.world.borrow().streams[self.index as usize].unix.is_some() {
            return Err(no_address());
        }
        self.world.borrow().peer_addr(self.index).map_err(error)
    }

    fn set_option(&mut self, option: &StreamOption) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let host = world.streams[self.index as usize].host;
        world.count_call(host, Call::Option).map_err(error)?;
        world.set_option(self.index, option)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.world.borrow_mut().close_stream(self.index);
    }
}

impl World {
    pub(super) fn set_option(&mut self, stream: u32, option: &StreamOption) -> io::Result<()> {
        let ignored = self.mutated(Mutant::BufferSizesIgnored);
        let slot = &mut self.streams[stream as usize];
        if slot.unix.is_some() {
            return match option {
                StreamOption::SendBuffer(bytes) => {
                    slot.tx_limit = (2 * bytes).max(4608);
                    Ok(())
                }
                StreamOption::RecvBuffer(_) => Ok(()),
                _ => Err(io::ErrorKind::Unsupported.into()),
            };
        }
        match option {
            // The simulation sends every segment at once, and knows no keeping back.
            StreamOption::NoDelay(_) | StreamOption::Cork(_) | StreamOption::TrafficClass(_) => {}
            StreamOption::SendBuffer(_) | StreamOption::RecvBuffer(_) if ignored => {}
            // The kernel doubles what it is told, and has its least.
            StreamOption::SendBuffer(bytes) => slot.tx_limit = (2 * bytes).max(4608),
            StreamOption::RecvBuffer(bytes) => slot.rx_limit = (2 * bytes).max(2304),
            StreamOption::NotSentLowat(_) => {}
            StreamOption::UserTimeout(limit) => {
                slot.user_timeout_ns = limit.map(crate::link::nanos);
                self.probe_window(stream);
            }
            StreamOption::KeepAlive {
                idle,
                interval,
                count,
            } => {
                let (idle, interval, count) =
                    (crate::link::nanos(*idle), crate::link::nanos(*interval), *count);
                self.set_keepalive(stream, idle.max(1), interval.max(1), count.max(1));
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }
}
