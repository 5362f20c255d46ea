//! Every socket of a loop, with what the loop knows of it.

use super::link::Link;
use super::listener::Listener;
use super::message::MessageSocket;
use crate::backend::Backend;
use crate::id::Token;
use crate::pair::Wire;

/// A socket of any type. Listeners and message sockets are few: their own state is boxed.
pub(crate) enum Socket<B: Backend> {
    Vacant,
    Stream(Wire<B::Stream>),
    Listener(Box<Listener<B>>),
    /// A datagram or packet socket.
    Message(Box<MessageSocket<B>>),
}

/// A place in the table.
pub(crate) struct Entry<B: Backend> {
    pub(crate) link: Link,
    pub(crate) socket: Socket<B>,
}

/// All sockets of a loop. Places are used again, with another generation.
pub(crate) struct Table<B: Backend> {
    pub(crate) entries: Vec<Entry<B>>,
    free: Vec<u32>,
}

impl<B: Backend> Table<B> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Takes a place. `None` when every index is in use.
    pub(crate) fn insert(&mut self, socket: Socket<B>, service: u16) -> Option<Token> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.entries.len()).ok()?;
                if index >= Token::FIRST_SPECIAL_INDEX {
                    return None;
                }
                self.entries.push(Entry {
                    link: Link::vacant(),
                    socket: Socket::Vacant,
                });
                index
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.socket = socket;
        entry.link.service = service;
        Some(Token::new(index, entry.link.generation))
    }

    /// Gives a place back, closing the socket if it is still there.
    pub(crate) fn remove(&mut self, token: Token) {
        if let Some(entry) = self.get_mut(token) {
            let generation = entry.link.generation.wrapping_add(1);
            entry.link = Link {
                generation,
                ..Link::vacant()
            };
            entry.socket = Socket::Vacant;
            self.free.push(token.index());
        }
    }

    #[inline]
    pub(crate) fn get(&self, token: Token) -> Option<&Entry<B>> {
        let entry = self.entries.get(token.index() as usize)?;
        (entry.link.generation == token.generation()).then_some(entry)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut Entry<B>> {
        let entry = self.entries.get_mut(token.index() as usize)?;
        (entry.link.generation == token.generation()).then_some(entry)
    }

    #[inline]
    pub(crate) fn link(&self, token: Token) -> Option<&Link> {
        self.get(token).map(|entry| &entry.link)
    }

    #[inline]
    pub(crate) fn link_mut(&mut self, token: Token) -> Option<&mut Link> {
        self.get_mut(token).map(|entry| &mut entry.link)
    }

    /// A link with its stream, unless the stream is closed already.
    #[inline]
    pub(crate) fn stream(&mut self, token: Token) -> Option<(&mut Link, &mut Wire<B::Stream>)> {
        match self.get_mut(token) {
            Some(Entry {
                link,
                socket: Socket::Stream(stream),
            }) => Some((link, stream)),
            _ => None,
        }
    }

    /// The tokens of all sockets, in the order of their places.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        let place = |(index, entry): (usize, &Entry<B>)| {
            let used = entry.link.service != u16::MAX;
            used.then(|| Token::new(u32::try_from(index).unwrap_or(u32::MAX), entry.link.generation))
        };
        self.entries.iter().enumerate().filter_map(place).collect()
    }
}
