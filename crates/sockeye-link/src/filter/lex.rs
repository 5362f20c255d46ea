//! From text to words, numbers and operators.

use super::error::{FilterError, FilterErrorKind};

/// A piece of a filter. Words are numbers and addresses too: what they are depends on where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    /// Parentheses, brackets, and operators; `&&` comes as the word "and", `||` as "or".
    Sign(&'static str),
}

/// Longest first, so that `<<` is not two `<`.
const SIGNS: [&str; 24] = [
    "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "[", "]", "!", "=", "<", ">", "+", "-", "*", "/", "%", "&",
    "|", "^", ":", "\\",
];

const fn is_word(byte: u8, in_brackets: bool) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || (byte == b':' && !in_brackets)
}

/// The pieces with their places.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, FilterError> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at, mut brackets) = (Vec::new(), 0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        if byte.is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with("&&") || rest.starts_with("||") {
            tokens.push((at, Token::Word(if *byte == b'&' { "and" } else { "or" })));
            at += 2;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign))
            // "::1" is an address.
            && !(*sign == ":" && brackets == 0)
        {
            match *sign {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            tokens.push((at, Token::Sign(sign)));
            at += sign.len();
        } else {
            let len = word_len(rest.as_bytes(), brackets > 0);
            if len == 0 {
                return Err(FilterErrorKind::Character.at(at));
            }
            tokens.push((at, Token::Word(rest.get(..len).unwrap_or_default())));
            at += len;
        }
    }
    Ok(tokens)
}

/// How long the word at the start is. A hyphen belongs to it between two letters or digits: `tcp-syn`, `1-1024`.
fn word_len(bytes: &[u8], in_brackets: bool) -> usize {
    let mut len = 0;
    while let Some(byte) = bytes.get(len) {
        let hyphen = *byte == b'-' && len > 0 && bytes.get(len + 1).is_some_and(u8::is_ascii_alphanumeric);
        if !is_word(*byte, in_brackets) && !hyphen {
            break;
        }
        len += 1;
    }
    len
}
