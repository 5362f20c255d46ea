//! [`ServiceManager`]: what a service tells systemd of itself. It asks for nothing and starts nothing.

use std::io;

use sockeye_socket::unix::UnixName;

use crate::datagram::UnixDatagram;

/// Who has started this process and wants to know how it does: systemd's `Type=notify`, or anything else that sets
/// `NOTIFY_SOCKET`.
///
/// ```
/// use sockeye_unix::ServiceManager;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// if let Some(manager) = ServiceManager::from_env()? {
///     manager.ready("serving at 127.0.0.1:7007")?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// [sd_notify(3)](https://man7.org/linux/man-pages/man3/sd_notify.3.html)
#[doc(alias = "sd_notify")]
#[doc(alias = "NOTIFY_SOCKET")]
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    name: UnixName,
}

impl ServiceManager {
    /// The manager that `NOTIFY_SOCKET` names, `None` where it is not set. The environment is left as it is.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where it is neither a path that begins with `/` nor an abstract name that begins with `@`; else that
    /// no socket could be opened.
    pub fn from_env() -> io::Result<Option<Self>> {
        match std::env::var("NOTIFY_SOCKET") {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Self::at(&text).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        }
    }

    /// The manager at this name: `/path` or `@abstract`.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn at(text: &str) -> io::Result<Self> {
        if !text.starts_with(['/', '@']) {
            let message = format!("NOTIFY_SOCKET={text}: neither a path from the root nor an abstract @name");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let name = UnixName::parse(text).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("NOTIFY_SOCKET: {error}"))
        })?;
        let socket = UnixDatagram::unbound()?;
        Ok(Self { socket, name })
    }

    /// The service has begun, or has finished reloading, and this is how it does.
    ///
    /// # Errors
    ///
    /// As [`notify`](Self::notify).
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.notify(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// The service reads its configuration again; [`ready`](Self::ready) is to follow, whether it could or not. With the clock
    /// that `Type=notify-reload` wants.
    ///
    /// # Errors
    ///
    /// As [`notify`](Self::notify).
    pub fn reloading(&self) -> io::Result<()> {
        let now_us = sockeye_socket::os::monotonic_ns() / 1_000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"))
    }

    /// The service begins to end.
    ///
    /// # Errors
    ///
    /// As [`notify`](Self::notify).
    pub fn stopping(&self, status: &str) -> io::Result<()> {
        self.notify(&format!("STOPPING=1\nSTATUS={}", one_line(status)))
    }

    /// How the service does, for people: one line.
    ///
    /// # Errors
    ///
    /// As [`notify`](Self::notify).
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.notify(&format!("STATUS={}", one_line(status)))
    }

    /// Sends assignments, one a line, as they are.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while the manager's queue is full; `NotFound` and `ConnectionRefused` when it is gone.
    pub fn notify(&self, assignments: &str) -> io::Result<()> {
        self.socket
            .send_to_name(assignments.as_bytes(), &self.name)
            .map(|_| ())
    }
}

/// A line feed would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(folder: &tempfile::TempDir) -> (UnixDatagram, ServiceManager) {
        let path = folder.path().join("notify.sock");
        let hears = UnixDatagram::bind(&path).unwrap();
        (hears, ServiceManager::at(path.to_str().unwrap()).unwrap())
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn each_state_is_one_message() {
        let folder = tempfile::tempdir().unwrap();
        let (hears, manager) = manager(&folder);
        manager.ready("two\nlines").unwrap();
        assert_eq!(heard(&hears), "READY=1\nSTATUS=two lines");
        manager.reloading().unwrap();
        let reloading = heard(&hears);
        let clock = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(clock.parse::<u64>().is_ok(), "{clock}");
        manager.stopping("3 sessions").unwrap();
        assert_eq!(heard(&hears), "STOPPING=1\nSTATUS=3 sessions");
        manager.status("well").unwrap();
        assert_eq!(heard(&hears), "STATUS=well");
    }

    #[test]
    fn an_abstract_name_is_one_too_and_others_are_none() {
        let text = format!("@sockeye-notify-{}", std::process::id());
        let hears = UnixDatagram::options()
            .bind(&UnixName::parse(&text).unwrap())
            .unwrap();
        ServiceManager::at(&text).unwrap().status("here").unwrap();
        assert_eq!(heard(&hears), "STATUS=here");
        for text in ["relative/path", "vsock:2:1234", ""] {
            let refused = ServiceManager::at(text).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{text}");
        }
    }
}
