//! IANA's special-purpose address registries (RFC 6890) as one table.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network::Network;

/// The day on which this table agreed with IANA's two registries, as `YYYY-MM-DD`.
pub const SPECIAL_DATE: &str = "2026-07-18";

/// A block of the special-purpose registries and its attributes; `None` is the registry's "N/A".
///
/// # References
///
/// RFC 6890 section 2.2.1; RFC 8190 renamed "Global" to "Globally Reachable".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Special {
    /// The first address of the block.
    pub address: IpAddr,
    /// The length of the block's prefix in bits.
    pub prefix_len: u8,
    /// The registered name.
    pub name: &'static str,
    /// The registered references.
    pub rfc: &'static str,
    /// Whether it may stand as a source address.
    pub source: Option<bool>,
    /// Whether it may stand as a destination address.
    pub destination: Option<bool>,
    /// Whether a router may forward a packet to it between interfaces.
    pub forwardable: Option<bool>,
    /// Whether it is reachable beyond one administrative domain.
    pub globally_reachable: Option<bool>,
    /// Whether IP itself must treat it specially.
    pub reserved: Option<bool>,
}

impl Special {
    /// The block as a network.
    #[must_use]
    pub fn network(&self) -> Network {
        // The table's prefix lengths all fit, so the fallback is never taken; it spares a panic path.
        Network::of(self.address, self.prefix_len).unwrap_or(Network::from(self.address))
    }
}

/// The most specific registered block that holds the address, or `None` where none does.
///
/// The address is taken as it is: `::ffff:10.0.0.1` is in `::ffff:0:0/96`, not in `10.0.0.0/8`.
///
/// ```
/// use sockeye_endpoint::special;
///
/// let shared = special("100.64.0.1".parse().unwrap()).unwrap();
/// assert_eq!((shared.name, shared.rfc), ("Shared Address Space", "RFC 6598"));
/// assert_eq!(shared.globally_reachable, Some(false));
/// assert_eq!(special("1.1.1.1".parse().unwrap()), None);
/// ```
#[must_use]
pub fn special(ip: IpAddr) -> Option<&'static Special> {
    let row = match ip {
        IpAddr::V4(ip) => row_of(&V4_STARTS, &V4_ROWS, ip.to_bits()),
        IpAddr::V6(ip) => row_of(&V6_STARTS, &V6_ROWS, ip.to_bits()),
    };
    match ip {
        IpAddr::V4(_) => V4.get(row),
        IpAddr::V6(_) => V6.get(row),
    }
}

/// Every registered block of both families, in the registries' order.
pub fn special_blocks() -> impl Iterator<Item = &'static Special> {
    V4.iter().chain(&V6)
}

fn row_of<T: Ord>(starts: &[T], rows: &[u8], ip: T) -> usize {
    // The first start is the lowest address, so there is always one at or before `ip`.
    let after = starts.partition_point(|start| *start <= ip);
    rows.get(after.wrapping_sub(1))
        .copied()
        .map_or(usize::MAX, usize::from)
}

const T: Option<bool> = Some(true);
const F: Option<bool> = Some(false);
const NA: Option<bool> = None;

/// Source, destination, forwardable, globally reachable, reserved by protocol.
type Attributes = [Option<bool>; 5];

const fn row(
    address: IpAddr,
    prefix_len: u8,
    name: &'static str,
    rfc: &'static str,
    is: Attributes,
) -> Special {
    Special {
        address,
        prefix_len,
        name,
        rfc,
        source: is[0],
        destination: is[1],
        forwardable: is[2],
        globally_reachable: is[3],
        reserved: is[4],
    }
}

const fn v4(quad: [u8; 4], prefix_len: u8, name: &'static str, rfc: &'static str, is: Attributes) -> Special {
    let [a, b, c, d] = quad;
    row(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_len, name, rfc, is)
}

const fn v6(
    groups: [u16; 8],
    prefix_len: u8,
    name: &'static str,
    rfc: &'static str,
    is: Attributes,
) -> Special {
    let [a, b, c, d, e, f, g, h] = groups;
    row(
        IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
        prefix_len,
        name,
        rfc,
        is,
    )
}

static V4: [Special; V4_COUNT] = V4_TABLE;
#[rustfmt::skip]
const V4_TABLE: [Special; V4_COUNT] = [
    v4([0, 0, 0, 0], 8, "This network", "RFC 791 section 3.2", [T, F, F, F, T]),
    v4([0, 0, 0, 0], 32, "This host on this network", "RFC 1122 section 3.2.1.3", [T, F, F, F, T]),
    v4([10, 0, 0, 0], 8, "Private-Use", "RFC 1918", [T, T, T, F, F]),
    v4([100, 64, 0, 0], 10, "Shared Address Space", "RFC 6598", [T, T, T, F, F]),
    v4([127, 0, 0, 0], 8, "Loopback", "RFC 1122 section 3.2.1.3", [F, F, F, F, T]),
    v4([169, 254, 0, 0], 16, "Link Local", "RFC 3927", [T, T, F, F, T]),
    v4([172, 16, 0, 0], 12, "Private-Use", "RFC 1918", [T, T, T, F, F]),
    v4([192, 0, 0, 0], 24, "IETF Protocol Assignments", "RFC 6890 section 2.1", [F, F, F, F, F]),
    v4([192, 0, 0, 0], 29, "IPv4 Service Continuity Prefix", "RFC 7335", [T, T, T, F, F]),
    v4([192, 0, 0, 8], 32, "IPv4 dummy address", "RFC 7600", [T, F, F, F, F]),
    v4([192, 0, 0, 9], 32, "Port Control Protocol Anycast", "RFC 7723", [T, T, T, T, F]),
    v4([192, 0, 0, 10], 32, "Traversal Using Relays around NAT Anycast", "RFC 8155", [T, T, T, T, F]),
    v4([192, 0, 0, 170], 32, "NAT64/DNS64 Discovery", "RFC 8880, RFC 7050 section 2.2", [F, F, F, F, T]),
    v4([192, 0, 0, 171], 32, "NAT64/DNS64 Discovery", "RFC 8880, RFC 7050 section 2.2", [F, F, F, F, T]),
    v4([192, 0, 2, 0], 24, "Documentation (TEST-NET-1)", "RFC 5737", [F, F, F, F, F]),
    v4([192, 31, 196, 0], 24, "AS112-v4", "RFC 7535", [T, T, T, T, F]),
    v4([192, 52, 193, 0], 24, "AMT", "RFC 7450", [T, T, T, T, F]),
    v4([192, 88, 99, 0], 24, "Deprecated (6to4 Relay Anycast)", "RFC 7526", [NA, NA, NA, NA, NA]),
    v4([192, 88, 99, 2], 32, "6a44-relay anycast address", "RFC 6751", [T, T, T, F, F]),
    v4([192, 168, 0, 0], 16, "Private-Use", "RFC 1918", [T, T, T, F, F]),
    v4([192, 175, 48, 0], 24, "Direct Delegation AS112 Service", "RFC 7534", [T, T, T, T, F]),
    v4([198, 18, 0, 0], 15, "Benchmarking", "RFC 2544", [T, T, T, F, F]),
    v4([198, 51, 100, 0], 24, "Documentation (TEST-NET-2)", "RFC 5737", [F, F, F, F, F]),
    v4([203, 0, 113, 0], 24, "Documentation (TEST-NET-3)", "RFC 5737", [F, F, F, F, F]),
    v4([240, 0, 0, 0], 4, "Reserved", "RFC 1112 section 4", [F, F, F, F, T]),
    v4([255, 255, 255, 255], 32, "Limited Broadcast", "RFC 8190, RFC 919 section 7", [F, T, F, F, T]),
];

static V6: [Special; V6_COUNT] = V6_TABLE;
#[rustfmt::skip]
const V6_TABLE: [Special; V6_COUNT] = [
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "Loopback Address", "RFC 4291", [F, F, F, F, T]),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "Unspecified Address", "RFC 4291", [T, F, F, F, T]),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped Address", "RFC 4291", [F, F, F, F, T]),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "IPv4-IPv6 Translat.", "RFC 6052", [T, T, T, T, F]),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "IPv4-IPv6 Translat.", "RFC 8215", [T, T, T, F, F]),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "Discard-Only Address Block", "RFC 6666", [T, T, T, F, F]),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "Dummy IPv6 Prefix", "RFC 9780", [T, F, F, F, F]),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF Protocol Assignments", "RFC 2928", [F, F, F, F, F]),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "TEREDO", "RFC 4380, RFC 8190", [T, T, T, NA, F]),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "Port Control Protocol Anycast", "RFC 7723", [T, T, T, T, F]),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "Traversal Using Relays around NAT Anycast", "RFC 8155", [T, T, T, T, F]),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD Service Registration Protocol Anycast", "RFC 9665", [T, T, T, T, F]),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "Benchmarking", "RFC 5180, RFC errata 1752", [T, T, T, F, F]),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT", "RFC 7450", [T, T, T, T, F]),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112-v6", "RFC 7535", [T, T, T, T, F]),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "Deprecated (previously ORCHID)", "RFC 4843", [NA, NA, NA, NA, NA]),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2", "RFC 7343", [T, T, T, T, F]),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "Drone Remote ID Protocol Entity Tags (DETs) Prefix", "RFC 9374", [T, T, T, T, F]),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "Documentation", "RFC 3849", [F, F, F, F, F]),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", "RFC 3056", [T, T, T, NA, F]),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "Direct Delegation AS112 Service", "RFC 7534", [T, T, T, T, F]),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "Documentation", "RFC 9637", [F, F, F, F, F]),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "Segment Routing (SRv6) SIDs", "RFC 9602", [T, T, T, F, F]),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "Unique-Local", "RFC 4193, RFC 8190", [T, T, T, F, F]),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "Link-Local Unicast", "RFC 4291", [T, T, F, F, T]),
];

const V4_COUNT: usize = 26;
const V6_COUNT: usize = 25;

// The blocks nest, and a search wants disjoint ranges: every beginning of a block, and every address behind one, starts
// a range, and beside each start is the most specific block that holds it (or `NO_ROW`).

const NO_ROW: u8 = u8::MAX;

static V4_STARTS: [u32; 2 * V4_COUNT + 1] = V4_FLAT.0;
static V4_ROWS: [u8; 2 * V4_COUNT + 1] = V4_FLAT.1;
static V6_STARTS: [u128; 2 * V6_COUNT + 1] = V6_FLAT.0;
static V6_ROWS: [u8; 2 * V6_COUNT + 1] = V6_FLAT.1;

const V4_FLAT: ([u32; 2 * V4_COUNT + 1], [u8; 2 * V4_COUNT + 1]) = {
    let (wide, rows) = flatten::<V4_COUNT, { 2 * V4_COUNT + 1 }>(&V4_TABLE, 32);
    let mut starts = [0; 2 * V4_COUNT + 1];
    let mut index = 0;
    while index < starts.len() {
        #[expect(clippy::cast_possible_truncation, reason = "computed with a width of 32 bits")]
        {
            starts[index] = wide[index] as u32;
        }
        index += 1;
    }
    (starts, rows)
};
const V6_FLAT: ([u128; 2 * V6_COUNT + 1], [u8; 2 * V6_COUNT + 1]) = flatten(&V6_TABLE, 128);

const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits() as u128,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The last address of a block in an address space of `width` bits.
const fn last(block: &Special, width: u32) -> u128 {
    let host_bits = width - block.prefix_len as u32;
    bits(block.address) | ((1 << host_bits) - 1)
}

const fn flatten<const N: usize, const M: usize>(table: &[Special; N], width: u32) -> ([u128; M], [u8; M]) {
    let greatest = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    // The lowest address stands where a block ends at the greatest one and nothing is behind it.
    let mut starts = [0; M];
    let mut index = 0;
    while index < N {
        starts[2 * index] = bits(table[index].address);
        let end = last(&table[index], width);
        starts[2 * index + 1] = if end == greatest { 0 } else { end + 1 };
        index += 1;
    }
    sort(&mut starts);
    let mut rows = [NO_ROW; M];
    let mut at = 0;
    while at < M {
        let mut longest = 0;
        let mut index = 0;
        while index < N {
            let block = &table[index];
            let holds = bits(block.address) <= starts[at] && starts[at] <= last(block, width);
            if holds && block.prefix_len >= longest {
                longest = block.prefix_len;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the tables have fewer than 255 rows"
                )]
                {
                    rows[at] = index as u8;
                }
            }
            index += 1;
        }
        at += 1;
    }
    (starts, rows)
}

const fn sort<const M: usize>(numbers: &mut [u128; M]) {
    let mut sorted = 1;
    while sorted < M {
        let mut at = sorted;
        while at > 0 && numbers[at - 1] > numbers[at] {
            numbers.swap(at - 1, at);
            at -= 1;
        }
        sorted += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search through every block says.
    fn slowly(ip: IpAddr) -> Option<&'static Special> {
        special_blocks()
            .filter(|block| block.network().contains(ip))
            .max_by_key(|block| block.prefix_len)
    }

    #[test]
    fn at_each_edge_of_each_block_the_search_is_right() {
        for block in special_blocks() {
            let network = block.network();
            let (first, last) = (bits(network.address()), bits(network.last()));
            for edge in [first, first.wrapping_sub(1), last, last.wrapping_add(1)] {
                let v6 = IpAddr::V6(Ipv6Addr::from_bits(edge));
                assert_eq!(special(v6), slowly(v6), "{v6}");
                if let Ok(edge) = u32::try_from(edge) {
                    let v4 = IpAddr::V4(Ipv4Addr::from_bits(edge));
                    assert_eq!(special(v4), slowly(v4), "{v4}");
                }
            }
            assert_eq!(network.address(), block.address);
        }
    }
}
