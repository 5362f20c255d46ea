//! Where names are asked for: namespaces with a loopback, files and a port 53 of their own, and the servers in them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::Arguments;
use crate::running::{Profile, Running};

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Namespaces of users, networks and mounts.
const NAMESPACES: [&str; 3] = ["--map-root-user", "--net", "--mount"];

/// What is not measured without namespaces, and why.
const NO_NAMESPACES: &str = "getaddrinfo, which asks at port 53 whom /etc/resolv.conf says: needs namespaces of users, networks \
     and mounts (unshare, ip)";

/// Files for the servers and the system's resolver: taken away at the end.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sockeye-names-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        let folder = Self(path);
        std::fs::write(folder.0.join("resolv.conf"), "nameserver 127.0.0.1\n")?;
        // The least that it can do: no other source, no file of hosts.
        std::fs::write(folder.0.join("nsswitch.conf"), "hosts: dns\n")?;
        Ok(folder)
    }
}

impl Folder {
    /// Where the run in the namespaces leaves what it has measured.
    pub(super) fn part(&self) -> PathBuf {
        part(&self.0)
    }
}

/// The file of a folder for what was measured.
pub(super) fn part(folder: &Path) -> PathBuf {
    folder.join("measured.json")
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs this very command once more in namespaces of its own; `None` where that is not allowed.
///
/// # Errors
/// When it does not start.
pub(super) fn enter(arguments: &Arguments, folder: &Folder) -> Result<Option<ExitStatus>> {
    let possible = Command::new("unshare")
        .args(NAMESPACES)
        .args([
            "sh",
            "-c",
            "ip link set lo up && mount --bind \"$0\" /etc/resolv.conf",
        ])
        .arg(folder.0.join("resolv.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    command
        .args(NAMESPACES)
        .arg(std::env::current_exe().context("find this program")?)
        .args(["bench", "resolver", "--cpu"])
        .args(["--rounds", &arguments.rounds.to_string()])
        .args(["--core", &arguments.core.to_string()])
        .arg("--within")
        .arg(&folder.0);
    if arguments.smoke {
        command.arg("--smoke");
    }
    Ok(Some(command.status().context("start unshare")?))
}

/// The place where everything runs.
#[derive(Debug)]
pub(super) struct Ground {
    folder: PathBuf,
    own_namespaces: bool,
}

impl Ground {
    /// Prepares the namespaces in which this process is.
    ///
    /// # Errors
    /// When the loopback or the files cannot be set up.
    pub(super) fn within(folder: &Path) -> Result<Self> {
        let run = |program: &str, arguments: &[&str]| -> Result<()> {
            let status = Command::new(program).args(arguments).status();
            let status = status.with_context(|| format!("start {program}"))?;
            ensure!(status.success(), "{program} {arguments:?}: {status}");
            Ok(())
        };
        run("ip", &["link", "set", "lo", "up"])?;
        for name in ["resolv.conf", "nsswitch.conf"] {
            let (own, system) = (folder.join(name), Path::new("/etc").join(name));
            if system.exists() {
                run(
                    "mount",
                    &["--bind", &own.to_string_lossy(), &system.to_string_lossy()],
                )?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            own_namespaces: true,
        })
    }

    /// The machine as it is.
    pub(super) fn outside(folder: &Folder) -> Self {
        Self {
            folder: folder.0.clone(),
            own_namespaces: false,
        }
    }

    pub(super) fn has_getaddrinfo(&self) -> bool {
        self.own_namespaces
    }

    /// Why getaddrinfo is not measured, if it is not.
    pub(super) fn without_getaddrinfo(&self) -> Option<&'static str> {
        (!self.own_namespaces).then_some(NO_NAMESPACES)
    }

    /// Starts a server, on another core than the clients' where there is one.
    ///
    /// # Errors
    /// When it does not start, or does not answer in time.
    pub(super) fn start(&self, profile: Profile, kind: Kind, clients: u32) -> Result<Server> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let core = ((clients as usize + 1) % cores).to_string();
        let pinned = ["taskset", "-c", core.as_str()];
        let port = if self.own_namespaces { 53 } else { free_port()? };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut arguments = vec![port.to_string()];
        let program = match kind {
            Kind::Echo => profile.executable("names_echo"),
            Kind::Silent => {
                arguments.push("silent".to_owned());
                profile.executable("names_echo")
            }
            Kind::Unbound => {
                let file = self.folder.join("unbound.conf");
                std::fs::write(&file, unbound(port, &self.folder))?;
                arguments = vec![
                    "-d".to_owned(),
                    "-c".to_owned(),
                    file.to_string_lossy().into_owned(),
                ];
                unbound_program().context("unbound was there before")?
            }
        };
        let mut running = Running::start(&pinned, &program, &arguments)?;
        if kind == Kind::Unbound {
            wait_for(address)?;
        } else {
            running.port()?;
        }
        Ok(Server {
            _running: running,
            address,
        })
    }
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Server {
    _running: Running,
    pub(super) address: SocketAddr,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It appends an address to what it is sent.
    Echo,
    /// It answers nothing.
    Silent,
    /// A resolver that people use, with an answer for any name.
    Unbound,
}

impl Kind {
    /// What is missing on this machine, with the command that brings it.
    pub(super) fn missing(self) -> Option<&'static str> {
        (self == Self::Unbound && unbound_program().is_none())
            .then_some("unbound (install: apt-get install unbound)")
    }
}

fn unbound_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("unbound"))
        .find(|program| program.is_file())
}

/// One thread, which answers for every name below `test` by itself.
fn unbound(port: u16, folder: &Path) -> String {
    format!(
        "server:\n    interface: 127.0.0.1\n    port: {port}\n    do-daemonize: no\n    username: \"\"\n    chroot: \"\"\n    \
         directory: \"{}\"\n    pidfile: \"\"\n    use-syslog: no\n    verbosity: 0\n    num-threads: 1\n    \
         so-rcvbuf: 4m\n    module-config: \"iterator\"\n    access-control: 127.0.0.0/8 allow\n    \
         local-zone: \"test.\" redirect\n    local-data: \"test. 60 IN A 192.0.2.1\"\n\
         remote-control:\n    control-enable: no\n",
        folder.display()
    )
}

/// A port that nobody has at the moment.
fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a port")?;
    Ok(socket.local_addr()?.port())
}

/// Asks until somebody answers.
fn wait_for(server: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    // Number 7, recursion desired, one question: test. A IN.
    let question = *b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01";
    let since = Instant::now();
    let mut answer = [0; 512];
    loop {
        // Before it listens the kernel says that nobody does.
        let sent = socket.send_to(&question, server);
        if sent.is_ok() && socket.recv(&mut answer).is_ok() {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "{server} does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
}
