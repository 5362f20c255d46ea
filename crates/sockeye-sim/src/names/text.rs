//! The text of zone files: lines to records (RFC 1035 section 5).

use sockeye_resolver::dns::{Name, NameError, Record, RecordData, RecordType};
use thiserror::Error;

use super::data::read;

/// Why a text is not a zone, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {fault}")]
pub struct ZoneError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: ZoneFault,
}

/// What is wrong with a line of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZoneFault {
    /// A quotation mark or a parenthesis has no partner.
    #[error("a quotation mark or a parenthesis has no partner")]
    Unbalanced,
    /// A line begins with `$`, and it is neither `$ORIGIN` nor `$TTL`.
    #[error("an unknown directive: there are $ORIGIN and $TTL")]
    Directive,
    /// The first record has no name.
    #[error("no name, and none before")]
    NoOwner,
    /// There is no TTL, and none before.
    #[error("no TTL, and no $TTL before")]
    NoTtl,
    /// The record has no type, or one that is not known; or its class is not IN.
    #[error("no known record type of class IN")]
    Type,
    /// A name is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The data is not that of its type, or there is too much or too little of it.
    #[error("the data is not that of a {0} record")]
    Data(RecordType),
}

/// A word of a zone file, its escapes as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether it stood in quotation marks.
    pub(super) quoted: bool,
}

/// Words up to the end of a line, or of the last one of several in parentheses.
#[derive(Debug, Default)]
struct Line {
    number: usize,
    /// Whether it begins with a blank: the owner is the one before.
    indented: bool,
    words: Vec<Word>,
}

/// Reads a zone file and hands over its records.
pub(super) fn parse(text: &str, origin: &Name, mut take: impl FnMut(Record)) -> Result<(), ZoneError> {
    let mut reader = Reader {
        origin: origin.clone(),
        owner: None,
        default_ttl: None,
        last_ttl: None,
    };
    let mut scanner = Scanner {
        rest: text,
        number: 1,
    };
    while let Some(line) = scanner.line()? {
        let number = line.number;
        let record = reader
            .line(&line)
            .map_err(|fault| ZoneError { line: number, fault })?;
        record.into_iter().for_each(&mut take);
    }
    Ok(())
}

struct Scanner<'a> {
    rest: &'a str,
    number: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = self.rest.split_at(next.len_utf8()).1;
        self.number += usize::from(next == '\n');
        Some(next)
    }

    /// The next line that has words.
    fn line(&mut self) -> Result<Option<Line>, ZoneError> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let line = self.any_line()?;
            if !line.words.is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn any_line(&mut self) -> Result<Line, ZoneError> {
        let mut line = Line {
            number: self.number,
            indented: self.rest.starts_with([' ', '\t']),
            words: Vec::new(),
        };
        let unbalanced = ZoneError {
            line: self.number,
            fault: ZoneFault::Unbalanced,
        };
        let mut open = 0_u32;
        let mut word = String::new();
        loop {
            let next = self.next();
            let ends_word = matches!(
                next,
                None | Some('\n' | '\r' | ' ' | '\t' | '(' | ')' | ';' | '"')
            );
            // `key="value"` is one word, as RFC 9460 section 2.1 has it.
            let is_value = next == Some('"') && word.ends_with('=');
            if ends_word && !word.is_empty() {
                line.words.push(Word {
                    text: std::mem::take(&mut word),
                    quoted: false,
                });
            }
            match next {
                None if open == 0 => return Ok(line),
                None => return Err(unbalanced),
                Some('\n') if open == 0 => return Ok(line),
                Some('(') => open += 1,
                Some(')') => open = open.checked_sub(1).ok_or(unbalanced)?,
                Some(';') => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.split_at(end).1;
                }
                Some('"') => {
                    let text = self.quoted().ok_or(unbalanced)?;
                    match line.words.last_mut() {
                        Some(key) if is_value => key.text.push_str(&text),
                        _ => line.words.push(Word { text, quoted: true }),
                    }
                }
                Some('\\') => {
                    word.push('\\');
                    word.extend(self.next());
                }
                Some(other) if !ends_word => word.push(other),
                Some(_) => {}
            }
        }
    }

    /// The rest of a quoted string, its escapes kept. `None` if it does not end.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => {
                    text.push('\\');
                    text.push(self.next()?);
                }
                other => text.push(other),
            }
        }
    }
}

struct Reader {
    origin: Name,
    owner: Option<Name>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
}

impl Reader {
    fn line(&mut self, line: &Line) -> Result<Option<Record>, ZoneFault> {
        let mut words = line.words.as_slice();
        if let [directive, rest @ ..] = words
            && !directive.quoted
            && directive.text.starts_with('$')
        {
            self.directive(&directive.text, rest)?;
            return Ok(None);
        }
        if !line.indented
            && let [owner, rest @ ..] = words
        {
            self.owner = Some(name(&owner.text, &self.origin)?);
            words = rest;
        }
        let owner = self.owner.clone().ok_or(ZoneFault::NoOwner)?;
        let mut ttl = None;
        // TTL and class in either order, each once at most.
        let mut class = false;
        while let [word, rest @ ..] = words {
            if ttl.is_none()
                && let Some(seconds) = duration(&word.text)
            {
                ttl = Some(seconds);
            } else if !class && word.text.eq_ignore_ascii_case("IN") {
                class = true;
            } else {
                break;
            }
            words = rest;
        }
        let [record_type, data @ ..] = words else {
            return Err(ZoneFault::Type);
        };
        let record_type: RecordType = record_type.text.parse().map_err(|_| ZoneFault::Type)?;
        let data = read(record_type, data, &self.origin)?;
        let from_soa = match &data {
            RecordData::Soa(soa) => Some(soa.minimum),
            _ => None,
        };
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl).or(from_soa);
        let ttl = ttl.ok_or(ZoneFault::NoTtl)?;
        self.last_ttl = Some(ttl);
        Ok(Some(Record::new(owner, ttl, data)))
    }

    fn directive(&mut self, directive: &str, arguments: &[Word]) -> Result<(), ZoneFault> {
        let [argument] = arguments else {
            return Err(ZoneFault::Directive);
        };
        if directive.eq_ignore_ascii_case("$ORIGIN") {
            self.origin = name(&argument.text, &self.origin)?;
        } else if directive.eq_ignore_ascii_case("$TTL") {
            self.default_ttl = Some(duration(&argument.text).ok_or(ZoneFault::NoTtl)?);
        } else {
            return Err(ZoneFault::Directive);
        }
        Ok(())
    }
}

/// A name, relative to the origin if no dot ends it.
pub(super) fn name(text: &str, origin: &Name) -> Result<Name, ZoneFault> {
    if text == "@" {
        return Ok(origin.clone());
    }
    let name: Name = text.parse()?;
    // A dot after an odd number of backslashes is a part of the last label.
    let is_complete = text
        .strip_suffix('.')
        .is_some_and(|before| before.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0);
    if is_complete {
        Ok(name)
    } else {
        Ok(name.below(origin)?)
    }
}

/// Seconds, or numbers with units as in `1h30m`.
pub(super) fn duration(text: &str) -> Option<u32> {
    let (mut total, mut number) = (0_u32, None);
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            let digit = u32::from(byte - b'0');
            number = Some(number.unwrap_or(0_u32).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(seconds) => total.checked_add(seconds),
        None => (!text.is_empty()).then_some(total),
    }
}
