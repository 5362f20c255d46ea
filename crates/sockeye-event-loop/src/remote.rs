//! Reaching a loop from other threads: a bounded queue, and one wake-up for a burst.

use std::any::Any;
use std::fmt;
use std::sync::{self, Arc};
use std::time::Duration;

use crate::backend::Wake;
use crate::context::Context;
use crate::id::{ServiceHandle, StreamId};

mod queue;

use queue::Queue;
pub use queue::RemoteError;

/// Something to be done with a service, on its loop.
pub(crate) type Action = Box<dyn FnOnce(&mut dyn Any, &mut Context<'_>) + Send>;

/// Something to be done on the loop.
pub(crate) type Post = Box<dyn FnOnce(&mut Context<'_>) + Send>;

/// What a remote asks for.
pub(crate) enum Command {
    Send(StreamId, Vec<u8>),
    Message(StreamId, Box<dyn Any + Send>),
    Close(StreamId),
    With(u16, Action),
    Post(Post),
    #[cfg(feature = "resolver")]
    Resolved(crate::connect::ConnectId),
    Stop,
    Drain(Duration),
    #[cfg(feature = "tcp")]
    Adopt(u16, sockeye_tcp_stream::TcpStream, std::net::SocketAddr),
}

/// What remotes have asked for.
pub(crate) type RemoteQueue = Queue<Command>;

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send(..) => "Send",
            Self::Message(..) => "Message",
            Self::Close(_) => "Close",
            Self::With(..) => "With",
            Self::Post(_) => "Post",
            #[cfg(feature = "resolver")]
            Self::Resolved(_) => "Resolved",
            Self::Stop => "Stop",
            Self::Drain(_) => "Drain",
            #[cfg(feature = "tcp")]
            Self::Adopt(..) => "Adopt",
        })
    }
}

/// A handle to a loop for other threads. Clones are cheap and equal.
///
/// ```
/// use std::sync::mpsc::channel;
/// use sockeye_event_loop::{EventLoop, Stream, StreamOptions, StreamService};
///
/// struct Counter(u64);
///
/// impl StreamService for Counter {
///     type Conn = ();
///     fn on_open(&mut self, _: &mut Stream<'_>) {
///         self.0 += 1;
///     }
///     fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
///         data.len()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (tell, told) = channel();
/// let worker = std::thread::spawn(move || {
///     let mut events = EventLoop::new()?;
///     let counter = events.add_stream_service(Counter(0), StreamOptions::default());
///     tell.send((events.remote(), counter)).map_err(std::io::Error::other)?;
///     events.run()
/// });
/// // From another thread: ask the service something, then end the loop.
/// let (remote, counter) = told.recv()?;
/// let (answer, answered) = channel();
/// remote.with(counter, move |counter, _context| {
///     let _ = answer.send(counter.0);
/// })?;
/// assert_eq!(answered.recv()?, 0);
/// remote.stop()?;
/// worker.join().expect("the loop's thread")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    pub(crate) queue: Arc<RemoteQueue>,
}

impl Remote {
    /// Writes to a connection. If it is gone or full by then, the bytes are dropped: to learn what became of
    /// them, write from the loop with [`with`](Self::with).
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn send(&self, to: StreamId, data: impl Into<Vec<u8>>) -> Result<(), RemoteError> {
        self.queue.push(Command::Send(to, data.into()))
    }

    /// Sends a value to a connection's `on_message`.
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn message(&self, to: StreamId, message: impl Any + Send) -> Result<(), RemoteError> {
        self.queue.push(Command::Message(to, Box::new(message)))
    }

    /// Closes a connection in order.
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn close(&self, id: StreamId) -> Result<(), RemoteError> {
        self.queue.push(Command::Close(id))
    }

    /// Runs something on the loop, with a service's state.
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn with<S, F>(&self, service: ServiceHandle<S>, action: F) -> Result<(), RemoteError>
    where
        S: 'static,
        F: FnOnce(&mut S, &mut Context<'_>) + Send + 'static,
    {
        let action = Box::new(move |state: &mut dyn Any, context: &mut Context<'_>| {
            if let Some(state) = state.downcast_mut::<S>() {
                action(state, context);
            }
        });
        self.queue.push(Command::With(service.index, action))
    }

    /// Runs something on the loop.
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn post(&self, action: impl FnOnce(&mut Context<'_>) + Send + 'static) -> Result<(), RemoteError> {
        self.queue.push(Command::Post(Box::new(action)))
    }

    /// A drain that is not refused by a full queue.
    pub(crate) fn force_drain(&self, within: Duration) {
        self.queue.force(Command::Drain(within));
    }

    /// Hands an accepted connection to a service of the loop.
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`]; the connection is closed then.
    #[cfg(feature = "tcp")]
    pub fn adopt<S>(
        &self,
        service: ServiceHandle<S>,
        stream: sockeye_tcp_stream::TcpStream,
        peer: std::net::SocketAddr,
    ) -> Result<(), RemoteError> {
        self.queue.push(Command::Adopt(service.index, stream, peer))
    }

    /// Ends `run` after the present turn.
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn stop(&self) -> Result<(), RemoteError> {
        self.queue.push(Command::Stop)
    }

    /// Lets the loop end in order: see [`EventLoop::drain`](crate::EventLoop::drain).
    ///
    /// # Errors
    /// [`RemoteError::Full`], [`RemoteError::Gone`].
    pub fn drain(&self, within: Duration) -> Result<(), RemoteError> {
        self.queue.push(Command::Drain(within))
    }
}
