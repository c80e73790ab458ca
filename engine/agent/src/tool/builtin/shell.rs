//! `shell`: a command line of the model, run by bash in the sandbox. The text is one argument of bash and part of no
//! line of ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{outside, spec, text};
use crate::tool::arguments::shown;
use crate::tool::{Command, Effect, HostError, Ran, RanEnd, Tool, ToolHost, ToolOutcome, ToolSpec};

/// How long a command may take if the model does not say.
const USUAL: Duration = Duration::from_mins(2);
/// What the sandbox needs beyond the time of a command, to stop it and hand over its output.
const SPARE: Duration = Duration::from_secs(15);
/// How much of each stream is kept from each of its ends, in bytes.
const KEEP: usize = 128 * 1024;

/// The tool.
#[derive(Debug)]
pub(super) struct Shell {
    spec: ToolSpec,
    longest: Duration,
}

impl Shell {
    pub(super) fn new(longest: Duration) -> Self {
        let longest = longest.max(Duration::from_secs(1));
        let usual = USUAL.min(longest).as_secs();
        let most = longest.as_secs();
        let spec = spec(
            "shell",
            Effect::Destructive,
            "Runs a command line with bash (-euo pipefail) in the sandbox and gives its exit code and output. \
             Nothing is kept between calls but files.",
            &json!({
                "command": {"type": "string", "minLength": 1, "maxLength": 65536},
                "cwd": {"type": "string", "maxLength": 4096,
                    "description": "Folder below the workspace. Default: the workspace."},
                "timeout": {"type": "integer", "minimum": 1, "maximum": most,
                    "description": format!("Seconds until it is stopped. Default: {usual}.")},
            }),
            &["command"],
        );
        Self { spec, longest }
    }

    fn time(&self, arguments: &Value) -> Duration {
        let asked = arguments.get("timeout").and_then(Value::as_u64).map_or(USUAL, Duration::from_secs);
        asked.min(self.longest)
    }
}

#[async_trait]
impl Tool for Shell {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn wall(&self, arguments: &Value) -> Duration {
        self.time(arguments) + SPARE
    }

    async fn call(
        &self,
        host: &dyn ToolHost,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let line = text(&arguments, "command").unwrap_or_default();
        if line.contains('\0') {
            return Ok(ToolOutcome::Failed("the command holds a NUL".to_owned()));
        }
        let cwd = text(&arguments, "cwd").filter(|cwd| !cwd.is_empty()).unwrap_or(".");
        if let Some(reason) = outside(cwd) {
            return Ok(ToolOutcome::Failed(format!("`{}` {reason}", shown(cwd, 200))));
        }
        // Without `--` a text that begins with `-` would be an option.
        let argv = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", "--", line];
        let time = self.time(&arguments);
        let command = Command {
            argv: argv.map(str::to_owned).to_vec(),
            env: BTreeMap::new(),
            cwd: cwd.to_owned(),
            stdin: Vec::new(),
            wall: time,
            keep: KEEP,
            effect: Effect::Destructive,
        };
        let ran = host.run(command, cancel).await?;
        Ok(match ran.end {
            // A command that says no has done its work: red tests are an answer.
            RanEnd::Exit(code) => ToolOutcome::Done(told(&format!("exit code {code}"), &ran)),
            RanEnd::Signal(signal) => ToolOutcome::Failed(told(&format!("ended by signal {signal}"), &ran)),
            RanEnd::NotStarted => ToolOutcome::Failed(told("bash could not be started here", &ran)),
            RanEnd::TimedOut => {
                ToolOutcome::Failed(told(&format!("stopped after {} s", time.as_secs()), &ran))
            }
            RanEnd::Limit => {
                ToolOutcome::Failed(told("stopped: it used more memory, or wrote more, than it may", &ran))
            }
        })
    }
}

fn told(end: &str, ran: &Ran) -> String {
    let mut out = end.to_owned();
    if ran.dropped > 0 {
        let _ = write!(out, "\n[{} bytes of output were dropped]", ran.dropped);
    }
    for (name, bytes) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if !bytes.is_empty() {
            let _ = writeln!(out, "\n--- {name}");
            out.push_str(&String::from_utf8_lossy(bytes));
        }
    }
    if ran.stdout.is_empty() && ran.stderr.is_empty() {
        out.push_str("\nno output");
    }
    out
}
