//! `sockeye connect` and `sockeye listen`.

mod commands;
mod connect;
mod held;
mod listen;
mod refused;
