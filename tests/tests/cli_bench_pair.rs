//! `sockeye bench server` and `sockeye bench client` as processes: every mode over every transport with exact counts, peers
//! that lie or vanish, links that lose and queue, and the files, comparisons and conditions of a run.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

#[path = "cli_bench_pair/files.rs"]
mod files;
#[path = "cli_bench_pair/ground.rs"]
mod ground;
#[path = "cli_bench_pair/hostile.rs"]
mod hostile;
#[path = "cli_bench_pair/links.rs"]
mod links;
#[path = "cli_bench_pair/modes.rs"]
mod modes;
#[path = "cli_bench_pair/page.rs"]
mod page;
