//! A host without a sandbox: processes are children of the test, and nothing else is allowed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;

use async_trait::async_trait;
use blueprint_agent::tool::{
    Command, Effect, Fetch, Fetched, GitQuery, HostError, Process, Ran, RanEnd, ToolHost,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The host.
#[derive(Debug)]
pub(crate) struct DirectHost {
    workspace: PathBuf,
    secret: Option<String>,
    notes: Mutex<Vec<String>>,
    opened: Mutex<Vec<Vec<String>>>,
}

impl DirectHost {
    /// Works in a folder.
    pub(crate) fn new(workspace: impl Into<PathBuf>) -> Self {
        Self { workspace: workspace.into(), secret: None, notes: Mutex::default(), opened: Mutex::default() }
    }

    /// A text that nobody may see.
    pub(crate) fn hiding(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// What was noted.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    /// What was started.
    pub(crate) fn opened(&self) -> Vec<Vec<String>> {
        self.opened.lock().unwrap().clone()
    }
}

impl DirectHost {
    fn prepared(
        &self,
        program: &str,
        arguments: &[String],
        env: BTreeMap<String, String>,
    ) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.workspace)
            .envs(env)
            .current_dir(&self.workspace)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

fn no<T>() -> Result<T, HostError> {
    Err(HostError::Denied("not here".to_owned()))
}

#[async_trait]
impl ToolHost for DirectHost {
    fn workspace(&self) -> &str {
        self.workspace.to_str().unwrap()
    }

    fn file_tools(&self) -> Vec<String> {
        Vec::new()
    }

    async fn run(&self, command: Command, _: &CancellationToken) -> Result<Ran, HostError> {
        let (program, arguments) = command.argv.split_first().unwrap();
        let mut child = self.prepared(program, arguments, command.env).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feed = async move {
            // A command that does not want it ends without it.
            drop(stdin.write_all(&command.stdin).await);
        };
        let done =
            tokio::time::timeout(command.wall, async { tokio::join!(child.wait_with_output(), feed).0 });
        let Ok(output) = done.await else {
            return Ok(Ran { end: RanEnd::TimedOut, stdout: Vec::new(), stderr: Vec::new(), dropped: 0 });
        };
        let output = output.unwrap();
        let end = output.status.code().map_or(RanEnd::Signal(9), RanEnd::Exit);
        let hide = |bytes: Vec<u8>| self.redact(&String::from_utf8_lossy(&bytes)).into_bytes();
        Ok(Ran { end, stdout: hide(output.stdout), stderr: hide(output.stderr), dropped: 0 })
    }

    async fn open(
        &self,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        effect: Effect,
    ) -> Result<Process, HostError> {
        assert_eq!(effect, Effect::Destructive, "nobody knows what it does");
        self.opened.lock().unwrap().push(argv.clone());
        let (program, arguments) = argv.split_first().unwrap();
        let mut child = self
            .prepared(program, arguments, env)
            .spawn()
            .map_err(|error| HostError::Infra(error.to_string()))?;
        let kill = CancellationToken::new();
        let (stdin, stdout, stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (tell, ended) = oneshot::channel();
        let killed = kill.clone();
        drop(tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status,
                () = killed.cancelled() => {
                    drop(child.start_kill());
                    child.wait().await
                }
            };
            let code = status.ok().and_then(|status| status.code());
            let _ = tell.send(code.map_or(RanEnd::Signal(9), RanEnd::Exit));
        }));
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            ended,
            kill,
        })
    }

    async fn git(&self, _: GitQuery) -> Result<String, HostError> {
        no()
    }

    async fn fetch(&self, _: Fetch, _: &CancellationToken) -> Result<Fetched, HostError> {
        no()
    }

    async fn snapshot(&self) -> Result<Option<String>, HostError> {
        Ok(None)
    }

    fn redact(&self, text: &str) -> String {
        match &self.secret {
            Some(secret) => text.replace(secret, "[hidden]"),
            None => text.to_owned(),
        }
    }

    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.to_owned());
    }

    fn facts(&self) -> Value {
        json!({})
    }
}
