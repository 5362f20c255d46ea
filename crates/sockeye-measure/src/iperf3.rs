//! The protocol of iperf3.
