//! Numbers of JSON as iperf3's library writes them: large ones as floats, -1 as 18446744073709551615, flags as 1 or `true`.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// From here on a number was negative before it was written as unsigned. No count of bytes gets there.
const NEGATIVE: u64 = 1 << 63;
/// The same bound as a float.
const NEGATIVE_F64: f64 = 9_223_372_036_854_775_808.0;

/// A number of JSON that was meant as a whole one: `None` is a negative one.
struct Whole;

impl Visitor<'_> for Whole {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok((value < NEGATIVE).then_some(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).ok())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between zero and 2^63 here"
    )]
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        if value.is_nan() {
            return Err(E::invalid_value(Unexpected::Float(value), &self));
        }
        Ok((0.0..NEGATIVE_F64).contains(&value).then_some(value as u64))
    }
}

/// A count that may be missing: negative numbers say so.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    from.deserialize_any(Whole)
}

/// A count.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    optional(from)?.ok_or_else(|| D::Error::custom("a negative count"))
}

/// A count that fits into 32 bits.
pub(super) fn count_u32<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    u32::try_from(count(from)?).map_err(|_| D::Error::custom("a count above 4294967295"))
}

/// Yes or no; any number but 0 is yes.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(optional(from)? != Some(0))
}

/// A number that JSON can say: neither infinite nor negative. What is, counts as 0.
pub(super) fn measure<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = <f64 as serde::Deserialize>::deserialize(from)?;
    Ok(if value.is_finite() { value.max(0.0) } else { 0.0 })
}

/// A count, or -1.
#[expect(clippy::ref_option, reason = "the shape that serde wants")]
pub(super) fn or_minus_one<S: serde::Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_u64(*value),
        None => to.serialize_i64(-1),
    }
}

/// For `skip_serializing_if`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
pub(super) fn is_no(value: &bool) -> bool {
    !*value
}

/// Likewise.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}
