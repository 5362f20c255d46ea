//! Pairs, and connections that go to another service: what a service does that carries others.

use super::link::state;
use super::table::{Entry, Socket};
use super::{Calling, Core, Inner, NOBODY, Pending, duty};
use crate::backend::{Backend, Readiness, Ready};
use crate::host::Host;
use crate::id::{ServiceKey, Token};
use crate::options::PairOptions;
use crate::outcome::{CloseReason, Identity, PairError, PeerName, SwitchError};
use crate::pair::{PairEnd, Wire};

/// Events of pairs that one turn handles before it asks the world again.
pub(super) const EVENTS: usize = 256;
/// Events of pairs that are handled at once after an event of the world; others have to wait for their turn.
pub(super) const PAIR_EVENTS: usize = 4;
/// Times that two ends answer each other before others have their turn.
const HOPS: usize = 16;

impl<B: Backend> Core<B> {
    /// The events of pairs, those that they cause among them, up to `most` of them.
    pub(super) fn run_pairs(&mut self, most: usize) {
        for _ in 0..most {
            let Some(ready) = self.inner.shared.pairs.pop() else {
                return;
            };
            if ready.flags == Readiness::READABLE {
                self.answer_each_other(ready.token);
            } else {
                self.dispatch(ready);
            }
        }
    }

    /// What follows at once from one end's bytes needs no place in the list, for a while.
    fn answer_each_other(&mut self, mut token: Token) {
        for _ in 0..HOPS {
            let Some(next) = self.bounce(token) else { return };
            token = next;
        }
        self.inner.shared.pairs.push(token, Readiness::READABLE);
    }

    /// The plain case of an event of an end: what was written to it is taken whole, offered, and what that wrote goes to
    /// the other end. Gives the end that has something to read by it.
    #[inline]
    fn bounce(&mut self, token: Token) -> Option<Token> {
        let most = self.read_size - 1;
        let taken = match self.inner.table.get_mut(token) {
            Some(Entry {
                link,
                socket: Socket::Stream(Wire::Pair(end)),
            }) if link.state & state::SLOW == 0
                && end.take(&mut self.inbound, &mut self.inner.shared.spare_end, most) =>
            {
                link.last_read = self.inner.shared.turn;
                Some((link.conn, link.service))
            }
            _ => None,
        };
        let Some((conn, service)) = taken else {
            self.dispatch(Ready {
                token,
                flags: Readiness::READABLE,
            });
            return None;
        };
        let len = self.inbound.len();
        self.inner.shared.stats.reads += 1;
        self.inner.shared.stats.bytes_in += len as u64;
        let driver = self.drivers.get_mut(usize::from(service))?;
        self.inner.shared.current = token;
        self.out.begin(true);
        let data = &mut self.inbound[..];
        let consumed = driver.data_complete(&mut self.inner, &mut self.out, token, conn, data);
        let next = self.leave_end(token);
        if consumed < len {
            self.buffer[..len].copy_from_slice(&self.inbound);
            self.inbound.clear();
            self.keep_tail(token, consumed, len);
        }
        self.inbound.clear();
        self.run_pending();
        next
    }

    /// As `leave`, of an end: gives the end that has something to read by what was gathered.
    #[inline]
    fn leave_end(&mut self, token: Token) -> Option<Token> {
        self.inner.shared.current = NOBODY;
        let len = self.out.bytes().len();
        if len == 0 {
            return None;
        }
        let mut next = None;
        if let Some(Entry {
            link,
            socket: Socket::Stream(Wire::Pair(end)),
        }) = self.inner.table.entries.get_mut(token.index() as usize)
        {
            next = end.push(self.out.buffer(), &mut self.inner.shared.spare_end);
            link.last_write = self.inner.shared.turn;
        }
        if next.is_some() {
            self.inner.shared.stats.writes += 1;
            self.inner.shared.stats.bytes_out += len as u64;
        } else {
            self.inner.write_gathered(token, self.out.bytes());
        }
        self.out.clear();
        next
    }

    /// The callback that gave the connection away has returned: it is the other service's now.
    pub(super) fn switch(&mut self, token: Token, to: u16) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        link.clear(state::OPENING);
        if link.is(state::DEAD | state::CLOSING) {
            // It was closed after it had been given away: its old service hears of that.
            return;
        }
        let (from, conn) = (link.service, link.conn);
        link.service = to;
        link.conn = crate::driver::NO_CONN;
        // What the old service asked for holds no longer; what the peer did the new one has to hear.
        link.clear(state::NOTIFY | state::PAUSED | state::EOF_TOLD | state::INCOMPLETE | state::TIGHT);
        let extra = link.extra();
        extra.deadlines = None;
        extra.watermarks = None;
        extra.tail.wanted = 0;
        extra.owner = extra.owner.wrapping_add(1);
        self.inner.moved(from, to, token);
        if let Some(driver) = self.drivers.get_mut(usize::from(from)) {
            self.inner.shared.calling = Calling::Close(token);
            driver.close(&mut self.inner, token, conn, CloseReason::Switched);
            self.inner.shared.calling = Calling::Nobody;
        }
        self.open(token);
        self.inner.read_all_on(token);
    }
}

impl<B: Backend> Inner<B> {
    /// Whether that is a stream service of this loop.
    pub(super) fn has_streams(&self, service: ServiceKey) -> bool {
        let settings = self.shared.services.get(usize::from(service.index));
        settings.is_some_and(|settings| settings.streams == Some(service.kind))
    }

    pub(crate) fn pair_now(
        &mut self,
        first: ServiceKey,
        second: ServiceKey,
        options: &PairOptions,
    ) -> Result<[Token; 2], PairError> {
        if !self.has_streams(first) || !self.has_streams(second) {
            return Err(PairError::NoSuchService);
        }
        self.shared.duties |= duty::PAIRS;
        let [one, two] = PairEnd::pair(&self.shared.pairs, options.capacity);
        let one = self.admit_end(one, first.index).ok_or(PairError::Full)?;
        let Some(two) = self.admit_end(two, second.index) else {
            self.table.remove(one);
            self.shared.open_streams -= 1;
            self.shared.open_ends -= 1;
            return Err(PairError::Full);
        };
        for (token, like) in [(one, options.first_like), (two, options.second_like)] {
            if let Some(like) = like {
                self.answer_like(token, like.0);
            }
            self.shared.pending.push_back(Pending::Opened(token));
        }
        for (token, tag) in [(one, options.first_tag), (two, options.second_tag)] {
            if let (Some(tag), Some(link)) = (tag, self.table.link_mut(token)) {
                link.extra().tag = tag;
            }
        }
        if let Some(settings) = self.shared.services.get_mut(usize::from(first.index)) {
            settings.carried += 1;
        }
        self.shared.stats.pairs += 1;
        Ok([one, two])
    }

    fn admit_end(&mut self, end: PairEnd, service: u16) -> Option<Token> {
        let token = self.admit_wire(Wire::Pair(end), service)?;
        // Nothing is offered before `on_open`, and there is no event to begin with.
        if let Some(link) = self.table.link_mut(token) {
            link.set(state::OPENING | state::READABLE);
        }
        Some(token)
    }

    fn answer_like(&mut self, token: Token, like: Token) {
        let Some(peer) = self.peer(like) else { return };
        let ip = self.local_addr(like).ok().map(PeerName::Ip);
        let local = ip.or_else(|| self.local_unix(like).ok().map(PeerName::Unix));
        let (tag, attached) = (self.tag(like), self.attached(like).to_vec());
        let through = self.listener_of(like).unwrap_or_default();
        self.answer_as(token, Identity { peer, local });
        if let Some(link) = self.table.link_mut(token) {
            let extra = link.extra();
            extra.tag = tag;
            extra.attached = attached;
            extra.through = through;
        }
    }

    pub(super) fn switch_now(&mut self, token: Token, to: ServiceKey) -> Result<(), SwitchError> {
        if !self.has_streams(to) {
            return Err(SwitchError::NoSuchService);
        }
        let Some((link, _)) = self.table.stream(token) else {
            return Err(SwitchError::Gone);
        };
        let over = state::CLOSING | state::DEAD | state::BROKEN | state::JOINED | state::CONNECTING;
        if link.is(over | state::OPENING) {
            return Err(SwitchError::Gone);
        }
        link.set(state::OPENING);
        self.shared.pending.push_back(Pending::Switch(token, to.index));
        Ok(())
    }

    /// A connection goes from one service to another: an end that carries counts for the new one.
    fn moved(&mut self, from: u16, to: u16, token: Token) {
        let tight = self.watermarks_of(token).is_tight();
        if let Some(link) = self.table.link_mut(token)
            && tight
        {
            link.set(state::TIGHT);
        }
        if self.is_first_end(token) {
            if let Some(settings) = self.shared.services.get_mut(usize::from(to)) {
                settings.carried += 1;
            }
            self.carries_one_less(from);
        }
    }

    pub(super) fn is_first_end(&mut self, token: Token) -> bool {
        matches!(self.table.stream(token), Some((_, Wire::Pair(end))) if end.is_first())
    }

    /// Offers what is kept, and reads on, for whoever has the connection now.
    pub(super) fn read_all_on(&mut self, token: Token) {
        if let Some(link) = self.table.link_mut(token) {
            link.set(state::READABLE);
        }
        self.read_on(token);
    }

    /// Whether a drain has to wait with the connections of a service: others are carried by them.
    pub(super) fn is_carrying(&self, service: u16) -> bool {
        let settings = self.shared.services.get(usize::from(service));
        settings.is_some_and(|settings| settings.carried > 0)
    }

    /// An end that carries is gone. In a drain, what carried it is told now.
    pub(super) fn carries_one_less(&mut self, service: u16) {
        let Some(settings) = self.shared.services.get_mut(usize::from(service)) else {
            return;
        };
        settings.carried -= 1;
        if settings.carried > 0 || !self.shared.has(duty::DRAIN) {
            return;
        }
        for token in self.streams() {
            if self.service_index(token) == Some(service) {
                self.drain_stream(token);
            }
        }
    }

    /// Counts the services that the connection has had.
    pub(super) fn owner_of(&self, token: Token) -> u32 {
        self.table
            .link(token)
            .and_then(|link| link.extra.as_ref())
            .map_or(0, |extra| extra.owner)
    }

    fn service_index(&self, token: Token) -> Option<u16> {
        self.table.link(token).map(|link| link.service)
    }

    /// What has arrived is offered, then `on_drain` follows.
    pub(super) fn drain_stream(&mut self, token: Token) {
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        link.set(state::DRAINING | state::READABLE);
        if link.is(state::PAUSED) && link.is(state::TAIL) {
            link.set(state::REDELIVER);
        }
        link.clear(state::PAUSED);
        self.relist(token);
    }

    /// Connections of the world that are open or being opened, but for those apart: what `max_connections` bounds.
    pub(super) fn connections(&self) -> usize {
        self.shared.open_streams - self.shared.open_ends - self.shared.open_apart
    }
}
