//! Lies as bytes: what becomes of an answer that is to be wrong in one way.

use sockeye_resolver::dns::{Message, Name, Question, Record, RecordData};

use super::answer::{From, replace_addresses};
use super::behaviour::Lie;

/// The wire format of a lie, and where it is to come from.
pub(super) fn told(lie: Lie, honest: &Message, limit: u16) -> (Vec<u8>, From) {
    let mut answer = honest.clone();
    let mut from = From::Asked;
    match lie {
        Lie::WrongId => answer.id ^= 0x5555,
        Lie::WrongQuestion => {
            answer.question = honest.question.as_ref().map(other_question);
        }
        Lie::WrongCase => {
            if let Some(question) = &mut answer.question {
                question.name = lower(&question.name);
            }
        }
        Lie::NoQuestion => answer.question = None,
        Lie::NotAResponse => answer.flags.response = false,
        Lie::OtherPort => from = From::OtherPort,
        Lie::OtherAddress(ip) => from = From::Address(ip),
        Lie::Address(ip) => replace_addresses(&mut answer.answers, ip),
        Lie::Empty => {
            answer.answers.clear();
            answer.authorities.clear();
        }
        Lie::AliasLoop => chain(&mut answer, 1, true),
        Lie::LongChain(len) => chain(&mut answer, len, false),
        Lie::Cut | Lie::Nonsense | Lie::ManyRecords => {}
    }
    let mut wire = Vec::new();
    answer.write(limit.into(), &mut wire);
    match lie {
        Lie::Cut => wire.truncate((wire.len() / 2).max(12)),
        Lie::Nonsense => {
            // Pointers at themselves and lengths beyond the end.
            let behind = wire.get_mut(12..).unwrap_or_default();
            behind.iter_mut().for_each(|byte| *byte = 0xc0);
        }
        Lie::ManyRecords => {
            let counts = wire.get_mut(6..12).unwrap_or_default();
            counts.iter_mut().for_each(|byte| *byte = 0xff);
        }
        _ => {}
    }
    (wire, from)
}

fn other_question(question: &Question) -> Question {
    let label: Option<Name> = "other".parse().ok();
    let below = label.and_then(|label| label.below(&question.name).ok());
    // A name that has no room for a label has a parent.
    let name = below.or_else(|| question.name.parent());
    Question::new(name.unwrap_or_else(Name::root), question.record_type)
}

fn lower(name: &Name) -> Name {
    // Lengths of labels are at most 63 and no letters.
    Name::from_wire(&name.as_wire().to_ascii_lowercase()).unwrap_or_else(|_| name.clone())
}

/// Replaces the answer by so many aliases, each of the one before; the last one may lead back to the first.
fn chain(answer: &mut Message, len: u16, closed: bool) {
    answer.answers.clear();
    answer.authorities.clear();
    let Some(first) = answer.question.as_ref().map(|question| question.name.clone()) else {
        return;
    };
    let mut name = first.clone();
    for place in 0..len {
        let target = if closed && place + 1 == len {
            first.clone()
        } else {
            format!("alias-{place}.test")
                .parse()
                .unwrap_or_else(|_| first.clone())
        };
        let data = RecordData::Cname(target.clone());
        answer.answers.push(Record::new(name, 60, data));
        name = target;
    }
}
