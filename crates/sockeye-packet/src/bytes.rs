//! Reads and writes of fixed-size fields that cannot panic.
//!
//! A view checks its length once. Should an `AsRef` hand out fewer bytes later, reads give zero and writes do nothing.

/// `N` bytes at `at`, zeros where there are none.
#[inline(always)]
pub(crate) fn array<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    match data.get(at..) {
        Some(rest) => match rest.first_chunk::<N>() {
            Some(chunk) => *chunk,
            None => [0; N],
        },
        None => [0; N],
    }
}

#[inline(always)]
pub(crate) fn be8(data: &[u8], at: usize) -> u8 {
    match data.get(at) {
        Some(byte) => *byte,
        None => 0,
    }
}

#[inline(always)]
pub(crate) fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(data, at))
}

#[inline(always)]
pub(crate) fn be32(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(data, at))
}

#[inline(always)]
pub(crate) fn put<const N: usize>(data: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(chunk) = data.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *chunk = bytes;
    }
}

#[inline(always)]
pub(crate) fn put16(data: &mut [u8], at: usize, value: u16) {
    put(data, at, value.to_be_bytes());
}

#[inline(always)]
pub(crate) fn put32(data: &mut [u8], at: usize, value: u32) {
    put(data, at, value.to_be_bytes());
}

/// Copies `bytes` to `at`; the caller has checked the room.
#[inline]
pub(crate) fn put_slice(data: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = data.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        room.copy_from_slice(bytes);
    }
}

/// `start..end` of `data`, cut to what is there.
#[inline(always)]
pub(crate) fn range(data: &[u8], start: usize, end: usize) -> &[u8] {
    let end = if end < data.len() { end } else { data.len() };
    match data.get(start..end) {
        Some(bytes) => bytes,
        None => &[],
    }
}

/// `start..end` of `data`; up to where `data` ends if `end` lies behind that, or before `start`.
///
/// A constructor that has compared `end - start` with what is behind `start`, wrapping as here, makes both tests free.
#[inline(always)]
pub(crate) fn behind(data: &[u8], start: usize, end: usize) -> &[u8] {
    match data.get(start..) {
        Some(rest) => match rest.get(..end.wrapping_sub(start)) {
            Some(bytes) => bytes,
            None => rest,
        },
        None => &[],
    }
}

/// The mutable form of [`range`].
#[inline(always)]
pub(crate) fn range_mut(data: &mut [u8], start: usize, end: usize) -> &mut [u8] {
    let end = if end < data.len() { end } else { data.len() };
    match data.get_mut(start..end) {
        Some(bytes) => bytes,
        None => &mut [],
    }
}

/// The low 16 bits of a length that the caller has checked to fit.
#[inline(always)]
pub(crate) const fn low16(value: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "masked to 16 bits")]
    {
        (value & 0xffff) as u16
    }
}

/// The low 8 bits of a length that the caller has checked to fit.
#[inline(always)]
pub(crate) const fn low8(value: usize) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "masked to 8 bits")]
    {
        (value & 0xff) as u8
    }
}
