//! TCP listeners and streams: what mio offers under the same names, and what the kernel offers beside it.
#![forbid(unsafe_code)]
