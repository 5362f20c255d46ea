//! Many messages in one system call, from and into storage that is allocated once.

mod recv;
mod send;

pub use recv::RecvBatch;
pub use send::{SendBatch, SendReport};
