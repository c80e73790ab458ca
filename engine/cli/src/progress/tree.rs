//! Progress as a live tree: a line for each node that works, with a spinner, its time and its last line of
//! output; nodes that came to an end scroll by above.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blueprint_core::graph::Program;
use blueprint_core::run::{Command, Event, Phase, State};
use blueprint_runtime::journal::Entry;
use blueprint_runtime::logs::Line;
use blueprint_runtime::shared::Observer;
use blueprint_runtime::start::OpenedRun;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::words::{event_line, phase_mark};
use crate::terminal;

#[derive(Debug)]
pub(crate) struct Tree {
    all: MultiProgress,
    width: usize,
    total: ProgressBar,
    working: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Tree {
    pub(super) fn new(program: &Arc<Program>, id: &str) -> Self {
        let all = MultiProgress::new();
        let nodes = program.root().nodes.len();
        let width = program.root().nodes.iter().map(|node| node.name.len()).max().unwrap_or(0).min(32);
        let total = all.add(ProgressBar::new(nodes as u64));
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        total.set_style(style);
        total.set_prefix(format!("{} {}", program.name, id.get(..12).unwrap_or(id)));
        total.enable_steady_tick(Duration::from_millis(200));
        Self { all, width, total, working: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn replay(&self, opened: &OpenedRun) {
        self.count(&opened.state);
    }

    pub(super) fn finish(&self) {
        for bar in self.lock().values() {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, ProgressBar>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, state: &State) {
        let ended = state
            .instances()
            .filter(|(_, instance)| instance.scope == 0 && instance.phase.is_settled())
            .count();
        self.total.set_position(ended as u64);
    }

    fn say(&self, line: &str) {
        // A terminal that cannot be written to any more shows nothing; the run goes on.
        drop(self.all.println(line));
    }
}

impl Observer for Tree {
    fn journalled(&self, entry: &Entry, state: &State) {
        let Some((node, phase, text)) = event_line(&entry.event, state) else { return };
        if let Event::Issued(Command::StartNode { .. }) = &entry.event {
            let bar = self.all.insert_before(&self.total, ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar.set_prefix(format!("{node:width$}", width = self.width));
            bar.enable_steady_tick(Duration::from_millis(100));
            self.lock().insert(node, bar);
            return;
        }
        if let Some(bar) = self.lock().remove(&node) {
            bar.finish_and_clear();
        }
        let (mark, style) = phase_mark(phase);
        self.say(&format!("{style}{mark}{style:#} {node:width$}  {text}", width = self.width));
        if phase != Phase::Running {
            self.count(state);
        }
    }

    fn line(&self, node: &str, _: u32, line: &Line) {
        if let Some(bar) = self.lock().get(node) {
            bar.set_message(terminal::clean_bytes(&line.text));
        }
    }
}
