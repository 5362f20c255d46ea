//! The messages of sockperf.
