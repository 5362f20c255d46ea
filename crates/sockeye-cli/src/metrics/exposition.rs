//! What a command tells, as OpenMetrics or as Prometheus' text format. The grammar is `prometheus-client`'s.

use std::borrow::Borrow;
use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelKey as _, EncodeLabelSet, LabelSetEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;

use super::histogram::Buckets;

/// What a command knows of itself at one moment. It is made on the loop, as quickly as can be, and encoded elsewhere.
pub(crate) trait Snapshot: Send + Sync + fmt::Debug + 'static {
    /// Writes its metrics.
    ///
    /// # Errors
    /// Those of the exposition.
    fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result;

    /// The same for the page, as an object: what it has many of is cut to [`ROWS`](super::ROWS).
    fn status(&self) -> Value;
}

/// The unit of a metric, which ends its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    Nothing,
    Bytes,
    Seconds,
}

impl In {
    const fn unit(self) -> Option<Unit> {
        match self {
            Self::Nothing => None,
            Self::Bytes => Some(Unit::Bytes),
            Self::Seconds => Some(Unit::Seconds),
        }
    }
}

/// Labels of a sample. Their values may be any text: the crate writes them as they are, so they are escaped here.
#[derive(Debug)]
struct Labels<'a>(&'a [(&'static str, &'a str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (key, value) in self.0 {
            let mut label = encoder.encode_label();
            let mut name = label.encode_label_key()?;
            key.encode(&mut name)?;
            let mut written = name.encode_label_value()?;
            escape(&mut written, value)?;
            written.finish()?;
        }
        Ok(())
    }
}

/// OpenMetrics 1.0.0, "ABNF", `escaped-string`.
fn escape(to: &mut impl Write, value: &str) -> fmt::Result {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let (before, special) = rest.split_at(at);
        to.write_str(before)?;
        to.write_str(match special.as_bytes().first() {
            Some(b'\\') => "\\\\",
            Some(b'"') => "\\\"",
            _ => "\\n",
        })?;
        rest = special.get(1..).unwrap_or_default();
    }
    to.write_str(rest)
}

/// Where metrics are written, one family after the other. Each family is written once.
#[derive(Debug)]
pub(crate) struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    /// A family of numbers that only grow; `_total` is added to the name.
    pub(crate) fn counters<'l, const N: usize>(
        &mut self,
        (name, unit): (&str, In),
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let unit = unit.unit();
        let mut family = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            if N == 0 {
                family.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
                continue;
            }
            let labels = Labels(&labels);
            let mut sample = family.encode_family(&labels)?;
            sample.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    /// A family of numbers that go up and down.
    pub(crate) fn gauges<'l, const N: usize>(
        &mut self,
        (name, unit): (&str, In),
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'l str); N], f64)>,
    ) -> fmt::Result {
        let unit = unit.unit();
        let mut family = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            if N == 0 {
                family.encode_gauge(&value)?;
                continue;
            }
            let labels = Labels(&labels);
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A family of histograms of seconds.
    pub(crate) fn histograms<'l, B: Borrow<Buckets>, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'l str); N], B)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, buckets) in samples {
            let (labels, buckets) = (Labels(&labels), buckets.borrow());
            let mut sample = family.encode_family(&labels)?;
            let (sum, count) = (buckets.sum_seconds(), buckets.count());
            sample.encode_histogram::<NoLabelSet>(sum, count, &buckets.each(), None)?;
        }
        Ok(())
    }

    /// What does not change; `_info` is added to the name.
    pub(crate) fn info(&mut self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> fmt::Result {
        let mut info = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        info.encode_info(&Labels(labels))
    }
}

/// A snapshot as the crate wants it.
#[derive(Debug)]
struct Collected(Arc<dyn Snapshot>);

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(&mut Exposition(encoder))
    }
}

/// Writes OpenMetrics.
///
/// # Errors
/// Those of `to`.
pub(super) fn open_metrics(snapshot: &Arc<dyn Snapshot>, to: &mut impl Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(Arc::clone(snapshot))));
    text::encode(to, &registry)
}

/// Writes Prometheus' text format: the same samples; what is said of a family names its samples, and knows neither units
/// nor infos.
///
/// # Errors
/// Those of `to`.
pub(super) fn prometheus_text(snapshot: &Arc<dyn Snapshot>, to: &mut impl Write) -> fmt::Result {
    let mut lines = TextLines {
        to,
        line: String::new(),
        help: String::new(),
    };
    open_metrics(snapshot, &mut lines)
}

/// Takes OpenMetrics and writes Prometheus' text format, line by line: neither is there as a whole.
struct TextLines<'a, W> {
    to: &'a mut W,
    /// What has come of a line.
    line: String,
    /// What was said of the family that follows.
    help: String,
}

impl<W: Write> Write for TextLines<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.line.push_str(part);
            if part.ends_with('\n') {
                self.whole()?;
                self.line.clear();
            }
        }
        Ok(())
    }
}

impl<W: Write> TextLines<'_, W> {
    /// A line with its end.
    fn whole(&mut self) -> fmt::Result {
        let line = self.line.strip_suffix('\n').unwrap_or(&self.line);
        if let Some(said) = line.strip_prefix("# HELP ") {
            said.clone_into(&mut self.help);
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ').unwrap_or((said, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            let help = self.help.strip_prefix(name).unwrap_or_default().trim_start();
            writeln!(self.to, "# HELP {name}{suffix} {help}")?;
            writeln!(self.to, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            self.to.write_str(&self.line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::{Histogram, LATENCY};
    use super::*;

    #[derive(Debug)]
    struct Sample(Buckets);

    impl Snapshot for Sample {
        fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
            let name = "a\\b\"c\nd\u{e9}";
            to.info("x_build", "What runs.", &[("version", "1")])?;
            to.counters(("x_in", In::Bytes), "Bytes.", [([("at", name)], 7)])?;
            to.gauges(("x_up", In::Nothing), "Up.", [([], 1.5)])?;
            to.histograms("x_rtt", "Round trips.", [([("host", "h")], &self.0)])
        }

        fn status(&self) -> Value {
            Value::Null
        }
    }

    fn sample() -> Arc<dyn Snapshot> {
        let histogram = Histogram::new(&LATENCY);
        histogram.record(Duration::from_millis(3));
        Arc::new(Sample(histogram.read()))
    }

    #[test]
    fn families_are_those_of_openmetrics() {
        let mut text = String::new();
        open_metrics(&sample(), &mut text).unwrap();
        for line in [
            "# TYPE x_build info",
            "x_build_info{version=\"1\"} 1",
            "# UNIT x_in_bytes bytes",
            "x_in_bytes_total{at=\"a\\\\b\\\"c\\nd\u{e9}\"} 7",
            "x_up 1.5",
            "x_rtt_seconds_bucket{le=\"0.0025\",host=\"h\"} 0",
            "x_rtt_seconds_bucket{le=\"0.005\",host=\"h\"} 1",
            "x_rtt_seconds_bucket{le=\"+Inf\",host=\"h\"} 1",
            "x_rtt_seconds_count{host=\"h\"} 1",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_text_format_names_samples() {
        let mut text = String::new();
        prometheus_text(&sample(), &mut text).unwrap();
        for line in [
            "# HELP x_in_bytes_total Bytes.",
            "# TYPE x_in_bytes_total counter",
            "# TYPE x_build_info gauge",
            "# TYPE x_rtt_seconds histogram",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in\n{text}");
        }
        assert!(!text.contains("EOF") && !text.contains("UNIT"));
    }
}
