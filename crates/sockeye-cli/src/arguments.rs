//! Parsers of arguments that several commands share.

/// A positive number of seconds, fractions allowed, at most a day.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("expected seconds: more than 0, at most 86400".to_owned()),
    }
}

/// As [`seconds`], and 0.
pub(crate) fn seconds_or_none(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) {
        return Ok(0.0);
    }
    seconds(text)
}

/// Bytes: a number, fractions allowed, and `K`, `M`, `G` or `T` for powers of 1024, as iperf3 has it.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, 1024).ok_or_else(|| "expected bytes: 1 to 1024T, as 1460, 128K, 1.5G".to_owned())
}

/// Bits a second: a number, fractions allowed, and `K`, `M`, `G` or `T` for powers of 1000. 0 is allowed.
pub(crate) fn bits(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    scaled(text, 1000).ok_or_else(|| "expected bits a second: 0, or 1 to 1000T, as 500K, 1.5G".to_owned())
}

/// A number above 0 with its letter, at most 1000 or 1024 of the largest.
#[expect(clippy::cast_possible_truncation, reason = "it is checked to be below 2^51")]
fn scaled(text: &str, step: u64) -> Option<u64> {
    let (number, power) = match text.char_indices().last()? {
        (at, letter @ ('K' | 'M' | 'G' | 'T' | 'k' | 'm' | 'g' | 't')) => {
            let power = match letter.to_ascii_uppercase() {
                'K' => 1,
                'M' => 2,
                'G' => 3,
                _ => 4,
            };
            (&text[..at], power)
        }
        _ => (text, 0),
    };
    let most = step.pow(5);
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = number.parse::<f64>().ok().filter(|_| plain)? * step.pow(power) as f64;
    (value >= 1.0 && value <= most as f64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "inf", "NaN", "1e9", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(seconds_or_none("0"), Ok(0.0));
        assert!(seconds_or_none("-1").is_err());
    }

    #[test]
    fn letters_are_powers() {
        assert_eq!(bytes("128K"), Ok(131_072));
        assert_eq!(bytes("1.5G"), Ok(1_610_612_736));
        assert_eq!(bits("10M"), Ok(10_000_000));
        assert_eq!(bits("0"), Ok(0));
        assert_eq!(bits("1000T"), Ok(1_000_000_000_000_000));
        for text in [
            "", "K", "-1", "1e9", "NaN", "inf", "1KB", "0.5", "1025T", "1\u{fc}",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
