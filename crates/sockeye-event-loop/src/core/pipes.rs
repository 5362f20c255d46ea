//! What a joined connection keeps, and the pipes that bytes are spliced through.

use sockeye_socket::os::Pipe;

use crate::id::Token;

/// What one of the two keeps: the way of its bytes to the other.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) partner: Token,
    /// Bytes on their way, while there are any.
    pub(super) pipe: Option<Pipe>,
    /// Its end has been passed on.
    pub(super) done: bool,
    /// How large the last pieces were: grows with each large one, falls with each small one.
    pub(super) weight: u8,
    /// Bytes that were read from it for the other.
    pub(super) moved: u64,
}

/// What a pipe of the loop should hold.
const PIPE: usize = 1024 * 1024;
/// Empty pipes that are kept.
const POOL: usize = 16;

/// The pipes of a loop that have nothing in them.
#[derive(Debug, Default)]
pub(crate) struct Pipes(Vec<Pipe>);

impl Pipes {
    pub(super) fn take(&mut self) -> Option<Pipe> {
        // Without the right to a large one (`fs.pipe-max-size`, `fs.pipe-user-pages-soft`) the usual one does.
        let make = || Pipe::with_capacity(PIPE).or_else(|_| Pipe::new()).ok();
        self.0.pop().or_else(make)
    }

    pub(super) fn give_back(&mut self, pipe: Pipe) {
        if self.0.len() < POOL && pipe.is_empty() {
            self.0.push(pipe);
        }
    }
}
