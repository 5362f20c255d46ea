//! Runs the transcripts of a chapter: a network namespace for each section, servers that end with it, and what differs from the book.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

use crate::chapter::{Chapter, Piece};
use crate::compare;

/// Names a folder of programs that are built already, as `target/debug/examples` is after `cargo build --examples`.
const EXAMPLES: &str = "SOCKEYE_EXAMPLES";
/// Set to `overwrite`, what was printed is written into the chapter.
const VARIABLE: &str = "BOOK";
/// What Ctrl-C sends; signal(7).
const SIGINT: i32 = 2;
/// What `sockeye sockets` adds where it may not look at the processes of other users: no matter of the book.
const ASIDE: &str = "sockeye: the sockets of ";
/// The line of a server's transcript at which it is stopped.
const INTERRUPT: &str = "^C";

/// Stands in for cargo: what the test has built already is started.
const CARGO: &str = r#"#!/bin/sh
if [ "$1 $2 $3 $5" != "run -q -p --example" ]; then
    echo "the book runs programs by: cargo run -q -p PACKAGE --example NAME -- ARGUMENTS"
    exit 127
fi
program=EXAMPLES/$6
shift 6
[ "$1" != -- ] || shift
exec "$program" "$@"
"#;

/// Runs every transcript of a chapter.
///
/// # Panics
/// When one prints something else than the chapter says.
pub(crate) fn run(chapter: &Chapter) {
    let pieces = chapter.pieces();
    let is_console =
        |piece: &Piece| matches!(piece, Piece::Block { info, .. } if info.starts_with("console"));
    if !pieces.iter().any(is_console) || !skip::require(&needs(&pieces)) {
        return;
    }
    let folder = Folder::new(chapter);
    let mut stage = Stage {
        chapter,
        folder,
        scene: None,
        edits: Vec::new(),
        faults: Vec::new(),
    };
    for piece in &pieces {
        match piece {
            Piece::Heading { .. } => stage.end_scene(),
            Piece::Comment { line, word, text } if word == "run" => stage.prepare(*line, text),
            Piece::Block { line, info, body } if info == "console,server" => stage.serve(*line, body),
            Piece::Block { line, info, body } if info == "console" => stage.commands(*line, body),
            Piece::Block { line, info, .. } if info.starts_with("console") => {
                stage.faults.push(format!(
                    "{}: {info}: console or console,server",
                    chapter.at(*line)
                ));
            }
            _ => {}
        }
    }
    stage.end_scene();
    stage.finish();
}

fn needs(pieces: &[Piece]) -> Vec<Need> {
    let named = pieces.iter().filter_map(|piece| match piece {
        Piece::Comment { word, text, .. } if word == "needs:" => Some(text.split_whitespace()),
        _ => None,
    });
    // A need has a static name; there are a handful in a test process.
    let named = named.flatten().map(|name| Need::program(name.to_owned().leak()));
    [Need::Namespaces, Need::program("timeout")]
        .into_iter()
        .chain(named)
        .collect()
}

/// Where the commands of a chapter run.
struct Folder {
    temporary: tempfile::TempDir,
}

impl Folder {
    fn new(chapter: &Chapter) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Self { temporary };
        let examples = folder.below("examples");
        for made in [
            &examples,
            &folder.below("bin"),
            &folder.below("work"),
            &folder.below("home"),
        ] {
            fs::create_dir(made).unwrap();
        }
        let programs = chapter.programs();
        for package in programs.chunk_by(|one, other| one.0 == other.0) {
            let ready = ready(package);
            for (_, name) in package {
                symlink(ready.join(name), examples.join(name)).unwrap();
            }
        }
        let cargo = folder.below("bin/cargo");
        fs::write(&cargo, CARGO.replace("EXAMPLES", &examples.to_string_lossy())).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(program::sockeye(), folder.below("bin/sockeye")).unwrap();
        symlink(env!("CARGO_MANIFEST_DIR"), folder.below("work/docs")).unwrap();
        folder
    }

    fn below(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }
}

/// The folder where these programs of one package are, built if need be: all by one cargo.
fn ready(programs: &[(String, String)]) -> PathBuf {
    if let Some(ready) = std::env::var_os(EXAMPLES) {
        return PathBuf::from(ready);
    }
    let (package, first) = &programs[0];
    let names = programs.iter().map(|(_, name)| name);
    let selection: Vec<&str> = names.flat_map(|name| ["--example", name]).collect();
    let built = program::build(package, &selection, first);
    built.parent().unwrap().to_owned()
}

/// A section that runs.
struct Scene {
    namespace: Namespace,
    servers: Vec<Server>,
    /// Last, because the namespace is made with its privileges.
    _world: World,
}

/// A server, and the place in the chapter of what it prints.
struct Server {
    running: Running,
    script: String,
    output: PathBuf,
    line: usize,
    expected: Vec<String>,
}

struct Stage<'a> {
    chapter: &'a Chapter,
    folder: Folder,
    scene: Option<Scene>,
    /// Lines to be written anew: the first one, how many, and the new ones.
    edits: Vec<(usize, usize, Vec<String>)>,
    faults: Vec<String>,
}

impl Stage<'_> {
    fn scene(&mut self) -> &mut Scene {
        self.scene.get_or_insert_with(|| {
            let world = World::new();
            let namespace = world.namespace();
            Scene {
                namespace,
                servers: Vec::new(),
                _world: world,
            }
        })
    }

    /// A shell inside that ends after a while, with all that it started.
    fn shell(&mut self, script: &str, limit: Duration) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:/usr/sbin:/sbin", self.folder.below("bin").display());
        let (home, work) = (self.folder.below("home"), self.folder.below("work"));
        let mut command = self.scene().namespace.command("timeout");
        command
            .args(["-s", "KILL", &limit.as_secs().to_string(), "sh", "-c", script])
            .envs([
                ("PATH", path.as_str()),
                ("LC_ALL", "C"),
                ("COLUMNS", "100"),
                ("NO_COLOR", "1"),
            ])
            .env("HOME", home)
            .current_dir(work);
        command
    }

    /// Runs a comment's script.
    fn prepare(&mut self, line: usize, script: &str) {
        let mut command = self.shell(&format!("exec 2>&1\nset -e\n{script}"), PATIENCE);
        let output = program::output(&mut command, 2 * PATIENCE);
        let (at, text) = (self.chapter.at(line), output.text());
        assert!(output.status.success(), "{at}: {}: {text}", output.status);
    }

    /// Runs the commands of a block, one after another.
    fn commands(&mut self, line: usize, body: &[String]) {
        for command in self.chapter.commands(line, body) {
            let at = self.chapter.at(command.line - 1);
            assert!(
                !command.script.ends_with('&'),
                "{at}: a command that goes on is a `console,server`"
            );
            // Through a file: a pipe would be held open by whatever the command leaves behind.
            let file = self.folder.below("printed");
            let script = format!("exec >{} 2>&1\n{}", file.display(), command.script);
            let output = program::output(&mut self.shell(&script, PATIENCE), 2 * PATIENCE);
            let mut printed = lines(&file);
            printed.retain(|line| !line.starts_with(ASIDE));
            if matches!(output.status.code(), None | Some(137)) {
                printed.push(format!("(not ended within {PATIENCE:?})"));
            }
            self.judge(command.line, &command.script, &command.expected, printed);
        }
    }

    /// Starts a server and waits for its first line.
    fn serve(&mut self, line: usize, body: &[String]) {
        let commands = self.chapter.commands(line, body);
        let at = self.chapter.at(line);
        let [command] = &commands[..] else {
            panic!("{at}: a server's block holds one command");
        };
        assert!(
            !command.expected.is_empty(),
            "{at}: a server prints a line once it listens"
        );
        let output = self.folder.below(&format!("server-{line}"));
        let script = format!("exec >{} 2>&1\nexec {}", output.display(), command.script);
        let mut running = Running::start(&mut self.shell(&script, 20 * PATIENCE));
        wait::until(&format!("{at}: the first line of the server"), PATIENCE, || {
            !lines(&output).is_empty() || !running.is_running()
        });
        let server = Server {
            running,
            script: command.script.clone(),
            output,
            line: command.line,
            expected: command.expected.clone(),
        };
        self.scene().servers.push(server);
    }

    /// Ends the servers of a section and looks at what they have printed.
    fn end_scene(&mut self) {
        let Some(mut scene) = self.scene.take() else {
            return;
        };
        for mut server in scene.servers.drain(..) {
            let interrupt = server.expected.iter().position(|line| line == INTERRUPT);
            let before = &server.expected[..interrupt.unwrap_or(server.expected.len())];
            // Whether they came is judged below; here the server only has the time for them.
            let late = std::time::Instant::now() + PATIENCE;
            while lines(&server.output).len() < compare::least(before)
                && server.running.is_running()
                && std::time::Instant::now() < late
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            let so_far = lines(&server.output).len();
            if server.running.is_running() {
                server.running.signal(SIGINT);
            }
            server.running.wait(PATIENCE);
            let mut printed = lines(&server.output);
            // What comes after Ctrl-C stands below it in the book, or there is nothing.
            if interrupt.is_some() || printed.len() > so_far {
                printed.insert(so_far.min(printed.len()), INTERRUPT.to_owned());
            }
            self.judge(server.line, &server.script, &server.expected, printed);
        }
    }

    fn judge(&mut self, line: usize, script: &str, expected: &[String], printed: Vec<String>) {
        if compare::is_same(expected, &printed) {
            return;
        }
        let at = self.chapter.at(line.saturating_sub(1));
        let sides = compare::side_by_side(expected, &printed);
        self.faults.push(format!("{at}: $ {script}\n{sides}"));
        self.edits.push((line, expected.len(), printed));
    }

    fn finish(mut self) {
        if self.faults.is_empty() {
            return;
        }
        if std::env::var(VARIABLE).is_ok_and(|value| value == "overwrite") {
            overwrite(self.chapter, &mut self.edits);
        }
        panic!("\n{}", self.faults.join("\n"));
    }
}

/// Writes what was printed into the chapter, from its end to its beginning, so that no edit moves another.
fn overwrite(chapter: &Chapter, edits: &mut [(usize, usize, Vec<String>)]) {
    edits.sort_by_key(|(line, ..)| std::cmp::Reverse(*line));
    let mut text = chapter.lines.clone();
    for (line, count, printed) in edits {
        text.splice(*line..*line + *count, printed.iter().cloned());
    }
    fs::write(&chapter.path, text.join("\n") + "\n").unwrap();
}

/// The whole lines of a file so far.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_wrong_transcript_is_found_and_a_right_one_is_not() {
    if !skip::require(&needs(&[])) {
        return;
    }
    let chapter = |server: &str| {
        Chapter {
        name: "none".to_owned(),
        path: std::env::temp_dir().join("sockeye-book-none.md"), // written with BOOK=overwrite
        lines: format!(
            "# One\n<!-- run\necho here >file\n-->\n```console\n$ cat file; ls docs/Cargo.toml >&2\nhere\ndocs/Cargo.toml\n```\n\
             ```console,server\n$ sh -c 'trap \"echo end; exit\" INT; echo up; while :; do read x; done'\n{server}\n```\n\
             ```console\n$ ip -br link | cut -c-3\nlo\n$ false; echo \"status $?\"\nstatus 1\n```\n"
        )
        .lines()
        .map(str::to_owned)
        .collect(),
    }
    };
    run(&chapter("up\n^C\nend"));
    for wrong in ["up", "down\n^C\nend"] {
        let found = std::panic::catch_unwind(|| run(&chapter(wrong)));
        assert!(found.is_err(), "{wrong}");
    }
}
