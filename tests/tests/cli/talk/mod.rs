//! `sockeye connect` and `sockeye listen`.

mod commands;
mod connect;
mod listen;
mod refused;
