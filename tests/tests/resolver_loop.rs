//! Names on the loop: its client of the DNS and Happy Eyeballs, in the simulation and on the kernel.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]
#![allow(unreachable_pub, dead_code, reason = "the modules of several test targets")]

#[path = "resolver_loop/certificates.rs"]
mod certificates;
#[path = "resolver_loop/serving.rs"]
mod serving;
#[path = "resolver_loop/setting.rs"]
mod setting;

#[path = "resolver_loop/eyeballs.rs"]
mod eyeballs;
#[path = "resolver_loop/hostile.rs"]
mod hostile;
#[path = "resolver_loop/kernel.rs"]
mod kernel;
#[path = "resolver_loop/records.rs"]
mod records;
#[path = "resolver_loop/tls.rs"]
mod tls;
#[path = "resolver_loop/weather.rs"]
mod weather;
