//! What criterion has left on the disk: `new/{benchmark,estimates,sample}.json` of each benchmark of this run.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::model::{self, Measurement, Section, Unit, spread};
use super::roles;

/// The group whose values are bytes a second over the size of a message.
const ONE_WAY: &str = "one way";

/// Which percentiles of a sample are kept.
const PERCENTILES: [f64; 5] = [5.0, 25.0, 50.0, 75.0, 95.0];

#[derive(Debug, Deserialize)]
struct Benchmark {
    full_id: String,
    /// `{"Elements": 64}` or `{"Bytes": 16384}`.
    throughput: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Estimates {
    slope: Option<Estimate>,
    median: Estimate,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    point_estimate: f64,
}

#[derive(Debug, Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// The benchmarks below a folder whose estimates are younger than `since`, in the order in which they were run.
///
/// # Errors
/// When a file cannot be read, or the name of a benchmark is not made as the others are.
pub(crate) fn collect(folder: &Path, since: SystemTime) -> Result<Vec<Measurement>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        walk(folder, since, &mut found)?;
    }
    found.sort();
    found.iter().map(|(_, path)| read(path)).collect()
}

fn walk(folder: &Path, since: SystemTime, found: &mut Vec<(SystemTime, PathBuf)>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let estimates = path.join("estimates.json");
        if path.file_name().is_some_and(|name| name == "new") && estimates.is_file() {
            let written = estimates.metadata()?.modified()?;
            if written >= since {
                found.push((written, path));
            }
        } else {
            walk(&path, since, found)?;
        }
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Measurement> {
    let benchmark: Benchmark = json(&folder.join("benchmark.json"))?;
    let estimates: Estimates = json(&folder.join("estimates.json"))?;
    let sample: Sample = json(&folder.join("sample.json"))?;
    measurement(&benchmark, &estimates, &sample).with_context(|| benchmark.full_id.clone())
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
}

fn measurement(benchmark: &Benchmark, estimates: &Estimates, sample: &Sample) -> Result<Measurement> {
    let parts: Vec<&str> = benchmark.full_id.split('/').collect();
    let [kind, group, case, contender] = parts[..] else {
        anyhow::bail!("a benchmark is called KIND/GROUP/CASE/CONTENDER");
    };
    let role = roles::of(kind, contender)
        .with_context(|| format!("{contender} has no role in xtask/src/report/roles.rs"))?;
    let times: Vec<f64> = sample
        .times
        .iter()
        .zip(&sample.iters)
        .map(|(time, count)| time / count)
        .collect();
    ensure!(!times.is_empty(), "criterion has left no sample");
    let time_ns = estimates
        .slope
        .as_ref()
        .unwrap_or(&estimates.median)
        .point_estimate;
    let of = |unit: &str| {
        benchmark
            .throughput
            .as_ref()?
            .get(unit)?
            .as_f64()
            .filter(|number| *number > 0.0)
    };
    let (unit, section, number) = match of("Bytes").filter(|_| group == ONE_WAY) {
        Some(bytes) => (Unit::BytesPerSecond, Section::Throughput, bytes),
        None => (Unit::Nanoseconds, Section::Time, of("Elements").unwrap_or(1.0)),
    };
    // A value in the unit of the measurement, of the nanoseconds of one iteration.
    let convert = |ns: f64| {
        if unit.is_rate() {
            number / ns * 1e9
        } else {
            ns / number
        }
    };
    Ok(Measurement {
        kind: kind.to_owned(),
        section,
        group: group.to_owned(),
        case: case.to_owned(),
        contender: contender.to_owned(),
        role,
        unit,
        per: roles::unit_of(kind, group).to_owned(),
        value: convert(time_ns),
        noise: spread(&times),
        rounds: Vec::new(),
        percentiles: PERCENTILES
            .iter()
            .map(|percentile| {
                // The slowest iterations have the lowest rate.
                let of_time = if unit.is_rate() {
                    100.0 - percentile
                } else {
                    *percentile
                };
                (*percentile, convert(model::percentile(&times, of_time)))
            })
            .collect(),
        size: bytes_of(case),
        bounds: Vec::new(),
        command: format!("cargo xtask bench {kind}"),
    })
}

/// The bytes of a case that is a size: `64 B`, `16 KiB`.
fn bytes_of(case: &str) -> Option<u64> {
    let (number, unit) = case.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "B" => Some(number),
        "KiB" => number.checked_mul(1 << 10),
        "MiB" => number.checked_mul(1 << 20),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Role;

    fn write(folder: &Path, name: &str, id: &str, throughput: &str) {
        let folder = folder.join(name).join("new");
        std::fs::create_dir_all(&folder).unwrap();
        let files = [
            (
                "benchmark.json",
                format!(r#"{{"group_id":"x","full_id":"{id}","throughput":{throughput},"title":"x"}}"#),
            ),
            (
                "estimates.json",
                r#"{"mean":{"point_estimate":9.0},"median":{"point_estimate":640.0},"slope":null}"#
                    .to_owned(),
            ),
            (
                "sample.json",
                r#"{"sampling_mode":"Flat","iters":[1.0,2.0,1.0],"times":[640.0,1200.0,680.0]}"#.to_owned(),
            ),
        ];
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }

    #[test]
    fn benchmarks_of_this_run_are_read_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            "a/x",
            "udp/batch/64 B/libc mmsg",
            r#"{"Elements":64}"#,
        );
        write(
            folder.path(),
            "b/y",
            "tcp/one way/16 KiB/sockeye",
            r#"{"Bytes":16384}"#,
        );
        let found = collect(folder.path(), SystemTime::UNIX_EPOCH).unwrap();
        let [batch, one_way] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(batch.key(), ("udp", Section::Time, "batch", "64 B", "libc mmsg"));
        assert_eq!((batch.role, batch.value), (Role::Limit, 10.0));
        // From 600 to 680 ns around 640, half of that.
        assert!(batch.noise.is_some_and(|noise| noise > 0.0 && noise < 0.1));
        assert_eq!((one_way.unit, one_way.size), (Unit::BytesPerSecond, Some(16_384)));
        assert_eq!(one_way.value, 16_384.0 / 640.0 * 1e9);
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        assert!(collect(folder.path(), later).unwrap().is_empty());
    }

    #[test]
    fn a_name_of_another_form_or_without_a_role_is_an_error() {
        for (id, said) in [
            ("tcp/sockeye", "KIND/GROUP/CASE/CONTENDER"),
            ("tcp/round trip/64 B/netcat", "has no role"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "a", id, "null");
            let error = format!(
                "{:#}",
                collect(folder.path(), SystemTime::UNIX_EPOCH).unwrap_err()
            );
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_has_nothing() {
        assert!(
            collect(Path::new("/no/such/folder"), SystemTime::now())
                .unwrap()
                .is_empty()
        );
    }
}
