//! What came from outside, as a terminal may see it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text as one line that a terminal shows and does not obey: control characters (line feeds among them), and the
/// characters without a shape that reorder or hide others (bidirectional overrides and the like, UTS 55), as Rust writes
/// them in strings: `\n`, `\u{1b}`, `\u{202e}`.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_plain(letter) {
            safe.push(letter);
        } else {
            safe.extend(letter.escape_debug());
        }
    }
    safe.into()
}

/// Bytes from outside as text: those that are no UTF-8 as `\xff`. It is not escaped yet.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether a terminal only shows it.
pub(super) fn is_plain(letter: char) -> bool {
    // A mark that combines with what is before it is one too, but alone it would be escaped.
    letter.is_ascii_graphic() || letter == ' ' || {
        let mut pair = *b"a\0\0\0\0";
        let (_, rest) = pair.split_at_mut(1);
        let len = letter.encode_utf8(rest).len();
        std::str::from_utf8(pair.split_at(1 + len).0)
            .is_ok_and(|pair| pair.escape_debug().nth(1) == Some(letter))
    }
}

/// JSON in the same characters, and no others for a terminal: what it would obey is written as `\u001b`, which is the same
/// text to every parser. Such characters stand in strings only.
pub(super) fn plain_json(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    for letter in line.chars() {
        if is_plain(letter) {
            safe.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_bytes() {
        assert_eq!(text_of(b"\xff\xfbhi \xc3\xa9\xc3"), "\\xff\\xfbhi \u{e9}\\xc3");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, safe) in [
            (
                "plain 'text' \"quoted\" \\ back",
                "plain 'text' \"quoted\" \\ back",
            ),
            ("grüße, 日本語, e\u{301}", "grüße, 日本語, e\u{301}"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\r\nb\tc\0\u{7f}", "a\\r\\nb\\tc\\0\\u{7f}"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            (
                "\u{202e}txt.exe\u{2066}\u{200f}",
                "\\u{202e}txt.exe\\u{2066}\\u{200f}",
            ),
            (
                "\u{200b}\u{feff}\u{2028}\u{e0041}",
                "\\u{200b}\\u{feff}\\u{2028}\\u{e0041}",
            ),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }
}
