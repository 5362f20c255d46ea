//! The client's side of one test.

use std::time::Duration;

use super::error::{ControlError, ErrorCode, Phase};
use super::message::{Partial, state, write_json};
use super::parameters::Parameters;
use super::results::Results;
use super::{Cookie, MAX_SERVER_RESULTS, State, Timeouts};

/// One test, as its client sees it, from the first byte on.
///
/// It is driven as a [`ServerTest`](super::ServerTest) is. An error is the end of it.
#[derive(Debug)]
pub struct ClientTest {
    phase: Phase,
    parameters: Parameters,
    partial: Partial,
    output: Vec<u8>,
    timeouts: Timeouts,
    deadline: Option<(Duration, Duration)>,
    omit_until: Option<Duration>,
    /// When a test of a duration is over.
    over_at: Option<Duration>,
    /// The server has said that it will report an error.
    in_error: bool,
}

/// What a client has to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Make the streams, in their order.
    CreateStreams,
    /// Send, or receive: the test runs.
    Begin,
    /// The omitted beginning is over: count from now on.
    OmitOver,
    /// The duration of the test is over: [`end`](ClientTest::end) it.
    TimeOver,
    /// The server asks for the results: [`answer`](ClientTest::answer) with them.
    ResultsWanted,
    /// The server's results.
    Results(Box<Results>),
    /// It is over, and was said to be.
    Done,
}

impl ClientTest {
    /// A test on a connection that is established: the cookie is sent.
    #[must_use]
    pub fn new(cookie: &Cookie, parameters: Parameters, timeouts: Timeouts, now: Duration) -> Self {
        let mut test = Self {
            phase: Phase::Asking,
            parameters,
            partial: Partial::default(),
            output: cookie.as_bytes().to_vec(),
            timeouts,
            deadline: None,
            omit_until: None,
            over_at: None,
            in_error: false,
        };
        test.enter(Phase::Asking, Some(timeouts.step), now);
        test
    }

    /// What it waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The parameters of the test.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What is to be sent on the control connection, in order.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes bytes of the control connection, up to one event: how many it took. Call it again with the rest.
    ///
    /// # Errors
    /// What is wrong with them, or what the server reports; the test is over then.
    pub fn on_bytes(
        &mut self,
        data: &[u8],
        now: Duration,
    ) -> Result<(usize, Option<ClientEvent>), ControlError> {
        let outcome = self.take(data, now);
        if outcome.is_err() {
            self.phase = Phase::Over;
        }
        outcome
    }

    fn take(&mut self, data: &[u8], now: Duration) -> Result<(usize, Option<ClientEvent>), ControlError> {
        let mut used = 0;
        while let Some((&first, _)) = data.get(used..).and_then(<[u8]>::split_first) {
            let rest = data.get(used..).unwrap_or_default();
            let (taken, event) = if self.in_error {
                (self.take_error(rest)?, None)
            } else if self.phase == Phase::Results {
                let during = self.phase;
                let (taken, results) = self.partial.json(rest, MAX_SERVER_RESULTS, during)?;
                if results.is_some() {
                    self.enter(Phase::Goodbye, Some(self.timeouts.step), now);
                }
                (
                    taken,
                    results.map(|results| ClientEvent::Results(Box::new(results))),
                )
            } else {
                (1, self.take_state(state(first, self.phase)?, now)?)
            };
            used += taken;
            if event.is_some() {
                return Ok((used, event));
            }
        }
        Ok((used, None))
    }

    fn take_error(&mut self, data: &[u8]) -> Result<usize, ControlError> {
        let (taken, numbers) = self.partial.exactly::<8>(data);
        let Some([a, b, c, d, e, f, g, h]) = numbers else {
            return Ok(taken);
        };
        Err(ControlError::Server {
            code: ErrorCode(i32::from_be_bytes([a, b, c, d])),
            errno: i32::from_be_bytes([e, f, g, h]),
        })
    }

    fn take_state(&mut self, state: State, now: Duration) -> Result<Option<ClientEvent>, ControlError> {
        let during = self.phase;
        match (during, state) {
            (Phase::Over, _) => Err(ControlError::Unexpected { during }),
            (_, State::AccessDenied) => Err(ControlError::Denied),
            (_, State::ServerTerminate) => Err(ControlError::ServerTerminated { during }),
            (_, State::ServerError) => {
                self.in_error = true;
                Ok(None)
            }
            (Phase::Asking, State::ParamExchange) => {
                write_json(&self.parameters, &mut self.output);
                self.enter(Phase::Queued, Some(self.timeouts.step), now);
                Ok(None)
            }
            (Phase::Queued, State::CreateStreams) => {
                self.enter(Phase::Streams, Some(self.timeouts.step), now);
                Ok(Some(ClientEvent::CreateStreams))
            }
            // The next byte says that it runs.
            (Phase::Streams, State::TestStart) => Ok(None),
            (Phase::Streams, State::TestRunning) => {
                self.begin(now);
                Ok(Some(ClientEvent::Begin))
            }
            (Phase::Ending, State::ExchangeResults) => {
                self.enter(Phase::Results, Some(self.timeouts.step), now);
                Ok(Some(ClientEvent::ResultsWanted))
            }
            (Phase::Goodbye, State::DisplayResults) => {
                self.say(State::IperfDone);
                self.enter(Phase::Over, None, now);
                Ok(Some(ClientEvent::Done))
            }
            _ => Err(ControlError::UnexpectedState { during, state }),
        }
    }

    fn begin(&mut self, now: Duration) {
        let omit = Duration::from_secs(self.parameters.omit.into());
        let time = Duration::from_secs(self.parameters.time.into());
        self.enter(Phase::Running, None, now);
        self.omit_until = (!omit.is_zero()).then_some(now + omit);
        self.over_at = (!time.is_zero()).then_some(now + omit + time);
    }

    /// Ends the test: after [`ClientEvent::TimeOver`], or when the amount has been sent or received.
    pub fn end(&mut self, now: Duration) {
        if self.phase == Phase::Running {
            self.say(State::TestEnd);
            self.enter(Phase::Ending, Some(self.timeouts.step), now);
        }
    }

    /// Gives the test up: the server is told, unless it is over.
    pub fn terminate(&mut self) {
        if self.phase != Phase::Over {
            self.say(State::ClientTerminate);
            self.phase = Phase::Over;
        }
    }

    /// Answers [`ClientEvent::ResultsWanted`] with what this side has counted.
    pub fn answer(&mut self, results: &Results) {
        if self.phase == Phase::Results {
            write_json(results, &mut self.output);
        }
    }

    /// The control connection has ended.
    ///
    /// # Errors
    /// [`ControlError::Closed`] where something was still to come.
    pub fn on_eof(&mut self) -> Result<(), ControlError> {
        let during = std::mem::replace(&mut self.phase, Phase::Over);
        match during {
            Phase::Over => Ok(()),
            _ => Err(ControlError::Closed { during }),
        }
    }

    /// When [`on_time`](Self::on_time) has something to do, if nothing else happens.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let deadline = self.deadline.map(|(at, _)| at);
        [deadline, self.omit_until, self.over_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Looks at the time.
    ///
    /// # Errors
    /// [`ControlError::TimedOut`]; the test is over then.
    pub fn on_time(&mut self, now: Duration) -> Result<Option<ClientEvent>, ControlError> {
        if self.omit_until.is_some_and(|at| at <= now) {
            self.omit_until = None;
            return Ok(Some(ClientEvent::OmitOver));
        }
        if self.over_at.is_some_and(|at| at <= now) {
            self.over_at = None;
            return Ok(Some(ClientEvent::TimeOver));
        }
        match self.deadline {
            Some((at, after)) if at <= now => {
                let during = std::mem::replace(&mut self.phase, Phase::Over);
                self.deadline = None;
                Err(ControlError::TimedOut { during, after })
            }
            _ => Ok(None),
        }
    }

    fn say(&mut self, state: State) {
        self.output.push(state.to_byte());
    }

    fn enter(&mut self, phase: Phase, within: Option<Duration>, now: Duration) {
        self.phase = phase;
        self.deadline = within.map(|within| (now + within, within));
        if phase != Phase::Running {
            self.omit_until = None;
            self.over_at = None;
        }
    }
}
