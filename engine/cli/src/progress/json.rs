//! Progress for programs: one JSON object a line on standard output. The form is documented in
//! `docs/events.md`.

use blueprint_core::run::State;
use blueprint_runtime::journal::{Entry, kind};
use blueprint_runtime::logs::Line;
use blueprint_runtime::shared::Observer;
use blueprint_sandbox::Stream;
use serde_json::json;

use crate::terminal;

#[derive(Debug)]
pub(crate) struct JsonStream {
    quiet: bool,
}

impl JsonStream {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet }
    }
}

impl Observer for JsonStream {
    fn journalled(&self, entry: &Entry, _: &State) {
        let line = json!({ "type": "event", "seq": entry.seq, "at_ms": entry.at_ms, "kind": kind(&entry.event), "event": entry.event });
        terminal::line(&line.to_string());
    }

    fn line(&self, node: &str, attempt: u32, line: &Line) {
        if !self.quiet {
            let stream = if line.stream == Stream::Stdout { "stdout" } else { "stderr" };
            let text = String::from_utf8_lossy(&line.text);
            let line =
                json!({ "type": "output", "node": node, "attempt": attempt, "stream": stream, "text": text });
            terminal::line(&line.to_string());
        }
    }
}
