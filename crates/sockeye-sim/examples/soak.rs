//! Runs seeds, or one plan, and says what they came to. `cargo xtask sim` is the way to call it.
#![expect(clippy::print_stdout, reason = "a program says what it did")]

use std::env;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use sockeye_sim::Plan;
use sockeye_sim::soak::{Outcome, run, smaller};

const USAGE: &str = "soak [--seeds N] [--seed FIRST] [--plan FILE] [--jobs N] [--hashes]";

struct Arguments {
    seeds: u64,
    first: u64,
    plan: Option<String>,
    jobs: usize,
    hashes: bool,
}

impl Arguments {
    fn parse() -> Option<Self> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut parsed = Self {
            seeds: 1,
            first: 0,
            plan: None,
            jobs,
            hashes: false,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seeds" => parsed.seeds = words.next()?.parse().ok()?,
                "--seed" => parsed.first = words.next()?.parse().ok()?,
                "--plan" => parsed.plan = Some(words.next()?),
                "--jobs" => parsed.jobs = words.next()?.parse().ok()?,
                "--hashes" => parsed.hashes = true,
                _ => return None,
            }
        }
        Some(parsed)
    }
}

/// Runs a plan twice: it must succeed, and be the same both times.
fn twice(plan: &Plan) -> Result<Outcome, String> {
    let first = run(plan).map_err(|failure| failure.to_string())?;
    let second = run(plan).map_err(|failure| failure.to_string())?;
    if first == second {
        Ok(first)
    } else {
        Err(format!("two runs differ: {first:?} and {second:?}"))
    }
}

/// A plan that is there already, as something proptest can shrink.
#[derive(Clone, Debug)]
struct Given(Plan);

/// The steps from a plan to smaller ones.
struct Tree {
    /// The smallest that is known to fail.
    failing: Plan,
    steps: std::vec::IntoIter<Plan>,
    now: Plan,
}

impl Strategy for Given {
    type Tree = Tree;
    type Value = Plan;

    fn new_tree(&self, _: &mut TestRunner) -> NewTree<Self> {
        let plan = self.0.clone();
        Ok(Tree {
            failing: plan.clone(),
            steps: smaller(&plan).into_iter(),
            now: plan,
        })
    }
}

impl ValueTree for Tree {
    type Value = Plan;

    fn current(&self) -> Plan {
        self.now.clone()
    }

    /// The current plan fails: go on from it.
    fn simplify(&mut self) -> bool {
        if self.now != self.failing {
            self.failing = self.now.clone();
            self.steps = smaller(&self.failing).into_iter();
        }
        self.next_step()
    }

    /// The current plan does not fail: try another step from the last one that does.
    fn complicate(&mut self) -> bool {
        self.next_step()
    }
}

impl Tree {
    fn next_step(&mut self) -> bool {
        match self.steps.next() {
            Some(next) => {
                self.now = next;
                true
            }
            None => {
                self.now = self.failing.clone();
                false
            }
        }
    }
}

fn shrink(plan: &Plan) -> Plan {
    let config = Config {
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let Ok(tree) = Given(plan.clone()).new_tree(&mut runner) else {
        return plan.clone();
    };
    let result = runner.run_one(tree, |plan| twice(&plan).map(|_| ()).map_err(TestCaseError::fail));
    match result {
        Err(TestError::Fail(_, smallest)) => smallest,
        _ => plan.clone(),
    }
}

fn report(plan: &Plan, failure: &str) {
    println!("FAILED: {failure}\n\nthe plan:\n{plan}");
    let smallest = shrink(plan);
    let failure = twice(&smallest).err().unwrap_or_default();
    println!("\nshrunk, it fails with: {failure}\n{smallest}");
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse() else {
        println!("usage: {USAGE}");
        return ExitCode::from(2);
    };
    if let Some(path) = &arguments.plan {
        let plan = match fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| text.parse::<Plan>().map_err(|error| error.to_string()))
        {
            Ok(plan) => plan,
            Err(error) => {
                println!("{path}: {error}");
                return ExitCode::from(2);
            }
        };
        return match twice(&plan) {
            Ok(outcome) => {
                println!("{outcome:?}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                report(&plan, &failure);
                ExitCode::FAILURE
            }
        };
    }
    seeds(&arguments)
}

fn seeds(arguments: &Arguments) -> ExitCode {
    let (next, stop) = (AtomicU64::new(arguments.first), AtomicBool::new(false));
    let failed = Mutex::new(None);
    let totals = Mutex::new((0_u64, 0_u64, 0_u64, 0_u64));
    let end = arguments.first + arguments.seeds;
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    match twice(&Plan::of_seed(seed)) {
                        Ok(outcome) => {
                            if arguments.hashes {
                                println!("{seed} {:016x}", outcome.trace_hash);
                            }
                            if let Ok(mut totals) = totals.lock() {
                                totals.0 += 1;
                                totals.1 += outcome.messages;
                                totals.2 += outcome.reconnects;
                                totals.3 += outcome.steps;
                            }
                        }
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert((seed, failure));
                            }
                        }
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (seeds, messages, reconnects, steps) = totals.into_inner().unwrap_or_default();
    if !arguments.hashes {
        println!(
            "{seeds} seeds, each twice with the same trace, in {seconds:.1} s: {messages} messages, {reconnects} reconnects, {steps} steps"
        );
    }
    match failed.into_inner() {
        Ok(Some((seed, failure))) => {
            println!("seed {seed}");
            report(&Plan::of_seed(seed), &failure);
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
