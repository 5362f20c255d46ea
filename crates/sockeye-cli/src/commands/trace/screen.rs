//! `sockeye trace --watch`: the figures on the terminal, round after round, until a key ends it.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sockeye::event_loop::EventLoop;
use sockeye::probe::WatchEvent;

use super::table::{self, Figures, Row};
use super::watch::{self, Watching};
use super::{Arguments, flow_name, method_name};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::probing;
use crate::reverse::ReverseNames;
use crate::signals::stop_on_every_signal;
use crate::terminal::{self, Key, Screen};

/// The shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
const KEYS: &str = "q quit  p pause  space resume  r reset  d display  n names  ? help";
const HELP: [&str; 12] = [
    "q          quit, and print the table",
    "p          pause: send nothing",
    "space      resume",
    "r          reset: begin all figures anew",
    "d          display: times, jitter and percentiles, sparks",
    "n          names or addresses",
    "? or h     this help",
    "",
    "Times are milliseconds. A probe is lost when its timeout has passed; what is in flight is not counted.",
    "Jitter is the mean difference of neighbouring times; rtp is that of RFC 3550.",
    "Loss at a router alone is its limit on errors: only loss that all hops behind it share is loss of packets.",
    "Sparks: one for each of the last probes, × is a lost one, · one in flight.",
];

/// What a key does to the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Quit,
    Pause(bool),
    Reset,
    /// The view alone has changed.
    Draw,
}

/// What is shown, and how.
#[derive(Debug)]
struct View {
    title: String,
    rows: Vec<Row>,
    rounds: u32,
    figures: Figures,
    names: bool,
    paused: bool,
    help: bool,
}

impl View {
    /// What a key means; `None` where it means nothing.
    fn key(&mut self, key: Key) -> Option<Action> {
        let Key::Letter(letter) = key else {
            return Some(if key == Key::Quit {
                Action::Quit
            } else {
                Action::Draw
            });
        };
        match letter {
            'q' | 'Q' => return Some(Action::Quit),
            'p' | ' ' => return Some(Action::Pause(letter == 'p')),
            'r' => return Some(Action::Reset),
            'd' => self.figures = self.figures.next(),
            'n' => self.names = !self.names,
            '?' | 'h' => self.help = !self.help,
            _ if self.help => self.help = false,
            _ => return None,
        }
        Some(Action::Draw)
    }

    /// The lines of a terminal of this size, no more and no wider.
    fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let state = if self.paused {
            "paused".to_owned()
        } else {
            format!("round {}", self.rounds)
        };
        let mut lines = vec![format!("{}, {state}", self.title), KEYS.to_owned()];
        if self.help {
            lines.push(String::new());
            lines.extend(HELP.map(str::to_owned));
        } else {
            lines.extend(table::lines(&self.rows, self.figures, Some(width)));
        }
        if lines.len() > height {
            let hidden = lines.len() + 1 - height;
            lines.truncate(height.saturating_sub(1));
            lines.push(format!("... {hidden} more lines"));
            lines.truncate(height);
        }
        for line in &mut lines {
            if line.chars().count() > width {
                *line = line.chars().take(width).collect();
            }
        }
        lines
    }
}

/// Watches until a key or a signal ends it, and prints the table.
///
/// # Errors
/// When stdout is no terminal, the name has no address, or the system does not allow the method.
pub(super) fn watch(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    if !io::stdout().is_terminal() {
        return Err(Failure::usage(
            "--watch draws on a terminal, and stdout is none: --report COUNT prints the same figures once",
        ));
    }
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_every_signal(&mut events).context("take signals")?;
    let mut watching = Watching::begin(events, arguments, None)?;
    let mut names = ReverseNames::new(!arguments.numeric);
    let mut view = View {
        title: format!(
            "trace to {} ({}), {} {}, {}",
            arguments.host,
            watching.destination.ip(),
            method_name(watching.method),
            flow_name(arguments),
            watching.mode
        ),
        rows: Vec::new(),
        rounds: 0,
        figures: Figures::default(),
        names: !arguments.numeric,
        paused: false,
        help: false,
    };
    let screen = Screen::open().context("take the terminal")?;
    let shown = show(&mut watching, &mut view, &mut names, screen);
    // The terminal is as it was by now.
    shown?;
    let fault = watching.take_fault();
    let exit = watch::end(watching.watch()?, &names, true, output)?;
    probing::given_up(fault).map(|()| exit)
}

/// Draws and takes keys until one ends it. The terminal is given back when it returns.
fn show(
    watching: &mut Watching,
    view: &mut View,
    names: &mut ReverseNames,
    mut screen: Screen,
) -> anyhow::Result<()> {
    let keys = terminal::keys(watching.events.remote()).context("read keys")?;
    let mut drawn: Option<Instant> = None;
    let mut stale = true;
    loop {
        let rest = drawn.map_or(Duration::ZERO, |drawn| REDRAW.saturating_sub(drawn.elapsed()));
        if stale && rest.is_zero() {
            redraw(watching, view, names, &mut screen)?;
            drawn = Some(Instant::now());
            stale = false;
        }
        let wait = stale.then_some(rest);
        watching.events.turn(wait).context("run the event loop")?;
        while let Some(event) = watching.inbox.take() {
            stale = true;
            if let WatchEvent::Answer { from, .. } = event {
                names.ask(&mut watching.events, from);
            }
        }
        names.take(&mut watching.events);
        while let Ok(key) = keys.try_recv() {
            match view.key(key) {
                Some(Action::Quit) => return Ok(()),
                Some(Action::Pause(paused)) => watching.watch()?.pause(paused),
                Some(Action::Reset) => watching.watch()?.reset(),
                Some(Action::Draw) => {}
                None => continue,
            }
            // A key is seen at once.
            (stale, drawn) = (true, None);
        }
        if watching.events.is_stopping() {
            return Ok(());
        }
    }
}

fn redraw(
    watching: &mut Watching,
    view: &mut View,
    names: &mut ReverseNames,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let watch = watching.watch()?;
    (view.rounds, view.paused) = (watch.rounds(), watch.is_paused());
    let named = view.names;
    view.rows = table::rows(watch, |ip| match names.name(ip).filter(|_| named) {
        Some(name) => name.to_owned(),
        None => ip.to_string(),
    });
    if named {
        // Names may have been switched on just now.
        let addresses: Vec<_> = watch
            .hops()
            .flat_map(|(_, hop)| hop.paths())
            .map(|path| path.address)
            .collect();
        names.want();
        for address in addresses {
            names.ask(&mut watching.events, address);
        }
    }
    let (width, height) = terminal::size();
    screen
        .draw(&view.lines(width, height))
        .context("draw on the terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            title: "trace to host (192.0.2.1), icmp paris, raw socket".to_owned(),
            rows: vec![
                Row {
                    number: 1,
                    hosts: vec!["192.0.2.1".to_owned()],
                    hop: sockeye::probe::Hop::default(),
                };
                10
            ],
            rounds: 3,
            figures: Figures::default(),
            names: true,
            paused: false,
            help: false,
        }
    }

    #[test]
    fn keys_are_those_of_mtr() {
        let mut view = view();
        assert_eq!(view.key(Key::Letter('p')), Some(Action::Pause(true)));
        assert_eq!(view.key(Key::Letter(' ')), Some(Action::Pause(false)));
        assert_eq!(view.key(Key::Letter('r')), Some(Action::Reset));
        assert_eq!(view.key(Key::Letter('x')), None);
        for figures in [Figures::Jitter, Figures::Sparks, Figures::Times] {
            assert_eq!(view.key(Key::Letter('d')), Some(Action::Draw));
            assert_eq!(view.figures, figures);
        }
        view.key(Key::Letter('n'));
        assert!(!view.names);
        view.key(Key::Letter('?'));
        assert!(view.lines(100, 30).iter().any(|line| line.starts_with("space")));
        assert_eq!(
            view.key(Key::Letter('x')),
            Some(Action::Draw),
            "any key leaves the help"
        );
        assert_eq!(view.key(Key::Letter('q')), Some(Action::Quit));
        assert_eq!(view.key(Key::Quit), Some(Action::Quit));
    }

    #[test]
    fn the_title_says_the_round_or_that_there_is_a_pause() {
        let mut view = view();
        assert!(view.lines(100, 30)[0].ends_with("round 3"));
        view.paused = true;
        assert!(view.lines(100, 30)[0].ends_with("paused"));
    }

    #[test]
    fn it_fits_into_every_terminal() {
        for help in [false, true] {
            let view = View { help, ..view() };
            for (width, height) in [(0, 0), (1, 1), (20, 3), (80, 24), (300, 100)] {
                let lines = view.lines(width, height);
                assert!(lines.len() <= height, "{} lines of {height}", lines.len());
                assert!(lines.iter().all(|line| line.chars().count() <= width));
            }
        }
        assert_eq!(view().lines(80, 8)[7], "... 6 more lines");
    }
}
