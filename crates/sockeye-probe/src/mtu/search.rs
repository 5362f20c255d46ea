//! The search itself: which sizes are known to pass, which not, and which to try next. No time, no packets.

use std::net::IpAddr;

/// Sizes that links have (Ethernet, PPPoE, tunnels, jumbo frames, FDDI, the minima), ascending: tried before others.
const COMMON: [u32; 22] = [
    68, 296, 576, 1006, 1200, 1280, 1360, 1400, 1420, 1428, 1440, 1450, 1454, 1460, 1472, 1480, 1492, 1500,
    2304, 4352, 9000, 9216,
];
/// Rounds of attempts after which a silent size that bounds the result is believed.
const ROUNDS: u8 = 2;

/// What keeps larger packets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// This host's own link, or what its kernel knows of the path.
    Local,
    /// A router that said so.
    Router(IpAddr),
    /// Nobody said anything: larger packets vanish.
    Silence,
    /// The search was told to go no further.
    Ceiling,
}

#[derive(Clone, Copy, Debug)]
struct Bad {
    size: u32,
    limit: Limit,
    rounds: u8,
}

/// The state of a search between two sizes.
#[derive(Debug)]
pub(super) struct Search {
    floor: u32,
    base: u32,
    ceiling: u32,
    good: Option<u32>,
    /// Sizes that did not pass, ascending; all above `good`.
    bad: Vec<Bad>,
    /// What a router reported, to be tried next.
    hint: Option<u32>,
}

/// What the search wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Try(u32),
    Found(u32, Limit),
    /// Not even the smallest size passes.
    Nothing,
}

/// What a report of a size that is too big is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    News,
    /// Said before: routers tell each of several probes.
    Known,
    /// It contradicts what has passed, or itself.
    Lie,
}

impl Search {
    pub(super) fn new(floor: u32, base: u32, ceiling: u32) -> Self {
        let ceiling = ceiling.max(floor);
        Self {
            floor,
            base: base.clamp(floor, ceiling),
            ceiling,
            good: None,
            bad: Vec::new(),
            hint: None,
        }
    }

    pub(super) const fn good(&self) -> Option<u32> {
        self.good
    }

    /// A probe of this size was answered.
    pub(super) fn passed(&mut self, size: u32) {
        self.good = self.good.max(Some(size));
        self.bad.retain(|bad| bad.size > size);
        self.hint = self.hint.filter(|&hint| hint > size);
    }

    /// All attempts at this size met silence.
    pub(super) fn silent(&mut self, size: u32) {
        self.add(size, Limit::Silence);
    }

    /// A probe of this size was reported too big.
    pub(super) fn too_big(&mut self, size: u32, mtu: Option<u32>, limit: Limit) -> Report {
        if self.good.is_some_and(|good| size <= good) {
            return Report::Lie;
        }
        let bound = match mtu {
            Some(mtu) if mtu >= size || self.good.is_some_and(|good| mtu < good) => return Report::Lie,
            Some(mtu) if mtu >= self.floor => mtu + 1,
            // Below the minimum: for IPv6 no such link may be (RFC 8201 section 4), for IPv4 the figure is nonsense.
            Some(_) if self.floor > 68 => return Report::Lie,
            _ => size,
        };
        if self
            .bad
            .iter()
            .any(|bad| bad.size <= bound && bad.limit != Limit::Silence)
        {
            return Report::Known;
        }
        self.add(bound, limit);
        self.hint = mtu.filter(|&mtu| mtu + 1 == bound && self.good != Some(mtu));
        Report::News
    }

    pub(super) fn next(&self) -> Next {
        let Some(good) = self.good else {
            return self.first();
        };
        let high = self.high();
        if good + 1 >= high {
            return self.close(good);
        }
        if let Some(hint) = self.hint.filter(|&hint| hint > good && hint < high) {
            return Next::Try(hint);
        }
        if self.bad.is_empty() {
            return Next::Try(self.ceiling);
        }
        let from = COMMON.partition_point(|&size| size <= good);
        let to = COMMON.partition_point(|&size| size < high);
        let common = COMMON.get(from..to).unwrap_or(&[]);
        Next::Try(match common.get(common.len() / 2) {
            Some(&size) => size,
            // Between two common sizes the lower one is the likeliest answer.
            None if COMMON.binary_search(&good).is_ok() => good + 1,
            None => good + (high - good) / 2,
        })
    }

    /// Before anything has passed: the base, then the floor, unless a report says better.
    fn first(&self) -> Next {
        let high = self.high();
        let candidates = [self.hint, Some(self.base), Some(self.floor)];
        match candidates.into_iter().flatten().find(|&size| size < high) {
            Some(size) => Next::Try(size),
            None => Next::Nothing,
        }
    }

    /// Nothing is left between `good` and the next bad size: done, unless that one was only silent and only once.
    fn close(&self, good: u32) -> Next {
        match self.bad.first() {
            None => Next::Found(good, Limit::Ceiling),
            Some(bad) if bad.limit == Limit::Silence && bad.rounds < ROUNDS => Next::Try(bad.size),
            Some(bad) => Next::Found(good, bad.limit),
        }
    }

    fn high(&self) -> u32 {
        self.bad.first().map_or(self.ceiling + 1, |bad| bad.size)
    }

    fn add(&mut self, size: u32, limit: Limit) {
        match self.bad.binary_search_by_key(&size, |bad| bad.size) {
            Ok(index) => {
                if let Some(bad) = self.bad.get_mut(index) {
                    bad.rounds = bad.rounds.saturating_add(1);
                    if limit != Limit::Silence {
                        bad.limit = limit;
                    }
                }
            }
            Err(index) => self.bad.insert(
                index,
                Bad {
                    size,
                    limit,
                    rounds: 1,
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTER: Limit = Limit::Router(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    /// Runs a search against a path that carries up to `mtu`; routers report (with a figure or none) or stay silent.
    fn run(mut search: Search, mtu: u32, report: Option<bool>) -> (Next, usize) {
        for probes in 0..200 {
            match search.next() {
                Next::Try(size) if size <= mtu => search.passed(size),
                Next::Try(size) => match report {
                    Some(figure) => {
                        assert_eq!(search.too_big(size, figure.then_some(mtu), ROUTER), Report::News)
                    }
                    None => search.silent(size),
                },
                end => return (end, probes),
            }
        }
        panic!("no end");
    }

    #[test]
    fn one_report_is_enough() {
        let (end, probes) = run(Search::new(68, 1200, 65_535), 1400, Some(true));
        assert_eq!(end, Next::Found(1400, ROUTER));
        assert_eq!(probes, 3, "the base, the ceiling, and what was reported");
    }

    #[test]
    fn common_sizes_are_found_in_few_probes_without_a_word() {
        for mtu in [1280, 1420, 1492, 1500, 9000] {
            let (end, probes) = run(Search::new(68, 1200, 65_535), mtu, None);
            assert_eq!(end, Next::Found(mtu, Limit::Silence));
            assert!(probes <= 9, "{mtu}: {probes}");
        }
    }

    #[test]
    fn a_report_below_what_has_passed_is_a_lie() {
        let mut search = Search::new(68, 1200, 65_535);
        search.passed(1400);
        assert_eq!(search.too_big(1500, Some(600), ROUTER), Report::Lie);
        assert_eq!(search.too_big(1300, None, ROUTER), Report::Lie);
        assert_eq!(search.too_big(1500, Some(1500), ROUTER), Report::Lie);
        assert_eq!(search.too_big(1500, Some(1400), ROUTER), Report::News);
        assert_eq!(search.too_big(1500, Some(1400), ROUTER), Report::Known);
        assert_eq!(search.next(), Next::Found(1400, ROUTER));
    }

    #[test]
    fn ipv6_reports_below_1280_are_ignored() {
        let mut search = Search::new(1280, 1280, 65_535);
        assert_eq!(search.too_big(1500, Some(576), ROUTER), Report::Lie);
    }

    #[test]
    fn one_unlucky_round_is_made_good() {
        let mut search = Search::new(68, 1200, 1500);
        search.passed(1200);
        search.silent(1500);
        search.passed(1492);
        assert_eq!(search.next(), Next::Try(1493));
        search.silent(1493);
        assert_eq!(search.next(), Next::Try(1493), "once is not enough");
        search.passed(1493);
        let (end, _) = run(search, 1500, None);
        assert_eq!(end, Next::Found(1500, Limit::Ceiling));
    }

    #[test]
    fn a_path_that_carries_nothing() {
        assert_eq!(run(Search::new(68, 1200, 1500), 60, None).0, Next::Nothing);
        assert_eq!(run(Search::new(1280, 1280, 1500), 1000, None).0, Next::Nothing);
    }

    proptest! {
        #[test]
        fn prop_every_mtu_is_found(mtu in 68u32..=70_000, ceiling in 68u32..=65_535, report in any::<Option<bool>>()) {
            let (end, probes) = run(Search::new(68, 1200, ceiling), mtu, report);
            let expected = mtu.min(ceiling);
            let limit = match report {
                _ if ceiling <= mtu => Limit::Ceiling,
                Some(_) => ROUTER,
                None => Limit::Silence,
            };
            prop_assert_eq!(end, Next::Found(expected, limit));
            prop_assert!(probes < 40, "{}", probes);
        }
    }
}
