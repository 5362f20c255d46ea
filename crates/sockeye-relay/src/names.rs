//! Where addresses of names come from.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_endpoint::Target;

/// Looks up names of backends, without blocking: asked by [`start`](Self::start), answers by [`poll`](Self::poll), which the
/// relay calls every 20 ms until there is an answer or the deadline has passed.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
/// use std::time::Duration;
/// use sockeye_endpoint::Target;
/// use sockeye_relay::Names;
///
/// /// A table; whatever is not in it is not found.
/// struct Table(Vec<(Target, SocketAddr)>);
///
/// impl Names for Table {
///     fn start(&mut self, _: &Target, _: Duration) {}
///
///     fn poll(&mut self, target: &Target) -> Option<io::Result<Vec<SocketAddr>>> {
///         let found = self.0.iter().filter(|(name, _)| name == target);
///         Some(Ok(found.map(|(_, address)| *address).collect()))
///     }
/// }
/// ```
pub trait Names: 'static {
    /// Begins a lookup, which may take so long. One of the same target that is under way is given up.
    fn start(&mut self, target: &Target, within: Duration);

    /// The answer, once there is one: addresses in the order of preference, with the target's port. None at all is an
    /// answer too, and leaves the addresses as they were.
    fn poll(&mut self, target: &Target) -> Option<io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver (`getaddrinfo(3)`), off the loop, with addresses in the order of RFC 6724.
#[cfg(feature = "resolver")]
#[derive(Default)]
pub struct SystemNames {
    lookups: std::collections::HashMap<Target, Lookup>,
}

/// What is under way for one target.
#[cfg(feature = "resolver")]
struct Lookup {
    query: Result<sockeye_resolver::Query, sockeye_resolver::StartError>,
    found: Vec<SocketAddr>,
}

#[cfg(feature = "resolver")]
impl Names for SystemNames {
    fn start(&mut self, target: &Target, within: Duration) {
        let deadline = std::time::Instant::now() + within;
        // The relay asks by itself.
        let nobody = std::sync::Arc::new(|| {});
        let query = sockeye_resolver::Resolver::shared().start(target, deadline, nobody);
        let found = Vec::new();
        self.lookups.insert(target.clone(), Lookup { query, found });
    }

    fn poll(&mut self, target: &Target) -> Option<io::Result<Vec<SocketAddr>>> {
        use sockeye_resolver::Progress;

        let lookup = self.lookups.get_mut(target)?;
        if let Ok(query) = &mut lookup.query {
            loop {
                match query.poll() {
                    // One family's failure is none while the other has addresses.
                    Progress::Answer(answer) => lookup.found.extend(answer.result.unwrap_or_default()),
                    Progress::Pending => return None,
                    Progress::Done => break,
                }
            }
        }
        let lookup = self.lookups.remove(target)?;
        if let Err(error) = lookup.query {
            return Some(Err(io::Error::other(error)));
        }
        let policy = sockeye_resolver::order::PolicyTable::default();
        let ordered = sockeye_resolver::order(&lookup.found, &policy);
        Some(Ok(ordered.into_iter().map(|resolved| resolved.address).collect()))
    }
}

#[cfg(feature = "resolver")]
impl std::fmt::Debug for SystemNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemNames")
            .field("under_way", &self.lookups.len())
            .finish_non_exhaustive()
    }
}
