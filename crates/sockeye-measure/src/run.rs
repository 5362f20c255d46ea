//! The protocol of `sockeye bench server` and `sockeye bench client`.
