//! An agent that is a command: the prompt goes in, its output is the transcript, and its outputs are the file it was
//! told of or the end of what it wrote.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::answer::outputs;
use super::transcript::{Heard, Transcript};
use super::{End, Outcome, Work};
use crate::tool::{Command, Effect, HostError, Ran, RanEnd, ToolHost};

/// The variable that names the file for the outputs.
const OUTPUT: &str = "BLUEPRINT_OUTPUT";

/// The largest file of outputs, in bytes.
const LARGEST_OUTPUT: usize = 1 << 20;

/// Time to read it.
const READ_TIME: Duration = Duration::from_secs(10);

pub(super) async fn run(
    work: &Work,
    host: &dyn ToolHost,
    cancel: &CancellationToken,
) -> Result<Outcome, HostError> {
    // Beside the workspace, so that it never becomes a part of the work.
    let number = std::hash::RandomState::new().build_hasher().finish();
    let file = format!("/tmp/blueprint-output-{number:016x}.json");
    let mut env = work.env.clone();
    env.insert(OUTPUT.to_owned(), file.clone());
    let command = Command {
        argv: work.command.clone(),
        env,
        cwd: String::new(),
        stdin: work.prompt.clone().into_bytes(),
        wall: work.wall,
        keep: work.keep / 2,
        effect: Effect::Destructive,
    };
    let ran = host.run(command, cancel).await?;
    let written = read(&file, host, cancel).await?;
    let said = String::from_utf8_lossy(&ran.stdout);
    let mut transcript = Transcript::new(work.keep.saturating_mul(2));
    transcript.hear(Heard::Message(said.clone().into_owned()));
    if !ran.stderr.is_empty() {
        transcript.hear(Heard::Complaint(String::from_utf8_lossy(&ran.stderr).into_owned()));
    }
    let (outputs, unreadable) = match written {
        // A file that was written is the answer, even if it makes no sense.
        Some(text) => match serde_json::from_slice(&text).ok().filter(serde_json::Value::is_object) {
            Some(value) => (Some(value), false),
            None => (None, true),
        },
        None => (outputs(&said), false),
    };
    let end = match ended(&ran) {
        End::Finished if unreadable => End::Broken(format!("the file of {OUTPUT} is not one JSON object")),
        end => end,
    };
    let (transcript, truncated) = transcript.finish(host);
    Ok(Outcome { end, outputs, transcript, truncated: truncated || ran.dropped > 0, claimed_micros: None })
}

fn ended(ran: &Ran) -> End {
    match ran.end {
        RanEnd::Exit(0) => End::Finished,
        RanEnd::Exit(code) => End::GaveUp(format!("it returned {code}")),
        RanEnd::Signal(signal) => End::Broken(format!("signal {signal} ended it")),
        RanEnd::NotStarted => End::Broken("the program was not found or could not be started".to_owned()),
        RanEnd::TimedOut => End::TimedOut,
        RanEnd::Limit => End::Broken("it used more memory or wrote more than it may".to_owned()),
    }
}

/// The file of outputs, if it was written, and away with it.
async fn read(
    file: &str,
    host: &dyn ToolHost,
    cancel: &CancellationToken,
) -> Result<Option<Vec<u8>>, HostError> {
    // Where the agent wrote is where only a command that may write looks.
    let script = "test -f \"$1\" && cat -- \"$1\" && rm -f -- \"$1\"";
    let command = Command {
        argv: ["sh", "-c", script, "sh", file].map(str::to_owned).to_vec(),
        env: std::collections::BTreeMap::new(),
        cwd: String::new(),
        stdin: Vec::new(),
        wall: READ_TIME,
        keep: LARGEST_OUTPUT,
        effect: Effect::Destructive,
    };
    let ran = host.run(command, cancel).await?;
    match ran.end {
        RanEnd::Exit(0) => Ok(Some(ran.stdout)),
        RanEnd::Exit(1) => Ok(None),
        end => Err(HostError::Sandbox(format!("the outputs of the agent cannot be read: {end:?}"))),
    }
}
