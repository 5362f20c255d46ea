//! An event loop on mio without an async runtime: services, timers, remotes, shards; generic over its backend.
#![forbid(unsafe_code)]
