//! A filter, and behind a zero byte a packet: what is wrong lies within the text, and what is right compiles and runs.

use sockeye_link::filter::Expression;
use sockeye_packet::LinkType;

pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (text, packet) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let expression = match text.parse::<Expression>() {
        Ok(expression) => expression,
        Err(error) => {
            assert!(
                error.at <= text.len() && text.is_char_boundary(error.at),
                "{error}"
            );
            return;
        }
    };
    for link in LinkType::ALL {
        match expression.compile(link) {
            Ok(program) => {
                let _ = program.accepts(packet, u32::try_from(packet.len()).unwrap_or(u32::MAX));
                // A word of two letters makes some ten instructions at most; far jumps share their bridges.
                assert!(program.instructions().len() <= 40 * text.len() + 8);
            }
            Err(error) => assert!(error.at <= text.len(), "{error}"),
        }
    }
}
