//! Names for what lives on a loop. All are `Copy`, carry a generation, and go stale without harm.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use crate::backend::Token;

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

/// A timer that was set. Cancelling one that has fired does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
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

/// A handle for the core, which knows no types: by its kind a handle of another loop is recognised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceKey {
    pub(crate) index: u16,
    pub(crate) kind: TypeId,
}
