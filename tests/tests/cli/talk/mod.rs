//! `sockeye connect` and `sockeye listen`.

mod commands;
mod connect;
mod habits;
mod held;
mod listen;
mod refused;
