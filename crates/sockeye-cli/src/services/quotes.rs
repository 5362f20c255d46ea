//! Quotes for RFC 865: from a text, and one at a time.

use thiserror::Error;

/// Bytes that an answer may have, its line ends among them (RFC 865: less than 512 characters is wished for).
const MOST_BYTES: usize = 512;
/// For whoever brings none.
const OWN: &str = include_str!("quotes.txt");

/// Quotes as they are sent.
#[derive(Debug)]
pub(crate) struct Quotes {
    all: Vec<Box<[u8]>>,
    left_out: usize,
}

/// A text without a quote that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum QuotesError {
    /// It has none at all.
    #[error("there is no quote in it: one a line, or several lines each with lines of % between them")]
    Empty,
    /// None of them can be sent.
    #[error(
        "none of its {0} quotes can be sent: each is longer than {MOST_BYTES} bytes or has control characters"
    )]
    Unfit(usize),
}

impl Quotes {
    /// Reads quotes: one a line, or, where a line is a `%` alone, those between such lines, as fortune(6) has them. Those
    /// that are too long for an answer, or that a terminal would obey, are left out.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) fn parse(text: &str) -> Result<Self, QuotesError> {
        let has_several_lines = text.lines().any(|line| line.trim_end() == "%");
        let (mut all, mut left_out) = (Vec::new(), 0);
        let mut take = |lines: &[&str]| {
            let quote: String = lines.iter().flat_map(|line| [line.trim_end(), "\r\n"]).collect();
            if quote.trim().is_empty() {
                return;
            }
            let is_plain = quote
                .chars()
                .all(|letter| !letter.is_control() || matches!(letter, '\r' | '\n' | '\t'));
            if is_plain && quote.len() <= MOST_BYTES {
                all.push(quote.into_bytes().into_boxed_slice());
            } else {
                left_out += 1;
            }
        };
        let lines: Vec<&str> = text.lines().collect();
        if has_several_lines {
            lines.split(|line| line.trim_end() == "%").for_each(&mut take);
        } else {
            lines.chunks(1).for_each(&mut take);
        }
        match (all.is_empty(), left_out) {
            (false, _) => Ok(Self { all, left_out }),
            (true, 0) => Err(QuotesError::Empty),
            (true, count) => Err(QuotesError::Unfit(count)),
        }
    }

    /// Those of the program.
    ///
    /// # Errors
    /// None: a test sees to it that there are some.
    pub(crate) fn own() -> Result<Self, QuotesError> {
        Self::parse(OWN)
    }

    /// How many cannot be sent.
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    /// One of them, the same for the same number. There is at least one.
    pub(super) fn pick(&self, random: u64) -> &[u8] {
        let place = random % (self.all.len() as u64).max(1);
        let quote = usize::try_from(place).ok().and_then(|place| self.all.get(place));
        quote.map_or(&[], |quote| quote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let quotes = Quotes::parse(text).unwrap();
        quotes
            .all
            .iter()
            .map(|quote| String::from_utf8(quote.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn quotes_are_lines_or_stand_between_signs_of_percent() {
        assert_eq!(texts("one\n\n two \nthree"), ["one\r\n", " two\r\n", "three\r\n"]);
        assert_eq!(
            texts("%\none\r\n  -- me\n%\n%\n100 % two\n%"),
            ["one\r\n  -- me\r\n", "100 % two\r\n"]
        );
        assert_eq!(Quotes::parse("").unwrap_err(), QuotesError::Empty);
        assert_eq!(Quotes::parse("%\n \n%\n").unwrap_err(), QuotesError::Empty);
    }

    #[test]
    fn what_is_too_long_or_obeyed_by_a_terminal_is_left_out() {
        let longest = "x".repeat(510);
        let text = format!("{longest}\n{longest}x\nred \u{1b}[31m\nplain\n");
        let quotes = Quotes::parse(&text).unwrap();
        assert_eq!((quotes.len(), quotes.left_out()), (2, 2));
        assert_eq!(quotes.pick(0).len(), 512);
        assert_eq!(Quotes::parse("\u{7}\n").unwrap_err(), QuotesError::Unfit(1));
    }

    #[test]
    fn each_is_picked_by_some_number() {
        let quotes = Quotes::own().unwrap();
        assert_eq!(quotes.left_out(), 0);
        for number in 0..quotes.len() as u64 {
            assert_eq!(
                quotes.pick(number),
                &*quotes.all[usize::try_from(number).unwrap()]
            );
        }
        assert_eq!(quotes.pick(u64::MAX), quotes.pick(u64::MAX % quotes.len() as u64));
    }
}
