//! Classic BPF: which packets a socket takes, and which socket of a group takes a packet.

use std::io;
use std::os::fd::AsFd;

use crate::sys;

/// Width of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Width {
    /// Four bytes, network order.
    Word = 0x00,
    /// Two bytes, network order.
    Half = 0x08,
    /// One byte.
    Byte = 0x10,
}

/// A comparison of the accumulator with a constant, both unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compare {
    /// Equal.
    Equal,
    /// Greater than the constant.
    Greater,
    /// Greater than the constant or equal.
    GreaterOrEqual,
    /// Has one of the constant's bits.
    HasAny,
}

/// One instruction, in the kernel's layout.
#[doc(alias = "sock_filter")]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) constant: u32,
}

impl Instruction {
    /// From its code, how many instructions are skipped if it holds and if not, and its constant (bpf(4)).
    #[must_use]
    pub const fn new(code: u16, [jump_true, jump_false]: [u8; 2], constant: u32) -> Self {
        Self {
            code,
            jump_true,
            jump_false,
            constant,
        }
    }

    /// What it does.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// How many instructions a jump skips if its comparison holds, and if not.
    #[must_use]
    pub const fn jumps(&self) -> [u8; 2] {
        [self.jump_true, self.jump_false]
    }

    /// Its constant.
    #[must_use]
    pub const fn constant(&self) -> u32 {
        self.constant
    }
}

/// A program under construction: load something into the accumulator, compute with it, test it.
///
/// Jumps are inside the tests, so every program ends. What the packet begins with depends on the socket: the UDP
/// header on UDP sockets, the IPv4 header on raw IPv4 sockets, the transport header on raw IPv6 and ping sockets. A
/// load past the end drops the packet.
///
/// ```
/// use sockeye_socket::filter::{Compare, Program, Width};
///
/// // Only datagrams from port 53.
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let filter = Program::new().load(Width::Half, 0).require(Compare::Equal, 53).accept();
/// filter.attach(&socket)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Program {
    instructions: Vec<Instruction>,
}

/// A finished program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<Instruction>,
}

const LOAD_ABSOLUTE: u16 = 0x20;
const LOAD_LEN: u16 = 0x80;
const ALU_CONSTANT: u16 = 0x04;
const AND: u16 = 0x50;
const MODULO: u16 = 0x90;
const MULTIPLY: u16 = 0x20;
/// `BPF_MISC | BPF_TAX`: the accumulator becomes the index of indexed loads.
const TO_INDEX: u16 = 0x07;
/// `BPF_LD | BPF_B | BPF_IND`: the byte at the index and a constant.
const LOAD_BYTE_INDEXED: u16 = 0x50;
const SHIFT_RIGHT: u16 = 0x70;
const JUMP_CONSTANT: u16 = 0x05;
const RETURN_CONSTANT: u16 = 0x06;
const RETURN_ACCUMULATOR: u16 = 0x16;
/// `SKF_AD_OFF`: loads at this offset and beyond are not of the packet.
const ANCILLARY: i32 = -0x1000;
const ANCILLARY_CPU: i32 = 36;
const ANCILLARY_RANDOM: i32 = 56;

impl Program {
    /// An empty program.
    pub const fn new() -> Self {
        Self {
            instructions: Vec::new(),
        }
    }

    fn then(mut self, code: u16, constant: u32) -> Self {
        self.instructions.push(Instruction {
            code,
            jump_true: 0,
            jump_false: 0,
            constant,
        });
        self
    }

    /// Loads packet bytes from `offset` on.
    pub fn load(self, width: Width, offset: u32) -> Self {
        self.then(LOAD_ABSOLUTE | width as u16, offset)
    }

    /// Loads the length of the packet.
    pub fn load_len(self) -> Self {
        self.then(LOAD_LEN, 0)
    }

    /// Loads the number of the CPU that handles the packet.
    #[doc(alias = "SKF_AD_CPU")]
    pub fn load_cpu(self) -> Self {
        self.then(LOAD_ABSOLUTE, (ANCILLARY + ANCILLARY_CPU).cast_unsigned())
    }

    /// Loads 32 random bits.
    #[doc(alias = "SKF_AD_RANDOM")]
    pub fn load_random(self) -> Self {
        self.then(LOAD_ABSOLUTE, (ANCILLARY + ANCILLARY_RANDOM).cast_unsigned())
    }

    /// Keeps these bits of the accumulator.
    pub fn and(self, mask: u32) -> Self {
        self.then(ALU_CONSTANT | AND, mask)
    }

    /// Shifts the accumulator right by `bits`, at most 31.
    pub fn shift_right(self, bits: u32) -> Self {
        self.then(ALU_CONSTANT | SHIFT_RIGHT, bits)
    }

    /// The remainder of the accumulator by `divisor`; the kernel refuses a program that divides by 0.
    pub fn modulo(self, divisor: u32) -> Self {
        self.then(ALU_CONSTANT | MODULO, divisor)
    }

    /// Drops the packet unless the accumulator compares so.
    pub fn require(self, compare: Compare, constant: u32) -> Self {
        self.test(compare, constant, 1, 0)
    }

    /// Drops the packet if the accumulator compares so.
    pub fn drop_if(self, compare: Compare, constant: u32) -> Self {
        self.test(compare, constant, 0, 1)
    }

    /// A test, and behind it a `return 0` that one of its ways skips.
    fn test(mut self, compare: Compare, constant: u32, jump_true: u8, jump_false: u8) -> Self {
        let compare = match compare {
            Compare::Equal => 0x10,
            Compare::Greater => 0x20,
            Compare::GreaterOrEqual => 0x30,
            Compare::HasAny => 0x40,
        };
        self.instructions.push(Instruction {
            code: JUMP_CONSTANT | compare,
            jump_true,
            jump_false,
            constant,
        });
        self.then(RETURN_CONSTANT, 0)
    }

    /// Takes what has come this far, whole.
    #[must_use]
    pub fn accept(self) -> Filter {
        self.then(RETURN_CONSTANT, u32::MAX).finish()
    }

    /// Takes what has come this far, cut to `len` bytes; 0 takes nothing.
    #[must_use]
    pub fn accept_up_to(self, len: u32) -> Filter {
        self.then(RETURN_CONSTANT, len).finish()
    }

    /// Takes what has come this far, cut to the length in the accumulator; for
    /// [`attach_reuse_port`](Filter::attach_reuse_port), gives it to the socket of that number.
    #[must_use]
    pub fn accept_by_accumulator(self) -> Filter {
        self.then(RETURN_ACCUMULATOR, 0).finish()
    }

    fn finish(self) -> Filter {
        Filter {
            instructions: self.instructions,
        }
    }
}

impl Filter {
    /// A program from elsewhere. Attaching fails if the kernel finds it wrong.
    #[must_use]
    pub const fn from_instructions(instructions: Vec<Instruction>) -> Self {
        Self { instructions }
    }

    /// Drops about `drops` of every `of` packets by chance: a lossy network for tests.
    #[must_use]
    pub fn lossy(drops: u32, of: u32) -> Self {
        let program = Program::new().load_random().modulo(of.max(1));
        program.require(Compare::GreaterOrEqual, drops).accept()
    }

    /// Steers to the socket whose number, in the order they were bound, is the CPU's, modulo `sockets`.
    #[must_use]
    pub fn steer_by_cpu(sockets: u32) -> Self {
        Program::new()
            .load_cpu()
            .modulo(sockets.max(1))
            .accept_by_accumulator()
    }

    /// Steers QUIC to the socket whose number, in the order they were bound, is the first byte of the connection id that the packet
    /// is for, modulo `sockets`: a server that puts its own number there, when it chooses an id, keeps a connection whose client
    /// moves. A packet that ends before is for the first socket.
    ///
    /// # References
    /// [RFC 8999](https://www.rfc-editor.org/rfc/rfc8999) section 5: the id begins behind the first byte, or behind six where
    /// that has its highest bit set.
    #[must_use]
    pub fn steer_by_quic_id(sockets: u32) -> Self {
        Program::new()
            .load(Width::Byte, 0)
            .shift_right(7)
            .then(ALU_CONSTANT | MULTIPLY, 5)
            .then(TO_INDEX, 0)
            .then(LOAD_BYTE_INDEXED, 1)
            .modulo(sockets.max(1))
            .accept_by_accumulator()
    }

    /// Takes only what this filter accepts, from now on: what is queued already stays.
    ///
    /// # Errors
    /// `InvalidInput` where the kernel does not accept the program (too long, division by 0).
    #[doc(alias = "SO_ATTACH_FILTER")]
    pub fn attach(&self, socket: impl AsFd) -> io::Result<()> {
        sys::filter::attach(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            &self.instructions,
        )
    }

    /// Chooses by this filter among the sockets that share the port of `socket` by `SO_REUSEPORT`, for all of them. A
    /// number that no socket has falls back to the kernel's own hash. The packet begins with the payload here.
    ///
    /// # Errors
    /// As [`Filter::attach`]; `InvalidInput` also where the socket does not share its port.
    #[doc(alias = "SO_ATTACH_REUSEPORT_CBPF")]
    pub fn attach_reuse_port(&self, socket: impl AsFd) -> io::Result<()> {
        sys::filter::attach(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            &self.instructions,
        )
    }

    /// Chooses by this filter among the packet sockets of a fanout group
    /// ([`PACKET_FANOUT`](crate::options::PACKET_FANOUT) of the cBPF kind) which one gets a frame: the accumulator modulo
    /// the number of sockets, in the order they joined. The packet begins with the link header of a socket for whole
    /// frames, behind it otherwise.
    ///
    /// # Errors
    /// As [`Filter::attach`]; `InvalidInput` also where the socket is in no such group.
    #[doc(alias = "PACKET_FANOUT_DATA")]
    pub fn attach_fanout(&self, socket: impl AsFd) -> io::Result<()> {
        const PACKET_FANOUT_DATA: i32 = 22;
        let level = sys::abi::SOL_PACKET;
        sys::filter::attach(socket.as_fd(), level, PACKET_FANOUT_DATA, &self.instructions)
    }

    /// Takes everything again.
    ///
    /// # Errors
    /// `NotFound` where no filter is attached.
    #[doc(alias = "SO_DETACH_FILTER")]
    pub fn detach(socket: impl AsFd) -> io::Result<()> {
        sys::option::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        receiver.set_nonblocking(true).unwrap();
        (receiver, sender)
    }

    #[test]
    fn a_filter_takes_what_it_accepts_and_nothing_else() {
        let (receiver, sender) = pair();
        // The payload follows 8 bytes of UDP header.
        let filter = Program::new()
            .load(Width::Byte, 8)
            .and(0x0f)
            .require(Compare::Equal, 7)
            .drop_if(Compare::HasAny, 8);
        filter.accept().attach(&receiver).unwrap();
        for byte in [0x17, 0x18, 0x27, 0x00] {
            sender.send(&[byte]).unwrap();
        }
        sender.send(&[]).unwrap();
        let mut buffer = [0; 4];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], 0x17);
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], 0x27);
        assert!(receiver.recv(&mut buffer).is_err());
        Filter::detach(&receiver).unwrap();
        sender.send(&[0]).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 1);
    }

    #[test]
    fn a_lossy_filter_loses_about_its_share() {
        let (receiver, sender) = pair();
        Filter::lossy(20, 100).attach(&receiver).unwrap();
        let mut received = 0;
        for _ in 0..5000 {
            sender.send(b"x").unwrap();
            received += u32::from(receiver.recv(&mut [0]).is_ok());
        }
        // Nine standard deviations on either side of 4000.
        assert!((3745..=4255).contains(&received), "{received} of 5000 came");
    }

    #[test]
    fn a_program_the_kernel_refuses_is_an_error() {
        let (receiver, _sender) = pair();
        let divides_by_zero = Program::new().load_len().modulo(0).accept();
        assert_eq!(
            divides_by_zero.attach(&receiver).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert!(Filter::detach(&receiver).is_err());
    }
}
