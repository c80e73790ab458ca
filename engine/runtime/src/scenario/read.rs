//! Reads the file of a scenario and holds it against its blueprint. Everything that is wrong is reported at once, with
//! its line; a scenario in which something would be asked for real is wrong as well.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use blueprint_core::format::{HumanDuration, InputType};
use blueprint_core::graph::{Action, McpWay, Mind, Node, Program};
use blueprint_core::source::resolve_path;
use serde_json::{Map, Value};
use toml::Spanned;

use super::file::{File, Keyed};
use super::stand::fits;
use super::wrong::{Wrong, unknown};
use super::{JOBS, Scenario, Several, Start, TIMEOUT};

/// The most nodes at a time.
const MOST_JOBS: u32 = 64;
/// The longest a scenario may take.
const LONGEST: Duration = Duration::from_hours(1);
/// Reads a scenario of `program` from `text`, the content of `path` relative to the project folder.
pub fn read(project: &Path, path: &str, text: &str, program: &Program) -> Result<Scenario, Vec<Wrong>> {
    let file: File = toml::from_str(text).map_err(|error| vec![Wrong::of(path, text, &error)])?;
    let mut reader = Reader { project, path, text, program, wrong: Vec::new() };
    let scenario = reader.scenario(file);
    if reader.wrong.is_empty() { Ok(scenario) } else { Err(reader.wrong) }
}

mod answers;
mod expected;

struct Reader<'a> {
    project: &'a Path,
    path: &'a str,
    text: &'a str,
    program: &'a Program,
    wrong: Vec<Wrong>,
}

fn is_agent(node: &Node) -> bool {
    matches!(node.action, Action::Agent(_))
}

fn is_work(node: &Node) -> bool {
    !matches!(node.action, Action::Use(_) | Action::Gate(_) | Action::Wait(_))
}

/// A part of a path without the number of an item.
fn bare(part: &str) -> &str {
    part.split_once('[').map_or(part, |(name, _)| name)
}

impl<'a> Reader<'a> {
    fn say(&mut self, range: &Range<usize>, message: impl Into<String>) {
        self.wrong.push(Wrong::at(self.path, self.text, range, message));
    }

    fn line(&self, range: &Range<usize>) -> usize {
        Wrong::at(self.path, self.text, range, "").line
    }

    fn scenario(&mut self, file: File) -> Scenario {
        let name =
            Path::new(self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let start = self.start(&file);
        let (inputs, secrets) = self.inputs(&file.inputs);
        let jobs = file.jobs.as_ref().map_or(JOBS, |jobs| *jobs.get_ref());
        if let Some(jobs) = file.jobs.as_ref().filter(|jobs| !(1..=MOST_JOBS).contains(jobs.get_ref())) {
            self.say(&jobs.span(), format!("`jobs` is 1 to {MOST_JOBS}"));
        }
        let timeout = self.timeout(file.timeout.as_ref());
        let scenario = Scenario {
            name,
            file: self.path.to_owned(),
            summary: file.summary,
            inputs,
            secrets,
            start,
            jobs,
            timeout,
            stubs: self.keyed(file.stubs, "stub", is_work, Self::stub),
            models: self.models(file.models),
            http: self.keyed(
                file.http,
                "answer",
                |node| matches!(node.action, Action::Http(_)),
                Self::answer,
            ),
            gates: self.keyed(
                file.gates,
                "decision",
                |node| matches!(node.action, Action::Gate(_)),
                Self::verdict,
            ),
            faults: file.faults.into_iter().filter_map(|fault| self.fault(fault)).collect(),
            expect: self.expect(file.expect),
        };
        if self.wrong.is_empty() {
            self.complete(&scenario);
        }
        scenario
    }

    fn timeout(&mut self, written: Option<&Spanned<String>>) -> Duration {
        let Some(written) = written else { return TIMEOUT };
        match written.get_ref().parse::<HumanDuration>() {
            Ok(HumanDuration(time)) if !time.is_zero() && time <= LONGEST => time,
            Ok(_) => {
                self.say(&written.span(), "`timeout` is more than nothing and at most an hour");
                TIMEOUT
            }
            Err(why) => {
                self.say(&written.span(), why);
                TIMEOUT
            }
        }
    }

    fn start(&mut self, file: &File) -> Start {
        if let Some(fixture) = &file.fixture {
            if let Some((key, _)) = file.files.first_key_value() {
                self.say(&key.span(), "a run starts from `files` or from a `fixture`, not from both");
            }
            let folder = resolve_path(self.path, fixture.get_ref()).and_then(|path| self.inside(&path));
            return match folder.filter(|folder| folder.is_dir()) {
                Some(folder) => Start::Folder(folder),
                None => {
                    let message = format!("there is no folder `{}` beside this file", fixture.get_ref());
                    self.say(&fixture.span(), message);
                    Start::Files(BTreeMap::new())
                }
            };
        }
        let mut files = BTreeMap::new();
        for (path, text) in &file.files {
            if self.is_path(path) {
                files.insert(path.get_ref().clone(), text.clone());
            }
        }
        Start::Files(files)
    }

    /// Whether this is a path of the workspace.
    fn is_path(&mut self, path: &Spanned<String>) -> bool {
        let first = path.get_ref().split('/').next().unwrap_or_default();
        let own = [".git", ".blueprint"].iter().any(|folder| first.eq_ignore_ascii_case(folder));
        let good = !own && resolve_path("", path.get_ref()).as_deref() == Some(path.get_ref());
        if !good {
            self.say(&path.span(), format!("`{}` is not a path of the workspace", path.get_ref()));
        }
        good
    }

    /// A path of the project that really lies in it.
    fn inside(&self, path: &str) -> Option<std::path::PathBuf> {
        let real = self.project.join(path).canonicalize().ok()?;
        real.starts_with(self.project.canonicalize().ok()?).then_some(real)
    }

    fn inputs(&mut self, given: &Keyed<Value>) -> (Map<String, Value>, BTreeMap<String, String>) {
        let specs = &self.program.root().inputs;
        let (mut values, mut secrets) = (Map::new(), BTreeMap::new());
        for (key, value) in given {
            let name = key.get_ref();
            let Some(spec) = specs.iter().find(|spec| *spec.name == **name) else {
                self.say(&key.span(), unknown("input", name, specs.iter().map(|spec| &*spec.name)));
                continue;
            };
            match (spec.check(value), spec.ty, value) {
                (Err(error), InputType::Secret, _) => {
                    drop(error);
                    self.say(&key.span(), format!("the secret `{name}` does not fit its bounds"));
                }
                (Err(error), ..) => {
                    self.say(&key.span(), format!("the input `{name}` does not fit: {error}"));
                }
                (Ok(()), InputType::Secret, Value::String(secret)) => {
                    secrets.insert(name.clone(), secret.clone());
                }
                (Ok(()), ..) => {
                    values.insert(name.clone(), value.clone());
                }
            }
        }
        for spec in specs {
            if values.contains_key(&*spec.name) || secrets.contains_key(&*spec.name) {
                continue;
            }
            match &spec.default {
                Some(default) => drop(values.insert(spec.name.to_string(), default.clone())),
                None if given.keys().any(|key| **key.get_ref() == *spec.name) => {}
                None => self.say(
                    &(0..0),
                    format!(
                        "the input `{}`, {}, is missing: add it to `inputs`",
                        spec.name,
                        spec.type_name()
                    ),
                ),
            }
        }
        (values, secrets)
    }

    /// The nodes a key may mean.
    fn nodes(&self, key: &str) -> Vec<&'a Node> {
        let all: Vec<&Node> = self.program.nodes().collect();
        let named = |part: &str| -> Vec<&'a Node> {
            let part = bare(part);
            all.iter().filter(|node| part == "**" || fits(part, &node.name)).copied().collect()
        };
        if key.split('/').any(|part| named(part).is_empty()) {
            return Vec::new();
        }
        key.rsplit('/').next().map_or_else(Vec::new, named)
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.program.nodes().map(|node| &*node.name)
    }

    /// The nodes of a key that fit; says what is wrong if there are none.
    fn fitting(&mut self, key: &Spanned<String>, what: &str, fit: impl Fn(&Node) -> bool) -> Vec<&'a Node> {
        let nodes = self.nodes(key.get_ref());
        let Some(first) = nodes.first() else {
            let message = unknown("node", key.get_ref(), self.names());
            self.say(&key.span(), message);
            return Vec::new();
        };
        let kind = first.action.kind();
        let fitting: Vec<&Node> = nodes.into_iter().filter(|node| fit(node)).collect();
        if fitting.is_empty() {
            let help = match kind {
                "gate" => "; a gate is decided by `[gates.NAME]`",
                "use" => "; the nodes in it are named by path, `NAME/*`",
                "wait" => "; a pause is never stood in for",
                _ => "",
            };
            self.say(&key.span(), format!("`{}` is a {kind} node and takes no {what}{help}", key.get_ref()));
        }
        fitting
    }

    fn keyed<T, U>(
        &mut self,
        tables: Keyed<Several<T>>,
        what: &str,
        fit: impl Fn(&Node) -> bool,
        mut read: impl FnMut(&mut Self, &Spanned<String>, &[&'a Node], T) -> U,
    ) -> Vec<(String, Several<U>)> {
        let mut all = Vec::new();
        for (key, several) in tables {
            let nodes = self.fitting(&key, what, &fit);
            if matches!(&several, Several::Each(none) if none.is_empty()) {
                self.say(
                    &key.span(),
                    format!("`{}` has an empty list: no attempt would have a {what}", key.get_ref()),
                );
            }
            let several = several.map(|one| read(self, &key, &nodes, one));
            all.push((key.into_inner(), several));
        }
        all
    }

    /// Refuses what would be asked for real.
    fn complete(&mut self, scenario: &Scenario) {
        let lacks: Vec<String> = self.program.nodes().filter_map(|node| self.lacks(scenario, node)).collect();
        for lack in lacks {
            self.say(&(0..0), lack);
        }
    }

    /// What a node would do to the outside.
    fn lacks(&self, scenario: &Scenario, node: &Node) -> Option<String> {
        let means = |key: &str| self.nodes(key).iter().any(|known| std::ptr::eq(*known, node));
        if scenario.stubs.iter().any(|(key, _)| means(key)) {
            return None;
        }
        let name = &node.name;
        let (would, instead) = match &node.action {
            Action::Http(_) => {
                let answered = scenario.http.iter().any(|(key, _)| means(key));
                (!answered).then(|| ("make a request".to_owned(), format!("`[http.{name}]` or ")))?
            }
            Action::Agent(agent)
                if agent.mcp.iter().any(|server| matches!(server.way, McpWay::Url { .. })) =>
            {
                ("speak to a server of tools".to_owned(), String::new())
            }
            Action::Agent(agent) => match &agent.mind {
                Mind::Script { .. } => return None,
                Mind::Model { model, .. } => {
                    let answered = scenario.models.iter().any(|(key, _)| key == model || means(key));
                    (!answered)
                        .then(|| (format!("ask the model `{model}`"), format!("`[models.{name}]` or ")))?
                }
                Mind::Program { .. } => ("start an agent of somebody else".to_owned(), String::new()),
            },
            Action::Ci | Action::Forge(_) => {
                (format!("speak to {}, which this release cannot", node.action.kind()), String::new())
            }
            _ => return None,
        };
        Some(format!("`{name}` would {would}, and a test asks nobody: add {instead}`[stubs.{name}]`"))
    }
}
