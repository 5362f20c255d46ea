//! Which backend is next. Pure: keys, weights and numbers of sessions in, keys out.
//!
//! Round robin and least sessions are one ordered set of those that may be picked; a pick, a change of weight and a change
//! of eligibility cost O(log n). The source hash is a table ([`Maglev`]) over all that are configured; who is down is
//! passed over, so that nobody else's sources move.

mod maglev;

use std::collections::BTreeSet;

pub(crate) use maglev::{Maglev, hash_bytes, mix};

use crate::config::Balance;

/// Weights are counted in sixteenths, so that a slow start has steps below a weight of 1.
pub(crate) const WHOLE: u32 = 16;

/// A place in the order: the smaller the earlier.
type Place = (u128, u64, usize);

/// Of one weight 1 for one session, or one turn.
const STRIDE: u128 = 1 << 40;

/// One backend's part.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// In sixteenths; 0: not to be picked now.
    weight: u32,
    sessions: u32,
    /// Round robin: when its next turn is, on a scale on which all progress together.
    turn: u128,
    /// When it was picked last: ties go to who waited the longest.
    last: u64,
    placed: Option<Place>,
}

/// Picks by one of the rules.
#[derive(Debug)]
pub(crate) struct Balancer {
    rule: Balance,
    members: Vec<Member>,
    order: BTreeSet<Place>,
    maglev: Maglev,
    /// The turn that was picked last.
    now: u128,
    picks: u64,
}

impl Balancer {
    pub(crate) fn new(rule: Balance) -> Self {
        Self {
            rule,
            members: Vec::new(),
            order: BTreeSet::new(),
            maglev: Maglev::default(),
            now: 0,
            picks: 0,
        }
    }

    /// Rebuilds the table of the source hash, from the names and weights of all that are configured.
    pub(crate) fn set_table<'a>(&mut self, backends: impl IntoIterator<Item = (usize, &'a str, u32)>) {
        if self.rule == Balance::SourceHash {
            self.maglev = Maglev::new(backends);
        }
    }

    /// Says what is known of a backend now: its weight in sixteenths, 0 if it must not be picked, and its sessions.
    pub(crate) fn set(&mut self, key: usize, weight: u32, sessions: u32) {
        if self.members.len() <= key {
            self.members.resize(key + 1, Member::default());
        }
        let rule = self.rule;
        let now = self.now;
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        if let Some(place) = member.placed.take() {
            self.order.remove(&place);
        }
        if rule == Balance::RoundRobin && weight > 0 && member.weight != weight {
            // Half a stride ahead of the others (as by Sainte-Laguë): its turns fall between theirs, and what it missed
            // while it was away is not made up for.
            let ahead = STRIDE / u128::from(weight) / 2;
            member.turn = if member.weight == 0 {
                now + ahead
            } else {
                let left = member.turn.saturating_sub(now);
                now + left * u128::from(member.weight) / u128::from(weight)
            };
        }
        (member.weight, member.sessions) = (weight, sessions);
        if weight == 0 || rule == Balance::SourceHash {
            return;
        }
        let first = match rule {
            Balance::LeastSessions => (u128::from(sessions) + 1) * STRIDE / u128::from(weight),
            _ => member.turn,
        };
        let place = (first, member.last, key);
        member.placed = Some(place);
        self.order.insert(place);
    }

    /// Who is next for a source, those of `without` apart. [`picked`](Self::picked) has to follow if it is taken.
    pub(crate) fn next(&self, source: u64, without: &[usize]) -> Option<usize> {
        let eligible = |key: usize| self.members.get(key).is_some_and(|member| member.weight > 0);
        if self.rule == Balance::SourceHash {
            return self
                .maglev
                .find(source, |key| eligible(key) && !without.contains(&key));
        }
        let mut keys = self.order.iter().map(|&(_, _, key)| key);
        keys.find(|key| !without.contains(key))
    }

    /// It was taken: its next turn is later.
    pub(crate) fn picked(&mut self, key: usize) {
        self.picks += 1;
        let picks = self.picks;
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        member.last = picks;
        let (weight, sessions) = (member.weight, member.sessions);
        if weight > 0 {
            self.now = self.now.max(member.turn);
            member.turn += STRIDE / u128::from(weight);
        }
        self.set(key, weight, sessions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(rule: Balance, weights: &[u32]) -> Balancer {
        let mut balancer = Balancer::new(rule);
        for (key, weight) in weights.iter().enumerate() {
            balancer.set(key, weight * WHOLE, 0);
        }
        balancer
    }

    fn take(balancer: &mut Balancer) -> usize {
        let key = balancer.next(0, &[]).unwrap();
        balancer.picked(key);
        key
    }

    #[test]
    fn round_robin_is_smooth() {
        let mut balancer = balancer(Balance::RoundRobin, &[5, 1, 1]);
        let picks: Vec<usize> = (0..14).map(|_| take(&mut balancer)).collect();
        assert_eq!(picks, [0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 1, 2, 0, 0]);
    }

    #[test]
    fn who_comes_back_does_not_make_up_for_what_it_missed() {
        let mut balancer = balancer(Balance::RoundRobin, &[1, 1]);
        balancer.set(1, 0, 0);
        for _ in 0..1000 {
            assert_eq!(take(&mut balancer), 0);
        }
        balancer.set(1, WHOLE, 0);
        let ones = (0..100).filter(|_| take(&mut balancer) == 1).count();
        assert_eq!(ones, 50);
    }

    #[test]
    fn a_share_grows_with_the_weight_at_once() {
        let mut balancer = balancer(Balance::RoundRobin, &[1, 1]);
        balancer.set(1, 1, 0);
        let ones = (0..170).filter(|_| take(&mut balancer) == 1).count();
        assert_eq!(ones, 10);
        balancer.set(1, WHOLE, 0);
        let ones = (0..100).filter(|_| take(&mut balancer) == 1).count();
        assert!((49..=51).contains(&ones), "{ones}");
    }

    #[test]
    fn least_sessions_are_counted_by_weight_and_ties_take_turns() {
        let mut by_weight = balancer(Balance::LeastSessions, &[3, 1]);
        let mut sessions = [0; 2];
        for _ in 0..400 {
            let key = take(&mut by_weight);
            sessions[key] += 1;
            by_weight.set(key, [3, 1][key] * WHOLE, sessions[key]);
        }
        assert_eq!(sessions, [300, 100]);
        let mut even = balancer(Balance::LeastSessions, &[1, 1, 1]);
        let picks: Vec<usize> = (0..6).map(|_| take(&mut even)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2], "all have none: each in turn");
    }

    #[test]
    fn who_failed_for_this_session_is_passed_over() {
        for rule in [Balance::RoundRobin, Balance::LeastSessions, Balance::SourceHash] {
            let mut balancer = balancer(rule, &[1, 1]);
            balancer.set_table([(0, "a", 1), (1, "b", 1)]);
            let first = balancer.next(7, &[]).unwrap();
            assert_eq!(balancer.next(7, &[first]), Some(1 - first), "{rule}");
            assert_eq!(balancer.next(7, &[0, 1]), None, "{rule}");
        }
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// At any moment each has had its share, give or take two turns; after a whole round exactly.
            #[test]
            fn prop_round_robin_never_strays(weights in prop::collection::vec(1_u32..=20, 1..12)) {
                let mut balancer = balancer(Balance::RoundRobin, &weights);
                let all: u32 = weights.iter().sum();
                let mut counts = vec![0_u32; weights.len()];
                for turn in 1..=2 * all {
                    counts[take(&mut balancer)] += 1;
                    for (count, weight) in counts.iter().zip(&weights) {
                        let share = f64::from(turn) * f64::from(*weight) / f64::from(all);
                        prop_assert!((f64::from(*count) - share).abs() < 2.0, "{counts:?} of {weights:?} at {turn}");
                    }
                }
                let twice: Vec<u32> = weights.iter().map(|weight| 2 * weight).collect();
                prop_assert_eq!(counts, twice);
            }

            /// Whatever is taken and given back: nobody is picked while another has fewer sessions for its weight.
            #[test]
            fn prop_least_sessions_are_the_least(
                weights in prop::collection::vec(1_u32..=9, 1..9),
                steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
            ) {
                let mut balancer = balancer(Balance::LeastSessions, &weights);
                let mut sessions = vec![0_u32; weights.len()];
                for (opens, which) in steps {
                    let key = if opens {
                        let key = take(&mut balancer);
                        for (other, weight) in weights.iter().enumerate() {
                            let (mine, theirs) = ((sessions[key] + 1) * weight, (sessions[other] + 1) * weights[key]);
                            prop_assert!(mine <= theirs, "{key} rather than {other}: {sessions:?} of {weights:?}");
                        }
                        sessions[key] += 1;
                        key
                    } else {
                        let key = which.index(weights.len());
                        sessions[key] = sessions[key].saturating_sub(1);
                        key
                    };
                    balancer.set(key, weights[key] * WHOLE, sessions[key]);
                }
            }
        }
    }
}
