//! A message for a question: whether it is believed, and what it means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::flight::Via;
use super::peer::{CookieCheck, Peer};
use crate::dns::answer::{Carrier, Content, QueryError, Verdict, judge};
use crate::dns::message::{Message, ResponseCode};
use crate::dns::record::{Record, RecordType};

impl Engine {
    /// A message for a question, from its server. `false` if it is not the answer.
    pub(super) fn on_message(&mut self, now: Duration, index: u32, bytes: &[u8]) -> bool {
        let by_datagram = matches!(self.flights.get(index).and_then(|flight| flight.sent.as_ref()),
            Some(sent) if matches!(sent.via, Via::Socket(_)));
        let Some((address, server)) = self.server_of(index) else {
            return false;
        };
        let mut response = match Message::parse(bytes) {
            Ok(response) if response.flags.response => response,
            Ok(_) => {
                self.stats.unexpected += 1;
                return false;
            }
            Err(_) => {
                self.stats.malformed += 1;
                self.next_try(now, index, QueryError::Unusable { server: address });
                return false;
            }
        };
        if !self.is_answer(index, server, &response, by_datagram) {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(server) {
            peer.answered = Some(now);
            peer.avoided_until = Duration::ZERO;
        }
        self.undo_case(index, &mut response);
        self.consider(now, index, address, &response, by_datagram);
        true
    }

    /// Names that are compressed point into the question (RFC 1035 section 4.1.4), and come in the case that was drawn for
    /// it: that is nothing to show to anybody.
    fn undo_case(&self, index: u32, response: &mut Message) {
        let Some(flight) = self.flights.get(index) else {
            return;
        };
        let Some(sent) = flight.sent.as_ref() else { return };
        if sent.cased.has_case_of(&flight.name) {
            return;
        }
        for record in response.answers.iter_mut().chain(&mut response.authorities) {
            record.name.undo_case(&sent.cased, &flight.name);
            record
                .data
                .for_each_name(|name| name.undo_case(&sent.cased, &flight.name));
        }
    }

    pub(super) fn server_of(&self, index: u32) -> Option<(SocketAddr, usize)> {
        let server = self.flights.get(index)?.sent.as_ref()?.server;
        Some((self.peers.get(server)?.server.address, server))
    }

    /// Whether a message answers what was asked, and comes from who was asked as far as that can be told.
    fn is_answer(&mut self, index: u32, server: usize, response: &Message, by_datagram: bool) -> bool {
        let Some(flight) = self.flights.get_mut(index) else {
            return false;
        };
        let Some(sent) = flight.sent.as_ref() else {
            return false;
        };
        let Some(peer) = self.peers.get_mut(server) else {
            return false;
        };
        let same_case = match &response.question {
            Some(question)
                if question.name == sent.cased && question.record_type == flight.question.record_type =>
            {
                question.name.has_case_of(&sent.cased)
            }
            // Servers that do not understand a question do not repeat it.
            None if response.code != ResponseCode::NO_ERROR && response.answers.is_empty() => true,
            _ => {
                self.stats.wrong_question += 1;
                flight.suspicious = true;
                return false;
            }
        };
        let cookie = peer.check_cookie(response.edns.as_ref());
        if !by_datagram {
            if response.question.is_some() && self.options.random_case && flight.suspicious {
                peer.learn_case(same_case);
            }
            if cookie == CookieCheck::Wrong {
                peer.forget_cookie();
            }
            return true;
        }
        // What fails without EDNS has no cookie either.
        let could_have = response.edns.is_some() || response.code != ResponseCode::FORMAT_ERROR;
        let is_due = self.options.cookies && flight.with_edns && !peer.without_edns && could_have;
        if is_due && cookie == CookieCheck::Wrong {
            self.stats.wrong_cookie += 1;
            flight.suspicious = true;
            return false;
        }
        if self.options.random_case && response.question.is_some() && !peer.check_case(same_case) {
            self.stats.wrong_case += 1;
            flight.suspicious = true;
            return false;
        }
        true
    }

    /// What an answer means for its question.
    fn consider(
        &mut self,
        now: Duration,
        index: u32,
        address: SocketAddr,
        response: &Message,
        by_datagram: bool,
    ) {
        let Some(flight) = self.flights.get_mut(index) else {
            return;
        };
        let server = flight.sent.as_ref().map_or(0, |sent| sent.server);
        let peer = self.peers.get(server);
        let with_edns = flight.with_edns && peer.is_some_and(|peer| !peer.without_edns);
        let known_by_cookie = peer.is_some_and(Peer::has_cookie);
        let has_edns = response.edns.is_some();
        match response.code {
            ResponseCode::NO_ERROR | ResponseCode::NAME_ERROR if response.flags.truncated && by_datagram => {
                self.stats.truncated += 1;
                self.ask_again(now, index, |flight| flight.by_connection = true);
            }
            ResponseCode::NO_ERROR | ResponseCode::NAME_ERROR => self.take_in(now, index, address, response),
            ResponseCode::FORMAT_ERROR | ResponseCode::NOT_IMPLEMENTED | ResponseCode::BAD_VERSION
                // One that has shown by a cookie that it knows EDNS means the question by what it says with EDNS.
                if with_edns && self.options.edns_size > 0 && !(known_by_cookie && has_edns) =>
            {
                // A server from before EDNS (RFC 6891 section 7): it is remembered once it answers without. Nobody else may
                // take the cookie away from it: that it tells by TCP.
                self.ask_again(now, index, |flight| {
                    flight.with_edns = false;
                    flight.by_connection |= known_by_cookie;
                });
            }
            ResponseCode::BAD_COOKIE => {
                flight.bad_cookies += 1;
                // The first time with the cookie that has just been learned, then by a connection (RFC 7873 section 5.3).
                match flight.bad_cookies {
                    // It has the right half of this client, so it is the server's.
                    1 => self.ask_again(now, index, |flight| flight.suspicious = false),
                    2 if by_datagram => self.ask_again(now, index, |flight| flight.by_connection = true),
                    _ => self.next_try(
                        now,
                        index,
                        QueryError::Failed {
                            code: response.code,
                            server: address,
                        },
                    ),
                }
            }
            code => {
                self.stats.failures += 1;
                self.next_try(
                    now,
                    index,
                    QueryError::Failed {
                        code,
                        server: address,
                    },
                );
            }
        }
    }

    /// Takes in a positive or negative answer: it is complete, or the aliases in it are followed.
    fn take_in(&mut self, now: Duration, index: u32, address: SocketAddr, response: &Message) {
        let max_aliases = self.options.max_aliases;
        let Some(flight) = self.flights.get_mut(index) else {
            return;
        };
        let Some(sent) = flight.sent.as_ref() else { return };
        if !flight.with_edns
            && let Some(peer) = self.peers.get_mut(sent.server)
        {
            peer.without_edns = true;
        }
        let carrier = match (
            sent.via,
            self.peers.get(sent.server).map(|peer| peer.server.carrier),
        ) {
            (Via::Socket(_), _) => Carrier::Udp,
            (_, Some(Carrier::Tls)) => Carrier::Tls,
            _ => Carrier::Tcp,
        };
        let before = flight.records.len();
        match judge(
            &flight.question,
            &flight.name,
            response,
            max_aliases,
            &mut flight.records,
        ) {
            Verdict::Complete => {
                let mut records = std::mem::take(&mut flight.records);
                records.truncate(self.options.max_records);
                let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
                let content = Arc::new(Content {
                    code: response.code,
                    records,
                    authorities: response
                        .authorities
                        .iter()
                        .filter(is_soa)
                        .take(1)
                        .cloned()
                        .collect(),
                    flags: response.flags,
                    server: Some(address),
                    carrier,
                });
                self.cache
                    .put(&flight.question, &content, response.negative_ttl(), now);
                self.end(now, index, Ok(content));
            }
            Verdict::Follow(name) => self.ask_again(now, index, |flight| flight.name = name),
            Verdict::Circle => self.end(now, index, Err(QueryError::Aliases)),
            Verdict::Lame => {
                self.stats.failures += 1;
                flight.records.truncate(before);
                self.next_try(now, index, QueryError::Unusable { server: address });
            }
        }
    }
}
