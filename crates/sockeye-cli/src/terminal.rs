//! The whole terminal for a view: taken when it opens, and given back as it was on every way out.
//!
//! In raw mode the terminal sends Ctrl-C as a key; signals that others send end the loop, and with it the view. A panic
//! gives the terminal back before it says what it has to say.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, sync_channel};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::{cursor, event, execute, queue, style, terminal};
use sockeye::event_loop::Remote;

use crate::output::escaped;

/// Keys that may wait until the loop comes to them.
const MAX_KEYS: usize = 64;

/// What was typed or done to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A character.
    Letter(char),
    /// Ctrl-C, Ctrl-D, Ctrl-\ or Escape.
    Quit,
    /// The window has another size.
    Resized,
}

/// Columns and lines of the terminal; what a terminal of old had where it does not say.
pub(crate) fn size() -> (usize, usize) {
    match terminal::size() {
        Ok((columns, lines)) if columns > 0 && lines > 0 => (columns.into(), lines.into()),
        _ => (80, 24),
    }
}

/// The terminal in raw mode with its other screen shown, until this is dropped.
#[derive(Debug)]
pub(crate) struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        // From here on dropping it gives the terminal back.
        let screen = Self(());
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            hook(info);
        }));
        execute!(
            io::stdout(),
            terminal::EnterAlternateScreen,
            // A line that is too wide after all must not push the others down.
            terminal::DisableLineWrap,
            cursor::Hide
        )?;
        Ok(screen)
    }

    /// Shows these lines, the first at the top. They are escaped here.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        // In one write, so that nobody sees half of it.
        let mut out = Vec::new();
        for (row, line) in (0u16..).zip(lines) {
            queue!(
                out,
                cursor::MoveTo(0, row),
                // Before the text: behind a full line the cursor still stands on its last character.
                terminal::Clear(terminal::ClearType::UntilNewLine),
                style::Print(escaped(line))
            )?;
        }
        let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        if usize::from(below) < size().1 {
            queue!(
                out,
                cursor::MoveTo(0, below),
                terminal::Clear(terminal::ClearType::FromCursorDown)
            )?;
        }
        let mut terminal = io::stdout().lock();
        terminal.write_all(&out)?;
        terminal.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// That it fails is no reason to do anything else: the terminal is gone then.
fn give_back() {
    let _ = execute!(
        io::stdout(),
        cursor::Show,
        terminal::EnableLineWrap,
        terminal::LeaveAlternateScreen
    );
    let _ = terminal::disable_raw_mode();
}

/// Reads keys on a thread of its own, which wakes the loop for each. The thread ends with the program, or when nobody takes
/// keys any more.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn keys(remote: Remote) -> io::Result<Receiver<Key>> {
    let (sender, receiver) = sync_channel(MAX_KEYS);
    std::thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                let Some(key) = key(&event) else { continue };
                if sender.send(key).is_err() {
                    return;
                }
                // A full queue wakes the loop all the same.
                let _ = remote.post(|_| {});
            }
            // A terminal that is gone sends nothing any more.
            let _ = sender.send(Key::Quit);
            let _ = remote.post(|_| {});
        })?;
    Ok(receiver)
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resized),
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char(letter) if key.modifiers.contains(KeyModifiers::CONTROL) => {
                matches!(letter, 'c' | 'd' | '\\' | '4').then_some(Key::Quit)
            }
            KeyCode::Char(letter) => Some(Key::Letter(letter)),
            _ => None,
        },
        _ => None,
    }
}
