//! What people and programs see of a run while it is driven: a live tree on a terminal, plain lines elsewhere,
//! or a stream of JSON objects. Shows what is durable, never what is merely meant.

use std::io::IsTerminal as _;
use std::sync::Arc;

use blueprint_core::graph::Program;
use blueprint_runtime::drive::DriveEnd;
use blueprint_runtime::shared::Observer;
use blueprint_runtime::start::OpenedRun;

use crate::args::{Format, RunSettings};
use crate::context::Context;

mod images;
mod json;
mod lines;
mod summary;
mod tree;
mod words;

pub(crate) use images::Images;
pub(crate) use summary::{spending, summary};
pub(crate) use words::{event_line, phase_mark};

/// How the progress of a run is shown.
#[derive(Debug)]
pub(crate) enum Progress {
    Json(Arc<json::JsonStream>),
    Lines(Arc<lines::Lines>),
    Tree(Arc<tree::Tree>),
}

/// Starts to show a run.
pub(crate) fn start(context: &Context, settings: &RunSettings, program: &Arc<Program>, id: &str) -> Progress {
    if context.format == Format::Json {
        return Progress::Json(Arc::new(json::JsonStream::new(settings.quiet)));
    }
    let live = std::io::stderr().is_terminal() && std::io::stdout().is_terminal() && !settings.plain;
    if live {
        Progress::Tree(Arc::new(tree::Tree::new(program, id)))
    } else {
        Progress::Lines(Arc::new(lines::Lines::new(program, id, settings.quiet)))
    }
}

impl Progress {
    /// What the driver tells.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        match self {
            Self::Json(stream) => Arc::clone(stream) as Arc<dyn Observer>,
            Self::Lines(lines) => Arc::clone(lines) as Arc<dyn Observer>,
            Self::Tree(tree) => Arc::clone(tree) as Arc<dyn Observer>,
        }
    }

    /// Takes in what happened before this process drove the run.
    pub(crate) fn replay(&self, opened: &OpenedRun) {
        match self {
            Self::Json(_) => {}
            Self::Lines(lines) => lines.replay(opened),
            Self::Tree(tree) => tree.replay(opened),
        }
    }

    /// Nothing more will be shown.
    pub(crate) fn finish(&self) {
        if let Self::Tree(tree) = self {
            tree.finish();
        }
    }
}

/// The end of driving, as one word for programs.
pub(crate) fn end_word(end: &DriveEnd) -> &'static str {
    match end {
        DriveEnd::Finished(outcome) => outcome.as_str(),
        DriveEnd::Waiting { .. } => "waiting",
        DriveEnd::Interrupted => "interrupted",
    }
}
