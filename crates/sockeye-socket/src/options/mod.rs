//! Socket options as typed constants: [`Socket::get`](crate::Socket::get) and [`Socket::set`](crate::Socket::set) take them.
//!
//! The constants carry the kernel's names. Units are in each one's documentation; the crates of the socket types wrap
//! the common ones in methods that speak of `Duration` and endpoints.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys;

mod ip;
mod packet;
mod raw;
mod socket;
#[cfg(test)]
mod table;
mod tcp;
mod udp;

pub use ip::*;
pub use packet::*;
pub use raw::*;
pub use socket::*;
pub use tcp::*;
pub use udp::*;

/// An option of `setsockopt(2)`: its level, its number, its name, and the type of its value.
///
/// `T` is `bool`, `i32`, `u32`, `u64` or `Option<Duration>` (linger); `[u8]` stands for text and structures.
pub struct SocketOption<T: ?Sized> {
    level: i32,
    number: i32,
    name: &'static str,
    limit: Limit,
    value: PhantomData<fn(&T)>,
}

/// What the kernel would take a larger value for another one than it is: it reads `u32` as a signed number, of which
/// it uses fewer bits, or cuts text.
#[derive(Clone, Copy)]
enum Limit {
    /// It takes every value for what it is, or refuses it.
    Kernel,
    /// More means this, which is as good as no limit.
    Saturate(u32),
    /// More is EINVAL.
    Refuse(u32),
}

impl<T: ?Sized> SocketOption<T> {
    const fn new(level: i32, number: i32, name: &'static str, limit: Limit) -> Self {
        Self {
            level,
            number,
            name,
            limit,
            value: PhantomData,
        }
    }

    /// The kernel's name for it: `SO_REUSEADDR`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T: OptionValue> SocketOption<T> {
    pub(crate) fn get(self, fd: BorrowedFd<'_>) -> io::Result<T> {
        sys::option::get(fd, self.level, self.number).map(T::from_raw)
    }

    pub(crate) fn set(self, fd: BorrowedFd<'_>, value: T) -> io::Result<()> {
        let value = match (self.limit, value.amount()) {
            (Limit::Saturate(most), Some(amount)) if amount > most => T::from_amount(most).unwrap_or(value),
            (Limit::Refuse(most), Some(amount)) if amount > most => return Err(out_of_range()),
            _ => value,
        };
        sys::option::set(fd, self.level, self.number, value.to_raw())
    }
}

impl SocketOption<[u8]> {
    pub(crate) fn get_bytes(self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        sys::option::get_bytes(fd, self.level, self.number, buffer)
    }

    pub(crate) fn set_bytes(self, fd: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
        if let Limit::Refuse(most) = self.limit
            && value.len() > most as usize
        {
            return Err(out_of_range());
        }
        sys::option::set_bytes(fd, self.level, self.number, value)
    }
}

fn out_of_range() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

impl<T: ?Sized> Clone for SocketOption<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for SocketOption<T> {}

impl<T: ?Sized> std::fmt::Debug for SocketOption<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A type that an option's value can have. Sealed: the kernel's layouts are this crate's business.
pub trait OptionValue: sealed::Value {}

impl<T: sealed::Value> OptionValue for T {}

mod sealed {
    #[expect(private_bounds, reason = "sealed")]
    pub trait Value: Copy {
        type Raw: crate::sys::option::Plain;
        fn to_raw(self) -> Self::Raw;
        fn from_raw(raw: Self::Raw) -> Self;

        /// The value where it counts something and may be more than the kernel counts to.
        fn amount(self) -> Option<u32> {
            None
        }

        fn from_amount(_amount: u32) -> Option<Self> {
            None
        }
    }
}

impl sealed::Value for bool {
    type Raw = i32;

    fn to_raw(self) -> i32 {
        i32::from(self)
    }

    fn from_raw(raw: i32) -> Self {
        raw != 0
    }
}

macro_rules! same_as_raw {
    ($($type:ty),+) => {$(
        impl sealed::Value for $type {
            type Raw = Self;

            fn to_raw(self) -> Self {
                self
            }

            fn from_raw(raw: Self) -> Self {
                raw
            }
        }
    )+};
}

same_as_raw!(i32, u64);

impl sealed::Value for u32 {
    type Raw = Self;

    fn to_raw(self) -> Self {
        self
    }

    fn from_raw(raw: Self) -> Self {
        raw
    }

    fn amount(self) -> Option<u32> {
        Some(self)
    }

    fn from_amount(amount: u32) -> Option<Self> {
        Some(amount)
    }
}

/// `struct linger`: on or off, then whole seconds. A part of a second counts as one, so that only zero is zero; what is
/// more than the kernel counts to is 68 years.
impl sealed::Value for Option<Duration> {
    type Raw = [i32; 2];

    fn to_raw(self) -> [i32; 2] {
        match self {
            None => [0, 0],
            Some(time) => {
                let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
                [1, i32::try_from(seconds).unwrap_or(i32::MAX)]
            }
        }
    }

    fn from_raw([on, seconds]: [i32; 2]) -> Self {
        (on != 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

/// The largest number that is not negative to the kernel.
const INT_MAX: u32 = i32::MAX.cast_unsigned();

/// Constants of one level: `NAME: type = number;`, and behind the number `at_most LIMIT` for what must be refused, or
/// `up_to LIMIT` for what saturates.
macro_rules! options {
    ($level:expr; $($(#[$doc:meta])* $name:ident: $type:ty = $number:expr $(, $kind:ident $limit:expr)?;)+) => {
        $(
            $(#[$doc])*
            pub const $name: $crate::options::SocketOption<$type> = $crate::options::SocketOption::new(
                $level,
                $number,
                stringify!($name),
                $crate::options::limit!($($kind $limit)?),
            );
        )+
    };
}
macro_rules! limit {
    () => {
        $crate::options::Limit::Kernel
    };
    (up_to $limit:expr) => {
        $crate::options::Limit::Saturate($limit)
    };
    (at_most $limit:expr) => {
        $crate::options::Limit::Refuse($limit)
    };
}
use {limit, options};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Domain, Socket, Type};

    #[test]
    fn what_is_set_is_read_back() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        for option in [
            SO_REUSEADDR,
            SO_REUSEPORT,
            SO_KEEPALIVE,
            TCP_NODELAY,
            IP_BIND_ADDRESS_NO_PORT,
        ] {
            assert!(!socket.get(option).unwrap(), "{option:?}");
            socket.set(option, true).unwrap();
            assert!(socket.get(option).unwrap(), "{option:?}");
        }
        for (option, value) in [
            (TCP_KEEPIDLE, 7),
            (TCP_KEEPINTVL, 3),
            (TCP_KEEPCNT, 2),
            (TCP_USER_TIMEOUT, 4321),
        ] {
            socket.set(option, value).unwrap();
            assert_eq!(socket.get(option).unwrap(), value, "{option:?}");
        }
        assert_ne!(socket.get(SO_COOKIE).unwrap(), 0);
    }

    #[test]
    fn linger_of_half_a_second_is_not_linger_of_zero() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(socket.get(SO_LINGER).unwrap(), None);
        socket.set(SO_LINGER, Some(Duration::from_millis(500))).unwrap();
        assert_eq!(socket.get(SO_LINGER).unwrap(), Some(Duration::from_secs(1)));
        socket.set(SO_LINGER, Some(Duration::ZERO)).unwrap();
        assert_eq!(socket.get(SO_LINGER).unwrap(), Some(Duration::ZERO));
    }

    #[test]
    fn an_option_of_another_kind_of_socket_is_an_error() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        assert!(socket.get(TCP_NODELAY).is_err());
        assert!(socket.set(IPV6_V6ONLY, true).is_err());
    }

    #[test]
    fn text_goes_through_bytes() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut name = [0; 16];
        let len = socket.get_bytes(TCP_CONGESTION, &mut name).unwrap();
        let name = name[..len].split(|&byte| byte == 0).next().unwrap();
        assert!(!name.is_empty());
        socket.set_bytes(TCP_CONGESTION, name).unwrap();
        assert!(socket.set_bytes(TCP_CONGESTION, b"no-such-one").is_err());
    }
}
