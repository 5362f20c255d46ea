//! The program, with long input. It runs beside this one, so the clock is the one on the wall.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Cost, Error, timed};

/// The program of the same build: `sockeye` beside the folder of the examples.
fn sockeye() -> Result<Command, Error> {
    let here = std::env::current_exe()?;
    let folder: PathBuf = here
        .parent()
        .and_then(|examples| examples.parent())
        .ok_or("no folder")?
        .into();
    let program = folder.join("sockeye");
    if !program.exists() {
        return Err(format!("{} is not built", program.display()).into());
    }
    Ok(Command::new(program))
}

/// Lines on stdin, of every kind.
pub(super) fn explain_lines(size: usize) -> Result<Cost, Error> {
    let words = [
        "100.64.0.1",
        "fe80::1",
        "tcp://[::1]:80",
        "10.0.0.0/8",
        ":514",
        "domain",
    ];
    let input: String = words
        .iter()
        .cycle()
        .take(size)
        .map(|word| format!("{word}\n"))
        .collect();
    let mut command = sockeye()?;
    command.arg("explain").stdin(Stdio::piped()).stdout(Stdio::null());
    timed(|| {
        let mut child = command.spawn()?;
        child
            .stdin
            .take()
            .ok_or("no stdin")?
            .write_all(input.as_bytes())?;
        assert!(child.wait()?.success());
        Ok(size as u64)
    })
}

/// Packets of a capture: UDP in IPv4 in Ethernet.
pub(super) fn dump_packets(size: usize) -> Result<Cost, Error> {
    let folder = std::env::temp_dir().join(format!("sockeye-growth-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let path = folder.join("capture.pcap");
    std::fs::write(&path, capture(size))?;
    let mut command = sockeye()?;
    command.args(["dump", "--read"]).arg(&path).stdout(Stdio::null());
    let cost = timed(|| {
        assert!(command.status()?.success());
        Ok(size as u64)
    });
    std::fs::remove_dir_all(&folder)?;
    cost
}

/// A pcap file (draft-ietf-opsawg-pcap), little-endian, microseconds, Ethernet.
fn capture(packets: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00]);
    frame.extend([
        0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 0, 53, 0, 12, 0, 0, 1, 2,
        3, 4,
    ]);
    let len = u32::try_from(frame.len()).unwrap_or(0).to_le_bytes();
    for n in 0..packets {
        file.extend(u32::try_from(n).unwrap_or(0).to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend(len);
        file.extend(len);
        file.extend(&frame);
    }
    file
}
