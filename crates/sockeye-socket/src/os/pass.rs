//! Descriptors handed to another process over a Unix socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::unix::{UnixOutgoing, recv_unix_msg, send_unix_msg};

pub use crate::unix::MAX_PASSED_FDS;

/// Sends `data` with `fds` beside it over a Unix socket, and returns how many bytes of `data` went. The receiver gets
/// descriptors of the same open files with the first of these bytes; this process keeps its own.
///
/// # Errors
///
/// `InvalidInput` where `data` is empty (a stream carries no descriptors without a byte) or there are more than
/// [`MAX_PASSED_FDS`], or `socket` is not a Unix socket: another would send the bytes and drop the descriptors;
/// `WouldBlock` when there is no room; `BrokenPipe`, never `SIGPIPE`.
///
/// # References
///
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), `SCM_RIGHTS`
#[doc(alias = "SCM_RIGHTS")]
pub fn send_fds(socket: impl AsFd, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if data.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    send_unix_msg(socket, &UnixOutgoing::new(data).fds(fds))
}

/// Receives into `data`, and the descriptors that came beside it, close-on-exec, appended to `fds`; returns the bytes
/// of `data`, 0 where the peer has closed.
///
/// # Errors
///
/// `WouldBlock` when there is nothing. `InvalidInput` where `data` is empty, which could not be told from the end, or
/// `socket` is not a Unix socket. `InvalidData` where the kernel had to drop descriptors, because this process may
/// have no more: those that did come are closed, so that no half of a set is taken for the whole.
#[doc(alias = "SCM_RIGHTS")]
pub fn recv_fds(socket: impl AsFd, data: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    if data.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let received = recv_unix_msg(socket, data)?;
    if received.fds_lost {
        let message = "descriptors were lost on the way: this process is at its limit";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    fds.extend(received.fds);
    Ok(received.len)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_listener_passed_on_goes_on_accepting() {
        let (here, there) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            send_fds(&here, b"http", &[listener.as_fd(), here.as_fd()]).unwrap(),
            4
        );
        drop(listener);

        let (mut data, mut fds) = ([0; 16], Vec::new());
        assert_eq!(recv_fds(&there, &mut data, &mut fds).unwrap(), 4);
        assert_eq!((&data[..4], fds.len()), (&b"http"[..], 2));
        let listener = TcpListener::from(fds.remove(0));
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn data_without_descriptors_and_the_end_come_too() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"plain").unwrap();
        let (mut data, mut fds) = ([0; 16], Vec::new());
        assert_eq!(recv_fds(&there, &mut data, &mut fds).unwrap(), 5);
        drop(here);
        assert_eq!(recv_fds(&there, &mut data, &mut fds).unwrap(), 0);
        assert!(fds.is_empty());
    }

    #[test]
    fn nothing_to_carry_them_and_too_many_are_refused() {
        let (here, there) = UnixStream::pair().unwrap();
        let kind = |answer: io::Result<usize>| answer.unwrap_err().kind();
        assert_eq!(
            kind(send_fds(&here, b"", &[here.as_fd()])),
            io::ErrorKind::InvalidInput
        );
        let many = vec![here.as_fd(); MAX_PASSED_FDS + 1];
        assert_eq!(kind(send_fds(&here, b"x", &many)), io::ErrorKind::InvalidInput);
        assert_eq!(send_fds(&here, b"x", &many[1..]).unwrap(), 1);
        let mut fds = Vec::new();
        assert_eq!(recv_fds(&there, &mut [0], &mut fds).unwrap(), 1);
        assert_eq!(fds.len(), MAX_PASSED_FDS);
        // Closing is not enough: a child that another test has just forked has it open, too, until it runs its program.
        there.shutdown(Shutdown::Both).unwrap();
        assert_eq!(kind(send_fds(&here, b"x", &[])), io::ErrorKind::BrokenPipe);
    }
}
