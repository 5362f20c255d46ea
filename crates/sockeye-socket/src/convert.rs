//! Conversions between a socket type and what it is made of, written once for every crate that wraps [`Socket`](crate::Socket).

/// Implements the descriptor traits for a type that is `struct T { socket: Socket }` or `struct T(Socket)` through
/// `From<Socket>`, `AsRef<Socket>` and `Into<Socket>`, which the type supplies.
///
/// `FromRawFd` cannot be written in a crate that forbids `unsafe`, although nothing in it is: its one promise, that the
/// descriptor is open and owned, is the caller's.
#[doc(hidden)]
#[macro_export]
macro_rules! __descriptor_traits {
    ($type:ty) => {
        impl ::std::os::fd::AsFd for $type {
            #[inline]
            fn as_fd(&self) -> ::std::os::fd::BorrowedFd<'_> {
                ::std::convert::AsRef::<$crate::Socket>::as_ref(self).as_fd()
            }
        }

        impl ::std::os::fd::AsRawFd for $type {
            #[inline]
            fn as_raw_fd(&self) -> ::std::os::fd::RawFd {
                ::std::convert::AsRef::<$crate::Socket>::as_ref(self).as_raw_fd()
            }
        }

        impl ::std::os::fd::IntoRawFd for $type {
            fn into_raw_fd(self) -> ::std::os::fd::RawFd {
                $crate::Socket::from(self).into_raw_fd()
            }
        }

        impl ::std::os::fd::FromRawFd for $type {
            /// # Safety
            ///
            /// The descriptor is open, and nobody else owns it. It is used as it is: make it nonblocking first.
            unsafe fn from_raw_fd(fd: ::std::os::fd::RawFd) -> Self {
                // SAFETY: the caller's promise, passed on.
                Self::from(unsafe { $crate::Socket::from_raw_fd(fd) })
            }
        }

        impl ::std::convert::From<::std::os::fd::OwnedFd> for $type {
            /// Takes the descriptor as it is: make it nonblocking first.
            fn from(fd: ::std::os::fd::OwnedFd) -> Self {
                Self::from($crate::Socket::from(fd))
            }
        }

        impl ::std::convert::From<$type> for ::std::os::fd::OwnedFd {
            fn from(value: $type) -> Self {
                $crate::Socket::from(value).into()
            }
        }
    };
}
