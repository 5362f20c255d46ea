//! Who sent last, in order, so that who has been silent the longest is found at once. Pure; the time is the caller's.

use std::time::Duration;

use sockeye_event_loop::Time;

const NONE: u32 = u32::MAX;

/// Keys in the order of their last activity: each operation costs the same however many there are.
#[derive(Debug)]
pub(crate) struct Recency {
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
    last: Time,
    is_in: bool,
}

const OUT: Link = Link {
    older: NONE,
    newer: NONE,
    last: Time::ZERO,
    is_in: false,
};

impl Default for Recency {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            oldest: NONE,
            newest: NONE,
            len: 0,
        }
    }
}

impl Recency {
    /// It has just been active: the newest of all, new or not.
    pub(crate) fn touch(&mut self, key: u32, now: Time) {
        if self.newest == key {
            // A burst of one flow.
            if let Some(link) = self.links.get_mut(key as usize) {
                link.last = now;
            }
            return;
        }
        self.remove(key);
        let at = key as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, OUT);
        }
        let older = self.newest;
        if let Some(link) = self.links.get_mut(at) {
            *link = Link {
                older,
                newer: NONE,
                last: now,
                is_in: true,
            };
        }
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = key,
            None => self.oldest = key,
        }
        self.newest = key;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, key: u32) {
        let Some(link) = self.links.get_mut(key as usize) else {
            return;
        };
        let Link {
            older, newer, is_in, ..
        } = *link;
        if !is_in {
            return;
        }
        *link = OUT;
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }

    /// Who has been silent the longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(u32, Time)> {
        let link = self.links.get(self.oldest as usize)?;
        Some((self.oldest, link.last))
    }

    /// Who has been silent for so long.
    pub(crate) fn silent_for(&self, idle: Duration, now: Time) -> Option<u32> {
        let (key, last) = self.oldest()?;
        (last + idle <= now).then_some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// As a list that is searched.
            #[test]
            fn prop_it_is_a_list(steps in prop::collection::vec((0_u32..20, 0_u8..4, 0_u64..3), 1..200)) {
                let (mut recency, mut list) = (Recency::default(), Vec::<(u32, Time)>::new());
                let mut now = Time::ZERO;
                for (key, what, passes) in steps {
                    now = now + Duration::from_secs(passes);
                    list.retain(|(other, _)| *other != key);
                    if what == 0 {
                        recency.remove(key);
                    } else {
                        recency.touch(key, now);
                        list.push((key, now));
                    }
                    prop_assert_eq!(recency.oldest(), list.first().copied());
                    prop_assert_eq!(recency.len(), list.len());
                    let idle = Duration::from_secs(5);
                    let silent = list.first().filter(|(_, last)| *last + idle <= now).map(|(key, _)| *key);
                    prop_assert_eq!(recency.silent_for(idle, now), silent);
                }
                for (key, last) in list {
                    prop_assert_eq!(recency.oldest(), Some((key, last)));
                    recency.remove(key);
                }
                prop_assert_eq!(recency.oldest(), None);
            }
        }
    }
}
