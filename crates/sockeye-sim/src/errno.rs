//! Linux's error numbers: the simulated kernel speaks them, whatever machine the simulation runs on.

use std::io;

macro_rules! errnos {
    ($($name:ident = $number:literal,)*) => {
        $(pub(crate) const $name: i32 = $number;)*

        /// The number of an error by its name, as in a plan: `EMFILE`.
        pub(crate) fn by_name(name: &str) -> Option<i32> {
            match name { $(stringify!($name) => Some($number),)* _ => None }
        }

        /// The name of an error by its number.
        pub(crate) fn name(number: i32) -> Option<&'static str> {
            match number { $($number => Some(stringify!($name)),)* _ => None }
        }
    };
}

errnos! {
    EPERM = 1,
    ENOENT = 2,
    EINTR = 4,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EINVAL = 22,
    ENFILE = 23,
    EMFILE = 24,
    ENOSPC = 28,
    EPIPE = 32,
    EPROTO = 71,
    EDESTADDRREQ = 89,
    EMSGSIZE = 90,
    EPROTOTYPE = 91,
    ENOPROTOOPT = 92,
    EPROTONOSUPPORT = 93,
    EOPNOTSUPP = 95,
    EAFNOSUPPORT = 97,
    EADDRINUSE = 98,
    EADDRNOTAVAIL = 99,
    ENETUNREACH = 101,
    ECONNABORTED = 103,
    ECONNRESET = 104,
    ENOBUFS = 105,
    ENOTCONN = 107,
    ETIMEDOUT = 110,
    ECONNREFUSED = 111,
    EHOSTUNREACH = 113,
}

/// What the kernel would return.
#[cold]
pub(crate) fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_with_the_kinds_of_std() {
        assert_eq!(error(ECONNREFUSED).kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(error(EPIPE).kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(error(EAGAIN).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(by_name("EMFILE"), Some(24));
        assert_eq!(name(24), Some("EMFILE"));
        assert_eq!(by_name("ENOSUCH"), None);
        assert_eq!(name(0), None);
    }
}
