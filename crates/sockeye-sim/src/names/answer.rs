//! From a query to what is sent for it. No I/O: who calls it sends, now or later.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_event_loop::Time;
use sockeye_resolver::dns::{Edns, Message, Question, Record, RecordData, ResponseCode};

use super::behaviour::{Behaviour, CookieSupport, EdnsSupport};
use super::lies;
use super::server::{Asked, State, Transport};

/// The longest UDP message of the server itself, in bytes.
const OWN_UDP_SIZE: u16 = 1_232;
/// The longest UDP message without EDNS, in bytes (RFC 1035 section 4.2.1).
const PLAIN_UDP_SIZE: u16 = 512;

/// Questions that are known again, at most; others are new each time.
const MAX_SEEN: usize = 1 << 16;

/// A message that came in.
pub(super) struct Asking<'a> {
    pub(super) wire: &'a [u8],
    pub(super) transport: Transport,
    pub(super) client: SocketAddr,
    pub(super) now: Time,
    /// It is counted, and not answered.
    pub(super) mute: bool,
}

/// What is sent for a message: nothing, if it has no messages.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// All of it after this time, in order.
    pub(super) after: Duration,
    pub(super) messages: Vec<(Vec<u8>, From)>,
}

/// Where a message by UDP leaves from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// From where it was asked.
    Asked,
    /// Another port.
    OtherPort,
    /// Another address of the host.
    Address(IpAddr),
}

/// What is to be sent for a message.
pub(super) fn reply(state: &mut State, asking: &Asking<'_>, random: &mut dyn FnMut() -> u64) -> Replies {
    let Some(&header) = asking.wire.first_chunk::<12>() else {
        state.counters.ignored += 1;
        return Replies::default();
    };
    // An answer is never answered: two servers would go on for ever.
    if header[2] & 0x80 != 0 {
        state.counters.ignored += 1;
        return Replies::default();
    }
    match asking.transport {
        Transport::Udp => state.counters.udp += 1,
        Transport::Tcp => state.counters.tcp += 1,
    }
    let query = Message::parse(asking.wire);
    if let Ok(query) = &query {
        remember(state, asking, query);
    }
    let behaviour = behaviour_for(state, query.as_ref().ok());
    if asking.mute || state.down || behaviour.is_out(asking.now) || is_lost(&behaviour, asking, random) {
        state.counters.dropped += 1;
        return Replies::default();
    }
    let after = delay(&behaviour, random);
    let is_query = (header[2] >> 3) & 15 == 0;
    let query = match query {
        Ok(query) if query.question.is_some() && is_query => query,
        _ => {
            let code = if is_query {
                ResponseCode::FORMAT_ERROR
            } else {
                ResponseCode::NOT_IMPLEMENTED
            };
            count(state, code, false);
            return Replies {
                after,
                messages: vec![(bare(header, code), From::Asked)],
            };
        }
    };
    if let Some(question) = foreign_question(asking.wire) {
        count(state, ResponseCode::REFUSED, false);
        let mut wire = bare(header, ResponseCode::REFUSED);
        wire.extend_from_slice(question);
        // One question.
        wire.iter_mut().skip(5).take(1).for_each(|count| *count = 1);
        return Replies {
            after,
            messages: vec![(wire, From::Asked)],
        };
    }
    let answer = answer(state, &behaviour, asking, &query, random);
    let limit = match asking.transport {
        Transport::Tcp => u16::MAX,
        Transport::Udp => udp_limit(&behaviour, &query),
    };
    let cut = asking.transport == Transport::Udp && behaviour.truncate;
    let messages = written(state, &behaviour, asking.transport, &answer, limit, cut);
    Replies { after, messages }
}

/// A header with a code, and nothing behind it.
fn bare(header: [u8; 12], code: ResponseCode) -> Vec<u8> {
    let [id0, id1, flags, ..] = header;
    // QR, the opcode and RD as they came; the code.
    let low = code.0.to_be_bytes()[1] & 15;
    vec![id0, id1, 0x80 | (flags & 0x79), low, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn remember(state: &mut State, asking: &Asking<'_>, query: &Message) {
    if let Some(question) = &query.question {
        state.remember(|| Asked {
            at: asking.now,
            transport: asking.transport,
            client: asking.client,
            id: query.id,
            question: question.clone(),
            udp_size: query.edns.as_ref().map(|edns| edns.udp_size),
            cookie: query.edns.as_ref().and_then(|edns| edns.cookie.clone()),
        });
    }
}

fn behaviour_for(state: &State, query: Option<&Message>) -> Behaviour {
    let question = query.and_then(|query| query.question.as_ref());
    let rule = question.and_then(|question| state.rules.iter().find(|rule| rule.is_for(question)));
    rule.map_or(&state.behaviour, |rule| &rule.behaviour).clone()
}

fn is_lost(behaviour: &Behaviour, asking: &Asking<'_>, random: &mut dyn FnMut() -> u64) -> bool {
    asking.transport == Transport::Udp
        && behaviour.loss_ppm > 0
        && random() % 1_000_000 < u64::from(behaviour.loss_ppm)
}

fn delay(behaviour: &Behaviour, random: &mut dyn FnMut() -> u64) -> Duration {
    let jitter = u64::try_from(behaviour.jitter.as_nanos()).unwrap_or(u64::MAX);
    if jitter == 0 {
        return behaviour.latency;
    }
    let drawn = random() % jitter.saturating_add(1);
    behaviour.latency + Duration::from_nanos(drawn)
}

fn count(state: &mut State, code: ResponseCode, truncated: bool) {
    *state.counters.answers.entry(code).or_default() += 1;
    state.counters.truncated += u64::from(truncated);
}

/// The honest answer, as far as the behaviour is honest.
fn answer(
    state: &mut State,
    behaviour: &Behaviour,
    asking: &Asking<'_>,
    query: &Message,
    random: &mut dyn FnMut() -> u64,
) -> Message {
    let mut answer = Message::answer_to(query);
    answer.flags.recursion_available = behaviour.recursion_available && !behaviour.lame;
    if let Some(asked) = &query.edns {
        match behaviour.edns {
            EdnsSupport::Ignored => {}
            EdnsSupport::FormatError => {
                answer.code = ResponseCode::FORMAT_ERROR;
                return answer;
            }
            EdnsSupport::Full => {
                answer.edns = Some(Edns {
                    udp_size: OWN_UDP_SIZE,
                    version: 0,
                    dnssec_ok: asked.dnssec_ok,
                    cookie: None,
                });
                if asked.version != 0 {
                    answer.code = ResponseCode::BAD_VERSION;
                    return answer;
                }
                let code = cookie(state, behaviour, asking, asked, &mut answer, random);
                if code != ResponseCode::NO_ERROR {
                    answer.code = code;
                    return answer;
                }
            }
        }
    }
    if let Some(code) = behaviour.code {
        answer.code = code;
        // What has not got into the header's four bits needs EDNS for the others.
        return answer;
    }
    if !behaviour.lame {
        fill(state, behaviour, query, &mut answer);
    }
    answer
}

/// Answers a cookie, or says what is wrong with it (RFC 7873 section 5.2).
fn cookie(
    state: &mut State,
    behaviour: &Behaviour,
    asking: &Asking<'_>,
    asked: &Edns,
    answer: &mut Message,
    random: &mut dyn FnMut() -> u64,
) -> ResponseCode {
    let Some(cookie) = asked.cookie.as_deref() else {
        return ResponseCode::NO_ERROR;
    };
    if behaviour.cookies == CookieSupport::Ignored {
        return ResponseCode::NO_ERROR;
    }
    let Some((client, server)) = cookie.split_first_chunk::<8>() else {
        return ResponseCode::FORMAT_ERROR;
    };
    if !(server.is_empty() || (8..=32).contains(&server.len())) {
        return ResponseCode::FORMAT_ERROR;
    }
    let secret = *state.secret.get_or_insert_with(random);
    let own = server_cookie(secret, *client, asking.client.ip());
    let mut full = [&client[..], &own].concat();
    let is_good = server == own;
    if behaviour.cookies == CookieSupport::Wrong {
        full.iter_mut().take(8).for_each(|byte| *byte = !*byte);
        state.counters.lied += 1;
    }
    if let Some(edns) = &mut answer.edns {
        edns.cookie = Some(full.into());
    }
    if behaviour.cookies == CookieSupport::Required && asking.transport == Transport::Udp && !is_good {
        return ResponseCode::BAD_COOKIE;
    }
    ResponseCode::NO_ERROR
}

/// A keyed hash over the client's cookie and address.
fn server_cookie(secret: u64, client: [u8; 8], ip: IpAddr) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    hasher.write(&client);
    match ip.to_canonical() {
        IpAddr::V4(ip) => hasher.write(&ip.octets()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
    hasher.finish().to_be_bytes()
}

/// What the zones say.
fn fill(state: &mut State, behaviour: &Behaviour, query: &Message, answer: &mut Message) {
    // 251 to 254 ask for transfers and the like, which are not done here.
    let asked = query.question.as_ref();
    let found = asked.filter(|question| !(251..=254).contains(&question.record_type.0));
    let Some(found) = found.and_then(|question| state.zones.find(question)) else {
        answer.code = ResponseCode::REFUSED;
        return;
    };
    answer.flags.authoritative = true;
    answer.code = found.code;
    answer.answers = found.answers;
    answer.authorities = found.authorities;
    if let Some(ttl) = behaviour.ttl {
        let records = answer.answers.iter_mut().chain(&mut answer.authorities);
        records.for_each(|record| record.ttl = ttl);
    }
    if let Some(question) = &query.question
        && !behaviour.rebind.is_empty()
        && is_known(&mut state.seen, question)
    {
        for ip in &behaviour.rebind {
            replace_addresses(&mut answer.answers, *ip);
        }
    }
}

/// Whether a question has been asked before; from now on it has.
fn is_known(seen: &mut HashSet<Question>, question: &Question) -> bool {
    if seen.len() == MAX_SEEN {
        return seen.contains(question);
    }
    !seen.insert(question.clone())
}

/// Puts an address in the place of those of its family.
pub(super) fn replace_addresses(records: &mut [Record], ip: IpAddr) {
    for record in records {
        match (&mut record.data, ip) {
            (RecordData::A(old), IpAddr::V4(new)) => *old = new,
            (RecordData::Aaaa(old), IpAddr::V6(new)) => *old = new,
            _ => {}
        }
    }
}

/// The bytes of a question, which has been read before, if its class is neither IN nor ANY: what reads messages does not say.
fn foreign_question(wire: &[u8]) -> Option<&[u8]> {
    let question = wire.get(12..)?;
    let mut at = 0;
    // No pointers: the first name of a message has nothing before it that it could point at.
    while let Some(len @ 1..64) = question.get(at) {
        at += usize::from(*len) + 1;
    }
    let end = at + 5;
    match question.get(at..end)? {
        [0, _, _, 0, 1 | 255] => None,
        [0, ..] => question.get(..end),
        _ => None,
    }
}

/// How long an answer by UDP may be.
fn udp_limit(behaviour: &Behaviour, query: &Message) -> u16 {
    let asked = match (&query.edns, behaviour.edns) {
        (Some(edns), EdnsSupport::Full) => edns.udp_size.max(PLAIN_UDP_SIZE),
        _ => PLAIN_UDP_SIZE,
    };
    asked.min(behaviour.max_udp.max(PLAIN_UDP_SIZE))
}

/// The lies by UDP, the answer, and its copies.
fn written(
    state: &mut State,
    behaviour: &Behaviour,
    transport: Transport,
    answer: &Message,
    limit: u16,
    cut: bool,
) -> Vec<(Vec<u8>, From)> {
    let mut messages = Vec::new();
    let lies = match transport {
        Transport::Udp => behaviour.lies.as_slice(),
        Transport::Tcp => &[],
    };
    for lie in lies {
        state.counters.lied += 1;
        messages.push(lies::told(*lie, answer, limit));
    }
    if !lies.is_empty() && !behaviour.honest_after {
        return messages;
    }
    let mut wire = Vec::new();
    if cut {
        let mut cut = answer.clone();
        cut.flags.truncated = true;
        cut.answers.clear();
        cut.authorities.clear();
        cut.write(limit.into(), &mut wire);
    } else {
        answer.write(limit.into(), &mut wire);
    }
    // TC is the second lowest bit of the third byte.
    let truncated = wire.get(2).is_some_and(|flags| flags & 2 != 0);
    count(state, answer.code, truncated);
    let copies = match transport {
        Transport::Udp => behaviour.duplicates,
        Transport::Tcp => 0,
    };
    for _ in 0..copies {
        messages.push((wire.clone(), From::Asked));
    }
    messages.push((wire, From::Asked));
    messages
}
