//! Internet endpoints: transports, addresses, zones, ports, services, networks and what they are for.
#![forbid(unsafe_code)]
