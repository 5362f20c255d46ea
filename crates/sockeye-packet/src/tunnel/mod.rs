//! Tunnels: packets and frames inside of IP packets.
//!
//! IP in IP and 6in4 have no header of their own: `Ipv4Builder::carrying` writes them, [`crate::Layers`] reads them.

mod geneve;
mod gre;
#[cfg(test)]
mod prop;
mod vxlan;

pub use geneve::{GENEVE_HEADER_LEN, GENEVE_PORT, Geneve, GeneveOption, GeneveOptions};
pub use gre::{GRE_HEADER_LEN, Gre, GreBuilder};
pub use vxlan::{VXLAN_HEADER_LEN, VXLAN_PORT, Vxlan, VxlanBuilder};
