//! Opening a capture: a file, or stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use sockeye::link::capture::{CaptureError, Reader};

use crate::privileges;

/// A capture being read.
pub(super) type Capture = Reader<Box<dyn Read>>;

/// Opens a file (`-` is stdin), gives up privileges, and looks at its first bytes.
pub(super) fn open(path: &Path) -> anyhow::Result<Capture> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("open {}", path.display()))?)
    };
    privileges::drop_all()?;
    Reader::new(source).map_err(|error| match error {
        CaptureError::TooShort | CaptureError::Unknown => anyhow!("{} is {error}", path.display()),
        other => anyhow::Error::from(other).context(format!("read {}", path.display())),
    })
}
