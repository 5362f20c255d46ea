//! Tells code from comments and strings, so that a check does not stumble over its own words.
//!
//! It knows as much Rust as that needs: nested block comments, raw and byte strings, characters and lifetimes.

/// One source text in two layers of the same shape: every line is where it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layers {
    /// The code: comments gone, strings and characters empty.
    pub(super) code: String,
    /// The comments, `//` and all.
    pub(super) comments: String,
}

/// Separates the layers.
pub(super) fn layers(text: &str) -> Layers {
    let mut lexer = Lexer {
        rest: text,
        layers: Layers {
            code: String::new(),
            comments: String::new(),
        },
    };
    while !lexer.rest.is_empty() {
        lexer.token();
    }
    lexer.layers
}

#[derive(Clone, Copy)]
enum Layer {
    Code,
    Comments,
    Neither,
}

struct Lexer<'a> {
    rest: &'a str,
    layers: Layers,
}

impl Lexer<'_> {
    fn token(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.take(rest.find('\n').unwrap_or(rest.len()), Layer::Comments);
        } else if rest.starts_with("/*") {
            self.take(block_comment_len(rest), Layer::Comments);
        } else if let Some((open, close)) = raw_string(rest).filter(|_| !self.is_inside_word()) {
            let end = rest
                .get(open..)
                .and_then(|body| body.find(&close))
                .map_or(rest.len(), |at| open + at + close.len());
            self.quoted(end);
        } else if rest.starts_with('"') {
            self.quoted(quoted_len(rest, '"'));
        } else if is_character(rest) {
            self.quoted(quoted_len(rest, '\''));
        } else {
            self.take(rest.chars().next().map_or(1, char::len_utf8), Layer::Code);
        }
    }

    /// Whether the last character of code belongs to a word: the `r` of `for"` begins no raw string.
    fn is_inside_word(&self) -> bool {
        self.layers
            .code
            .ends_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    fn quoted(&mut self, len: usize) {
        self.layers.code.push_str("\"\"");
        self.take(len, Layer::Neither);
    }

    /// Moves on; the other layers keep the line feeds.
    fn take(&mut self, len: usize, layer: Layer) {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        let feeds: String = taken.chars().filter(|c| *c == '\n').collect();
        let Layers { code, comments } = &mut self.layers;
        code.push_str(if matches!(layer, Layer::Code) {
            taken
        } else {
            &feeds
        });
        comments.push_str(if matches!(layer, Layer::Comments) {
            taken
        } else {
            &feeds
        });
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of what opens a raw string, and what closes it.
fn raw_string(text: &str) -> Option<(usize, String)> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = text.len() - prefix.len() - text.strip_prefix(prefix)?.trim_start_matches('#').len();
    Some((prefix.len() + hashes + 1, format!("\"{}", "#".repeat(hashes))))
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// A character literal, not a lifetime: `'a'` or `'\n'`, not `'a`.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next() == Some('\'')
        && match characters.next() {
            Some('\\') => true,
            Some(_) => characters.next() == Some('\''),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text =
            "a(\"// todo!()\"); // b\n/* c /* d */ \n e */ f 'x' '\\'' 'static r#\"g\"h\"# for\"i\" b\"j\"\n";
        let layers = layers(text);
        assert_eq!(
            layers.code,
            "a(\"\"); \n\n f \"\" \"\" 'static \"\" for\"\" b\"\"\n"
        );
        assert_eq!(layers.comments, "// b\n/* c /* d */ \n e */\n");
    }

    #[test]
    fn every_line_stays_where_it_was() {
        let text = "\"a\nb\" //c\n/*d\ne*/ f\n";
        let layers = layers(text);
        assert_eq!(layers.code.lines().nth(3), Some(" f"));
        assert_eq!(layers.comments.lines().nth(1), Some("//c"));
    }

    #[test]
    fn what_never_ends_ends_with_the_file() {
        for text in ["/* a", "\"a", "r#\"a\"", "'\\", "'"] {
            layers(text);
        }
    }
}
