//! Scenarios of the loop itself.

use crate::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    Vec::new()
}
