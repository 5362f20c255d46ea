//! What tally does, without any socket: the counters, and the answer to a request.

use std::collections::HashMap;

// ANCHOR: counters
/// The longest request line, in bytes without its line break.
pub(crate) const MAX_LINE: usize = 100;
/// The most names that are counted. Without a bound, a stranger could fill our memory.
const MAX_NAMES: usize = 10_000;

/// Named counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    totals: HashMap<String, u64>,
}

impl Counters {
    /// The answer to a request: `NAME TOTAL`, or `? REASON`. Neither has a line break.
    pub(crate) fn answer(&mut self, request: &[u8]) -> String {
        match self.add(request) {
            Ok((name, total)) => format!("{name} {total}"),
            Err(reason) => format!("? {reason}"),
        }
    }

    fn add<'a>(&mut self, request: &'a [u8]) -> Result<(&'a str, u64), &'static str> {
        if request.len() > MAX_LINE {
            return Err("the line is too long");
        }
        let request = std::str::from_utf8(request).map_err(|_| "not UTF-8")?;
        let (name, number) = request.split_once(' ').ok_or("a request is NAME NUMBER")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("a name is letters and digits");
        }
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = if is_number { number.parse().ok() } else { None }.ok_or("a number is digits")?;
        if self.totals.len() >= MAX_NAMES && !self.totals.contains_key(name) {
            return Err("too many names");
        }
        let total = self.totals.entry(name.to_owned()).or_default();
        *total = total.checked_add(number).ok_or("the total is too large")?;
        Ok((name, *total))
    }
}
// ANCHOR_END: counters
