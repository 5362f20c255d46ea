//! The system calls by hand, as a C program would: the reference.

#![expect(unsafe_code, reason = "the peer is the bare system call")]

use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::{BURST, Contender, segment_messages};

/// A UDP socket on loopback, nonblocking, with room for bursts.
pub(crate) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(super::BUFFER).unwrap();
    options.set_send_buffer_size(super::BUFFER).unwrap();
    socket
}

/// CPU time that this thread has used: what other programs do meanwhile is not in it.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(read, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn address(socket: &UdpSocket) -> libc::sockaddr_in {
    // SAFETY: all zeros is a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = socket.local_addr().unwrap().port().to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    address
}

/// Receives from `socket` in batches, without metadata unless `control` asks for GRO's segment size.
struct Receiver {
    socket: UdpSocket,
    headers: Vec<libc::mmsghdr>,
    iovs: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<[u64; 3]>,
    _slots: Vec<u8>,
    control: bool,
}

const SLOT: usize = 65_536;

impl Receiver {
    fn new(control: bool) -> Self {
        let socket = socket();
        if control {
            let on: libc::c_int = 1;
            // SAFETY: the kernel reads four bytes of `on`.
            let set = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_UDP,
                    libc::UDP_GRO,
                    (&raw const on).cast(),
                    4,
                )
            };
            assert_eq!(set, 0);
        }
        let mut slots = vec![0u8; BURST * SLOT];
        let iovs = slots
            .chunks_mut(SLOT)
            .map(|slot| libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: SLOT,
            })
            .collect();
        Self {
            socket,
            // SAFETY: all zeros is a valid header.
            headers: vec![unsafe { zeroed() }; BURST],
            iovs,
            // SAFETY: all zeros is a valid address.
            names: vec![unsafe { zeroed() }; BURST],
            controls: vec![[0; 3]; BURST],
            _slots: slots,
            control,
        }
    }

    /// Receives until a whole burst has come.
    fn burst(&mut self, size: usize) {
        let mut datagrams = 0;
        while datagrams < BURST {
            for i in 0..BURST {
                let header = &mut self.headers[i].msg_hdr;
                header.msg_name = (&raw mut self.names[i]).cast();
                header.msg_namelen = 16;
                header.msg_iov = &raw mut self.iovs[i];
                header.msg_iovlen = 1;
                if self.control {
                    header.msg_control = self.controls[i].as_mut_ptr().cast();
                    header.msg_controllen = 24;
                }
                header.msg_flags = 0;
            }
            let headers = self.headers.as_mut_ptr();
            // SAFETY: BURST headers lead to as many names, buffers and slots, all alive.
            let received = unsafe {
                libc::recvmmsg(
                    self.socket.as_raw_fd(),
                    headers,
                    BURST as u32,
                    0,
                    std::ptr::null_mut(),
                )
            };
            assert!(received > 0);
            for header in &self.headers[..received.unsigned_abs() as usize] {
                let len = header.msg_len as usize;
                if self.control && header.msg_hdr.msg_controllen >= 20 {
                    // SAFETY: the kernel wrote a header and an int there.
                    let data = unsafe { header.msg_hdr.msg_control.cast::<libc::c_int>().add(4) };
                    // SAFETY: likewise.
                    let segment = unsafe { *data };
                    datagrams += len.div_ceil(segment.unsigned_abs() as usize);
                } else {
                    datagrams += 1;
                    assert_eq!(len, size);
                }
            }
        }
    }
}

/// `sendmmsg` and `recvmmsg`.
pub(crate) fn mmsg(size: usize) -> Contender {
    let mut receiver = Receiver::new(false);
    let sender = socket();
    let mut to = address(&receiver.socket);
    let mut payloads = vec![7u8; size * BURST];
    // SAFETY: all zeros is a valid header.
    let mut headers: Vec<libc::mmsghdr> = vec![unsafe { zeroed() }; BURST];
    let mut iovs = vec![
        libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0
        };
        BURST
    ];
    Contender::new("libc mmsg", move || {
        for i in 0..BURST {
            iovs[i] = libc::iovec {
                iov_base: payloads[i * size..].as_mut_ptr().cast(),
                iov_len: size,
            };
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut to).cast();
            header.msg_namelen = 16;
            header.msg_iov = &raw mut iovs[i];
            header.msg_iovlen = 1;
        }
        // SAFETY: BURST headers lead to an address and payloads, all alive.
        let sent = unsafe { libc::sendmmsg(sender.as_raw_fd(), headers.as_mut_ptr(), BURST as u32, 0) };
        assert_eq!(sent, BURST as i32);
        receiver.burst(size);
    })
}

/// `sendmsg` with `UDP_SEGMENT`, `recvmmsg` with `UDP_GRO`: one contiguous payload a message.
pub(crate) fn segments(size: usize) -> Contender {
    let mut receiver = Receiver::new(true);
    let sender = socket();
    let to = address(&receiver.socket);
    let mut payload = vec![7u8; size * BURST];
    let messages = segment_messages(size);
    Contender::new("libc gso+gro", move || {
        for len in &messages {
            let iov = libc::iovec {
                iov_base: payload.as_mut_ptr().cast(),
                iov_len: *len,
            };
            send_segments(&sender, to, &mut [iov], size, *len);
        }
        receiver.burst(size);
    })
}

/// The same from payloads that do not lie side by side: an I/O vector each.
pub(crate) fn scattered_segments(size: usize) -> Contender {
    let mut receiver = Receiver::new(true);
    let sender = socket();
    let to = address(&receiver.socket);
    let mut payloads: Vec<Vec<u8>> = (0..BURST).map(|_| vec![7u8; size]).collect();
    let messages = segment_messages(size);
    let mut iovs = Vec::with_capacity(BURST);
    Contender::new("libc gso+gro, scattered", move || {
        let mut from = 0;
        for len in &messages {
            let to_payload = from + len / size;
            iovs.clear();
            iovs.extend(payloads[from..to_payload].iter_mut().map(|payload| libc::iovec {
                iov_base: payload.as_mut_ptr().cast(),
                iov_len: size,
            }));
            send_segments(&sender, to, &mut iovs, size, *len);
            from = to_payload;
        }
        receiver.burst(size);
    })
}

/// One message of `len` bytes, to be cut into datagrams of `size`.
fn send_segments(
    sender: &UdpSocket,
    mut to: libc::sockaddr_in,
    iovs: &mut [libc::iovec],
    size: usize,
    len: usize,
) {
    let mut control = [0u64; 3];
    // SAFETY: all zeros is a valid header.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = (&raw mut to).cast();
    header.msg_namelen = 16;
    header.msg_iov = iovs.as_mut_ptr();
    header.msg_iovlen = iovs.len();
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = 24;
    // SAFETY: the header leads to a control buffer of its length.
    let message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    // SAFETY: the buffer has room for one control message and is aligned for it.
    let message = unsafe { &mut *message };
    message.cmsg_level = libc::SOL_UDP;
    message.cmsg_type = libc::UDP_SEGMENT;
    message.cmsg_len = 18;
    // SAFETY: and for two bytes of data in it.
    let data = unsafe { libc::CMSG_DATA(message) };
    // SAFETY: likewise.
    unsafe { *data.cast::<u16>() = size as u16 };
    // SAFETY: the header leads to an address, payloads and control messages, all alive.
    let sent = unsafe { libc::sendmsg(sender.as_raw_fd(), &raw const header, 0) };
    assert_eq!(sent, len as isize);
}
