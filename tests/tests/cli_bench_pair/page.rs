//! The page of `--report` in a real browser: narrow and wide, light and dark.

use sockeye_tests::browser::{Scheme, browse, first_pixel};
use sockeye_tests::skip::{Need, require};

use super::ground::{Server, run};

/// What a page looks like once it is laid out, put where a test can read it: the widths of the window and of what is in it, the
/// charts, their texts that stand outside of them, and those that are not seen against their ground.
const LOOK: &str = "<script>addEventListener('load', () => {
    const all = [...document.querySelectorAll('svg text')];
    const outside = all.filter(text => {
        const one = text.getBoundingClientRect(), chart = text.closest('svg').getBoundingClientRect();
        return one.left < chart.left - 1 || one.right > chart.right + 1
            || one.top < chart.top - 1 || one.bottom > chart.bottom + 1;
    });
    const bright = color => Number(color.match(/\\d+/)[0]) > 128;
    const ground = bright(getComputedStyle(document.body).backgroundColor);
    const unseen = [...all, ...document.querySelectorAll('h1, th, td, code')].filter(text =>
        bright(text.closest('svg') ? getComputedStyle(text).fill : getComputedStyle(text).color) === ground);
    const page = document.documentElement, bar = innerWidth - page.clientWidth;
    document.body.dataset.seen = JSON.stringify({
        wide: page.scrollWidth + bar > innerWidth,
        charts: document.querySelectorAll('svg').length,
        outside: outside.map(text => text.textContent.trim()),
        unseen: unseen.map(text => text.textContent.trim()),
        ground,
    });
})</script>";

/// The texts of a chart in the DOM.
fn texts(chart: &str) -> Vec<&str> {
    let texts = chart.split("<text").skip(1);
    texts
        .filter_map(|text| Some(text.split_once('>')?.1.split_once("</text>")?.0.trim()))
        .collect()
}

#[test]
fn a_browser_shows_the_charts_of_a_report_on_every_screen() {
    if !require(&[Need::program("chromium"), Need::program("python3")]) {
        return;
    }
    let server = Server::local();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let name = path.display().to_string();
    let words = [
        server.target("tcp://"),
        "--bidir",
        "-t",
        "1",
        "-i",
        "0.1",
        "--idle",
        "0.1",
        "--report",
        &name,
    ];
    let output = run(&words);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let mut page = std::fs::read_to_string(&path).expect("the page");
    let url = format!("file://{name}");
    let shown = browse(folder.path(), &["--dump-dom"], &url);
    let charts: Vec<Vec<&str>> = shown.split("<svg").skip(1).map(texts).collect();
    for (title, axes, lines) in [
        ("Throughput", ["seconds", "Mbit/s"], ["up", "down"]),
        ("Round-trip time of TCP", ["seconds", "ms"], ["up", "down"]),
        ("Congestion window", ["seconds", "KiB"], ["up", "down"]),
        (
            "Retransmitted segments",
            ["seconds", "an interval"],
            ["up", "down"],
        ),
        ("Latency by percentile", ["percentile", "ms"], ["loaded", "idle"]),
    ] {
        let chart = charts.iter().find(|texts| texts.contains(&title));
        let chart = chart.unwrap_or_else(|| panic!("no {title} in {charts:?}"));
        for words in axes.iter().chain(&lines) {
            assert!(chart.contains(words), "{title}: {words} in {chart:?}");
        }
        // Both axes have numbers, as people write them.
        let numbers = chart.iter().filter(|text| text.parse::<f64>().is_ok());
        assert!(numbers.count() >= 3, "{title}: {chart:?}");
    }
    assert!(
        shown.matches("<polyline").count() >= 10,
        "two lines in each of five charts"
    );
    page.push_str(LOOK);
    std::fs::write(&path, &page).expect("the page");
    for (scheme, ground) in [(Scheme::Light, "255 255 255"), (Scheme::Dark, "22 22 22")] {
        for width in [1280, 400] {
            let (size, scheme_option) = (format!("--window-size={width},900"), scheme.option());
            let shown = browse(folder.path(), &["--dump-dom", &scheme_option, &size], &url);
            let seen = shown
                .split_once("data-seen=\"")
                .and_then(|(_, seen)| seen.split_once('"'));
            let (seen, _) = seen.unwrap_or_else(|| panic!("nobody has looked: {shown}"));
            let expected = format!(
                "{{\"wide\":false,\"charts\":5,\"outside\":[],\"unseen\":[],\"ground\":{}}}",
                scheme == Scheme::Light
            );
            assert_eq!(seen.replace("&quot;", "\""), expected, "{scheme:?} {width}");
            let image = folder.path().join(format!("{scheme:?}-{width}.png"));
            let screenshot = format!("--screenshot={}", image.display());
            browse(folder.path(), &[&screenshot, &scheme_option, &size], &url);
            assert_eq!(first_pixel(&image), ground);
        }
    }
}
