//! Plans of the simulator: any bytes are some plan, which prints and parses back, and no text makes the parser panic.

use sockeye_sim::Plan;

pub(crate) fn run(data: &[u8]) {
    let plan = Plan::from_bytes(data);
    assert_eq!(plan.to_string().parse::<Plan>().as_ref(), Ok(&plan));
    if let Ok(text) = str::from_utf8(data)
        && let Ok(plan) = text.parse::<Plan>()
    {
        assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
    }
}
