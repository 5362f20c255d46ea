//! `sockeye dump -i` in namespaces: beside tcpdump, read by tshark, and when things go wrong.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::{self, PATIENCE};

const SIGINT: i32 = 2;

/// Two namespaces and a link, `l0` to `r0`.
fn pair(world: &World) -> (Namespace, Namespace) {
    let (left, right) = (world.namespace(), world.namespace());
    left.veth(
        "l0",
        &["192.0.2.1/24", "2001:db8::1/64"],
        &right,
        "r0",
        &["192.0.2.2/24", "2001:db8::2/64"],
    );
    (left, right)
}

fn sockeye(namespace: &Namespace, words: &[&str]) -> Command {
    let mut command = namespace.command(&program::sockeye().to_string_lossy());
    command.args(words);
    command
}

/// A capture that listens already.
fn listening(command: &mut Command) -> Running {
    let running = Running::start(command);
    wait::until("a capture that listens", PATIENCE, || {
        running
            .error_line(PATIENCE)
            .is_some_and(|line| line.contains("listening on"))
    });
    running
}

/// Echo requests and replies, in their order: everything else comes when the kernel likes.
fn echoes(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let is_echo = |frame: &Vec<u8>| match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(23) == Some(&1),
        Some([0x86, 0xdd]) => {
            frame.get(20) == Some(&44) || frame.get(54).is_some_and(|kind| matches!(kind, 128 | 129))
        }
        _ => false,
    };
    frames.into_iter().filter(is_echo).collect()
}

fn of_pcap(path: &Path) -> Vec<Vec<u8>> {
    // tcpdump may not have made it yet, or not written its header.
    let Some(mut reader) = File::open(path).ok().and_then(|file| PcapReader::new(file).ok()) else {
        return Vec::new();
    };
    let mut frames = Vec::new();
    while let Some(Ok(packet)) = reader.next_packet() {
        frames.push(packet.data.into_owned());
    }
    frames
}

fn of_pcapng(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapNgReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            frames.push(packet.data.into_owned());
        }
    }
    frames
}

#[test]
fn the_same_packets_as_tcpdump_and_tshark_reads_them() {
    if !require(&[
        Need::Namespaces,
        Need::program("tcpdump"),
        Need::program("tshark"),
        Need::program("ping"),
    ]) {
        return;
    }
    let world = World::new();
    let (left, right) = pair(&world);
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folder.path().join("t.pcap"), folder.path().join("s.pcapng"));
    let mut tcpdump = right.command("tcpdump");
    // As root it would give up the right to write there.
    tcpdump
        .args(["-i", "r0", "-n", "-U", "--immediate-mode", "-Z", "root", "-w"])
        .arg(&theirs);
    let mut tcpdump = listening(&mut tcpdump);
    let mut sockeye = listening(&mut sockeye(
        &right,
        &["dump", "-i", "r0", "-w", &ours.to_string_lossy()],
    ));
    for words in [
        "-c5 -i0.01 -W20 192.0.2.2",
        "-c5 -i0.01 -W20 -s0 192.0.2.2",
        "-c3 -i0.01 -W20 -s3000 192.0.2.2",
        "-6 -c5 -i0.01 -W20 2001:db8::2",
        "-6 -c2 -i0.01 -W20 -s3000 2001:db8::2",
    ] {
        left.run("ping", &words.split_whitespace().collect::<Vec<_>>());
    }
    // Ours first: what has come by then is promised.
    sockeye.signal(SIGINT);
    assert!(sockeye.wait(PATIENCE).success());
    let ours_found = echoes(of_pcapng(&ours));
    assert!(
        ours_found.len() >= 2 * (5 + 5 + 3 * 3 + 5 + 2 * 3),
        "{}",
        ours_found.len()
    );
    wait::until("tcpdump to have written as much", PATIENCE, || {
        echoes(of_pcap(&theirs)).len() >= ours_found.len()
    });
    tcpdump.signal(SIGINT);
    tcpdump.wait(PATIENCE);
    assert_eq!(echoes(of_pcap(&theirs)), ours_found);

    let mut tshark = Command::new("tshark");
    tshark
        .args(["-n", "-T", "fields", "-e", "frame.number", "-r"])
        .arg(&ours);
    let read = program::output(&mut tshark, PATIENCE);
    assert!(read.status.success(), "{}", read.stderr);
    assert_eq!(read.text().lines().count(), of_pcapng(&ours).len());
}

#[test]
fn a_capture_is_complete_after_sigint_and_says_what_was_lost() {
    if !require(&[Need::Namespaces, Need::program("ping")]) {
        return;
    }
    let world = World::new();
    let (left, right) = pair(&world);
    let mut capture = listening(&mut sockeye(&right, &["dump", "-i", "r0", "--json"]));
    left.run("ping", &["-c3", "-i0.01", "-W20", "192.0.2.2"]);
    capture.signal(SIGINT);
    assert!(capture.wait(PATIENCE).success());
    let events: Vec<serde_json::Value> = capture
        .last_lines(PATIENCE)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_echo = |event: &&serde_json::Value| matches!(event["icmp"]["type"].as_u64(), Some(0 | 8));
    assert_eq!(events.iter().filter(is_echo).count(), 6);
    assert!(
        events
            .iter()
            .filter(is_echo)
            .all(|event| event["interface"] == "r0")
    );
    let summary = events.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["dropped"]),
        (&"summary".into(), &0.into())
    );
    assert_eq!(summary["captured"], events.len() - 1);
}

#[test]
fn lines_show_what_was_asked_for() {
    if !require(&[Need::Namespaces, Need::program("ping")]) {
        return;
    }
    let world = World::new();
    let (left, right) = pair(&world);
    let any = ["dump", "-i", "any", "-n", "-e", "-X", "-s", "34", "-c", "1", "-p"];
    let mut capture = listening(&mut sockeye(&right, &any));
    // Neighbour discovery of the kernel may come first: any packet will do.
    left.run("ping", &["-c1", "-W20", "192.0.2.2"]);
    assert!(capture.wait(PATIENCE).success());
    let lines = capture.last_lines(PATIENCE);
    assert!(lines[0].contains(" r0 "), "{lines:?}");
    assert!(
        lines[0].contains("ethertype") && lines[0].contains("length"),
        "{lines:?}"
    );
    let time = lines[0].split(' ').next().unwrap();
    assert_eq!(
        (time.len(), time.matches(':').count()),
        ("00:00:00.000000".len(), 2),
        "{time}"
    );
    assert!(lines[1].contains("0x0000: "), "{lines:?}");
    // 20 bytes of the 34 are the cooked header.
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_filter_lets_pass_what_tcpdump_would() {
    if !require(&[Need::Namespaces, Need::program("ping")]) {
        return;
    }
    let world = World::new();
    let (left, right) = pair(&world);
    for interface in ["r0", "any"] {
        let words = [
            "dump",
            "-i",
            interface,
            "--json",
            "icmp",
            "and",
            "src host 192.0.2.1",
        ];
        let mut capture = listening(&mut sockeye(&right, &words));
        left.run("ping", &["-c4", "-i0.01", "-W20", "192.0.2.2"]);
        left.run("ping", &["-6", "-c2", "-i0.01", "-W20", "2001:db8::2"]);
        capture.signal(SIGINT);
        assert!(capture.wait(PATIENCE).success());
        let lines = capture.last_lines(PATIENCE);
        let packets: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("\"event\":\"packet\""))
            .collect();
        assert_eq!(packets.len(), 4, "{lines:#?}");
        assert!(
            packets.iter().all(|line| line.contains("\"src\":\"192.0.2.1\"")),
            "{packets:#?}"
        );
    }
    let wrong = program::output(
        &mut sockeye(&right, &["dump", "-i", "r0", "port 80 and"]),
        PATIENCE,
    );
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("byte 11"), "{}", wrong.stderr);
}

#[test]
fn files_rotate_by_size_and_the_oldest_go() {
    if !require(&[Need::Namespaces, Need::program("ping")]) {
        return;
    }
    let world = World::new();
    let (left, right) = pair(&world);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.pcapng");
    let path = path.to_string_lossy();
    let mut capture = listening(&mut sockeye(
        &right,
        &["dump", "-i", "r0", "-w", &path, "-C", "1", "-W", "2"],
    ));
    // 1.5 MB each way.
    left.run(
        "ping",
        &["-q", "-c1000", "-i0.001", "-W20", "-s1400", "192.0.2.2"],
    );
    capture.signal(SIGINT);
    assert!(capture.wait(PATIENCE).success());
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["c.00002.pcapng", "c.00003.pcapng"]);
    let counts = names
        .iter()
        .map(|name| of_pcapng(&folder.path().join(name)).len());
    let counts: Vec<_> = counts.collect();
    assert!((600..700).contains(&counts[0]), "a million bytes: {counts:?}");
    assert!(counts[1] > 500, "{counts:?}");
}

#[test]
fn an_interface_that_vanishes_ends_the_capture_and_the_file_is_whole() {
    if !require(&[Need::Namespaces, Need::program("ping")]) {
        return;
    }
    let world = World::new();
    let (left, right) = pair(&world);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.pcapng");
    let mut capture = listening(&mut sockeye(
        &right,
        &["dump", "-i", "r0", "-w", &path.to_string_lossy()],
    ));
    left.run("ping", &["-c3", "-i0.01", "-W20", "192.0.2.2"]);
    // Down and up again first: that ends nothing.
    right.ip("link set r0 down");
    wait::until("the warning", PATIENCE, || {
        capture
            .error_line(PATIENCE)
            .is_some_and(|line| line.contains("Network is down"))
    });
    right.ip("link set r0 up");
    right.ip("link delete r0");
    assert_eq!(capture.wait(PATIENCE).code(), Some(5));
    assert!(echoes(of_pcapng(&path)).len() >= 6);
}

#[test]
fn what_cannot_be_listened_to_says_why() {
    if !require(&[Need::Namespaces, Need::program("setpriv")]) {
        return;
    }
    let world = World::new();
    let namespace = world.namespace();
    let run = |words: &[&str]| program::output(&mut sockeye(&namespace, words), PATIENCE);
    let none = run(&["dump", "-i", "none"]);
    assert_eq!(none.status.code(), Some(5));
    assert!(none.stderr.contains("no such interface"), "{}", none.stderr);
    let large = run(&["dump", "-i", "lo", "-B", "100000000"]);
    assert_eq!(large.status.code(), Some(5));
    assert!(large.stderr.contains("ring is too large"), "{}", large.stderr);
    let unwritable = run(&["dump", "-i", "lo", "-w", "/nowhere/c.pcapng"]);
    assert_eq!(unwritable.status.code(), Some(5));
    assert!(
        unwritable.stderr.contains("/nowhere/c.pcapng"),
        "{}",
        unwritable.stderr
    );
    assert_eq!(run(&["dump"]).status.code(), Some(2));
    assert_eq!(run(&["dump", "-r", "x", "-s", "7"]).status.code(), Some(2));
    assert_eq!(
        run(&["dump", "-i", "lo", "-w", "-", "--json"]).status.code(),
        Some(2)
    );

    let mut bare = namespace.command("setpriv");
    bare.args(["--bounding-set", "-all", "--inh-caps", "-all"])
        .arg(program::sockeye());
    let bare = program::output(bare.args(["dump", "-i", "lo"]), PATIENCE);
    assert_eq!(bare.status.code(), Some(4), "{}", bare.stderr);
    assert!(bare.stderr.contains("setcap cap_net_raw+ep"), "{}", bare.stderr);
}
