//! The base under every Sockeye socket: options, messages with metadata, the error queue, filters, errors.
