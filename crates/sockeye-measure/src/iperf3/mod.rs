//! The protocol of iperf3, both sides, without I/O.
//!
//! A test has one connection for control and one connection or UDP source for each stream of data, all to one port of the
//! server. The client decides: it begins, says how to test, and ends the test. The control connection carries states of one
//! byte, and JSON after its length:
//!
//! | client | server |
//! |---|---|
//! | the [`Cookie`] of the test, 37 bytes | |
//! | | [`State::ParamExchange`] |
//! | [`Parameters`] | |
//! | | [`State::CreateStreams`] |
//! | one connection a stream, which begins with the cookie; or one [greeting](Greeting) a stream | a UDP greeting is answered |
//! | | [`State::TestStart`], [`State::TestRunning`] |
//! | data in one direction or both, then [`State::TestEnd`] | |
//! | | [`State::ExchangeResults`] |
//! | [`Results`] | [`Results`], [`State::DisplayResults`] |
//! | [`State::IperfDone`] | |
//!
//! [`ServerTest`] and [`ClientTest`] are the two sides of the control connection: they are given bytes and times, and say
//! what to send and to do. What goes over the streams is the caller's, with [`DatagramHeader`], [`DatagramCounter`] and
//! [`Pacer`] for it.
//!
//! | module | what |
//! |---|---|
//! | `client`, `server` | the two sides of the control connection |
//! | `parameters`, `results` | what they tell each other in JSON |
//! | `datagram` | headers and greetings of UDP, and what a receiver counts |
//! | `pacer` | how much may be sent by now |
//! | `message` | bytes to messages, within bounds |
//! | `numbers` | numbers of JSON as iperf3 writes them |
//! | `error` | why a test ends without results |
//!
//! Times are [`Duration`]s since any moment that the caller chose; they never go back.
//!
//! The wire format was checked against iperf3 3.12; there is no specification of it.

mod client;
mod datagram;
mod error;
mod message;
mod numbers;
mod pacer;
mod parameters;
mod results;
mod server;

use std::fmt;
use std::time::Duration;

pub use client::{ClientEvent, ClientTest};
pub use datagram::{
    DatagramCounter, DatagramCounts, DatagramHeader, GREETING_LEN, Greeting, HEADER_LEN, HEADER_LEN_64,
};
pub use error::{ControlError, ErrorCode, Phase};
pub use pacer::Pacer;
pub use parameters::{
    MAX_BLOCK, MAX_DATAGRAM, MAX_OMIT_S, MAX_STREAMS, MAX_TIME_S, Parameters, ParametersError, Protocol,
};
pub use results::{Results, StreamResults};
pub use server::{Joined, ServerEvent, ServerTest};

/// The port of an iperf3 server.
pub const PORT: u16 = 5201;

/// The longest [`Parameters`] that a server takes, in bytes. iperf3 sends a few hundred.
pub const MAX_PARAMETERS: u32 = 64 * 1024;
/// The longest [`Results`] that a server takes, in bytes: of 256 streams.
pub const MAX_CLIENT_RESULTS: u32 = 1024 * 1024;
/// The longest [`Results`] that a client takes, in bytes: they may hold the server's whole output.
pub const MAX_SERVER_RESULTS: u32 = 8 * 1024 * 1024;

/// One byte of the control connection (`iperf.h`, `iperf_api.h` of iperf3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
#[non_exhaustive]
pub enum State {
    /// All streams are there.
    TestStart = 1,
    /// Data flows from now on.
    TestRunning = 2,
    /// The client has sent or received what it wanted.
    TestEnd = 4,
    /// The server asks for the parameters.
    ParamExchange = 9,
    /// The server waits for the streams.
    CreateStreams = 10,
    /// The server gives up.
    ServerTerminate = 11,
    /// The client gives up.
    ClientTerminate = 12,
    /// The server asks for the results.
    ExchangeResults = 13,
    /// The client has both results now.
    DisplayResults = 14,
    /// The client is through.
    IperfDone = 16,
    /// The server has no time for this client.
    AccessDenied = -1,
    /// The server reports an error: two numbers follow.
    ServerError = -2,
}

impl State {
    const ALL: [Self; 12] = [
        Self::TestStart,
        Self::TestRunning,
        Self::TestEnd,
        Self::ParamExchange,
        Self::CreateStreams,
        Self::ServerTerminate,
        Self::ClientTerminate,
        Self::ExchangeResults,
        Self::DisplayResults,
        Self::IperfDone,
        Self::AccessDenied,
        Self::ServerError,
    ];

    /// The state of that number; `None` of any other number.
    #[must_use]
    pub fn from_i8(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.to_i8() == number)
    }

    /// Its number.
    #[must_use]
    pub const fn to_i8(self) -> i8 {
        self as i8
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        (self as i8).to_be_bytes()[0]
    }
}

impl fmt::Display for State {
    /// The name in iperf3's source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TestStart => "TEST_START",
            Self::TestRunning => "TEST_RUNNING",
            Self::TestEnd => "TEST_END",
            Self::ParamExchange => "PARAM_EXCHANGE",
            Self::CreateStreams => "CREATE_STREAMS",
            Self::ServerTerminate => "SERVER_TERMINATE",
            Self::ClientTerminate => "CLIENT_TERMINATE",
            Self::ExchangeResults => "EXCHANGE_RESULTS",
            Self::DisplayResults => "DISPLAY_RESULTS",
            Self::IperfDone => "IPERF_DONE",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::ServerError => "SERVER_ERROR",
        })
    }
}

/// What names a test: the connections of its streams begin with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie([u8; 37]);

impl Cookie {
    /// Bytes on the wire: 36 printable characters of ASCII and a NUL.
    pub const LEN: usize = 37;
    /// The letters that iperf3 uses.
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

    /// A new cookie from random numbers, which should not be predictable: who knows the cookie of a test can join it.
    #[must_use]
    pub fn new(random: [u64; 3]) -> Self {
        let mut bytes = [0; Self::LEN];
        let mut rest = random;
        for (at, byte) in bytes.iter_mut().take(Self::LEN - 1).enumerate() {
            // Twelve letters of five bits come out of each number.
            if let Some(number) = rest.get_mut(at / 12) {
                *byte = Self::LETTERS
                    .get((*number & 31) as usize)
                    .copied()
                    .unwrap_or(b'a');
                *number >>= 5;
            }
        }
        Self(bytes)
    }

    /// Reads the cookie at the front of what a connection has sent: `None` until 37 bytes are there.
    ///
    /// # Errors
    /// [`ControlError::Cookie`] as soon as one byte cannot be of a cookie: whoever is there does not speak iperf3.
    pub fn parse(data: &[u8]) -> Result<Option<Self>, ControlError> {
        let is_right = |(at, byte): (usize, &u8)| match at {
            36 => *byte == 0,
            _ => byte.is_ascii_graphic() || *byte == b' ',
        };
        let seen = data.iter().take(Self::LEN);
        if let Some((at, &byte)) = seen.enumerate().find(|&place| !is_right(place)) {
            return Err(ControlError::Cookie { at, byte });
        }
        Ok(data.first_chunk().map(|bytes| Self(*bytes)))
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A log is read by more people than may join the test.
        f.write_str("Cookie(..)")
    }
}

/// The number by which both sides name the stream at `index`, counted from 0 in the order in which streams were made: 1, 3,
/// 4, 5, as iperf3 counts.
#[must_use]
pub const fn stream_id(index: u32) -> u32 {
    if index == 0 { 1 } else { index.saturating_add(2) }
}

/// How long the other side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For each step outside of the test itself: the parameters, all streams, the results, the goodbye.
    pub step: Duration,
    /// For the end of a test of a known duration, beyond that duration.
    pub grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(10),
            grace: Duration::from_secs(15),
        }
    }
}

#[cfg(test)]
mod tests;
