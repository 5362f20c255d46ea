//! The server's side of one test.

use std::time::Duration;

use super::error::{ControlError, ErrorCode, Phase};
use super::message::{Partial, state, write_json};
use super::parameters::Parameters;
use super::results::Results;
use super::{MAX_CLIENT_RESULTS, MAX_PARAMETERS, State, Timeouts, stream_id};

/// One test, as its server sees it, from the cookie on.
///
/// Bytes of the control connection go to [`on_bytes`](Self::on_bytes), the end of it to [`on_eof`](Self::on_eof), the time to
/// [`on_time`](Self::on_time) once it is [`due`](Self::due); what is to be sent comes from [`take_output`](Self::take_output)
/// after each of them. After an error the test is over; [`refuse`](Self::refuse) tells the client.
#[derive(Debug)]
pub struct ServerTest {
    phase: Phase,
    parameters: Parameters,
    partial: Partial,
    output: Vec<u8>,
    timeouts: Timeouts,
    /// When this phase has to be over, and how long it was given.
    deadline: Option<(Duration, Duration)>,
    /// When the omitted beginning is over.
    omit_until: Option<Duration>,
    joined: u32,
}

/// What a server has to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The parameters are there and make sense: [`accept`](ServerTest::accept) or [`refuse`](ServerTest::refuse) them.
    Parameters,
    /// The omitted beginning is over: count from now on.
    OmitOver,
    /// The test is over: stop sending.
    End,
    /// The client's results: [`answer`](ServerTest::answer) with the server's.
    Results(Results),
    /// The client is through.
    Done,
}

/// A stream that has found its test. Streams have their places in the order in which their connections were accepted, or
/// their greetings came, which need not be the order in which their cookies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// Others are missing.
    Early,
    /// It was the last one: data flows from now on.
    Last,
}

impl ServerTest {
    /// A test whose cookie has come: the client is asked for the parameters.
    #[must_use]
    pub fn new(timeouts: Timeouts, now: Duration) -> Self {
        let mut test = Self {
            phase: Phase::Parameters,
            parameters: Parameters::default(),
            partial: Partial::default(),
            output: Vec::new(),
            timeouts,
            deadline: None,
            omit_until: None,
            joined: 0,
        };
        test.say(State::ParamExchange);
        test.enter(Phase::Parameters, Some(timeouts.step), now);
        test
    }

    /// What it waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The parameters, once they have come.
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
    /// What is wrong with them; the test is over then.
    pub fn on_bytes(
        &mut self,
        data: &[u8],
        now: Duration,
    ) -> Result<(usize, Option<ServerEvent>), ControlError> {
        let outcome = self.take(data, now);
        if outcome.is_err() {
            self.phase = Phase::Over;
        }
        outcome
    }

    fn take(&mut self, data: &[u8], now: Duration) -> Result<(usize, Option<ServerEvent>), ControlError> {
        let mut used = 0;
        while let Some((&first, _)) = data.get(used..).and_then(<[u8]>::split_first) {
            let rest = data.get(used..).unwrap_or_default();
            let (taken, event) = match self.phase {
                Phase::Parameters => self.take_parameters(rest, now)?,
                Phase::Results => {
                    let during = self.phase;
                    let (taken, results) = self.partial.json(rest, MAX_CLIENT_RESULTS, during)?;
                    if let Some(results) = &results {
                        self.check(results)?;
                        self.enter(Phase::Goodbye, Some(self.timeouts.step), now);
                    }
                    (taken, results.map(ServerEvent::Results))
                }
                during => (1, self.take_state(state(first, during)?, now)?),
            };
            used += taken;
            if event.is_some() {
                return Ok((used, event));
            }
        }
        Ok((used, None))
    }

    fn take_parameters(
        &mut self,
        data: &[u8],
        now: Duration,
    ) -> Result<(usize, Option<ServerEvent>), ControlError> {
        let during = Phase::Parameters;
        let (taken, parameters) = self.partial.json::<Parameters>(data, MAX_PARAMETERS, during)?;
        let Some(parameters) = parameters else {
            return Ok((taken, None));
        };
        parameters.check()?;
        self.parameters = parameters;
        self.enter(Phase::Queued, None, now);
        Ok((taken, Some(ServerEvent::Parameters)))
    }

    fn take_state(&mut self, state: State, now: Duration) -> Result<Option<ServerEvent>, ControlError> {
        let during = self.phase;
        match (during, state) {
            (Phase::Over, _) => Err(ControlError::Unexpected { during }),
            (_, State::ClientTerminate) => Err(ControlError::ClientTerminated { during }),
            (Phase::Running, State::TestEnd) => {
                self.say(State::ExchangeResults);
                self.enter(Phase::Results, Some(self.timeouts.step), now);
                Ok(Some(ServerEvent::End))
            }
            (Phase::Goodbye, State::IperfDone) => {
                self.enter(Phase::Over, None, now);
                Ok(Some(ServerEvent::Done))
            }
            _ => Err(ControlError::UnexpectedState { during, state }),
        }
    }

    /// Results have to be about the streams of this test.
    fn check(&self, results: &Results) -> Result<(), ControlError> {
        let known = |id| (0..self.parameters.streams()).any(|index| stream_id(index) == id);
        let stranger = results.streams.iter().find(|stream| !known(stream.id));
        stranger.map_or(Ok(()), |stream| Err(ControlError::NoSuchStream { id: stream.id }))
    }

    /// Goes on after [`ServerEvent::Parameters`]: the client is asked for its streams. Where other tests have to go first this
    /// may be called later; until then the client waits.
    pub fn accept(&mut self, now: Duration) {
        if self.phase == Phase::Queued {
            self.say(State::CreateStreams);
            self.enter(Phase::Streams, Some(self.timeouts.step), now);
        }
    }

    /// Refuses to go on, whatever it waits for: the client is told why. The number of the system's error is 0 for none.
    pub fn refuse(&mut self, code: ErrorCode, errno: i32) {
        self.say(State::ServerError);
        self.output.extend_from_slice(&code.0.to_be_bytes());
        self.output.extend_from_slice(&errno.to_be_bytes());
        self.phase = Phase::Over;
    }

    /// Ends the test: the client is told.
    pub fn terminate(&mut self) {
        self.say(State::ServerTerminate);
        self.phase = Phase::Over;
    }

    /// Takes a stream that has named this test: `None` where it does not wait for one.
    pub fn join(&mut self, now: Duration) -> Option<Joined> {
        let wanted = self.parameters.streams();
        if self.phase != Phase::Streams || self.joined >= wanted {
            return None;
        }
        self.joined += 1;
        if self.joined < wanted {
            return Some(Joined::Early);
        }
        self.say(State::TestStart);
        self.say(State::TestRunning);
        self.begin(now);
        Some(Joined::Last)
    }

    fn begin(&mut self, now: Duration) {
        let omit = Duration::from_secs(self.parameters.omit.into());
        self.omit_until = (!omit.is_zero()).then_some(now + omit);
        // An amount of bytes may take for ever.
        let time = Duration::from_secs(self.parameters.time.into());
        let limit = (!time.is_zero()).then(|| omit + time + self.timeouts.grace);
        self.enter(Phase::Running, limit, now);
    }

    /// Answers [`ServerEvent::Results`] with what this side has counted.
    pub fn answer(&mut self, results: &Results) {
        if self.phase == Phase::Goodbye {
            write_json(results, &mut self.output);
            self.say(State::DisplayResults);
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
        match (deadline, self.omit_until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Looks at the time.
    ///
    /// # Errors
    /// [`ControlError::TimedOut`]; the test is over then.
    pub fn on_time(&mut self, now: Duration) -> Result<Option<ServerEvent>, ControlError> {
        if self.omit_until.is_some_and(|at| at <= now) {
            self.omit_until = None;
            return Ok(Some(ServerEvent::OmitOver));
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
        }
    }
}
