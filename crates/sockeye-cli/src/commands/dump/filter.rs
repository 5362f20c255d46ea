//! The filter of the command line: one program for each link type that the capture has.

use sockeye::link::capture::CapturedFrame;
use sockeye::link::filter::{Expression, FilterError, FilterErrorKind, Program};
use sockeye::packet::LinkType;

use crate::exit::Failure;

/// Which packets are shown.
pub(super) struct Filter {
    text: String,
    expression: Expression,
    programs: Vec<(LinkType, Program)>,
}

impl Filter {
    /// From the words of the command line; `None` without any.
    ///
    /// # Errors
    /// Where the words are no filter, with a mark under the place.
    pub(super) fn new(words: &[String]) -> anyhow::Result<Option<Self>> {
        let text = words.join(" ");
        if text.trim().is_empty() {
            return Ok(None);
        }
        match text.parse() {
            Ok(expression) => Ok(Some(Self {
                text,
                expression,
                programs: Vec::new(),
            })),
            Err(error) => Err(refused(&text, &error)),
        }
    }

    /// Whether a frame is shown.
    ///
    /// # Errors
    /// Where frames of its link type do not have what the filter asks for.
    pub(super) fn takes(&mut self, frame: &CapturedFrame) -> anyhow::Result<bool> {
        let number = frame.link_type;
        let Some(link) = LinkType::from_number(number) else {
            let message =
                format!("filter: link type {number} is not decoded, so nothing in it can be filtered");
            return Err(Failure::usage(message));
        };
        let program = self.program(link)?;
        Ok(program.is_some_and(|program| program.accepts(&frame.data, frame.len)))
    }

    /// The program for frames of this link.
    ///
    /// # Errors
    /// As [`takes`](Self::takes).
    pub(super) fn program(&mut self, link: LinkType) -> anyhow::Result<Option<&Program>> {
        let known = self.programs.iter().position(|(known, _)| *known == link);
        let index = match known {
            Some(index) => index,
            None => {
                let program = self.expression.compile(link);
                let program = program.map_err(|error| refused(&self.text, &error))?;
                self.programs.push((link, program));
                self.programs.len() - 1
            }
        };
        Ok(self.programs.get(index).map(|(_, program)| program))
    }

    /// Whether it speaks of VLAN tags, which the kernel takes out of frames before its filters see them.
    pub(super) fn names_vlan(&self) -> bool {
        self.text.contains("vlan")
    }
}

/// The most of a filter that an error repeats, in bytes before and behind the place.
const AROUND: usize = 40;

fn refused(text: &str, error: &FilterError) -> anyhow::Error {
    if let FilterErrorKind::UnknownLink(link) = error.kind {
        return Failure::usage(format!(
            "filter: packets of the link type {link:?} cannot be filtered yet"
        ));
    }
    let mut start = error.at.saturating_sub(AROUND);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let before = text.get(start..error.at).unwrap_or_default();
    let behind: String = text
        .get(error.at..)
        .unwrap_or_default()
        .chars()
        .take(AROUND)
        .collect();
    let place = if behind.is_empty() {
        format!("behind \"{before}\"")
    } else {
        format!("before \"{behind}\"")
    };
    Failure::usage(format!("filter, byte {}, {place}: {}", error.at, error.kind))
}
