//! Whether one backend works, and how much of its share it gets: by checks, and by how its sessions went. Pure; the time is
//! the caller's.

use std::time::Duration;

use sockeye_event_loop::Time;

use crate::balance::WHOLE;
use crate::config::HealthRules;

/// What a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It gets sessions.
    Up,
    /// It gets none.
    Down,
}

/// What a session says of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It was connected to. That is not much: it may reset whatever it accepts.
    Connected,
    /// It was not.
    NotConnected,
    /// It has answered, or ended in order.
    Worked,
    /// It was connected to, and failed without a byte.
    Failed,
}

/// What is known of one backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    condition: Condition,
    /// Checks, or sessions, in a row that said otherwise.
    checks_against: u32,
    sessions_failed: u32,
    /// Some of these after they had connected: connects say nothing against it.
    failed_late: bool,
    /// Until when it is out because of its sessions.
    out_until: Option<Time>,
    /// Since when it grows to its full share.
    growing_since: Option<Time>,
    /// How far it has grown, in sixteenths.
    grown: u32,
}

impl Health {
    /// A backend that nothing is known of: it is taken to be up, at its full share.
    pub(crate) const fn new() -> Self {
        Self {
            condition: Condition::Up,
            checks_against: 0,
            sessions_failed: 0,
            failed_late: false,
            out_until: None,
            growing_since: None,
            grown: 1,
        }
    }

    pub(crate) const fn condition(&self) -> Condition {
        self.condition
    }

    /// A check passed or failed. `true` if the condition changed.
    pub(crate) fn checked(&mut self, passed: bool, rules: &HealthRules, now: Time) -> bool {
        let Some(check) = &rules.check else { return false };
        if passed == (self.condition == Condition::Up) {
            self.checks_against = 0;
            return false;
        }
        if self.out_until.is_some_and(|until| now < until) {
            return false;
        }
        self.checks_against += 1;
        let needed = if passed { check.rise } else { check.fall };
        if self.checks_against < needed {
            return false;
        }
        if passed {
            self.rise(rules, now);
        } else {
            self.fall(None);
        }
        true
    }

    /// A session said something of the backend. `true` if the condition changed.
    pub(crate) fn session(&mut self, evidence: Evidence, rules: &HealthRules, now: Time) -> bool {
        match evidence {
            Evidence::Connected if self.failed_late => return false,
            Evidence::Connected | Evidence::Worked => {
                (self.sessions_failed, self.failed_late) = (0, false);
                return false;
            }
            Evidence::NotConnected => {}
            Evidence::Failed => self.failed_late = true,
        }
        if rules.failures == 0 || self.condition == Condition::Down {
            return false;
        }
        self.sessions_failed += 1;
        if self.sessions_failed < rules.failures {
            return false;
        }
        self.fall(Some(now + rules.out));
        true
    }

    /// Other rules from now on: whoever only checks could bring back is not left out without any.
    pub(crate) fn reload(&mut self, rules: &HealthRules) {
        if rules.check.is_none() && self.condition == Condition::Down && self.out_until.is_none() {
            *self = Self::new();
        }
    }

    /// When [`advance`](Self::advance) has something to do, if ever.
    pub(crate) fn next(&self, rules: &HealthRules) -> Option<Time> {
        if self.condition == Condition::Down {
            return self.out_until.filter(|_| rules.check.is_none());
        }
        // The next step of a sixteenth.
        let since = self.growing_since?;
        Some(since + rules.slow_start * self.grown / WHOLE)
    }

    /// Time has passed. `true` if the condition changed.
    pub(crate) fn advance(&mut self, rules: &HealthRules, now: Time) -> bool {
        if self.condition == Condition::Down
            && rules.check.is_none()
            && self.out_until.is_some_and(|until| until <= now)
        {
            self.rise(rules, now);
            return true;
        }
        if let Some(since) = self.growing_since {
            self.grown = steps(now.since(since), rules.slow_start);
            if self.grown > WHOLE {
                self.growing_since = None;
            }
        }
        false
    }

    /// Its share in sixteenths: 0 while it is down.
    pub(crate) const fn share(&self) -> u32 {
        match (self.condition, self.growing_since) {
            (Condition::Down, _) => 0,
            (Condition::Up, None) => WHOLE,
            (Condition::Up, Some(_)) => self.grown,
        }
    }

    fn fall(&mut self, out_until: Option<Time>) {
        *self = Self {
            condition: Condition::Down,
            out_until,
            ..Self::new()
        };
    }

    fn rise(&mut self, rules: &HealthRules, now: Time) {
        *self = Self {
            growing_since: (!rules.slow_start.is_zero()).then_some(now),
            ..Self::new()
        };
    }
}

/// Sixteenths after some time: one at once, sixteen only at the end of it, seventeen after it.
fn steps(passed: Duration, slow_start: Duration) -> u32 {
    if passed >= slow_start {
        return WHOLE + 1;
    }
    let step = slow_start.as_nanos() / u128::from(WHOLE);
    let done = passed.as_nanos() / step.max(1);
    u32::try_from(done).unwrap_or(WHOLE).min(WHOLE - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::Evidence::{Connected, Failed, NotConnected, Worked};
    use super::*;
    use crate::config::CheckRules;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn checked() -> HealthRules {
        HealthRules {
            check: Some(CheckRules {
                rise: 2,
                fall: 3,
                ..CheckRules::default()
            }),
            ..HealthRules::default()
        }
    }

    #[test]
    fn checks_in_a_row_decide() {
        let (rules, mut health) = (checked(), Health::new());
        let mut told = Vec::new();
        for passed in [
            false, false, true, false, false, false, false, true, false, true, true, true,
        ] {
            told.push((health.checked(passed, &rules, at(0)), health.condition()));
        }
        let changes: Vec<usize> = (0..told.len()).filter(|nth| told[*nth].0).collect();
        assert_eq!(changes, [5, 10]);
        assert_eq!((told[5].1, told[10].1), (Condition::Down, Condition::Up));
    }

    #[test]
    fn sessions_that_fail_take_a_backend_out_for_a_while() {
        let (rules, mut health) = (HealthRules::default(), Health::new());
        // A connect ends a row of connects that failed, and not one of sessions that failed after theirs.
        let before = [
            NotConnected,
            NotConnected,
            Connected,
            Failed,
            Connected,
            NotConnected,
            Worked,
        ];
        for evidence in before
            .into_iter()
            .chain([Connected, Failed, Connected, Failed, Connected])
        {
            assert!(!health.session(evidence, &rules, at(0)), "{evidence:?}");
        }
        assert!(health.session(Failed, &rules, at(1_000)), "the third in a row");
        assert_eq!((health.share(), health.next(&rules)), (0, Some(at(11_000))));
        assert!(
            !health.session(Failed, &rules, at(2_000)),
            "one that was under way"
        );
        assert!(!health.advance(&rules, at(10_999)));
        assert!(health.advance(&rules, at(11_000)));
        assert_eq!((health.share(), health.next(&rules)), (WHOLE, None));
    }

    #[test]
    fn with_checks_these_bring_it_back_but_not_before_its_time() {
        let (rules, mut health) = (checked(), Health::new());
        for _ in 0..3 {
            health.session(Failed, &rules, at(0));
        }
        assert_eq!((health.condition(), health.next(&rules)), (Condition::Down, None));
        (0..5).for_each(|_| assert!(!health.checked(true, &rules, at(9_999))));
        assert!(!health.checked(true, &rules, at(10_000)));
        assert!(health.checked(true, &rules, at(10_001)));
        assert_eq!(health.condition(), Condition::Up);
    }

    #[test]
    fn no_failures_that_count() {
        let rules = HealthRules {
            failures: 0,
            ..HealthRules::default()
        };
        let mut health = Health::new();
        (0..100).for_each(|_| assert!(!health.session(Failed, &rules, at(0))));
    }

    #[test]
    fn a_slow_start_takes_sixteen_steps() {
        let rules = HealthRules {
            failures: 1,
            out: Duration::from_secs(1),
            slow_start: Duration::from_millis(1_600),
            ..HealthRules::default()
        };
        let mut health = Health::new();
        assert!(health.session(Failed, &rules, at(0)));
        assert!(health.advance(&rules, at(1_000)));
        let mut shares = vec![health.share()];
        while let Some(next) = health.next(&rules) {
            assert!(!health.advance(&rules, next));
            shares.push(health.share());
        }
        let expected: Vec<u32> = (1..=WHOLE).chain([WHOLE]).collect();
        assert_eq!(shares, expected);
        assert_eq!(health.share(), WHOLE);
    }
}
