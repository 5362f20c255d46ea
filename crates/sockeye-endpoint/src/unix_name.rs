//! The name of a Unix socket: a path, an abstract name, or none.

use core::fmt;
use core::str::FromStr;

use crate::parse::fail;
use crate::{ParseError, ParseErrorKind as Kind};

/// The name of a Unix socket: a path, an abstract name, or none (`unix(7)`).
///
/// Names are bytes, at most 107 of them: `sun_path` has 108, and a path needs one for its NUL, an abstract name one for the
/// NUL in front. As text a path stands as it is and an abstract name behind `@`; control characters, bytes that are not
/// UTF-8, and what would be read as something else are written as `\xHH`, so that no name disturbs a terminal or a log and
/// every text reads back as the name it came from.
///
/// ```
/// use sockeye_endpoint::{ParseErrorKind, UnixName};
///
/// let path: UnixName = "/run/app.sock".parse()?;
/// assert_eq!(path.as_path_bytes(), Some(&b"/run/app.sock"[..]));
/// let name: UnixName = "@app".parse()?;
/// assert_eq!(name.as_abstract_name(), Some(&b"app"[..]));
/// assert_eq!(UnixName::from_path(b"/run/a\x1b[2Jb")?.to_string(), "/run/a\\x1b[2Jb");
/// assert_eq!(UnixName::from_path(&[b'a'; 108]).unwrap_err().kind, ParseErrorKind::UnixNameTooLong);
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
///
/// # References
///
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), "Address format"
#[doc(alias = "sockaddr_un")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixName {
    form: Form,
    len: u8,
    /// Padded with zeros, so that comparing the bytes compares the names.
    bytes: [u8; Self::FIELD_LEN],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Unnamed,
    Path,
    Abstract,
}

/// How an unnamed socket is written.
const UNNAMED: &str = "(unnamed)";
/// How an address begins that has the name of a Unix socket behind it.
const PREFIX: &str = "unix:";

impl UnixName {
    /// The name of a socket that has none: one that was neither bound nor given a name by the kernel.
    pub const UNNAMED: Self = Self {
        form: Form::Unnamed,
        len: 0,
        bytes: [0; Self::FIELD_LEN],
    };

    /// The longest path or abstract name in bytes.
    pub const MAX_LEN: usize = Self::FIELD_LEN - 1;

    /// Bytes of `sun_path`.
    const FIELD_LEN: usize = 108;

    /// The name of a socket in the file system, without its NUL; it may be relative.
    ///
    /// # Errors
    ///
    /// [`Kind::Empty`], [`Kind::UnixNameTooLong`] above [`MAX_LEN`](Self::MAX_LEN), [`Kind::Nul`] for a NUL inside.
    pub const fn from_path(path: &[u8]) -> Result<Self, ParseError> {
        if path.is_empty() {
            return fail(Kind::Empty, 0);
        }
        let mut at = 0;
        while at < path.len() && at <= Self::MAX_LEN {
            if path[at] == 0 {
                return fail(Kind::Nul, at);
            }
            at += 1;
        }
        if path.len() > Self::MAX_LEN {
            return fail(Kind::UnixNameTooLong, Self::MAX_LEN);
        }
        Ok(Self::of(Form::Path, path, 0))
    }

    /// The abstract name, without the NUL in front that makes it one; it may contain any bytes, NUL among them.
    ///
    /// # Errors
    ///
    /// [`Kind::Empty`], [`Kind::UnixNameTooLong`] above [`MAX_LEN`](Self::MAX_LEN).
    pub const fn from_abstract_name(name: &[u8]) -> Result<Self, ParseError> {
        if name.is_empty() {
            return fail(Kind::Empty, 0);
        }
        if name.len() > Self::MAX_LEN {
            return fail(Kind::UnixNameTooLong, Self::MAX_LEN);
        }
        Ok(Self::of(Form::Abstract, name, 0))
    }

    /// The name in the bytes of `sun_path` that a kernel has reported: none for no bytes, abstract behind a NUL, else a
    /// path up to its NUL. `None` where there are more bytes than the field has.
    ///
    /// A kernel reports names that no constructor here makes, because another program has bound them: a path of 108
    /// bytes, which needs no NUL, and the empty abstract name.
    #[must_use]
    pub const fn from_sun_path(field: &[u8]) -> Option<Self> {
        let [first, ..] = field else {
            return Some(Self::UNNAMED);
        };
        if *first == 0 {
            if field.len() > Self::FIELD_LEN {
                return None;
            }
            return Some(Self::of(Form::Abstract, field, 1));
        }
        let mut len = 0;
        while len < field.len() && field[len] != 0 {
            len += 1;
        }
        if len > Self::FIELD_LEN {
            return None;
        }
        let (path, _) = field.split_at(len);
        Some(Self::of(Form::Path, path, 0))
    }

    /// The bytes behind `from`, at most as many as the field has: the callers see to it.
    const fn of(form: Form, text: &[u8], from: usize) -> Self {
        let mut bytes = [0; Self::FIELD_LEN];
        let mut len = 0u8;
        while from + (len as usize) < text.len() && (len as usize) < Self::FIELD_LEN {
            bytes[len as usize] = text[from + len as usize];
            len += 1;
        }
        Self { form, len, bytes }
    }

    /// The path's bytes, where it is a path.
    #[must_use]
    pub fn as_path_bytes(&self) -> Option<&[u8]> {
        (self.form == Form::Path).then(|| self.name())
    }

    /// The bytes of the abstract name, where it is one.
    #[must_use]
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        (self.form == Form::Abstract).then(|| self.name())
    }

    /// Whether the socket has no name.
    #[must_use]
    pub const fn is_unnamed(&self) -> bool {
        matches!(self.form, Form::Unnamed)
    }

    /// Whether another socket can be reached by it wherever this process stands: an absolute path or an abstract name.
    #[must_use]
    pub const fn is_absolute(&self) -> bool {
        match self.form {
            Form::Unnamed => false,
            Form::Path => self.bytes[0] == b'/',
            Form::Abstract => true,
        }
    }

    fn name(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Parses a path, `@` and an abstract name, or `(unnamed)`.
    ///
    /// # Errors
    ///
    /// [`Kind::Empty`], [`Kind::UnixNameTooLong`], [`Kind::Nul`] for a NUL in a path, [`Kind::ControlCharacter`] where one
    /// stands that is written as `\xHH`, [`Kind::BadEscape`] for any other use of `\`, [`Kind::SecondSlash`] for a path
    /// that begins with `//`, which others read as a host, and [`Kind::UnixPrefix`] for one that begins with `unix:`, which is how
    /// an [`Address`](crate::Address) begins.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text == UNNAMED {
            return Ok(Self::UNNAMED);
        }
        parse_from(text, 0)
    }
}

/// The name in `text` from the byte `from` on.
pub(crate) fn parse_from(text: &str, from: usize) -> Result<UnixName, ParseError> {
    let rest = text.get(from..).unwrap_or_default();
    if rest.starts_with("//") {
        return fail(Kind::SecondSlash, from + 1);
    }
    if rest.starts_with(PREFIX) {
        return fail(Kind::UnixPrefix, from);
    }
    let (form, start) = match rest.strip_prefix('@') {
        Some(_) => (Form::Abstract, from + 1),
        None => (Form::Path, from),
    };
    let mut name = UnixName {
        form,
        ..UnixName::UNNAMED
    };
    let mut at = start;
    while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let mut utf8 = [0; 4];
        let escaped;
        let (bytes, taken): (&[u8], usize) = match next {
            '\\' => {
                escaped = [escape(text.as_bytes(), at)?];
                (&escaped, "\\xHH".len())
            }
            _ if must_be_escaped(next) => return fail(Kind::ControlCharacter, at),
            _ => (next.encode_utf8(&mut utf8).as_bytes(), next.len_utf8()),
        };
        if form == Form::Path && bytes == [0] {
            return fail(Kind::Nul, at);
        }
        let len = usize::from(name.len);
        if len + bytes.len() > UnixName::MAX_LEN {
            return fail(Kind::UnixNameTooLong, at);
        }
        for (to, byte) in name.bytes.iter_mut().skip(len).zip(bytes) {
            *to = *byte;
            name.len += 1;
        }
        at += taken;
    }
    if name.len == 0 {
        return fail(Kind::Empty, start);
    }
    Ok(name)
}

/// The byte that `\xHH` at `at` stands for.
fn escape(text: &[u8], at: usize) -> Result<u8, ParseError> {
    let digit = |at: usize| {
        let digit = char::from(*text.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    match (text.get(at + 1), digit(at + 2), digit(at + 3)) {
        (Some(b'x'), Some(high), Some(low)) => Ok(high << 4 | low),
        _ => fail(Kind::BadEscape, at),
    }
}

/// Characters that move the cursor, colour the terminal, break a line of a log, or change the order in which it is read.
fn must_be_escaped(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

impl FromStr for UnixName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self.form {
            Form::Unnamed => f.write_str(UNNAMED),
            Form::Abstract => {
                f.write_str("@")?;
                write_escaped(f, name)
            }
            Form::Path => {
                // One byte that would make it something else: `@` or `unix:` in front, `//`, the word for no name.
                let ambiguous = match name {
                    [b'@', ..] => Some(0),
                    [b'/', b'/', ..] => Some(1),
                    _ if name == UNNAMED.as_bytes() || name.starts_with(PREFIX.as_bytes()) => Some(0),
                    _ => None,
                };
                let Some(at) = ambiguous else {
                    return write_escaped(f, name);
                };
                let (before, rest) = name.split_at(at);
                write_escaped(f, before)?;
                let (byte, rest) = rest.split_at(1);
                write_bytes(f, byte)?;
                write_escaped(f, rest)
            }
        }
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
    for chunk in name.utf8_chunks() {
        let mut plain = chunk.valid();
        while let Some(at) = plain.find(|next| next == '\\' || must_be_escaped(next)) {
            let (before, rest) = plain.split_at(at);
            f.write_str(before)?;
            let len = rest.chars().next().map_or(0, char::len_utf8);
            let (special, rest) = rest.split_at(len);
            write_bytes(f, special.as_bytes())?;
            plain = rest;
        }
        f.write_str(plain)?;
        write_bytes(f, chunk.invalid())?;
    }
    Ok(())
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

impl fmt::Debug for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, kind: Kind, at: usize) {
        assert_eq!(UnixName::parse(text), Err(ParseError::new(kind, at)), "{text:?}");
    }

    #[test]
    fn a_path_that_begins_as_an_address_is_told_apart() {
        let name = UnixName::from_path(b"unix:/run/app.sock").unwrap();
        assert_eq!(name.to_string(), "\\x75nix:/run/app.sock");
        assert_eq!(name.to_string().parse(), Ok(name));
        let below = UnixName::parse("./unix:app").unwrap();
        assert_eq!(below.as_path_bytes(), Some(&b"./unix:app"[..]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused("", Kind::Empty, 0);
        refused("@", Kind::Empty, 1);
        refused("/a\nb", Kind::ControlCharacter, 2);
        refused("/a\u{202e}b", Kind::ControlCharacter, 2);
        refused("/a\\x00", Kind::Nul, 2);
        refused("/a\\n", Kind::BadEscape, 2);
        refused("/a\\x0", Kind::BadEscape, 2);
        refused("/a\\x+1", Kind::BadEscape, 2);
        refused("/a\\", Kind::BadEscape, 2);
        refused("//host/path", Kind::SecondSlash, 1);
        refused("unix:/run/app.sock", Kind::UnixPrefix, 0);
        refused("unix:@app", Kind::UnixPrefix, 0);
        refused(&"a".repeat(108), Kind::UnixNameTooLong, 107);
        refused(&["@", &"a".repeat(108)].concat(), Kind::UnixNameTooLong, 108);
        refused(&"\u{e4}".repeat(54), Kind::UnixNameTooLong, 106);
    }

    #[test]
    fn the_longest_names_fit() {
        let path = "p".repeat(107);
        assert_eq!(
            UnixName::parse(&path).unwrap().as_path_bytes(),
            Some(path.as_bytes())
        );
        let name = ["@", &path].concat();
        assert_eq!(
            UnixName::parse(&name).unwrap().as_abstract_name(),
            Some(path.as_bytes())
        );
        assert_eq!(
            UnixName::from_path(&[b'a'; 107])
                .unwrap()
                .as_path_bytes()
                .unwrap()
                .len(),
            107
        );
        assert_eq!(UnixName::from_path(b"a\0b"), fail(Kind::Nul, 1));
        assert_eq!(
            UnixName::from_path(&[b'a'; 108]),
            fail(Kind::UnixNameTooLong, 107)
        );
        assert_eq!(UnixName::from_path(b""), fail(Kind::Empty, 0));
        assert_eq!(UnixName::from_abstract_name(b""), fail(Kind::Empty, 0));
        assert_eq!(
            UnixName::from_abstract_name(&[0; 108]),
            fail(Kind::UnixNameTooLong, 107)
        );
    }

    #[test]
    fn an_abstract_name_may_contain_nul() {
        let name = UnixName::from_abstract_name(b"a\0b").unwrap();
        assert_eq!(name.to_string(), "@a\\x00b");
        assert_eq!("@a\\x00b".parse(), Ok(name));
        assert_ne!(
            UnixName::from_abstract_name(b"a").unwrap(),
            UnixName::from_abstract_name(b"a\0").unwrap()
        );
    }

    #[test]
    fn a_path_that_looks_like_something_else_is_escaped() {
        let written = |path: &str| UnixName::from_path(path.as_bytes()).unwrap().to_string();
        assert_eq!(written("@a"), "\\x40a");
        assert_eq!(written("//host/a"), "/\\x2fhost/a");
        assert_eq!(written("(unnamed)"), "\\x28unnamed)");
        assert_eq!(written("a\\b"), "a\\x5cb");
        assert_eq!(written("\u{9b}31m"), "\\xc2\\x9b31m");
        assert_eq!(written("/run/gr\u{fc}n"), "/run/gr\u{fc}n");
        assert_eq!(UnixName::UNNAMED.to_string().parse(), Ok(UnixName::UNNAMED));
    }

    #[test]
    fn what_a_kernel_reports_is_read_as_it_means_it() {
        assert_eq!(UnixName::from_sun_path(b""), Some(UnixName::UNNAMED));
        assert_eq!(
            UnixName::from_sun_path(b"/a\0"),
            Some(UnixName::from_path(b"/a").unwrap())
        );
        assert_eq!(
            UnixName::from_sun_path(b"/a"),
            Some(UnixName::from_path(b"/a").unwrap())
        );
        let name = UnixName::from_abstract_name(b"a\0").unwrap();
        assert_eq!(UnixName::from_sun_path(b"\0a\0"), Some(name));
        // Bound by others, with all of the field.
        let long = UnixName::from_sun_path(&[b'a'; 108]).unwrap();
        assert_eq!(long.as_path_bytes().map(<[u8]>::len), Some(108));
        assert_eq!(
            UnixName::from_sun_path(b"\0").unwrap().as_abstract_name(),
            Some(&b""[..])
        );
        assert_eq!(UnixName::from_sun_path(&[b'a'; 109]), None);
        assert_eq!(UnixName::from_sun_path(&[0; 109]), None);
    }

    fn names() -> impl Strategy<Value = UnixName> {
        let byte = prop_oneof![
            any::<u8>(),
            proptest::sample::select(b"/@\\(\n\x1b.a \xc2\x85".to_vec())
        ];
        let front = proptest::sample::select(vec![&b""[..], b"unix:", b"unix", b"@", b"//"]);
        (any::<bool>(), front, proptest::collection::vec(byte, 1..103)).prop_filter_map(
            "a NUL in a path",
            |(path, front, bytes)| {
                let bytes = [front, &bytes].concat();
                if path {
                    UnixName::from_path(&bytes).ok()
                } else {
                    UnixName::from_abstract_name(&bytes).ok()
                }
            },
        )
    }

    proptest! {
        #[test]
        fn prop_a_name_prints_clean_and_reads_back(name in names()) {
            let text = name.to_string();
            prop_assert_eq!(text.parse(), Ok(name), "{}", text);
            prop_assert!(!text.chars().any(must_be_escaped), "{:?}", text);
        }

        #[test]
        fn prop_any_text_is_refused_in_its_bounds_or_reads_back(text in prop_oneof![
            any::<String>(), "(unix:)?[@/.]{0,3}[a-z\\\\x0-9\u{0}\u{7f}\u{e4}]{0,120}"
        ]) {
            match text.parse::<UnixName>() {
                Ok(name) => prop_assert_eq!(name.to_string().parse(), Ok(name)),
                Err(error) => prop_assert!(error.at <= text.len(), "{:?}: {}", text, error),
            }
        }

        #[test]
        fn prop_what_a_kernel_reports_never_panics(field in proptest::collection::vec(any::<u8>(), 0..130)) {
            if let Some(name) = UnixName::from_sun_path(&field) {
                let text = name.to_string();
                let long_or_empty: Vec<_> = [name.as_path_bytes(), name.as_abstract_name()]
                    .into_iter().flatten().filter(|name| name.is_empty() || name.len() > UnixName::MAX_LEN).collect();
                prop_assert!(!long_or_empty.is_empty() || text.parse() == Ok(name), "{}", text);
            }
        }
    }
}
