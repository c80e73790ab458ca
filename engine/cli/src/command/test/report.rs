//! What is said of scenarios: a line for each, and for those that failed what differs, the routes side by side. In the
//! order of the files, whichever ends first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use blueprint_runtime::scenario::{Ended, Judged, Problem};
use serde_json::json;
use similar::{Algorithm, ChangeTag, DiffTag, TextDiff, capture_diff_slices};

use super::short;
use crate::args::Format;
use crate::terminal::{self, clean};

/// A scenario that was run.
pub(super) struct Told {
    pub(super) blueprint: String,
    pub(super) scenario: String,
    pub(super) summary: Option<String>,
    pub(super) took: Duration,
    pub(super) timed_out: Option<Duration>,
    pub(super) judged: Judged,
    pub(super) run: String,
    pub(super) kept: Option<PathBuf>,
}

/// Says what came out, in order.
pub(super) struct Report {
    format: Format,
    waiting: BTreeMap<usize, Told>,
    next: usize,
    failed: usize,
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Self { format, waiting: BTreeMap::new(), next: 0, failed: 0 }
    }

    pub(super) fn take(&mut self, number: usize, told: Told) {
        self.waiting.insert(number, told);
        while let Some(told) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.failed += usize::from(!told.judged.problems.is_empty());
            match self.format {
                Format::Json => json_line(&told),
                Format::Text | Format::Sarif => lines(&told),
            }
        }
    }

    /// The last line. Gives the number of those that failed.
    pub(super) fn end(&self) -> usize {
        let (failed, passed) = (self.failed, self.next - self.failed);
        match self.format {
            Format::Json => {
                terminal::line(&json!({ "type": "end", "ok": passed, "failed": failed }).to_string());
            }
            Format::Text | Format::Sarif => terminal::line(&format!("{passed} ok, {failed} failed")),
        }
        failed
    }
}

fn json_line(told: &Told) {
    let line = json!({
        "type": "scenario",
        "blueprint": told.blueprint,
        "scenario": told.scenario,
        "summary": told.summary,
        "ok": told.judged.problems.is_empty(),
        "took_ms": u64::try_from(told.took.as_millis()).unwrap_or(u64::MAX),
        "timed_out": told.timed_out.is_some(),
        "models": told.judged.route.models,
        "route": told.judged.route.ended,
        "problems": told.judged.problems,
        "run": told.run,
        "kept": told.kept,
    });
    terminal::line(&line.to_string());
}

fn lines(told: &Told) {
    let word = if told.judged.problems.is_empty() { "ok    " } else { "FAILED" };
    // Whatever a script answered is never taken for the word of a model.
    let models: Vec<&str> = told.judged.route.models.iter().map(String::as_str).collect();
    let model = if models.is_empty() { String::new() } else { format!("  {} model", models.join(" and ")) };
    let name = format!("{}/{}", clean(&told.blueprint), clean(&told.scenario));
    terminal::line(&format!("{word} {name}  {}{model}", short(told.took)));
    if told.judged.problems.is_empty() {
        return;
    }
    if let Some(summary) = &told.summary {
        terminal::line(&format!("  {}", clean(summary)));
    }
    if let Some(timeout) = told.timed_out {
        terminal::line(&format!("  it was stopped: it had not come to an end after {}", short(timeout)));
    }
    for problem in &told.judged.problems {
        match problem {
            Problem::Route { expected, actual, part } => route(expected, actual, *part),
            Problem::Value { what, expected, actual } => {
                terminal::line(&format!(
                    "  {}: expected {}, got {}",
                    clean(what),
                    clean(expected),
                    first(actual)
                ));
            }
            Problem::Text { what, expected, actual } => text(what, expected, actual),
        }
    }
    for ended in &told.judged.route.ended {
        if let Some(why) = &ended.why {
            terminal::line(&format!("  {} {}: {}", clean(&ended.step), clean(&ended.how), clean(why)));
        }
    }
    if let Some(kept) = &told.kept {
        let place = kept.display();
        terminal::line(&format!("  kept in {place}"));
        terminal::line(&format!("  its log: blueprint logs -C {place} {}", told.run));
    }
}

fn first(text: &str) -> String {
    match text.lines().next() {
        None | Some("") => "nothing".to_owned(),
        Some(line) => clean(line),
    }
}

/// Two routes side by side, the first difference marked.
fn route(expected: &[String], actual: &[Ended], part: bool) {
    let steps: Vec<String> = actual.iter().map(|ended| ended.step.clone()).collect();
    let shown = |ended: &Ended| {
        if ended.how == "succeeded" {
            clean(&ended.step)
        } else {
            clean(&format!("{}  {}", ended.step, ended.how))
        }
    };
    let mut rows: Vec<(bool, String, String)> = Vec::new();
    for op in capture_diff_slices(Algorithm::Lcs, expected, &steps) {
        let (tag, old, new) = op.as_tag_tuple();
        let same = tag == DiffTag::Equal || (part && old.is_empty());
        for at in 0..old.len().max(new.len()) {
            let left = old.clone().nth(at).map_or_else(String::new, |at| clean(&expected[at]));
            let right = new.clone().nth(at).map_or_else(String::new, |at| shown(&actual[at]));
            rows.push((same, left, right));
        }
    }
    let width = rows.iter().map(|(_, left, _)| left.chars().count()).max().unwrap_or(0).max("expected".len());
    terminal::line(if part { "  route: this part of it was expected, in this order" } else { "  route:" });
    terminal::line(&format!("      {:width$}  got", "expected"));
    let mut told = false;
    for (same, left, right) in rows {
        let mark = match (same, told) {
            (true, _) => "  ",
            (false, true) => "! ",
            (false, false) => "->",
        };
        let left = if left.is_empty() && !same { "-".to_owned() } else { left };
        let right = if right.is_empty() && !same { "-".to_owned() } else { right };
        let note = if !same && !told { "   the first difference" } else { "" };
        told |= !same;
        terminal::line(format!("   {mark} {left:width$}  {right}{note}").trim_end());
    }
}

/// Two texts, line by line.
fn text(what: &str, expected: &str, actual: &str) {
    terminal::line(&format!("  {}: expected (-) and got (+)", clean(what)));
    let diff = TextDiff::from_lines(expected, actual);
    for change in diff.iter_all_changes() {
        let mark = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        terminal::line(&format!("    {mark} {}", clean(change.value().trim_end_matches('\n'))));
    }
}
