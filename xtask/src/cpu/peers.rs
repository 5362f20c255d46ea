//! The servers of a table: programs of ours and by hand, haproxy, nginx.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::running::{Profile, Running};

/// How long a program has until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Debian's nginx has its `stream` in a module; one that has it built in needs none.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A program that serves, and how it is started.
#[derive(Debug, Clone, Copy)]
pub(super) enum Program {
    /// An example of ours by its arguments: `{backend}` stands for the backend's port, `{folder}` for the folder with the
    /// certificate.
    Ours(&'static str, &'static [&'static str]),
    Haproxy {
        tls: bool,
        splice: bool,
    },
    Nginx,
}

impl Program {
    /// What is missing on this machine, with the command that brings it.
    pub(super) fn missing(self) -> Option<&'static str> {
        let installed = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
            folders.any(|folder| folder.join(name).is_file())
        };
        match self {
            Self::Ours(..) => None,
            Self::Haproxy { .. } => {
                (!installed("haproxy")).then_some("haproxy (install: apt-get install haproxy)")
            }
            Self::Nginx => (!installed("nginx") || !Path::new(STREAM_MODULE).is_file())
                .then_some("nginx with its stream module (install: apt-get install libnginx-mod-stream)"),
        }
    }

    /// Starts it on a core.
    ///
    /// # Errors
    /// When it does not start, or does not listen in time.
    pub(super) fn start(
        self,
        profile: Profile,
        core: u32,
        folder: &Path,
        backend: Option<u16>,
    ) -> Result<Server> {
        let core = core.to_string();
        let pinned = ["taskset", "-c", core.as_str()];
        let words = |text: &str| {
            let backend = backend.map(|port| port.to_string()).unwrap_or_default();
            text.replace("{backend}", &backend)
                .replace("{folder}", &folder.to_string_lossy())
        };
        let (program, arguments, port) = match self {
            Self::Ours(example, arguments) => {
                let arguments: Vec<_> = arguments.iter().map(|text| words(text)).collect();
                let mut running = Running::start(&pinned, &profile.executable(example), &arguments)?;
                let port = running.port()?.parse().context("the port of an example")?;
                return Ok(Server { running, port });
            }
            Self::Haproxy { tls, splice } => {
                let port = free_port()?;
                let file = folder.join(format!("haproxy-{port}"));
                std::fs::write(&file, words(&haproxy(port, tls, splice)))?;
                let arguments = vec!["-db".to_owned(), "-f".to_owned(), path(&file)];
                ("haproxy", arguments, port)
            }
            Self::Nginx => {
                let port = free_port()?;
                let file = folder.join(format!("nginx-{port}"));
                std::fs::write(&file, words(&nginx(port)))?;
                let arguments = ["-p", &path(folder), "-e", "stderr", "-c", &path(&file)];
                ("nginx", arguments.map(str::to_owned).to_vec(), port)
            }
        };
        let running = Running::start(&pinned, Path::new(program), &arguments)?;
        let server = Server { running, port };
        let since = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(since.elapsed() < PATIENCE, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Server {
    running: Running,
    pub(super) port: u16,
}

impl Server {
    /// `taskset` becomes the program that it starts.
    pub(super) fn pid(&self) -> u32 {
        self.running.id()
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A port that nobody has at the moment, for programs that cannot say which one they got.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a port")?;
    Ok(listener.local_addr()?.port())
}

/// One thread; for a plain relay two backends that are one server, as the whole relay of the table has them.
fn haproxy(port: u16, tls: bool, splice: bool) -> String {
    let (bind, server) = if tls {
        ("ssl crt {folder}/both.pem ssl-min-ver TLSv1.3", "")
    } else {
        ("", "    server b 127.0.0.1:{backend}\n")
    };
    let splice = if splice { "    option splice-auto\n" } else { "" };
    format!(
        "global\n    maxconn 4000\n    nbthread 1\n    maxpipes 600\ndefaults\n    mode tcp\n{splice}    \
         timeout connect 10s\n    timeout client 60s\n    timeout server 60s\nlisten l\n    balance leastconn\n    \
         bind 127.0.0.1:{port} {bind}\n    server a 127.0.0.1:{{backend}}\n{server}"
    )
}

/// One process that ends TLS.
fn nginx(port: u16) -> String {
    format!(
        "load_module {STREAM_MODULE};\ndaemon off;\nmaster_process off;\npid {{folder}}/nginx-{port}.pid;\n\
         error_log stderr crit;\nevents {{ worker_connections 8000; }}\nstream {{ server {{\n    \
         listen 127.0.0.1:{port} ssl;\n    ssl_certificate {{folder}}/cert.pem;\n    \
         ssl_certificate_key {{folder}}/key.pem;\n    ssl_protocols TLSv1.3;\n    \
         proxy_pass 127.0.0.1:{{backend}};\n}} }}\n"
    )
}
