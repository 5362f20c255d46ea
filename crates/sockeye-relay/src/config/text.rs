//! Durations as texts: `250ms`, `5s`, `1m`, `2h`.

/// For `serde(with)`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (unit, size) = UNITS
            .into_iter()
            .rev()
            .find(|(_, size)| millis != 0 && millis.is_multiple_of(*size))
            .unwrap_or(("s", 1_000));
        serializer.collect_str(&format_args!("{}{unit}", millis / size))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a duration such as 250ms, 5s, 1m or 2h"
            ))
        })
    }

    fn parse(text: &str) -> Option<Duration> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let millis = number.parse::<u64>().ok()?.checked_mul(size)?;
        Some(Duration::from_millis(millis))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn units_and_nothing_else() {
            for (text, millis) in [
                ("0s", 0),
                ("250ms", 250),
                ("5s", 5_000),
                ("1m", 60_000),
                ("2h", 7_200_000),
            ] {
                assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            }
            for text in [
                "",
                "5",
                "s",
                "-5s",
                "5 s",
                "1.5s",
                "5d",
                "99999999999999999999s",
                "18446744073709551615h",
            ] {
                assert_eq!(parse(text), None, "{text}");
            }
        }
    }
}
