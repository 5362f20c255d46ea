//! Pages in a real browser: `require(&[Need::program("chromium")])` first.

use std::path::Path;
use std::process::Command;

use crate::program;
use crate::wait::PATIENCE;

/// Prints the first pixel of an image. It needs no neighbour, whichever filter its line has (PNG, section 9).
const PIXEL: &str = "import sys, zlib, struct
data, at, packed = open(sys.argv[1], 'rb').read(), 8, b''
while at < len(data):
    size, kind = struct.unpack('>I4s', data[at:at + 8])
    packed += data[at + 8:at + 8 + size] if kind == b'IDAT' else b''
    at += size + 12
print(*zlib.decompress(packed)[1:4])
";

/// What a person has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on light ground.
    Light,
    /// Light text on dark ground.
    Dark,
}

impl Scheme {
    /// The option of the browser, by its own numbers of the schemes.
    #[must_use]
    pub fn option(self) -> String {
        let number = match self {
            Self::Dark => 0,
            Self::Light => 1,
        };
        format!("--blink-settings=preferredColorScheme={number}")
    }
}

/// Runs a browser without a window, whose files go into the folder, and gives what it prints. It sees three seconds of the
/// page's time, which are over as soon as nothing is left to wait for.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn browse(folder: &Path, words: &[&str], url: &str) -> String {
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--virtual-time-budget=3500"])
        .args(words)
        .arg(url)
        .env("HOME", folder);
    let output = program::output(&mut command, PATIENCE * 3);
    assert!(output.status.success(), "{}", output.stderr);
    output.text()
}

/// Red, green and blue of the first pixel of an image, which needs `python3`.
///
/// # Panics
/// When it cannot be read.
#[must_use]
#[track_caller]
pub fn first_pixel(image: &Path) -> String {
    let mut python = Command::new("python3");
    let output = program::output(python.args(["-c", PIXEL]).arg(image), PATIENCE);
    assert!(output.status.success(), "{}", output.stderr);
    output.text().trim().to_owned()
}
