//! Interarrival jitter (RFC 3550, section 6.4.1).
