//! `cargo xtask iana --from FILE`: IANA's service registry as Rust source.
//!
//! The registry (<https://www.iana.org/assignments/service-names-port-numbers>, the CSV file, CC0) becomes two tables in
//! `sockeye-endpoint`: `basic.rs` with the ports to 1023 and the services of [`CURATED`], `full.rs` with every row.
//! Only facts are taken: names, ports, transports and the newest date.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// Arguments of `cargo xtask iana`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// IANA's `service-names-port-numbers.csv`.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Compare with the committed tables and fail where they differ, instead of writing them.
    #[arg(long)]
    check: bool,
}

/// Services above port 1023 that people name in configurations, by their registered names.
const CURATED: &[&str] = &[
    "amqp",
    "amqps",
    "avt-profile-1",
    "avt-profile-2",
    "bacnet",
    "bfd-control",
    "bfd-echo",
    "bfd-multi-ctl",
    "can-nds",
    "cap",
    "ceph",
    "coap",
    "coaps",
    "diameter",
    "diameters",
    "dicom",
    "distcc",
    "dnp",
    "dnp-sec",
    "docker",
    "docker-s",
    "epmd",
    "etcd-client",
    "etcd-server",
    "ethercat",
    "ethernet-ip-1",
    "ethernet-ip-2",
    "fcip-port",
    "filenet-rpc",
    "gds-db",
    "geneve",
    "git",
    "gpsd",
    "gsiftp",
    "gtp-control",
    "gtp-user",
    "h323gatedisc",
    "h323hostcall",
    "h323hostcallsc",
    "hkp",
    "hp-pdl-datastr",
    "http-alt",
    "iax",
    "ica",
    "icap",
    "icl-twobase1",
    "iec-104",
    "iec-104-sec",
    "imqbrokerd",
    "influence",
    "ipfix",
    "ipfixs",
    "ipsec-nat-t",
    "ircs-u",
    "ircu",
    "iscsi-target",
    "iua",
    "kdm",
    "l2f",
    "l2tp",
    "llmnr",
    "lxi-evntsvc",
    "m2ua",
    "m3ua",
    "mdns",
    "memcache",
    "mongodb",
    "mqtt",
    "ms-sql-m",
    "ms-sql-s",
    "ms-wbt-server",
    "msft-gc",
    "msft-gc-ssl",
    "munin",
    "mysql",
    "nbd",
    "nfs",
    "nrpe",
    "ntske",
    "nut",
    "opcua-tcp",
    "opcua-udp",
    "openvpn",
    "pcp",
    "pcp-multicast",
    "pdl-datastream",
    "pktcable-cops",
    "postgresql",
    "pptp",
    "profinet-cm",
    "profinet-rt",
    "profinet-rtm",
    "puppet",
    "radius",
    "radius-acct",
    "radius-dynauth",
    "radsec",
    "redis",
    "rfb",
    "rmiactivation",
    "rmiregistry",
    "rtmp-port",
    "s102",
    "sane-port",
    "sd",
    "secure-mqtt",
    "sflow",
    "sieve",
    "sip",
    "sips",
    "slp",
    "snmpdtls",
    "snmptls",
    "snmptls-trap",
    "socks",
    "sqlexec",
    "sqlexec-ssl",
    "ssdp",
    "stun",
    "stun-behavior",
    "stuns",
    "svn",
    "syslog-tls",
    "targus-getdata1",
    "teredo",
    "tftps",
    "traceroute",
    "turn",
    "turns",
    "vxlan",
    "vxlan-gpe",
    "wap-wsp",
    "wifree",
    "ws-discovery",
    "wsman",
    "wsmans",
    "x11",
    "xmpp-bosh",
    "xmpp-client",
    "xmpp-server",
    "zabbix-agent",
    "zabbix-trapper",
];

/// Where several names share a port, or several ports a name, the registry's order is by age; these are the pairs that
/// are meant today.
const PREFERRED: &[(&str, u16)] = &[
    ("biff", 512),
    ("http-alt", 8080),
    ("l2tp", 1701),
    ("nfs", 2049),
    ("submissions", 465),
];

/// What the table says of one transport: `(port, name)` in the registry's order.
type Rows = Vec<(u16, String)>;

/// The registry's rows for the two transports that the table knows.
struct Registry {
    tcp: Rows,
    udp: Rows,
    /// The newest registration or modification, as `YYYY-MM-DD`.
    date: String,
}

/// Reads the registry and writes or checks both tables under `root`, the workspace.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let registry = read(&args.from)?;
    let folder = root.join("crates/sockeye-endpoint/src/services");
    let curated: BTreeSet<String> = CURATED.iter().map(|name| name.to_ascii_lowercase()).collect();
    let basic = |row: &(u16, String)| row.0 < 1024 || curated.contains(&row.1);
    for (file, source) in [
        ("basic.rs", render(&registry, basic)?),
        ("full.rs", render(&registry, |_| true)?),
    ] {
        let path = folder.join(file);
        if args.check {
            let committed = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            ensure!(
                committed == source,
                "{} differs from what {} gives",
                path.display(),
                args.from.display()
            );
        } else {
            fs::write(&path, source).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Registry> {
    let mut reader = csv::Reader::from_path(file).with_context(|| file.display().to_string())?;
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|header| header == name)
            .with_context(|| format!("no column {name:?}"))
    };
    let (name, port, transport) = (
        column("Service Name")?,
        column("Port Number")?,
        column("Transport Protocol")?,
    );
    let dates = [column("Registration Date")?, column("Modification Date")?];
    let mut registry = Registry {
        tcp: Vec::new(),
        udp: Vec::new(),
        date: String::new(),
    };
    for record in reader.records() {
        let record = record?;
        let field = |column: usize| record.get(column).unwrap_or_default().trim();
        for date in dates {
            if field(date).len() == 10 && field(date) > registry.date.as_str() {
                registry.date = field(date).to_owned();
            }
        }
        let rows = match field(transport) {
            "tcp" => &mut registry.tcp,
            "udp" => &mut registry.udp,
            _ => continue,
        };
        let service = field(name).to_ascii_lowercase();
        // A few rows hold a title with blanks where a name belongs: nobody can look those up.
        if service.is_empty() || service.len() > 15 || service.contains(' ') || field(port).is_empty() {
            continue;
        }
        let (first, last) = field(port).split_once('-').unwrap_or((field(port), field(port)));
        for port in first.parse::<u16>()?..=last.parse::<u16>()? {
            if !rows.contains(&(port, service.clone())) {
                rows.push((port, service.clone()));
            }
        }
    }
    ensure!(
        registry.tcp.len() > 1_000 && registry.udp.len() > 1_000,
        "{} is not the registry",
        file.display()
    );
    Ok(registry)
}

/// One table as source.
fn render(registry: &Registry, wanted: impl Fn(&(u16, String)) -> bool) -> Result<String> {
    let tcp = by_port(&registry.tcp, &wanted);
    let udp = by_port(&registry.udp, &wanted);
    let names: BTreeSet<&str> = tcp.iter().chain(&udp).map(|(_, name)| name.as_str()).collect();
    let ids: BTreeMap<&str, usize> = names.iter().enumerate().map(|(id, name)| (*name, id)).collect();
    if names.len() > usize::from(u16::MAX) {
        bail!("more names than an index of 16 bits can tell apart");
    }
    let mut source = String::from(
        "//! Facts of IANA's service name and port number registry (CC0), generated by `cargo xtask iana --from FILE`.\n\
         //!\n\
         //! Not to be edited: sorted names, and per transport the ports with the index of the name of each.\n\n",
    );
    writeln!(source, "pub(super) const DATE: &str = \"{}\";", registry.date)?;
    writeln!(source, "pub(super) const COUNT: usize = {};", names.len())?;
    source.push_str("#[rustfmt::skip]\npub(super) const NAMES: &str = \"\\\n");
    wrap(&mut source, names.iter().map(|name| format!("{name} ")), " \\");
    source.push_str("\";\n");
    for (prefix, rows) in [("TCP", &tcp), ("UDP", &udp)] {
        array(
            &mut source,
            &format!("{prefix}_PORTS"),
            rows.iter().map(|(port, _)| usize::from(*port)),
        )?;
        array(
            &mut source,
            &format!("{prefix}_NAMES"),
            rows.iter().map(|(_, name)| ids[name.as_str()]),
        )?;
        let port_of = names.iter().map(|name| usize::from(first_port(rows, name)));
        array(&mut source, &format!("{prefix}_PORT_OF"), port_of)?;
    }
    Ok(source)
}

/// Sorted by port; on one port the preferred name first, then the registry's order.
fn by_port(rows: &Rows, wanted: impl Fn(&(u16, String)) -> bool) -> Rows {
    let mut rows: Rows = rows.iter().filter(|row| wanted(row)).cloned().collect();
    rows.sort_by_key(|(port, name)| (*port, !is_preferred(name, *port)));
    rows
}

/// The port that is meant by the name alone; 0 where it has none on this transport.
fn first_port(rows: &Rows, name: &str) -> u16 {
    let ports = || rows.iter().filter(|row| row.1 == name).map(|row| row.0);
    ports()
        .find(|port| is_preferred(name, *port))
        .or_else(|| ports().next())
        .unwrap_or(0)
}

fn is_preferred(name: &str, port: u16) -> bool {
    PREFERRED.contains(&(name, port))
}

fn array(source: &mut String, name: &str, values: impl ExactSizeIterator<Item = usize>) -> Result<()> {
    writeln!(
        source,
        "#[rustfmt::skip]\npub(super) static {name}: [u16; {}] = [",
        values.len()
    )?;
    wrap(source, values.map(|value| format!("{value},")), "");
    source.push_str("];\n");
    Ok(())
}

/// Items in lines of at most 110 columns, each line but the last ended by `end`.
fn wrap(source: &mut String, items: impl Iterator<Item = String>, end: &str) {
    let mut line = String::new();
    for item in items {
        if line.len() + item.len() > 106 {
            source.push_str(line.trim_end());
            source.push_str(end);
            source.push('\n');
            line.clear();
        }
        line.push_str(&item);
    }
    source.push_str(line.trim_end());
    if end.is_empty() {
        source.push('\n');
    }
}
