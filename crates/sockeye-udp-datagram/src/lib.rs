//! UDP sockets with everything the kernel offers: batches, GSO and GRO, packet info, ECN, the error queue.
#![forbid(unsafe_code)]
