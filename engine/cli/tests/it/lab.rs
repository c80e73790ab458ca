//! A place to try the program in: a temporary project, optionally a git repository, and an environment that holds
//! nothing of the machine's own. Never touches anything outside its folder.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing these tests wait for takes this long on a machine that works.
const DEADLINE: Duration = Duration::from_mins(1);

/// A project with its own home.
pub(crate) struct Lab {
    root: TempDir,
}

/// What the program said and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: ExitStatus,
    asked: String,
}

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    asked: String,
}

impl Lab {
    /// A project that is no git repository.
    pub(crate) fn new() -> Self {
        let root = TempDir::with_prefix("blueprint-it-").unwrap();
        for folder in ["project/blueprints", "home"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let lab = Self { root };
        lab.settings("");
        lab
    }

    /// A project that is a git repository with one commit.
    pub(crate) fn in_git() -> Self {
        let lab = Self::new();
        lab.git(&["init", "-q", "-b", "main"]);
        lab.write("README", "a project\n");
        lab.commit();
        lab
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// A place beside the project.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.project().join(".blueprint")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes the settings of the user. If they say nothing of tiers, all have the process sandbox, so that tests which are
    /// not about tiers need nothing else.
    pub(crate) fn settings(&self, text: &str) {
        let tiers = "[tiers]\ninternal = \"process\"\ngenerated = \"process\"\nuntrusted = \"process\"\n";
        let tiers = if text.contains("[tiers]") { "" } else { tiers };
        self.exact_settings(&format!("{text}\n{tiers}"));
    }

    /// Writes the settings of the user, and nothing else.
    pub(crate) fn exact_settings(&self, text: &str) {
        let folder = self.beside("home/.config/blueprint");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
    }

    /// Writes a blueprint: the nodes and what else is given, under a name.
    pub(crate) fn blueprint(&self, name: &str, text: &str) {
        self.write(
            &format!("blueprints/{name}/blueprint.toml"),
            &format!("schema = 1\nname = \"{name}\"\n{text}"),
        );
        if self.project().join(".git").exists() {
            self.commit();
        }
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Somebody",
                "-c",
                "user.email=somebody@example.org",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", path())
            .env("HOME", self.beside("home"))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commits everything but the state folder.
    pub(crate) fn commit(&self) {
        self.git(&["add", "-A", "--", ".", ":!.blueprint"]);
        self.git(&["commit", "-q", "-m", "state of the project"]);
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blueprint"));
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", path())
            .env("HOME", self.beside("home"))
            .env("USER", "ada")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn say(&self, args: &[&str]) -> Said {
        Running::start(self.command(args)).end()
    }

    /// Runs the program with more variables.
    pub(crate) fn say_with(&self, env: &[(&str, &str)], args: &[&str]) -> Said {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        Running::start(command).end()
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }

    /// The runs of the project, the newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.say(&["status", "--format", "json"]).ends(0).json().as_array().unwrap().clone()
    }

    /// The newest run.
    pub(crate) fn run(&self) -> String {
        self.runs().first().expect("there is a run")["id"].as_str().unwrap().to_owned()
    }

    /// The newest run, once there is one whose journal has begun.
    pub(crate) fn wait_for_run(&self) -> String {
        wait_until("a run begins", || {
            if !self.state().join("journal.db").exists() && !self.state().exists() {
                return None;
            }
            let runs = self.say(&["status", "--format", "json"]);
            if !runs.status.success() {
                return None;
            }
            let runs = runs.json();
            let first = runs.as_array()?.first()?.clone();
            (first["events"].as_u64()? > 0).then(|| first["id"].as_str().unwrap().to_owned())
        })
    }

    /// Where the nodes of a run stand.
    pub(crate) fn status(&self, run: &str) -> Value {
        self.say(&["status", run, "--format", "json"]).ends(0).json()
    }

    /// The phase of one node.
    pub(crate) fn phase(&self, run: &str, node: &str) -> String {
        node_of(&self.status(run), node)["phase"].as_str().unwrap().to_owned()
    }

    /// The events of a run, in order.
    pub(crate) fn events(&self, run: &str) -> Vec<Value> {
        self.say(&["show", run, "--format", "json"]).ends(0).json()["events"].as_array().unwrap().clone()
    }

    /// Everything about one node.
    pub(crate) fn show(&self, run: &str, node: &str) -> Value {
        self.say(&["show", run, node, "--format", "json"]).ends(0).json()
    }

    /// What a run changed.
    pub(crate) fn diff(&self, run: &str) -> String {
        self.say(&["diff", run]).ends(0).out
    }

    pub(crate) fn verify(&self, run: &str) {
        self.say(&["audit", "verify", run]).ends(0);
    }
}

/// Every file below a folder that holds `needle`.
pub(crate) fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![folder.to_path_buf()];
    while let Some(folder) = next.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                next.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                if bytes.windows(needle.len()).any(|window| window == needle) {
                    found.push(entry.path());
                }
            }
        }
    }
    found
}

/// The node of a `status`.
pub(crate) fn node_of<'v>(status: &'v Value, node: &str) -> &'v Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|known| known["node"] == node).unwrap_or_else(|| panic!("no node {node} in {status}"))
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").expect("the tests need git and a shell")
}

impl Said {
    /// Fails unless the program ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Whether the program was killed.
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    /// Fails unless standard error holds a text, whatever is done to align it.
    #[track_caller]
    pub(crate) fn mentions(self, text: &str) -> Self {
        assert!(plain(&self.err).contains(&plain(text)), "nothing about `{text}` in:\n{self}");
        self
    }

    /// Fails if any output holds a text.
    #[track_caller]
    pub(crate) fn conceals(self, text: &str) -> Self {
        assert!(!self.err.contains(text) && !self.out.contains(text), "`{text}` must not be in:\n{self}");
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }

    /// Standard output as a JSON value a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}\n{self}"))
        };
        self.out.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.asked, self.status, self.out, self.err
        )
    }
}

fn plain(text: &str) -> String {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let asked = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&out)),
            collect(child.stderr.take().unwrap(), Arc::clone(&err)),
        ];
        let asked = asked.split_once("target").map_or(asked.clone(), |(_, rest)| rest.to_owned());
        Self { child, out, err, readers, asked }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(self.pid()).unwrap(), signal).unwrap();
    }

    /// What was written to standard output so far.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    /// What was written to standard error so far.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until standard error holds a text.
    pub(crate) fn wait_for_err(&mut self, text: &str) {
        let started = Instant::now();
        while !plain(&self.err()).contains(text) {
            let over = self.is_over() && !plain(&self.err()).contains(text);
            assert!(
                !over && started.elapsed() < DEADLINE,
                "never said `{text}`:\n{}\n{}",
                self.out(),
                self.err()
            );
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Said {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > DEADLINE {
                drop(self.child.kill());
                panic!("{} does not end:\n{}\n{}", self.asked, self.out(), self.err());
            }
            std::thread::park_timeout(Duration::from_millis(2));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Said { out: self.out(), err: self.err(), status, asked: self.asked.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let seen = match from.fill_buf() {
                Ok([]) | Err(_) => return,
                Ok(bytes) => {
                    into.lock().unwrap().extend_from_slice(bytes);
                    bytes.len()
                }
            };
            from.consume(seen);
        }
    })
}

/// Looks again and again until there is an answer.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until no process works for a run any more. Without isolation a node outlives the program that was killed.
pub(crate) fn wait_for_orphans(run: &str) {
    let mark = format!("BLUEPRINT_RUN={run}");
    wait_until("no process of the run is left", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut environments = processes.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        (!environments
            .any(|environment| environment.split(|byte| *byte == 0).any(|set| set == mark.as_bytes())))
        .then_some(())
    });
}
