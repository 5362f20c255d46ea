//! The machine of classic BPF, for packets that did not come through the kernel.

use sockeye_socket::filter::Instruction;

/// Places for intermediate results.
pub(super) const SLOTS: usize = 16;

/// Runs a program on a packet of which `packet` was captured and `len` bytes were on the wire; how many bytes it takes.
///
/// Whatever is not right takes nothing: a load behind the end, a division by 0, a place that is not there, a jump out of the
/// program, an instruction that is not one. Jumps go forward only, so that every program ends.
pub(super) fn run(program: &[Instruction], packet: &[u8], len: u32) -> u32 {
    execute(program, packet, len).unwrap_or(0)
}

fn execute(program: &[Instruction], packet: &[u8], len: u32) -> Option<u32> {
    let (mut a, mut x, mut slots, mut at) = (0_u32, 0_u32, [0_u32; SLOTS], 0_usize);
    loop {
        let instruction = program.get(at)?;
        at += 1;
        let (code, k) = (instruction.code(), instruction.constant());
        let operand = if code & 0x08 == 0 { k } else { x };
        match code {
            0x00 => a = k,
            0x01 => x = k,
            0x20 | 0x28 | 0x30 => a = load(packet, code, k)?,
            0x40 | 0x48 | 0x50 => a = load(packet, code, x.checked_add(k)?)?,
            0x60 => a = *slots.get(usize::try_from(k).ok()?)?,
            0x61 => x = *slots.get(usize::try_from(k).ok()?)?,
            0x80 => a = len,
            0x81 => x = len,
            0xb1 => x = 4 * (load(packet, 0x30, k)? & 0xf),
            0x02 => *slots.get_mut(usize::try_from(k).ok()?)? = a,
            0x03 => *slots.get_mut(usize::try_from(k).ok()?)? = x,
            0x84 => a = a.wrapping_neg(),
            0x07 => x = a,
            0x87 => a = x,
            0x06 => return Some(k),
            0x16 => return Some(a),
            0x05 => at = at.checked_add(usize::try_from(k).ok()?)?,
            0x04 | 0x0c | 0x14 | 0x1c | 0x24 | 0x2c | 0x34 | 0x3c | 0x44 | 0x4c | 0x54 | 0x5c | 0x64
            | 0x6c | 0x74 | 0x7c | 0x94 | 0x9c | 0xa4 | 0xac => a = compute(code, a, operand)?,
            0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
                let holds = match code & 0xf0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                let [on_true, on_false] = instruction.jumps();
                at += usize::from(if holds { on_true } else { on_false });
            }
            _ => return None,
        }
    }
}

fn load(packet: &[u8], code: u16, at: u32) -> Option<u32> {
    let rest = packet.get(usize::try_from(at).ok()?..)?;
    Some(match code & 0x18 {
        0x00 => u32::from_be_bytes(*rest.first_chunk()?),
        0x08 => u32::from(u16::from_be_bytes(*rest.first_chunk()?)),
        _ => u32::from(*rest.first()?),
    })
}

fn compute(code: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.checked_shl(operand).unwrap_or(0),
        0x70 => a.checked_shr(operand).unwrap_or(0),
        0x90 => a.checked_rem(operand)?,
        _ => a ^ operand,
    })
}
