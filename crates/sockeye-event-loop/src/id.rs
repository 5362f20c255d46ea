//! Names for what lives on a loop. All are `Copy`, carry a generation, and go stale without harm.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

/// What the loop calls a registered socket: an index into its table and a generation, so that an
/// event for a socket that is gone is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token(u64);

impl Default for Token {
    /// No socket: an index that no table reaches.
    fn default() -> Self {
        Self::new(Self::FIRST_SPECIAL_INDEX - 1, u32::MAX)
    }
}

impl Token {
    /// The wake-up of [`Backend::waker`](crate::backend::Backend::waker).
    pub const WAKE: Self = Self(u64::MAX);
    /// The alarm of [`Backend::set_alarm`](crate::backend::Backend::set_alarm).
    pub const ALARM: Self = Self(u64::MAX - 1);
    /// Indices from here on are not sockets but sources of the backend's own (signals).
    pub(crate) const FIRST_SPECIAL_INDEX: u32 = u32::MAX - 15;

    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The place in the loop's table.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// Which of the sockets that used that place one after another.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The token as one number, for a poller that carries 64 bits.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The token that [`Token::to_u64`] gave.
    #[must_use]
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }
}

macro_rules! socket_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) Token);

        impl $name {
            /// The id as one number, unique on its loop until 2^32 sockets have used the same place.
            #[must_use]
            pub const fn to_u64(self) -> u64 {
                self.0.to_u64()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}.{})", stringify!($name), self.0.index(), self.0.generation())
            }
        }
    };
}

socket_id!(
    /// A connection, from the start of its connect or accept until `on_close` has returned.
    StreamId
);
socket_id!(
    /// A listener.
    ListenerId
);
socket_id!(
    /// A datagram or packet socket.
    DatagramId
);

/// The id of any socket, for [`EventLoop::local_addr`](crate::EventLoop::local_addr) and [`Context::local_addr`](crate::Context::local_addr).
#[derive(Clone, Copy, Debug)]
pub struct AnyId(pub(crate) Token);

impl From<ListenerId> for AnyId {
    fn from(id: ListenerId) -> Self {
        Self(id.0)
    }
}

impl From<StreamId> for AnyId {
    fn from(id: StreamId) -> Self {
        Self(id.0)
    }
}

impl From<DatagramId> for AnyId {
    fn from(id: DatagramId) -> Self {
        Self(id.0)
    }
}

/// A timer that was set. Cancelling one that has fired does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl TimerId {
    /// No timer.
    pub(crate) const NONE: Self = Self {
        index: u32::MAX,
        generation: 0,
    };
}

/// A service on a loop, with its type, so that its state can be reached again.
pub struct ServiceHandle<S> {
    pub(crate) index: u16,
    _service: PhantomData<fn() -> S>,
}

impl<S> ServiceHandle<S> {
    pub(crate) const fn new(index: u16) -> Self {
        Self {
            index,
            _service: PhantomData,
        }
    }

    pub(crate) fn key(&self) -> ServiceKey
    where
        S: 'static,
    {
        ServiceKey {
            index: self.index,
            kind: TypeId::of::<S>(),
        }
    }

    /// The handle without its type, to be kept beside others.
    #[must_use]
    pub const fn id(&self) -> ServiceId {
        ServiceId(self.index)
    }
}

// By hand: a derive would ask the same of `S`.
impl<S> Clone for ServiceHandle<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for ServiceHandle<S> {}

impl<S> fmt::Debug for ServiceHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceHandle({})", self.index)
    }
}

/// A service on a loop, whatever its type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceId(pub(crate) u16);

/// A stream service on a loop, without its type: for who hands connections to services of many types, such as a multiplexer.
/// Whatever takes the handle of a stream service takes this too. A handle of another loop is recognised as before.
#[derive(Clone, Copy, Debug)]
pub struct StreamServiceId(pub(crate) ServiceKey);

impl<S: 'static> From<ServiceHandle<S>> for StreamServiceId {
    fn from(handle: ServiceHandle<S>) -> Self {
        Self(handle.key())
    }
}

/// A handle for the core, which knows no types: by its kind a handle of another loop is recognised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceKey {
    pub(crate) index: u16,
    pub(crate) kind: TypeId,
}
