//! Messages of the DNS: whatever the bytes, they are refused or read; what was read can be written and read again.

use sockeye_resolver::dns::Message;

pub(crate) fn run(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    for record in &message.answers {
        let text = record.to_string();
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    }
    let mut wire = Vec::new();
    message.write(65_535, &mut wire);
    assert!(wire.len() <= 65_535);
    let again = Message::parse(&wire).expect("it was written here");
    // Names within data are written in full: what was short by compression may be too long, and says so.
    if again != message {
        assert!(again.flags.truncated && again.answers.is_empty());
        assert_eq!((again.question, again.edns), (message.question, message.edns));
    }
}
