//! A host that runs commands as children of the test, in a temporary folder. The file tools are the real program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use blueprint_agent::model::ToolCall;
use blueprint_agent::tool::builtin::builtin;
use blueprint_agent::tool::{
    Admission, Calls, Command, Effect, Fetch, Fetched, GitQuery, HostError, Process, Ran, RanEnd, Tool,
    ToolHost, ToolOutcome, Toolbox,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

/// What no model may see.
pub(crate) const SECRET: &str = "s3cr3t-value-of-the-run";

/// The host, and everything it was asked.
#[derive(Debug)]
pub(crate) struct ProcessHost {
    folder: TempDir,
    /// Instead of our own file tools.
    pub(crate) file_tools: Option<Vec<String>>,
    /// What is answered to a request outside.
    pub(crate) fetched: Option<Fetched>,
    ran: Mutex<Vec<Command>>,
    asked: Mutex<Vec<GitQuery>>,
    notes: Mutex<Vec<String>>,
}

impl ProcessHost {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        Self {
            folder,
            file_tools: None,
            fetched: None,
            ran: Mutex::default(),
            asked: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// A path below the workspace.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// A path beside the workspace.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file there, with its folders.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.path(name), content.as_ref());
    }

    pub(crate) fn get(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn ran(&self) -> Vec<Command> {
        self.ran.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> Vec<GitQuery> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    /// Calls one of the built-in tools, by way of the dispatcher.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> ToolOutcome {
        let tools = builtin(Duration::from_mins(1));
        dispatch(&everything(tools), self, name, arguments).await.unwrap()
    }

    /// What a tool answered that did its work.
    pub(crate) async fn done(&self, name: &str, arguments: Value) -> String {
        match self.call(name, arguments).await {
            ToolOutcome::Done(text) => text,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// What a tool answered that did not.
    pub(crate) async fn failed(&self, name: &str, arguments: Value) -> String {
        match self.call(name, arguments).await {
            ToolOutcome::Failed(text) => text,
            other => panic!("{name}: {other:?}"),
        }
    }
}

pub(crate) fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A toolbox in which everything is allowed.
pub(crate) fn everything(tools: Vec<Arc<dyn Tool>>) -> Toolbox {
    let all = [Effect::Read, Effect::Write, Effect::Network, Effect::Destructive];
    Toolbox::new(tools, &["*".to_owned()], &all.into()).unwrap()
}

pub(crate) fn tool_call(name: &str, arguments: Value) -> ToolCall {
    ToolCall { id: "call-1".to_owned(), name: name.to_owned(), arguments }
}

/// Admits a call and makes it. What is refused is a failure in these words.
pub(crate) async fn dispatch(
    toolbox: &Toolbox,
    host: &ProcessHost,
    name: &str,
    arguments: Value,
) -> Result<ToolOutcome, HostError> {
    match toolbox.admit(&tool_call(name, arguments), &Calls::default()) {
        Admission::Admitted(admitted) => {
            toolbox.call(admitted, host, &|_| Vec::new(), &CancellationToken::new()).await
        }
        Admission::Refused(reason) => Ok(ToolOutcome::Failed(format!("refused: {reason}"))),
    }
}

/// The example beside this test.
fn file_tools() -> String {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/file_tools");
    assert!(program.exists(), "{} is not built: run the tests with the examples", program.display());
    program.to_str().unwrap().to_owned()
}

async fn read(mut stream: impl AsyncRead + Unpin, most: usize) -> (Vec<u8>, u64) {
    let (mut kept, mut dropped, mut buffer) = (Vec::new(), 0, vec![0; 64 * 1024]);
    loop {
        let size = stream.read(&mut buffer).await.unwrap();
        if size == 0 {
            return (kept, dropped);
        }
        let room = most.saturating_sub(kept.len()).min(size);
        kept.extend_from_slice(&buffer[..room]);
        dropped += (size - room) as u64;
    }
}

#[async_trait]
impl ToolHost for ProcessHost {
    fn workspace(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn file_tools(&self) -> Vec<String> {
        self.file_tools.clone().unwrap_or_else(|| vec![file_tools()])
    }

    async fn run(&self, command: Command, cancel: &CancellationToken) -> Result<Ran, HostError> {
        self.ran.lock().unwrap().push(command.clone());
        let (program, arguments) = command.argv.split_first().unwrap();
        let spawned = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(&command.env)
            .current_dir(self.path(&command.cwd))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let Ok(mut child) = spawned else {
            let nothing = Vec::new();
            return Ok(Ran { end: RanEnd::NotStarted, stdout: nothing.clone(), stderr: nothing, dropped: 0 });
        };
        let group = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let most = command.keep * 2;
        let work = async {
            // A program may end before it has read everything.
            drop(stdin.write_all(&command.stdin).await);
            drop(stdin);
            tokio::join!(read(stdout, most), read(stderr, most), child.wait())
        };
        tokio::pin!(work);
        let kill = || {
            let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_ok();
        };
        let mut late = false;
        let ((stdout, more), (stderr, and_more), status) = tokio::select! {
            ended = &mut work => ended,
            () = tokio::time::sleep(command.wall) => {
                late = true;
                kill();
                work.await
            }
            () = cancel.cancelled() => {
                kill();
                drop(work.await);
                return Err(HostError::Cancelled);
            }
        };
        let status = status.unwrap();
        let end = match (late, status.code()) {
            (true, _) => RanEnd::TimedOut,
            (false, Some(code)) => RanEnd::Exit(code),
            (false, None) => RanEnd::Signal(status.signal().unwrap()),
        };
        Ok(Ran { end, stdout, stderr, dropped: more + and_more })
    }

    async fn open(
        &self,
        _: Vec<String>,
        _: BTreeMap<String, String>,
        _: Effect,
    ) -> Result<Process, HostError> {
        Err(HostError::Denied("not here".to_owned()))
    }

    async fn git(&self, query: GitQuery) -> Result<String, HostError> {
        self.asked.lock().unwrap().push(query);
        Ok(String::new())
    }

    async fn fetch(&self, _: Fetch, _: &CancellationToken) -> Result<Fetched, HostError> {
        self.fetched.clone().ok_or_else(|| HostError::Denied("this node reaches nobody".to_owned()))
    }

    async fn snapshot(&self) -> Result<Option<String>, HostError> {
        Ok(None)
    }

    fn redact(&self, text: &str) -> String {
        text.replace(SECRET, "[hidden]")
    }

    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.to_owned());
    }

    fn facts(&self) -> Value {
        json!({})
    }
}
