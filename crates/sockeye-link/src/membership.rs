//! Modes of an interface that last as long as somebody wants them.

use std::io;

use sockeye_socket::{Socket, options};

/// `PACKET_MR_PROMISC` and `PACKET_MR_ALLMULTI`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Promiscuous,
    AllMulticast,
}

/// Puts the interface into the mode: it counts who wants it.
pub(crate) fn add(socket: &Socket, interface: u32, mode: Mode) -> io::Result<()> {
    socket.set_bytes(options::PACKET_ADD_MEMBERSHIP, &request(interface, mode))
}

/// `struct packet_mreq`.
fn request(interface: u32, mode: Mode) -> [u8; 16] {
    let kind: u16 = match mode {
        Mode::Promiscuous => 1,
        Mode::AllMulticast => 2,
    };
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&interface.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes
}

/// A mode of an interface that this socket has asked for. It ends when the guard is dropped, or else with the socket: the
/// kernel takes it back also where the program was killed.
///
/// ```no_run
/// use sockeye_link::LinkSocket;
///
/// let link = LinkSocket::open("eth0")?;
/// let promiscuous = link.promiscuous()?;
/// // ... frames for other hosts come, too ...
/// drop(promiscuous);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the mode ends when this is dropped"]
pub struct Membership<'s> {
    socket: &'s Socket,
    interface: u32,
    mode: Mode,
}

impl<'s> Membership<'s> {
    pub(crate) fn new(socket: &'s Socket, interface: u32, mode: Mode) -> io::Result<Self> {
        add(socket, interface, mode)?;
        Ok(Self {
            socket,
            interface,
            mode,
        })
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        // It fails only where the interface is gone, and the mode with it.
        let _ = self.socket.set_bytes(
            options::PACKET_DROP_MEMBERSHIP,
            &request(self.interface, self.mode),
        );
    }
}
