//! What passes, as a hex dump: sixteen bytes a line, `>` for what is sent, `<` for what is received.

use std::io::Write as _;

/// Bytes a line.
const WIDTH: usize = 16;

/// The dump of one conversation. Each direction counts its own bytes.
#[derive(Debug, Default)]
pub(super) struct Dump {
    sent: u64,
    received: u64,
}

impl Dump {
    pub(super) fn sent(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        self.sent = lines('>', self.sent, bytes, to);
    }

    pub(super) fn received(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        self.received = lines('<', self.received, bytes, to);
    }
}

/// The lines of one piece, of a message or as a stream was read; gives the offset behind it. No byte of it reaches a
/// terminal but as a digit or a printable letter of ASCII.
fn lines(direction: char, mut offset: u64, bytes: &[u8], to: &mut Vec<u8>) -> u64 {
    for row in bytes.chunks(WIDTH) {
        // Writing to a Vec cannot fail.
        let _ = write!(to, "{direction} {offset:08x} ");
        for index in 0..WIDTH {
            if index % 8 == 0 {
                to.push(b' ');
            }
            let _ = match row.get(index) {
                Some(byte) => write!(to, "{byte:02x} "),
                None => write!(to, "   "),
            };
        }
        to.extend_from_slice(b" |");
        to.extend(row.iter().map(|byte| match byte {
            b' '..=b'~' => *byte,
            _ => b'.',
        }));
        to.extend_from_slice(b"|\n");
        offset += row.len() as u64;
    }
    if bytes.is_empty() {
        let _ = writeln!(to, "{direction} {offset:08x}  (empty)");
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_dumped_and_nothing_a_terminal_obeys() {
        let (mut dump, mut to) = (Dump::default(), Vec::new());
        dump.sent(b"hello\n", &mut to);
        dump.received(&(0..=255).collect::<Vec<u8>>(), &mut to);
        dump.sent(b"x", &mut to);
        dump.received(b"", &mut to);
        let text = String::from_utf8(to).unwrap();
        assert!(
            text.chars().all(|letter| matches!(letter, ' '..='~' | '\n')),
            "{text}"
        );
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[0],
            "> 00000000  68 65 6c 6c 6f 0a                                 |hello.|"
        );
        assert_eq!(
            rows[5],
            "< 00000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|"
        );
        assert!(rows[17].starts_with("> 00000006  78"), "{}", rows[17]);
        assert_eq!(rows[18], "< 00000100  (empty)");
    }
}
