//! An interface of the router: its socket, its addresses, and the words that describe it on the command line.

use std::io;
use std::net::IpAddr;

use sockeye_endpoint::Network;
use sockeye_link::{LinkOptions, LinkSocket};
use sockeye_packet::MacAddr;

/// What may wait while others have the processor; the system may allow less (sysctl net.core.rmem_max).
const RECV_BUFFER: u32 = 8 << 20;

/// An interface as the router sees it. The kernel's own addresses play no part: those of the router are its own.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: usize,
    pub(crate) addresses: Vec<(IpAddr, Network)>,
}

impl Interface {
    /// Its first address of the family of `like`.
    pub(crate) fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().map(|(address, _)| *address);
        addresses.find(|address| address.is_ipv4() == like.is_ipv4())
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }
}

/// Reads `NAME,ADDRESS/LENGTH,...[,mtu=BYTES]` and opens the interface.
pub(crate) fn open(words: &str) -> Result<(Interface, LinkSocket), Box<dyn std::error::Error>> {
    let mut words = words.split(',');
    let name = words.next().unwrap_or_default().to_owned();
    let mut interface = Interface {
        name,
        mac: MacAddr::ZERO,
        mtu: 1500,
        addresses: Vec::new(),
    };
    for word in words {
        match word.strip_prefix("mtu=") {
            Some(mtu) => interface.mtu = mtu.parse()?,
            None => interface.addresses.push(Network::parse_interface(word)?),
        }
    }
    // Neighbour discovery asks groups, which the interface would leave out.
    let options = LinkOptions::new()
        .all_multicast(true)
        .ignore_outgoing(true)
        .recv_buffer(RECV_BUFFER);
    let socket = options.open(&interface.name)?;
    let local = socket.socket().local_link()?;
    let mac = local.hardware().try_into();
    interface.mac = MacAddr(mac.map_err(|_| io::Error::other("not an Ethernet interface"))?);
    Ok((interface, socket))
}
