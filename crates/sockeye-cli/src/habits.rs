//! What to write here for what other programs call differently: tips in errors about the command line.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Habits that another program has taught: the command here, the word, and what to write instead.
const HABITS: [(&str, &str, &str); 15] = [
    (
        "connect",
        "-e",
        "'sockeye listen ADDRESS --exec COMMAND' runs a command; connect has none",
    ),
    ("connect", "-k", "-k is for 'sockeye listen'"),
    ("connect", "-l", "'sockeye listen ADDRESS' waits for a peer"),
    (
        "connect",
        "-p",
        "--source ADDRESS:PORT is where to connect from; the peer's port stands in HOST:PORT",
    ),
    (
        "connect",
        "-s",
        "--source ADDRESS[:PORT] is where to connect from",
    ),
    ("connect", "-U", "a Unix socket is unix:/PATH"),
    ("listen", "-c", "--exec COMMAND runs a command by /bin/sh"),
    ("listen", "-e", "--exec COMMAND runs a command by /bin/sh"),
    ("listen", "-s", "the address stands in ADDRESS:PORT"),
    ("listen", "-U", "a Unix socket is unix:/PATH"),
    (
        "trace",
        "-r",
        "--report COUNT prints a report after so many rounds",
    ),
    ("trace", "-u", "-U sends UDP, -T TCP, -I ICMP"),
    (
        "scan",
        "-P",
        "every host is scanned; none is asked before whether it is there",
    ),
    ("scan", "-A", "--banner prints what servers say first"),
    ("scan", "-T", "--rate COUNT and -W SECONDS say how fast"),
];

/// Puts a tip into an error about a word that this command does not know, where one is known.
pub(crate) fn add_tips(error: &mut clap::Error, words: &[String]) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    if let Some(tip) = tip(unknown, words) {
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
}

fn tip(unknown: &str, words: &[String]) -> Option<String> {
    let command = words.get(1)?.as_str();
    let known = HABITS
        .iter()
        .find(|(of, word, _)| *of == command && unknown.starts_with(word) && !unknown.starts_with("--"));
    if let Some((_, _, tip)) = known {
        return Some((*tip).to_owned());
    }
    let before = words
        .iter()
        .position(|word| word == unknown)
        .and_then(|place| words.get(place.checked_sub(1)?))?;
    let is_port = unknown.parse::<u16>().is_ok();
    let is_host = !before.starts_with('-') && before.as_str() != command && !before.contains("://");
    (matches!(command, "connect" | "mtu" | "trace" | "ping") && is_port && is_host).then(|| {
        let host = crate::names::bracketed(before);
        match command {
            "connect" => format!("did you mean {host}:{unknown}?"),
            _ => format!("the port stands in the target: tcp://{host}:{unknown} or udp://{host}:{unknown}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_one_word() {
        let of = |text: &str, unknown: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            tip(unknown, &words)
        };
        assert_eq!(
            of("sockeye connect ::1 22", "22").as_deref(),
            Some("did you mean [::1]:22?")
        );
        assert_eq!(
            of("sockeye connect -u a.test 53", "53").as_deref(),
            Some("did you mean a.test:53?")
        );
        assert_eq!(of("sockeye connect -l 22", "22"), None);
        assert!(of("sockeye scan -Pn a.test", "-Pn").is_some_and(|tip| tip.contains("every host")));
        assert_eq!(of("sockeye listen --everything", "--everything"), None);
    }
}
