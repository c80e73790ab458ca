//! What an agent is told besides its prompt: the rule files of the tree it starts from, and why the round before did not
//! pass. Made of journalled facts and git objects alone, so that a session that goes on is told the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blueprint_agent::context::{
    Cut, DigestOptions, Family, Part, PartReport, Reader, collect_rules, digest, pack,
};
use blueprint_agent::model::Model;
use blueprint_agent::scan::{Options, Scanner, fence};
use blueprint_agent::tool::HostError;
use blueprint_core::run::Failure;
use blueprint_sandbox::Stream;

use super::super::{Job, Lesson, blocking, infra};
use super::project_folder;
use crate::logs;
use crate::shared::Shared;
use crate::store::Digest;
use crate::workspace::{Listed, ListedKind, TreeId};

/// The name of the part that holds the rule files.
const RULES: &str = "rule files";

/// What is added to the texts of the blueprint.
#[derive(Debug, Default)]
pub(super) struct Brief {
    /// The rule files, by path.
    pub(super) rules: Vec<String>,
    parts: Vec<Part>,
}

/// The prompt and who the model is, with what is added to them, as far as it fits.
#[derive(Debug, Clone, Default)]
pub(super) struct Briefed {
    /// Who the model is to be, and the rules of the project.
    pub(super) system: String,
    /// What it is to do, and why the round before did not pass.
    pub(super) prompt: String,
    /// What became of each part.
    pub(super) parts: Vec<PartReport>,
}

impl Brief {
    /// Puts it together for a model with this window. What is added takes at most a quarter of it.
    pub(super) fn fit(&self, system: String, prompt: String, model: &dyn Model) -> Briefed {
        let (rules, rest): (Vec<Part>, Vec<Part>) =
            self.parts.iter().cloned().partition(|part| part.name == RULES);
        let family = Family::of(model.name());
        let rules = pack(family, &rules, model.window() / 8);
        let rest = pack(family, &rest, model.window() / 8);
        Briefed {
            system: joined(system, &rules.text),
            prompt: joined(prompt, &rest.text),
            parts: rules.parts.into_iter().chain(rest.parts).collect(),
        }
    }
}

fn joined(text: String, more: &str) -> String {
    if more.is_empty() { text } else { format!("{text}\n\n{more}") }
}

/// The brief of a node that starts from `tree`.
pub(super) async fn of(shared: &Arc<Shared>, job: &Job, tree: Option<TreeId>) -> Result<Brief, Failure> {
    let scanner = Scanner::new(&shared.redactor, Options::default());
    let mut brief = Brief::default();
    if let Some(tree) = tree {
        let reader = InTree { shared: Arc::clone(shared), tree, listings: Mutex::default() };
        let rules = collect_rules(&reader, &[project_folder(shared)])
            .await
            .map_err(|error| infra("the rule files of the project cannot be read", &error))?;
        brief.rules = rules.files.iter().map(|file| file.path.clone()).collect();
        if !rules.files.is_empty() {
            let text = scanner.redact(&rules.text());
            brief.parts.push(Part { name: RULES.to_owned(), priority: 1, text, cut: Cut::Tail });
        }
    }
    if let Some(lesson) = &job.lesson {
        let name = format!("why round {} did not pass", lesson.round.saturating_sub(1));
        let text = told(shared, &scanner, lesson);
        brief.parts.push(Part { name, priority: 2, text, cut: Cut::Tail });
    }
    Ok(brief)
}

/// Why the round before did not pass, with what its log says of it.
fn told(shared: &Shared, scanner: &Scanner, lesson: &Lesson) -> String {
    let Lesson { node, round, failure } = lesson;
    let mut text = format!(
        "This is round {round}: the one before did not pass. Its changes are still in the workspace. `{node}` failed ({}).",
        failure.class.as_str()
    );
    let _ =
        write!(text, "\n\n{}", fence(&format!("the failure of {node}"), &scanner.redact(&failure.message)));
    let log = failure.record["log"].as_str().and_then(|log| log.parse::<Digest>().ok());
    if let Some(log) = log.and_then(|log| shared.store.blobs().get(log).ok()) {
        let short = shortened(&log, scanner);
        let _ = write!(text, "\n\n{}", fence(&format!("the log of {node}, shortened"), &short));
    }
    text
}

/// What matters of a log, one stream after the other: how the two were woven together is an accident of two pipes, and
/// a round that is done again would be told something else.
fn shortened(log: &[u8], scanner: &Scanner) -> String {
    let of = |stream: Stream| {
        let mut lines = String::new();
        for line in logs::lines(log).filter(|line| line.stream == stream) {
            lines.push_str(&String::from_utf8_lossy(&line.text));
            lines.push('\n');
        }
        scanner.redact(&lines)
    };
    let (out, err) = (of(Stream::Stdout), of(Stream::Stderr));
    let whole = DigestOptions::default();
    if out.is_empty() || err.is_empty() {
        return digest(&if out.is_empty() { err } else { out }, &whole).text;
    }
    // What one stream leaves of its half, the other one gets.
    let half = DigestOptions { budget: whole.budget / 2, ..whole };
    let rest = |used: usize| DigestOptions { budget: whole.budget - used.min(half.budget), ..whole };
    let short_err = digest(&err, &half).text;
    let short_out = digest(&out, &rest(short_err.len())).text;
    let short_err = digest(&err, &rest(short_out.len())).text;
    format!("--- stdout\n{short_out}--- stderr\n{short_err}")
}

/// Reads files of a tree, never of a checkout. Each folder is listed once: most of what is asked for is not there.
struct InTree {
    shared: Arc<Shared>,
    tree: TreeId,
    listings: Mutex<BTreeMap<String, Arc<Vec<Listed>>>>,
}

impl InTree {
    async fn listing(&self, folder: &str) -> Result<Arc<Vec<Listed>>, HostError> {
        let known = self.listings.lock().unwrap_or_else(PoisonError::into_inner).get(folder).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (shared, tree, path) = (Arc::clone(&self.shared), self.tree, folder.to_owned());
        let listed = blocking(move || match &shared.trees {
            Some(trees) => trees
                .repository()
                .listing(tree, &path)
                .map_err(|error| infra("git could not list a folder", &error)),
            None => Ok(Vec::new()),
        });
        let listed = Arc::new(listed.await.map_err(|failure| HostError::Infra(failure.message))?);
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        listings.insert(folder.to_owned(), Arc::clone(&listed));
        Ok(listed)
    }

    /// What lies at a path, if every folder on the way is one.
    async fn find(&self, path: &str) -> Result<Option<Listed>, HostError> {
        let mut folder = String::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let found = self.listing(&folder).await?.iter().find(|listed| listed.name == part).cloned();
            let Some(found) = found else { return Ok(None) };
            if parts.peek().is_none() {
                return Ok(Some(found));
            }
            if found.kind != ListedKind::Folder {
                return Ok(None);
            }
            folder = if folder.is_empty() { part.to_owned() } else { format!("{folder}/{part}") };
        }
        Ok(None)
    }
}

#[async_trait]
impl Reader for InTree {
    async fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, HostError> {
        let Some(file) = self.find(path).await?.filter(|found| found.kind == ListedKind::File) else {
            return Ok(None);
        };
        let shared = Arc::clone(&self.shared);
        let read = blocking(move || match &shared.trees {
            Some(trees) => trees
                .repository()
                .head_of(&file, most)
                .map(Some)
                .map_err(|error| infra("git could not read a file", &error)),
            None => Ok(None),
        });
        read.await.map_err(|failure| HostError::Infra(failure.message))
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        let is_folder =
            path.is_empty() || self.find(path).await?.is_some_and(|found| found.kind == ListedKind::Folder);
        if !is_folder {
            return Ok(Vec::new());
        }
        let listing = self.listing(path).await?;
        let files = listing.iter().filter(|listed| listed.kind == ListedKind::File);
        Ok(files.map(|file| file.name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Scanner, shortened};
    use crate::redact::Redactor;

    fn told(log: &str) -> String {
        let none = Redactor::new::<&str, &str>(&[]).unwrap();
        shortened(log.as_bytes(), &Scanner::new(&none, Options::default()))
    }

    #[test]
    fn how_two_streams_were_woven_together_is_not_told() {
        let one = told("O one\nE warning\nO two\nE error: three\n");
        assert_eq!(one, told("E warning\nE error: three\nO one\nO two\n"));
        assert_eq!(one, "--- stdout\none\ntwo\n--- stderr\nwarning\nerror: three\n");
        assert_eq!(told("O one\nO two\n"), "one\ntwo\n");
        assert_eq!(told(""), "");
    }

    #[test]
    fn a_loud_stream_leaves_half_of_the_room_to_the_other() {
        let long = |mark: &str| -> String {
            let lines: Vec<_> =
                (0..2000).map(|at| format!("{mark} error: {at} {}", mark.repeat(9))).collect();
            lines.join("\n")
        };
        let both = told(&format!("{}\n{}", long("O"), long("E")));
        let whole = super::DigestOptions::default().budget;
        assert!(both.len() <= whole + 32, "{}", both.len());
        for mark in ["OOOOOOOOO", "EEEEEEEEE"] {
            let share: usize = both.lines().filter(|line| line.ends_with(mark)).map(str::len).sum();
            assert!(share > whole / 3, "{mark} has {share} bytes");
        }
        let one = told(&format!("{}\nE warning\n", long("O")));
        assert!(one.len() > whole - 2048, "what stderr leaves is not used: {}", one.len());
    }
}
