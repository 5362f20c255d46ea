//! The relay's backends: processes that echo, and are killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use sockeye_event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};

use crate::Error;

/// Sends back what comes.
struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// What `soak backend PORT` does, until it is killed or its stdin ends.
pub(crate) fn serve(port: &str) -> Result<(), Error> {
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    let at = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
    let listener = events.listen(echo, at, &ListenOptions::default())?;
    crate::say(&events.local_addr(listener)?.port().to_string());
    // Whoever started it may have been killed itself.
    let remote = events.remote();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = remote.stop();
    });
    Ok(events.run()?)
}

/// Two of them; ended when dropped.
pub(crate) struct Backends {
    children: Vec<(Child, u16)>,
    turn: usize,
}

impl Backends {
    pub(crate) fn start() -> Result<Self, Error> {
        let mut children = Vec::new();
        for _ in 0..2 {
            children.push(start(0)?);
        }
        Ok(Self { children, turn: 0 })
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.children.iter().map(|(_, port)| *port).collect()
    }

    /// Kills one with SIGKILL, and starts another at the same port.
    pub(crate) fn kill_one(&mut self) -> Result<(), Error> {
        self.turn += 1;
        let count = self.children.len();
        let (child, port) = &mut self.children[self.turn % count];
        child.kill()?;
        child.wait()?;
        (*child, _) = start(*port)?;
        Ok(())
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(port: u16) -> Result<(Child, u16), Error> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["backend", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let port = line
        .trim()
        .parse()
        .map_err(|_| format!("the backend says {line:?}"))?;
    Ok((child, port))
}
