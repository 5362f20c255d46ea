//! Urgent data: one byte beside the stream, and a mark in it.
//!
//! TCP has a pointer and no second channel (RFC 6093), so Linux keeps the last byte that was announced apart from the
//! stream, and a byte that was announced before it goes back into the stream. Three things follow, and the types here say
//! them: an event for urgent data is not data to read, a read never runs over the mark, and there is one byte at most.

use std::io;

use crate::TcpStream;

/// What waits beside the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Urgent {
    /// The urgent byte.
    Byte(u8),
    /// It has been announced, and has not come yet.
    Announced,
    /// There is none, or it has been read, or it is [inline](TcpStream::set_urgent_inline).
    None,
}

impl TcpStream {
    /// Sends one byte as urgent data. A byte sent so before, and not read yet, loses its place beside the stream there.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room; as a write else.
    #[doc(alias = "MSG_OOB")]
    pub fn send_urgent(&self, byte: u8) -> io::Result<()> {
        self.socket.send_urgent(byte).map(drop)
    }

    /// Takes the urgent byte, if it is there. A poller announces it as priority, never as something to read: a program
    /// that reads on a priority event gets `WouldBlock`, or bytes from before the mark.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)` that are not one of the states of [`Urgent`].
    #[doc(alias = "MSG_OOB")]
    pub fn recv_urgent(&self) -> io::Result<Urgent> {
        match self.socket.recv_urgent() {
            Ok(byte) => Ok(Urgent::Byte(byte)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(Urgent::Announced),
                io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => Ok(Urgent::None),
                _ => Err(error),
            },
        }
    }

    /// Whether reading has come to the place in the stream where the urgent byte was sent. A read stops there once, even
    /// where more has come.
    ///
    /// # Errors
    ///
    /// The errno of `ioctl(2)`.
    #[doc(alias = "SIOCATMARK")]
    #[doc(alias = "sockatmark")]
    pub fn is_at_urgent_mark(&self) -> io::Result<bool> {
        self.socket.is_at_mark()
    }
}
