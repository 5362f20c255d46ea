//! What a loop has done since it began: plain counters, to be read as a snapshot.

use std::ops::AddAssign;

/// Counters of one loop, or the sum over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
// What each message counts lies in one line of the cache. Those that one step adds to are not neighbours: the compiler would
// add to both by vector instructions, which are more.
#[repr(C)]
pub struct Stats {
    /// Reads that gave bytes.
    pub reads: u64,
    /// Events taken from the backend.
    pub events: u64,
    /// Bytes received on streams.
    pub bytes_in: u64,
    /// Writes that took bytes.
    pub writes: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Bytes sent on streams.
    pub bytes_out: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections accepted for another loop.
    pub handed_over: u64,
    /// Connects that stood.
    pub connected: u64,
    /// Connects that failed: refused, unreachable, out of time.
    pub connect_errors: u64,
    /// Connections that are gone, for whatever reason, ends of pairs among them.
    pub closed: u64,
    /// Of these, by a deadline.
    pub timed_out: u64,
    /// Times that accepting paused because descriptors or memory were used up.
    pub accept_back_offs: u64,
    /// Accepts that failed, for want of a connection apart.
    pub accept_errors: u64,
    /// Listeners that were lost: shut down or closed by somebody else.
    pub listeners_lost: u64,
    /// Writes that were refused by the high watermark.
    pub full: u64,
    /// Batches received on datagram and packet sockets.
    pub batches: u64,
    /// Datagrams and packets received.
    pub datagrams_in: u64,
    /// Datagrams and packets sent.
    pub datagrams_out: u64,
    /// Datagrams and packets that could not be sent.
    pub send_errors: u64,
    /// Timers that fired.
    pub timers: u64,
    /// Commands that came through a remote.
    pub remote_commands: u64,
    /// Callbacks that panicked.
    pub panics: u64,
    /// Reads and writes that were put off, for want of memory or because a pipe that is sent had nothing.
    pub put_off: u64,
    /// Bytes kept now: output that waits, and input that was not consumed.
    pub memory: u64,
    /// The most that was kept at once.
    pub memory_peak: u64,
    /// Connections that were reset because the memory budget was used up.
    pub memory_resets: u64,
    /// Pairs that were made.
    pub pairs: u64,
    /// Connections that are open now, or being opened: those that [`LoopOptions::max_connections`](crate::LoopOptions::max_connections)
    /// bounds. Not `accepted` and `connected` less `closed`, which has ends of pairs.
    pub open: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.turns += other.turns;
        self.events += other.events;
        self.accepted += other.accepted;
        self.handed_over += other.handed_over;
        self.connected += other.connected;
        self.connect_errors += other.connect_errors;
        self.closed += other.closed;
        self.timed_out += other.timed_out;
        self.accept_back_offs += other.accept_back_offs;
        self.accept_errors += other.accept_errors;
        self.listeners_lost += other.listeners_lost;
        self.reads += other.reads;
        self.bytes_in += other.bytes_in;
        self.writes += other.writes;
        self.bytes_out += other.bytes_out;
        self.full += other.full;
        self.batches += other.batches;
        self.datagrams_in += other.datagrams_in;
        self.datagrams_out += other.datagrams_out;
        self.send_errors += other.send_errors;
        self.timers += other.timers;
        self.remote_commands += other.remote_commands;
        self.panics += other.panics;
        self.put_off += other.put_off;
        self.memory += other.memory;
        self.memory_peak += other.memory_peak;
        self.memory_resets += other.memory_resets;
        self.pairs += other.pairs;
        self.open += other.open;
    }
}
