//! Asks the servers of resolv.conf, or another one, for records of a name.
//!
//! ```sh
//! cargo run -p sockeye-resolver --features dns --example dns_query -- example.com A AAAA MX
//! cargo run -p sockeye-resolver --features dns --example dns_query -- localhost A @127.0.0.1:5353
//! ```

#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use sockeye_resolver::dns::{Client, DnsOptions, Finding, LocalNames, Name, RecordType, Request};

const USAGE: &str = "usage: dns_query NAME [TYPE...] [@SERVER[:PORT]]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("dns_query: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every question was answered by records.
fn run() -> Result<bool, Box<dyn Error>> {
    let mut name = None;
    let mut types = Vec::new();
    let mut servers = Vec::new();
    for argument in std::env::args().skip(1) {
        if let Some(server) = argument.strip_prefix('@') {
            servers.push(server_address(server)?);
        } else if name.is_none() {
            let parsed: Name = argument.parse().map_err(|error| format!("{argument}: {error}"))?;
            name = Some((parsed, !argument.ends_with('.')));
        } else {
            let parsed: RecordType = argument.parse().map_err(|error| format!("{argument}: {error}"))?;
            types.push(parsed);
        }
    }
    let (name, search) = name.ok_or(USAGE)?;
    if types.is_empty() {
        types = vec![RecordType::A, RecordType::AAAA];
    }
    let mut client = if servers.is_empty() {
        Client::from_system()
    } else {
        Client::new(DnsOptions::with_servers(servers), LocalNames::default())
    };

    let request = |record_type| Request {
        search,
        ..Request::records(name.clone(), record_type)
    };
    let results = client.query_all(types.iter().copied().map(request));
    let mut all_found = true;
    for (record_type, result) in types.iter().zip(results) {
        match result {
            Ok(answer) => {
                all_found &= answer.finding() == Finding::Records;
                if answer.finding() != Finding::Records {
                    println!("; {}: {}", answer.question, answer.content.code);
                }
                for record in &answer.content.records {
                    println!("{record}");
                }
            }
            Err(error) => {
                all_found = false;
                println!("; {name} {record_type}: {error}");
            }
        }
    }
    Ok(all_found)
}

fn server_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse();
    let address = address.or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
    address.map_err(|_| format!("{text}: not an address, with or without a port"))
}
