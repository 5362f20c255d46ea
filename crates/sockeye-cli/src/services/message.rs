//! What the services have to say that answer once: quote of the day (RFC 865), active users (RFC 866), daytime (RFC 867)
//! and time (RFC 868).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sockeye::event_loop::Time;

use super::Sends;
use super::quotes::Quotes;
use super::users::Users;

/// From the beginning of 1900, where RFC 868 counts from, to that of 1970.
const SECONDS_TO_1970: u64 = 2_208_988_800;
/// The first second of the year 10000, which the form of dates has no digits for.
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

/// What is said.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// Date and time for people.
    Daytime,
    /// The time as a number.
    Time,
    /// One of these.
    Quote(Arc<Quotes>),
    /// Who is logged in.
    Users(Users),
}

/// What may be left of an answer that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Its first bytes.
    Bytes,
    /// Its first lines.
    Lines,
    /// Nothing: half of a number says something else.
    Whole,
}

impl Fit {
    /// What of an answer may be sent, of at most `most` bytes.
    pub(super) fn cut(self, text: &[u8], most: usize) -> &[u8] {
        match text.get(..most) {
            None => text,
            Some(_) if text.len() == most => text,
            Some(part) => match self {
                Self::Bytes => part,
                Self::Lines => {
                    let end = part.iter().rposition(|byte| *byte == b'\n');
                    part.get(..end.map_or(0, |end| end + 1)).unwrap_or_default()
                }
                Self::Whole => &[],
            },
        }
    }
}

/// Says it to each who asks.
#[derive(Debug)]
pub(crate) struct Said {
    message: Message,
    text: Vec<u8>,
    /// Bytes that were sent on connections and not asked for yet.
    sent: u64,
}

impl Sends for Said {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        (std::mem::take(&mut self.sent), 0)
    }
}

impl Said {
    pub(crate) fn new(message: Message) -> Self {
        Self {
            message,
            text: Vec::new(),
            sent: 0,
        }
    }

    /// So many bytes more were sent on a connection.
    pub(super) fn count(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    pub(super) const fn fit(&self) -> Fit {
        match self.message {
            Message::Daytime | Message::Time => Fit::Whole,
            Message::Quote(_) => Fit::Bytes,
            Message::Users(_) => Fit::Lines,
        }
    }

    /// What is said now, on the loop's clock; `random` picks the quote. Empty where this machine does not know.
    pub(super) fn say(&mut self, now: Time, random: u64) -> &[u8] {
        match &mut self.message {
            Message::Daytime => {
                self.text = daytime(SystemTime::now()).into_bytes();
                &self.text
            }
            Message::Time => {
                self.text = time(SystemTime::now()).to_be_bytes().to_vec();
                &self.text
            }
            Message::Quote(quotes) => quotes.pick(random),
            Message::Users(users) => users.list(now),
        }
    }
}

/// Date and time in UTC, as headers of mail and HTTP have it (RFC 9110, section 5.6.7). Before 1970 and after 9999 the clock
/// is wrong, and nothing is said.
fn daytime(now: SystemTime) -> String {
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) if since < YEAR_10000 => format!("{}\r\n", httpdate::fmt_http_date(now)),
        _ => String::new(),
    }
}

/// Seconds since the beginning of 1900, modulo 2^32: the number begins again from 0 on 7 February 2036.
fn time(now: SystemTime) -> u32 {
    let seconds = match now.duration_since(UNIX_EPOCH) {
        Ok(since) => SECONDS_TO_1970.wrapping_add(since.as_secs()),
        Err(before) => SECONDS_TO_1970.wrapping_sub(before.duration().as_secs()),
    };
    let [_, _, _, _, low @ ..] = seconds.to_be_bytes();
    u32::from_be_bytes(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The examples of RFC 868, and the end of its range.
    #[test]
    fn seconds_are_counted_from_1900_and_roll_over_in_2036() {
        assert_eq!(time(UNIX_EPOCH), 2_208_988_800);
        assert_eq!(
            time(at(6 * 365 * 86_400 + 86_400)),
            2_398_291_200,
            "1 January 1976"
        );
        assert_eq!(
            time(at(10 * 365 * 86_400 + 2 * 86_400)),
            2_524_521_600,
            "1 January 1980"
        );
        assert_eq!(
            time(at(13 * 365 * 86_400 + 3 * 86_400 + 120 * 86_400)),
            2_629_584_000,
            "1 May 1983"
        );
        // 7 February 2036, 06:28:16.
        assert_eq!(time(at(2_085_978_495)), u32::MAX);
        assert_eq!(time(at(2_085_978_496)), 0);
        assert_eq!(time(UNIX_EPOCH - Duration::from_secs(1)), 2_208_988_799);
    }

    #[test]
    fn the_date_is_that_of_mail() {
        assert_eq!(daytime(at(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(daytime(at(951_827_696)), "Tue, 29 Feb 2000 12:34:56 GMT\r\n");
        for wrong in [UNIX_EPOCH - Duration::from_secs(1), at(253_402_300_800)] {
            assert_eq!(daytime(wrong), "", "and no panic");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut_where_it_still_says_what_it_says() {
        let text = b"one\r\ntwo\r\n";
        for (fit, most, left) in [
            (Fit::Bytes, 4, "one\r"),
            (Fit::Lines, 9, "one\r\n"),
            (Fit::Lines, 4, ""),
            (Fit::Whole, 9, ""),
        ] {
            assert_eq!(fit.cut(text, most), left.as_bytes(), "{fit:?} {most}");
        }
        for fit in [Fit::Bytes, Fit::Lines, Fit::Whole] {
            assert_eq!(fit.cut(text, 10), text);
            assert_eq!(fit.cut(text, usize::MAX), text);
            assert_eq!(fit.cut(text, 0), b"");
        }
    }
}
