//! A terminal of tmux with a shell in it: what is on its screen, and whether a program has left it as it was.

use std::process::Command;

use sockeye_tests::netns::Namespace;
use sockeye_tests::program;
use sockeye_tests::wait::{self, PATIENCE};

/// A terminal of 100 by 30, with a shell in a namespace.
pub struct Terminal {
    folder: tempfile::TempDir,
    socket: String,
}

impl Terminal {
    pub fn open(namespace: &Namespace) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("tmux").to_string_lossy().into_owned();
        let terminal = Self { folder, socket };
        let mut command = namespace.command("tmux");
        command.args([
            "-S",
            &terminal.socket,
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
        ]);
        command.env("TERM", "screen").env_remove("TMUX").args(["sh"]);
        let output = program::output(&mut command, PATIENCE);
        assert!(output.status.success(), "{}", output.stderr);
        // Shells set their own at the start.
        terminal.type_keys(&["PS1='ready> '; clear", "Enter"]);
        terminal.until("a prompt", |screen| screen.trim_end() == "ready>");
        terminal
    }

    pub fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).args(words);
        program::output(&mut command, PATIENCE).text()
    }

    pub fn type_keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"][..], keys].concat());
    }

    pub fn until(&self, what: &str, accept: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            screen = self.tmux(&["capture-pane", "-p"]);
            if accept(&screen) {
                return screen;
            }
        }
        panic!("{what}: not within {PATIENCE:?}:\n{screen}")
    }

    /// What the terminal is set to, by stty.
    pub fn settings(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        let shown = path.to_string_lossy();
        self.type_keys(&[&format!("stty -a > {shown}.new; mv {shown}.new {shown}"), "Enter"]);
        wait::value("the settings", PATIENCE, || std::fs::read_to_string(&path).ok())
    }

    /// Starts a watch, its pid in a file, and waits until it shows all of these.
    pub fn watch(&self, words: &str, shown: &[String]) -> u32 {
        let path = self.folder.path().join("pid");
        let _ = std::fs::remove_file(&path);
        let program = program::sockeye().to_string_lossy();
        let command = format!(
            "sh -c 'echo $$ > {}; exec {program} trace --watch {words}'",
            path.to_string_lossy()
        );
        self.type_keys(&[&command, "Enter"]);
        self.until("all hops", |screen| {
            screen.contains("q quit") && shown.iter().all(|hop| screen.contains(hop))
        });
        let pid = std::fs::read_to_string(&path).expect("a pid");
        pid.trim().parse().expect("a number")
    }

    /// It has ended with its table, and left the terminal as it was.
    pub fn is_as_before(&self, settings: &str, round: &str) {
        self.until("the table and a prompt", |screen| {
            screen.contains("hops away")
                && screen.trim_end().ends_with("ready>")
                && !screen.contains("q quit")
        });
        let flags = self.tmux(&[
            "display-message",
            "-p",
            "#{alternate_on} #{cursor_flag} #{wrap_flag}",
        ]);
        assert_eq!(flags.trim(), "0 1 1", "{round}: other screen, cursor, wrap");
        assert_eq!(self.settings(round), settings, "{round}");
        self.type_keys(&["clear", "Enter"]);
        self.until("a clear screen", |screen| !screen.contains("hops away"));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
