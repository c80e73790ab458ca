//! Runs the commands of hooks on the host: without a shell, with only the variables that were named, in a process
//! group that is killed as a whole when nobody waits for it any more. The programs are those of a trusted
//! configuration; what they are told about is not.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::engine::{CommandRan, HookRunner, Question};

#[cfg(test)]
mod tests;

/// How much a command may write, in bytes, to each of its outputs.
const MOST_OUTPUT: u64 = 1 << 20;

/// Runs hooks on the host.
#[derive(Clone)]
pub struct HostRunner {
    /// The folder commands start in. Not one that a sandbox writes.
    pub folder: PathBuf,
    /// Reads a variable of the host by its name.
    pub variables: Arc<crate::model::Variables>,
}

impl fmt::Debug for HostRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRunner").field("folder", &self.folder).finish_non_exhaustive()
    }
}

#[async_trait]
impl HookRunner for HostRunner {
    async fn command(
        &self,
        argv: &[String],
        env: &BTreeSet<String>,
        stdin: &[u8],
    ) -> Result<CommandRan, String> {
        let (program, arguments) = argv.split_first().ok_or("it names no program")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder).env_clear();
        if let Some(path) = (self.variables)("PATH") {
            command.env("PATH", path);
        }
        for name in env {
            let value = (self.variables)(name).ok_or_else(|| format!("the variable {name} is not set"))?;
            command.env(name, value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let mut group = Group::of(child.map_err(|error| format!("`{program}` cannot be started: {error}"))?);
        let child = &mut group.child;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut input) = input {
                // Whoever does not want to hear it all is free to close its end.
                let _heard = input.write_all(stdin).await.is_ok();
            }
            Ok(())
        };
        let ((), stdout, stderr) = tokio::try_join!(feed, all(output), all(errors))?;
        let status = child.wait().await.map_err(|error| error.to_string())?;
        group.ended = true;
        Ok(CommandRan { code: status.code(), stdout, stderr })
    }

    async fn prompt(&self, _: Question<'_>) -> Result<String, String> {
        Err("no budget pays for a model here".to_owned())
    }
}

/// A child and all that it started. Killed when dropped, unless the child has ended and nobody holds its pipes.
struct Group {
    child: Child,
    id: Option<Pid>,
    ended: bool,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { child, id, ended: false }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id.filter(|_| !self.ended) {
            // A group that is gone already is as good as one that was killed.
            let _killed = kill_process_group(id, Signal::KILL).is_ok();
        }
    }
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let read = stream.take(MOST_OUTPUT + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| format!("its output cannot be read: {error}"))?;
    }
    if bytes.len() as u64 > MOST_OUTPUT {
        return Err(format!("it wrote more than {} KiB", MOST_OUTPUT >> 10));
    }
    Ok(bytes)
}
