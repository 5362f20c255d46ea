//! The page as text, and in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

use super::{Page, escape};
use crate::report::fixture;
use crate::report::model::Results;

fn html(results: &Results) -> String {
    let page = Page {
        results,
        baseline: None,
        older: &[],
    };
    page.html().unwrap()
}

/// From the figure's tag to its end.
fn figure<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("<figure id=\"chart-{id}\">"))
        .unwrap_or_else(|| panic!("no chart is called {id}"));
    rest.split_once("</figure>").unwrap().0
}

/// The picture for a width.
fn picture<'a>(figure: &'a str, class: &str) -> &'a str {
    let (_, rest) = figure.split_once(&format!("<svg class=\"{class}\"")).unwrap();
    rest.split_once("</svg>").unwrap().0
}

/// All texts of a picture.
fn texts(picture: &str) -> Vec<&str> {
    let parts = picture.split("<text").skip(1);
    parts
        .map(|part| {
            let (_, text) = part.split_once('>').unwrap();
            text.split_once("</text>").unwrap().0.trim()
        })
        .collect()
}

/// Each chart's axes, labels and series, in what is the page as it was written or as a browser has it.
fn check_charts(page: &str) {
    for class in ["wide", "narrow"] {
        for (kind, contenders, per) in [
            ("tcp", ["sockeye", "std (limit)", "mio"], "message"),
            (
                "udp",
                ["sockeye recv_from", "std recv_from (limit)", "tokio recv_from"],
                "datagram",
            ),
        ] {
            let figure = figure(page, &format!("throughput-{kind}"));
            let picture = picture(figure, class);
            let texts = texts(picture);
            for label in [
                "64 B",
                "16 KiB",
                "1 GB/s",
                "bytes a second",
                &format!("size of a {per}"),
            ] {
                assert!(texts.contains(&label), "{kind} {class}: {label} in {texts:?}");
            }
            check_series(figure, picture, &contenders);
            assert!(figure.contains(&format!("<code>cargo xtask bench {kind}</code>")));
        }
        let latency = figure(page, "latency-1-x-64-B");
        let drawn = picture(latency, class);
        let said = texts(drawn);
        for label in [
            "0 %",
            "90 %",
            "99 %",
            "99.9 %",
            "99.99 %",
            "10 us",
            "100 us",
            "round trip",
        ] {
            assert!(said.contains(&label), "{class}: {label} in {said:?}");
        }
        assert!(said.iter().any(|text| text.starts_with("percentile")), "{said:?}");
        check_series(
            latency,
            drawn,
            &["event loop", "blocking (limit)", "bare mio (limit)"],
        );

        let cpu = figure(page, "cpu-relay-a-relay-in-front-of-an-echo");
        let said = texts(picture(cpu, class));
        for label in [
            "1 x 64 B",
            "8 x 1 MiB",
            "times the CPU time of bare join",
            "0.99 (6.44 us CPU)",
            "1.36 (676 us CPU)",
            "0.0",
        ] {
            assert!(said.contains(&label), "{class}: {label} in {said:?}");
        }
        // Two cases of four bars, in the colours of the legend.
        for color in [0, 1, 2, 3] {
            let fill = format!("fill=\"var(--series-{color})\"");
            assert_eq!(picture(cpu, class).matches(&fill).count(), 2, "{class}: {fill}");
        }
        let instructions = figure(page, "instructions-tcp-user-instructions");
        let said = texts(picture(instructions, class));
        assert!(said.contains(&"1.78 (244 instructions)"), "{said:?}");
        assert!(said.contains(&"times the instructions of bare mio"), "{said:?}");
        let growth = figure(page, "growth");
        let said = texts(picture(growth, class));
        assert!(said.contains(&"timers: 1.30 (at most 2.00)"), "{said:?}");
        assert!(said.contains(&"times the cost at the smallest size"), "{said:?}");
        assert_eq!(
            picture(growth, class).matches("stroke=\"var(--bound)\"").count(),
            2
        );
        assert!(growth.contains("<td>1,000,000: 310 ns</td>"));
    }
}

/// A line in the colour of each series, and its name in the legend.
fn check_series(figure: &str, picture: &str, names: &[&str]) {
    let (legend, _) = figure.split_once("<svg class=\"wide\"").unwrap();
    let mut colors: Vec<&str> = Vec::new();
    for name in names {
        let (before, _) = legend
            .split_once(&format!("</svg>{name}</li>"))
            .unwrap_or_else(|| panic!("{name} in {legend}"));
        let (_, color) = before.rsplit_once("color:").unwrap();
        let color = color.split_once('"').unwrap().0;
        assert!(!colors.contains(&color), "{name} has a colour of its own");
        colors.push(color);
        let lines = picture.split("<polyline").skip(1);
        let own = lines.filter(|line| {
            line.split('>')
                .next()
                .unwrap()
                .contains(&format!("stroke=\"{color}\""))
        });
        assert!(own.count() >= 1, "a line of {name} in {color}");
    }
}

#[test]
fn each_chart_has_axes_labels_and_series() {
    let page = html(&fixture::results());
    check_charts(&page);
    assert!(page.contains("Example CPU &lt;4 GHz&gt;") && !page.contains("<4 GHz>"));
    assert!(page.contains("needs nginx"));
    assert!(!page.contains("id=\"smoke\""));
    // Nothing from outside, no script, and no colour that the page cannot turn dark.
    let inside = page.split_once("</style>").unwrap().1;
    for foreign in ["<script", "http://", "src=", "@import", "url(", "\"#0", "\"#1"] {
        let inside = inside.replace("http://www.w3.org/2000/svg", "");
        let after = inside.split_once(foreign).map(|(_, after)| &after[..80]);
        assert_eq!(after, None, "{foreign}");
    }
}

#[test]
fn a_smoke_run_says_so() {
    let mut results = fixture::results();
    results.smoke = true;
    assert!(html(&results).contains("id=\"smoke\""));
}

#[test]
fn a_run_of_one_section_has_no_others_but_those_measured_before() {
    let whole = fixture::results();
    let mut one = whole.clone();
    one.measurements
        .retain(|measurement| measurement.kind == "growth");
    let page = html(&one);
    assert!(page.contains("chart-growth") && !page.contains("chart-throughput-tcp"));
    let mut older = whole;
    older.measurements.retain(|measurement| measurement.kind == "tcp");
    older.machine.date = "2025-01-02 03:04 UTC".to_owned();
    let page = Page {
        results: &one,
        baseline: None,
        older: &[older],
    };
    let page = page.html().unwrap();
    let tcp = figure(&page, "throughput-tcp");
    assert!(tcp.contains("Measured before") && tcp.contains("2025-01-02 03:04 UTC"));
}

#[test]
fn a_baseline_has_a_column() {
    let results = fixture::results();
    let mut before = results.clone();
    for measurement in &mut before.measurements {
        measurement.value *= 2.0;
    }
    let page = Page {
        results: &results,
        baseline: Some(("before", &before)),
        older: &[],
    };
    let page = page.html().unwrap();
    assert!(page.contains("<th>Before</th>") && page.contains("data-head=\"Before\">0.50</td>"));
    assert!(
        page.contains("data-head=\"Before\">2.00</td>"),
        "half the bytes a second cost twice as much"
    );
}

/// What a browser says after it has laid out the page: how wide window and page are, the pictures that are seen, and texts that
/// reach out of their picture.
const MEASURE: &str = "<script>
const out = [`window ${innerWidth} page ${document.documentElement.scrollWidth}`];
for (const svg of document.querySelectorAll('figure > svg')) {
  if (getComputedStyle(svg).display === 'none') continue;
  out.push('seen ' + svg.getAttribute('class'));
  const own = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect();
    if (box.left < own.left - 1 || box.right > own.right + 1 || box.bottom > own.bottom + 1)
      out.push('cut ' + text.textContent.trim());
  }
}
out.push('ground ' + getComputedStyle(document.body).backgroundColor);
const line = document.querySelector('figure polyline[stroke=\"var(--series-0)\"]');
out.push('line ' + getComputedStyle(line).stroke);
const pre = document.createElement('pre');
pre.id = 'measured';
pre.textContent = out.join('\\n');
document.body.append(pre);
</script></body>";

/// A browser without a window, whose files go into the folder.
fn browser(folder: &Path, words: &[String], page: &Path) -> String {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(words)
        .arg(format!("file://{}", page.display()))
        .env("HOME", folder);
    let output = program::output(&mut command, PATIENCE * 3);
    assert!(output.status.success(), "{}", output.stderr);
    output.text()
}

/// The page in a frame: a window without a screen is not as narrow as a phone. What the browser has made of the page then takes the
/// place of the frame.
fn framed(page: &str, width: u32) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <iframe width=\"{width}\" height=\"2400\" style=\"border:0\" srcdoc=\"{}\" onload=\"\
         document.documentElement.innerHTML = this.contentDocument.documentElement.innerHTML\"></iframe>",
        escape(page)
    )
}

/// Width and height of a PNG (its section 11.2.2).
fn size(image: &Path) -> (u32, u32) {
    let bytes = std::fs::read(image).unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(&bytes[1..4], b"PNG");
    (number(16), number(20))
}

#[test]
fn a_browser_shows_it_wide_and_narrow_dark_and_light() {
    if !skip::require(&[Need::program("chromium")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = html(&fixture::results());
    // The page lets no script run; this copy does, so that the browser can be asked.
    let policy = "content=\"default-src 'none'; style-src 'unsafe-inline'\"";
    assert!(page.contains(policy));
    let asked = page.replace(policy, "content=\"\"").replace("</body>", MEASURE);
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let page = write("page.html", &page);
    // Chromium's own numbers of the schemes.
    for (scheme, ground, line) in [
        (1, "rgb(251, 251, 250)", "rgb(0, 103, 177)"),
        (0, "rgb(20, 24, 27)", "rgb(86, 180, 240)"),
    ] {
        for (width, class) in [(390, "narrow"), (1_280, "wide")] {
            let asked = write("asked.html", &framed(&asked, width));
            let words = |last: &str| {
                vec![
                    format!("--blink-settings=preferredColorScheme={scheme}"),
                    format!("--window-size={width},2400"),
                    last.to_owned(),
                ]
            };
            let dom = browser(folder.path(), &words("--dump-dom"), &asked);
            check_charts(&dom);
            let (_, measured) = dom.split_once("<pre id=\"measured\">").unwrap();
            let measured = measured.split_once("</pre>").unwrap().0;
            let lines: Vec<&str> = measured.lines().collect();
            assert_eq!(
                lines[0],
                format!("window {width} page {width}"),
                "nothing is wider than the window"
            );
            assert!(measured.contains(&format!("seen {class}")), "{measured}");
            assert_eq!(
                measured.matches("seen ").count(),
                7,
                "a picture for each chart: {measured}"
            );
            assert_eq!(
                measured.matches(&format!("seen {class}")).count(),
                7,
                "{measured}"
            );
            assert!(!measured.contains("cut "), "{measured}");
            assert!(
                measured.contains(&format!("ground {ground}\nline {line}")),
                "{measured}"
            );
            let image = folder.path().join(format!("{width}-{scheme}.png"));
            browser(
                folder.path(),
                &words(&format!("--screenshot={}", image.display())),
                &page,
            );
            assert_eq!(size(&image), (width, 2_400));
        }
    }
}
