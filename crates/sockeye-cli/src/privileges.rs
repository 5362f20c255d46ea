//! Capabilities (capabilities(7)) that a command gives up once it has opened what needs them.
//!
//! The kernel keeps capabilities for each thread. So each command gives them up on its first thread before it starts others, or
//! its other threads give them up themselves; names are looked up by a thread that has none ([`without`]).

use std::io;
use std::thread;

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use sockeye::endpoint::UnixName;

/// Binds ports that are not for every process.
pub(crate) const LOW_PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;
/// Opens raw sockets; on older kernels it chooses the interface of a socket.
pub(crate) const RAW: CapabilitySet = CapabilitySet::NET_RAW;
/// Connects to Unix sockets whose permissions do not admit this user: what root expects to be able to.
pub(crate) const ANY_PATH: CapabilitySet = CapabilitySet::DAC_OVERRIDE;
/// No capability.
pub(crate) const NONE: CapabilitySet = CapabilitySet::empty();

/// Gives up every capability of this thread, and of the threads that it starts, for good.
///
/// # Errors
/// When the system refuses: then the command must not go on.
pub(crate) fn drop_all() -> anyhow::Result<()> {
    keep(NONE)
}

/// Gives up every capability but those in `kept`, for good. What is in `kept` is not got by it.
///
/// # Errors
/// As [`drop_all`].
pub(crate) fn keep(kept: CapabilitySet) -> anyhow::Result<()> {
    narrow(kept, Programs::Never).context("give up capabilities")
}

/// Gives up the capabilities of this process, and none of those that its user has: a command that it starts gets what its
/// user would get from a shell, and nothing that this program was given by setcap(8) or by its service manager. Root keeps the
/// right to end commands that have become another user.
///
/// # Errors
/// As [`drop_all`].
pub(crate) fn drop_own() -> anyhow::Result<()> {
    narrow(CapabilitySet::KILL, Programs::AsTheUser).context("give up capabilities")
}

/// What programs that are started later get.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Programs {
    /// There are none, or they get nothing.
    Never,
    /// What their user gets elsewhere.
    AsTheUser,
}

fn narrow(kept: CapabilitySet, programs: Programs) -> io::Result<()> {
    let now = capabilities(None)?;
    if programs == Programs::Never {
        // First, as it takes CAP_SETPCAP. Who does not have it is held by `no_new_privs`: no file gives any capability then.
        if now.effective.contains(CapabilitySet::SETPCAP) {
            empty_bounding_set(kept)?;
        }
        set_no_new_privs(true)?;
    }
    if now.permitted.is_empty() && now.inheritable.is_empty() {
        return Ok(());
    }
    clear_ambient_capability_set()?;
    // Those that the process has, and no others: the kernel would refuse them.
    let left = now.permitted & kept;
    set_capabilities(
        None,
        CapabilitySets {
            effective: left,
            permitted: left,
            inheritable: match programs {
                Programs::Never => NONE,
                Programs::AsTheUser => now.inheritable,
            },
        },
    )?;
    Ok(())
}

/// The bounding set is that of this kernel, which may know more capabilities than this program.
fn empty_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !kept.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // There are no more.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Does `work` on a thread that has given up its capabilities, so that the threads which it leaves behind have none: those of
/// the system's resolver. In a process without capabilities it is done here.
///
/// # Errors
/// When there can be no thread, or it cannot give up what it has.
pub(crate) fn without<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let has_any = capabilities(None).is_ok_and(|sets| !sets.permitted.is_empty());
    if !has_any {
        return work();
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new().spawn_scoped(scope, || {
            drop_all()?;
            work()
        });
        let worker = worker.context("start a thread")?;
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What it takes to bind these ports now or later: nothing if all of them are for every process.
pub(crate) fn for_ports(ports: impl IntoIterator<Item = u16>) -> CapabilitySet {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first.ok().and_then(|text| text.trim().parse().ok());
    let first: u16 = first.unwrap_or(1024);
    // Port 0 stands for one that is for everybody.
    let is_low = |port: u16| port != 0 && port < first;
    if ports.into_iter().any(is_low) {
        LOW_PORTS
    } else {
        NONE
    }
}

/// What it takes to connect to this Unix socket later: abstract names have no permissions.
pub(crate) fn for_unix(name: &UnixName) -> CapabilitySet {
    if name.as_path_bytes().is_some() {
        ANY_PATH
    } else {
        NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own: the other tests keep what they have.
    fn apart<T: Send>(test: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(test).join().unwrap())
    }

    #[test]
    fn nothing_is_left_and_nothing_comes_back() {
        apart(|| {
            drop_all().unwrap();
            let sets = capabilities(None).unwrap();
            assert!(sets.effective.is_empty() && sets.permitted.is_empty() && sets.inheritable.is_empty());
            assert!(rustix::thread::no_new_privs().unwrap());
            // Once more is no error.
            drop_all().unwrap();
            without(|| Ok(())).unwrap();
        });
    }

    #[test]
    fn what_is_kept_is_not_more_than_there_was() {
        apart(|| {
            let before = capabilities(None).unwrap().permitted;
            keep(LOW_PORTS | RAW).unwrap();
            let after = capabilities(None).unwrap();
            assert_eq!(after.permitted, before & (LOW_PORTS | RAW));
            assert_eq!(after.effective, after.permitted);
            keep(RAW).unwrap();
            assert_eq!(capabilities(None).unwrap().permitted, before & RAW);
        });
    }

    #[test]
    fn work_is_done_without_and_its_outcome_comes_back() {
        let inside = without(|| Ok(capabilities(None)?.permitted)).unwrap();
        assert!(inside.is_empty());
        assert!(without::<()>(|| Err(anyhow::anyhow!("no"))).is_err());
    }

    #[test]
    fn ports_for_everybody_take_nothing() {
        assert_eq!(for_ports([0, 65_535]), NONE);
        assert_eq!(for_ports([]), NONE);
        assert_eq!(for_unix(&UnixName::UNNAMED), NONE);
    }
}
