//! `--metrics` of `relay`, `serve` and `ping` as processes: HTTP and every refusal, the exposition by a reader of our own, by
//! promtool and by a real Prometheus, and the page in a real browser.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

#[path = "cli_metrics/commands.rs"]
mod commands;
#[path = "cli_metrics/ground.rs"]
mod ground;
#[path = "cli_metrics/http.rs"]
mod http;
#[path = "cli_metrics/page.rs"]
mod page;
#[path = "cli_metrics/reader.rs"]
mod reader;
#[path = "cli_metrics/scraped.rs"]
mod scraped;
#[path = "cli_metrics/secure.rs"]
mod secure;
