//! What a server of sockperf does: it gives a message back that asks for an answer, and drops the others.

use sockeye::event_loop::{Datagram, Datagrams, Sent, Stream, StreamService};
use sockeye::measure::sockperf::Header;

use super::Sends;
use super::datagrams::{Answer, Answers};
use crate::output::note;

/// On connections and in datagrams.
#[derive(Debug, Default)]
pub(crate) struct Sockperf {
    /// Of datagrams: the answer.
    answer: Vec<u8>,
    /// Bytes that were sent on connections and not asked for yet.
    sent: u64,
}

impl StreamService for Sockperf {
    type Conn = ();

    fn on_open(&mut self, _stream: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = data.get_mut(done..) {
            let header = match Header::parse(rest) {
                Ok(Some(header)) => header,
                Ok(None) => return done,
                Err(error) => {
                    // Where the next message begins nobody knows.
                    let peer = stream
                        .peer_addr()
                        .map(|peer| format!("{peer}: "))
                        .unwrap_or_default();
                    note(format_args!("sockeye: serve: {peer}{error}"));
                    stream.abort();
                    return data.len();
                }
            };
            let Some(message) = rest.get_mut(..header.len) else {
                stream.want(header.len);
                return done;
            };
            if header.is_answered() {
                header.answer().write(message);
                if stream.write(message) == Sent::Full {
                    // The peer does not read: the message is offered again once it does.
                    header.write(message);
                    return done;
                }
                self.sent += header.len as u64;
            }
            done += header.len;
        }
        done
    }
}

impl Answers for Sockperf {
    fn answer(
        &mut self,
        socket: &mut Datagrams<'_>,
        datagram: &Datagram<'_>,
        _most: usize,
    ) -> Option<Answer> {
        let Ok(Some(header)) = Header::parse(datagram.data) else {
            return Some(Answer::NONE);
        };
        if !header.is_answered() {
            return Some(Answer::NONE);
        }
        self.answer.clear();
        self.answer.extend_from_slice(datagram.data);
        header.answer().write(&mut self.answer);
        Some(Answer {
            bytes: self.answer.len() as u64,
            sent: socket.send(&datagram.reply(&self.answer)),
        })
    }
}

impl Sends for Sockperf {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        (std::mem::take(&mut self.sent), 0)
    }
}
