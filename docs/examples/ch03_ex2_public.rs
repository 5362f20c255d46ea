//! Which addresses of a target a stranger may have us connect to. `ch03_ex2_public [TARGET...]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: public
use std::error::Error;
use std::time::Duration;

use sockeye::endpoint::{Endpoint, PublicOnly, Target};
use sockeye::resolver::resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let policy = PublicOnly::new();
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        words = [
            "localhost:80",
            "[::ffff:10.0.0.1]:80",
            "192.168.1.1:80",
            "1.1.1.1:53",
        ]
        .map(str::to_owned)
        .to_vec();
    }
    for word in words {
        let target: Target = word.parse()?;
        for address in resolve(&target, Duration::from_secs(5))? {
            // Connect to the address that was checked:
            // asking for the name again could give another one.
            match policy.check(&Endpoint::from_socket_addr(target.transport(), address)) {
                Ok(endpoint) => println!("{endpoint} may be asked"),
                Err(refusal) => println!("{refusal}"),
            }
        }
    }
    Ok(())
}
// ANCHOR_END: public
