//! A simulated run of TLS repeats: with a seeded provider and Ed25519, down to the time and the size of each packet.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::tls::{ConnectorOptions, TlsConnector, TlsServer, rustls};
use sockeye_event_loop::{ConnectRequest, ListenOptions, StreamOptions};
use sockeye_sim::{LinkOptions, Sim};
use sockeye_tls::testing::seeded_provider;

use crate::probe::Probe;
use crate::setting::localhost;
use crate::streams::echo;

/// A certificate that has signed itself, and its key.
fn certificate(algorithm: &'static SignatureAlgorithm) -> (CertificateDer<'static>, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let made = params.self_signed(&key).unwrap();
    (made.der().clone(), key.serialize_der())
}

/// What one packet was: when it was sent, from whom to whom, and how long.
type Packet = (u64, Vec<u8>, usize);

/// A full handshake, 200 kB there and back over a link that loses some, an end, and the same resumed: every packet of it, and
/// the hash of everything that happened.
fn run(seed: u64, (certificate, key): &(CertificateDer<'static>, Vec<u8>)) -> (Vec<Packet>, u64) {
    const LEN: usize = 200_000;
    let server = ServerConfig::builder_with_provider(Arc::new(seeded_provider(seed)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            PrivateKeyDer::try_from(key.clone()).unwrap(),
        )
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(seeded_provider(!seed)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut sim = Sim::new(seed);
    sim.set_lan(LinkOptions {
        latency: Duration::from_millis(3),
        jitter: Duration::from_millis(2),
        loss_ppm: 20_000,
        ..LinkOptions::default()
    });
    let (here, there) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    sim.capture();
    let events = sim.on(here);
    let inside = events.add_stream_service(echo(), StreamOptions::default());
    let tls = TlsServer::new(server, inside);
    let tls = events.add_stream_service(tls, StreamOptions::default());
    let at = ([10, 0, 0, 1], 443).into();
    events.listen(tls, at, &ListenOptions::default()).unwrap();
    let connector = TlsConnector::new(sim.on(there), client, ConnectorOptions::default());
    for _ in 0..2 {
        let mut left = LEN;
        let mut heard = 0;
        let probe = Probe::new()
            .open(move |stream| {
                while left > 0 {
                    let piece = vec![7; left.min(10_000)];
                    left -= piece.len();
                    assert!(stream.write(&piece).is_taken());
                }
            })
            .data(move |stream, data| {
                heard += data.len();
                if heard == LEN {
                    stream.close();
                }
                data.len()
            });
        let log = probe.log.clone();
        let events = sim.on(there);
        let client = events.add_stream_service(probe, StreamOptions::default());
        let connector = connector.clone();
        let asked = events.with(client, |_: &mut Probe, context| {
            connector.connect(context, client, localhost(), ConnectRequest::new(at))
        });
        asked.unwrap().unwrap();
        sim.run_until(Duration::from_secs(600), || log.closes().len() == 1)
            .unwrap();
        assert_eq!(
            (log.received_len(0), log.closes()),
            (LEN, vec!["closed".to_owned()])
        );
    }
    let packets = sim.captured().into_iter().map(|(at, packet)| {
        // The addresses of IPv4.
        (at.as_nanos(), packet[12..20].to_vec(), packet.len())
    });
    (packets.collect(), sim.trace_hash())
}

#[test]
fn times_and_sizes_of_a_run_repeat_by_its_seed() {
    let certificate = certificate(&PKCS_ED25519);
    let (first, hash) = run(42, &certificate);
    assert!(first.len() > 40, "{} packets", first.len());
    for _ in 0..3 {
        let (again, other) = run(42, &certificate);
        let differs = first.iter().zip(&again).position(|(one, other)| one != other);
        assert_eq!(differs, None, "of {} and {} packets", first.len(), again.len());
        assert_eq!((first.len(), hash), (again.len(), other));
    }
    let (other, _) = run(43, &certificate);
    assert_ne!(first, other, "another seed is another run");
}

/// What the documents say of ECDSA, so that somebody hears of it when it is no longer true.
#[test]
fn sizes_differ_where_signatures_do() {
    let certificate = certificate(&PKCS_ECDSA_P256_SHA256);
    let (first, _) = run(42, &certificate);
    // Half of the signatures have the length of the one before: so many in a row have not.
    let repeats = (0..40).all(|_| run(42, &certificate).0 == first);
    assert!(!repeats);
}
