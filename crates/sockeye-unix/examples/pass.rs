//! `pass FILE`: opens a file, passes its descriptor through a pair of sockets, and reads the file through what arrived, as
//! a process without the right to open it would.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;

use sockeye_unix::{UnixOutgoing, UnixStream};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: pass FILE")?;
    let (here, there) = UnixStream::pair()?;
    let file = File::open(&path)?;
    let fds = [file.as_fd()];
    here.send_msg(&UnixOutgoing::new(b"a file").fds(&fds))?;
    drop(file);

    let mut buffer = [0; 16];
    let message = there.recv_msg(&mut buffer)?;
    if message.fds_lost {
        return Err("this process has no descriptor left for it: ulimit -n".into());
    }
    let fd = message
        .fds
        .into_iter()
        .next()
        .ok_or("nothing came with the message")?;
    let mut text = Vec::new();
    File::from(fd).read_to_end(&mut text)?;
    writeln!(io::stdout(), "{} bytes of {path:?}", text.len())?;
    Ok(())
}
