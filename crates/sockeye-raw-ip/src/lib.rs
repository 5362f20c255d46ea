//! Raw IP and ICMP sockets, unprivileged wherever the kernel allows it.
#![forbid(unsafe_code)]
