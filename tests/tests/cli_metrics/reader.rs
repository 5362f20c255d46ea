//! A strict reader of OpenMetrics 1.0.0, as far as the program writes it: what it does not know is an error.

use std::collections::{BTreeMap, BTreeSet};

/// A name and labels.
type Series = (String, BTreeMap<String, String>);

/// An exposition.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// Types of families.
    pub(crate) kinds: BTreeMap<String, String>,
    samples: BTreeMap<Series, f64>,
}

impl Exposition {
    /// The value of a sample with just these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let key = (name.to_owned(), labels.collect());
        *self.samples.get(&key).unwrap_or_else(|| {
            let near: Vec<_> = self.samples.keys().filter(|(near, _)| near == name).collect();
            panic!("no {key:?}, but {near:?}")
        })
    }

    /// The sum over all labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let all = self.samples.iter().filter(|((of, _), _)| of == name);
        all.map(|(_, value)| value).sum()
    }

    /// How many samples a name has.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.samples.keys().filter(|(of, _)| of == name).count()
    }
}

/// Reads it, or panics with the line that is wrong.
#[track_caller]
pub(crate) fn read(text: &str) -> Exposition {
    let body = text
        .strip_suffix("# EOF\n")
        .unwrap_or_else(|| panic!("it ends with {:?}", text.lines().last()));
    let mut all = Exposition::default();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    for line in body.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(helped.insert(name.to_owned()), "twice: {line}");
            assert!(help.ends_with('.') && is_name(name), "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, family, "{line}");
            assert!(
                ["counter", "gauge", "histogram", "info"].contains(&kind),
                "{line}"
            );
            assert!(
                all.kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect(line);
            assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (name, labels, value) = sample(line);
            let kind = all.kinds.get(&family).expect(line).clone();
            let suffix = name.strip_prefix(&family).expect(line);
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(kind == "gauge" || value >= 0.0, "{line}");
            assert!(
                all.samples.insert((name, labels), value).is_none(),
                "twice: {line}"
            );
        }
    }
    histograms(&all);
    all
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|next| next.is_ascii_alphanumeric() || next == '_')
}

#[track_caller]
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, value) = rest.split_once("=\"").expect(line);
            assert!(is_name(key), "{line}");
            let (value, after) = quoted(value, line);
            assert!(labels.insert(key.to_owned(), value).is_none(), "{line}");
            if let Some(after) = after.strip_prefix(',') {
                rest = after;
            } else {
                rest = after.strip_prefix('}').expect(line);
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    (name.to_owned(), labels, value.parse().expect(line))
}

/// A text up to its quote, without its escapes.
#[track_caller]
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, same @ ('\\' | '"'))) => same,
                other => panic!("an escape of {other:?}: {line}"),
            }),
            _ => value.push(next),
        }
    }
    panic!("no end of a label: {line}")
}

/// Buckets only grow, and the last has all.
#[track_caller]
fn histograms(all: &Exposition) {
    let mut series: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in &all.samples {
        let Some(family) = name.strip_suffix("_bucket") else {
            continue;
        };
        let mut labels = labels.clone();
        let bound = labels.remove("le").expect("a bound");
        let bound = if bound == "+Inf" {
            f64::INFINITY
        } else {
            bound.parse().expect("a bound")
        };
        series
            .entry((family.to_owned(), labels))
            .or_default()
            .push((bound, *value));
    }
    for ((family, labels), mut buckets) in series {
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        assert!(
            buckets.windows(2).all(|two| two[0].1 <= two[1].1),
            "{family} {labels:?}: {buckets:?}"
        );
        let last = buckets.last().expect("a bucket");
        let count = all.samples.get(&(format!("{family}_count"), labels.clone()));
        assert!(
            last.0.is_infinite() && Some(&last.1) == count,
            "{family} {labels:?}"
        );
        assert!(
            all.samples.contains_key(&(format!("{family}_sum"), labels)),
            "{family}"
        );
    }
}
