//! Progress as plain lines, each with the node in front: for logs of CI and for pipes.

use std::sync::Arc;

use blueprint_core::graph::Program;
use blueprint_core::run::State;
use blueprint_runtime::journal::Entry;
use blueprint_runtime::logs::Line;
use blueprint_runtime::shared::Observer;
use blueprint_runtime::start::OpenedRun;

use super::words::{event_line, phase_mark};
use crate::terminal;

#[derive(Debug)]
pub(crate) struct Lines {
    width: usize,
    quiet: bool,
}

impl Lines {
    pub(super) fn new(program: &Arc<Program>, id: &str, quiet: bool) -> Self {
        let width = program.root().nodes.iter().map(|node| node.name.len()).max().unwrap_or(0).min(24);
        if !quiet {
            terminal::error_line(&format!("run {id} of {}", program.name));
        }
        Self { width, quiet }
    }

    pub(super) fn replay(&self, opened: &OpenedRun) {
        if self.quiet {
            return;
        }
        let ended = opened.state.instances().filter(|(_, instance)| instance.phase.is_settled()).count();
        terminal::error_line(&format!("{ended} nodes have come to an end before"));
    }
}

impl Observer for Lines {
    fn journalled(&self, entry: &Entry, state: &State) {
        if self.quiet {
            return;
        }
        if let Some((node, phase, text)) = event_line(&entry.event, state) {
            // No-op pauses of large graphs would only be noise.
            let (mark, style) = phase_mark(phase);
            terminal::error_line(&format!(
                "{style}{mark}{style:#} {node:width$}  {text}",
                width = self.width
            ));
        }
    }

    fn line(&self, node: &str, _: u32, line: &Line) {
        if !self.quiet {
            let text = terminal::clean_bytes(&line.text);
            terminal::error_line(&format!("  {node:width$} | {text}", width = self.width));
        }
    }
}
