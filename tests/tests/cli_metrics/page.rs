//! The page in a real browser.

use sockeye_tests::browser::{Scheme, browse, first_pixel};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

use crate::commands::more_than_is_shown;
use crate::ground::{Program, echo, file, session};
use crate::reader;

/// Of a name that would be a script, were it taken for markup.
const HOSTILE: &str = "<img src=x onerror=document.title='broken-into'>";

#[test]
fn a_browser_shows_who_is_up_and_what_was_counted() {
    if !skip::require(&[Need::program("chromium")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[[listeners]]\nat = \"tcp://127.0.0.1:0\"\nto = \"p\"\n\
         [[pools]]\nname = \"p\"\nbackends = [{{ at = \"tcp://{}\", name = \"{HOSTILE}\" }}]\n",
        echo()
    );
    let path = file(folder.path(), "relay.toml", &text);
    let program = Program::start(&["relay", "--config", &path, "--metrics", "127.0.0.1:0"]);
    for _ in 0..7 {
        session(program.listener(0), "salmon");
    }
    wait::until("all are over", PATIENCE, || {
        reader::read(&program.get("/metrics")).sum("sockeye_relay_ended_sessions_total") == 7.0
    });
    let page = browse(
        folder.path(),
        &["--dump-dom"],
        &format!("http://{}/", program.addr()),
    );
    // What the script has put there, which ran although the policy allows nothing else.
    let (shown, _) = page.split_once("<script").expect("the script is last");
    assert!(shown.contains("<title>sockeye relay</title>"), "{shown}");
    assert!(shown.contains("Live. Version"), "{shown}");
    assert!(shown.contains("<dt>Backends up</dt><dd>1 of 1</dd>"), "{shown}");
    assert!(
        shown.contains("<dt>Sessions</dt><dd>0/s</dd>"),
        "two answers make a rate: {shown}"
    );
    assert!(
        shown.contains(&format!(">{}</th>", program.listens[0])),
        "{shown}"
    );
    assert!(
        shown.contains("<td>7</td>") && shown.contains("<td>42 B</td>"),
        "{shown}"
    );
    assert!(shown.contains("<td class=\"good\">\u{25b2} up</td>"), "{shown}");
    assert!(shown.contains("<polyline points="), "{shown}");
    // The name is a text.
    assert!(shown.contains("&lt;img src=x onerror="), "{shown}");
    assert!(
        !shown.contains("<img") && !shown.contains("<title>broken-into"),
        "{shown}"
    );
    program.end();
}

#[test]
fn a_browser_shows_totals_of_rows_that_it_does_not_show() {
    if !skip::require(&[Need::program("chromium")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (program, _open) = more_than_is_shown();
    let url = format!("http://{}/", program.addr());
    let page = browse(folder.path(), &["--dump-dom"], &url);
    let (shown, _) = page.split_once("<script").expect("the script is last");
    let said = ["<dt>Open connections</dt><dd>1</dd>", "Addresses (500 of 502)"];
    for said in said {
        assert!(
            shown.contains(said),
            "{said}: {}",
            shown.get(..4000).unwrap_or(shown)
        );
    }
    program.end();
}

#[test]
fn a_browser_shows_it_dark_or_light() {
    if !skip::require(&[Need::program("chromium"), Need::program("python3")]) {
        return;
    }
    let words = [
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ];
    let program = Program::start(&words);
    let folder = tempfile::tempdir().expect("a folder");
    for (scheme, ground) in [(Scheme::Light, "246 247 248"), (Scheme::Dark, "20 24 27")] {
        let image = folder.path().join(format!("{scheme:?}.png"));
        let words = [
            scheme.option(),
            format!("--screenshot={}", image.display()),
            "--window-size=400,600".to_owned(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        browse(folder.path(), &words, &format!("http://{}/", program.addr()));
        assert_eq!(first_pixel(&image), ground);
    }
    program.end();
}
