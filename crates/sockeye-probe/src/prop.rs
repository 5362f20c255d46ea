//! Property tests of the engines against a model of a path: routers that are slow, silent, lossy, rate-limited, terse or
//! lying, and strangers who talk in between.

mod model;
mod mtu;
mod ping;
mod trace;
mod watch;
