//! Reads the file of a scenario and holds it against its blueprint. Everything that is wrong is reported at once, with
//! its line; a scenario in which something would be asked for real is wrong as well.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blueprint_agent::model::Script;
use blueprint_core::format::{HumanDuration, InputType, Workspace};
use blueprint_core::graph::{Action, Mind, Node, Program};
use blueprint_core::run::{Decision, Failure, FailureClass, Phase};
use blueprint_core::source::resolve_path;
use serde_json::{Map, Value};
use toml::Spanned;

use super::file::{
    Ends, ExpectTable, FaultTable, File, GateTable, HttpTable, Keyed, ModelTable, StubTable, Together,
};
use super::stand::fits;
use super::wrong::{Wrong, unknown};
use super::{
    Answer, Expect, ExpectNode, ExpectSpent, Fault, FaultKind, JOBS, Says, Scenario, Several, Start, Stub,
    TIMEOUT, Verdict,
};
use crate::cassette::Cassette;
use crate::outputs::fits as type_fits;

/// The most nodes at a time.
const MOST_JOBS: u32 = 64;
/// The longest a scenario may take.
const LONGEST: Duration = Duration::from_hours(1);
/// How a run can stand when nobody drives it any more.
const ENDS: [&str; 6] = ["succeeded", "failed", "rejected", "escalated", "cancelled", "waiting"];
/// Where a node can stand.
const PHASES: [Phase; 14] = [
    Phase::Pending,
    Phase::Evaluating,
    Phase::Ready,
    Phase::Running,
    Phase::Waiting,
    Phase::Backoff,
    Phase::Expanded,
    Phase::Collecting,
    Phase::Repairing,
    Phase::Escalating,
    Phase::Succeeded,
    Phase::Failed,
    Phase::Skipped,
    Phase::Cancelled,
];

/// Reads a scenario of `program` from `text`, the content of `path` relative to the project folder.
pub fn read(project: &Path, path: &str, text: &str, program: &Program) -> Result<Scenario, Vec<Wrong>> {
    let file: File = toml::from_str(text).map_err(|error| vec![Wrong::of(path, text, &error)])?;
    let mut reader = Reader { project, path, text, program, wrong: Vec::new() };
    let scenario = reader.scenario(file);
    if reader.wrong.is_empty() { Ok(scenario) } else { Err(reader.wrong) }
}

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

    fn stub(&mut self, key: &Spanned<String>, nodes: &[&Node], table: StubTable) -> Stub {
        let mut writes = Vec::new();
        for (path, text) in &table.writes {
            if self.is_path(path) {
                writes.push((path.get_ref().clone(), text.clone()));
            }
        }
        if let (Some((path, _)), Some(node)) =
            (table.writes.first_key_value(), nodes.iter().find(|node| node.workspace != Workspace::Write))
        {
            self.say(&path.span(), format!("`{}` cannot write: its `workspace` is not \"write\"", node.name));
        }
        if let Ends::Failed = table.ends {
            if let Some((output, _)) = table.outputs.first_key_value() {
                self.say(&output.span(), "a node that failed has no outputs");
            }
            let class = table.class.map_or(FailureClass::Command, Spanned::into_inner);
            let message =
                table.message.map_or_else(|| "failed, as the scenario says".to_owned(), Spanned::into_inner);
            let fingerprint = class.repairable().then(|| crate::fingerprint::of(&message, &[]));
            return Stub { end: Err(Failure { fingerprint, ..Failure::new(class, message) }), writes };
        }
        let stray =
            table.class.as_ref().map(Spanned::span).or_else(|| table.message.as_ref().map(Spanned::span));
        if let Some(range) = stray {
            self.say(&range, "only a node that `ends = \"failed\"` has a class and a message");
        }
        for node in nodes {
            for (name, value) in &table.outputs {
                match node.outputs.iter().find(|output| *output.name == **name.get_ref()) {
                    None => {
                        let known = node.outputs.iter().map(|output| &*output.name);
                        let message = unknown(&format!("output of `{}`", node.name), name.get_ref(), known);
                        self.say(&name.span(), message);
                    }
                    Some(output) if !type_fits(output.ty, value) => {
                        let message = format!("the output `{}` is not of type {}", output.name, output.ty);
                        self.say(&name.span(), message);
                    }
                    Some(_) => {}
                }
            }
            for output in &node.outputs {
                if !table.outputs.keys().any(|name| **name.get_ref() == *output.name) {
                    let message = format!("the stub of `{}` lacks the output `{}`", node.name, output.name);
                    self.say(&key.span(), message);
                }
            }
        }
        let outputs: Map<String, Value> =
            table.outputs.into_iter().map(|(name, value)| (name.into_inner(), value)).collect();
        Stub { end: Ok((!outputs.is_empty()).then_some(Value::Object(outputs))), writes }
    }

    fn answer(&mut self, key: &Spanned<String>, _: &[&Node], table: HttpTable) -> Answer {
        if !(100..600).contains(&table.status) {
            self.say(&key.span(), format!("{} is not a status of HTTP", table.status));
        }
        let headers =
            table.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into()));
        let body = match table.body {
            None => Vec::new(),
            Some(Value::String(text)) => text.into_bytes(),
            Some(value) => value.to_string().into_bytes(),
        };
        Answer { status: table.status, headers: headers.collect(), body }
    }

    fn verdict(&mut self, _: &Spanned<String>, nodes: &[&Node], table: GateTable) -> Verdict {
        let many = nodes.iter().find(|node| matches!(&node.action, Action::Gate(gate) if gate.min > 1));
        if let (Some(node), Decision::Approved) = (many, table.decision.get_ref()) {
            let message = format!(
                "`{}` wants more than one approval, and a scenario of this release gives one: test it with a rejection",
                node.name
            );
            self.say(&table.decision.span(), message);
        }
        Verdict { decision: table.decision.into_inner(), by: table.by, reason: table.reason }
    }

    fn models(&mut self, tables: Keyed<ModelTable>) -> Vec<(String, Says)> {
        let mut aliases: Vec<&str> = Vec::new();
        for node in self.program.nodes() {
            if let Action::Agent(agent) = &node.action
                && let Mind::Model { model, .. } = &agent.mind
            {
                aliases.push(model);
            }
        }
        let mut all = Vec::new();
        for (key, table) in tables {
            if !aliases.contains(&key.get_ref().as_str())
                && !self.nodes(key.get_ref()).into_iter().any(is_agent)
            {
                let agents = self.program.nodes().filter(|node| is_agent(node)).map(|node| &*node.name);
                let known: Vec<&str> = agents.chain(aliases.iter().copied()).collect();
                self.say(&key.span(), unknown("agent or model", key.get_ref(), known));
            }
            if let Some(script) = self.script(&key, table) {
                all.push((key.into_inner(), script));
            }
        }
        all
    }

    /// What stands in for a model: turns in the scenario, or a file beside it.
    fn script(&mut self, key: &Spanned<String>, table: ModelTable) -> Option<Says> {
        let own = !table.turns.is_empty() || table.price.is_some() || table.window.is_some();
        let file = match (&table.script, &table.cassette) {
            (Some(_), Some(other)) => {
                self.say(&other.span(), "a model is a `script` or a `cassette`, not both");
                return None;
            }
            (file, None) | (None, file) => file,
        };
        let Some(file) = file else {
            if table.turns.is_empty() {
                let message =
                    format!("`{}` says nothing: write `turn`, `script` or `cassette`", key.get_ref());
                self.say(&key.span(), message);
                return None;
            }
            return Some(Says::Script(Script {
                price: table.price,
                window: table.window,
                turns: table.turns,
            }));
        };
        if own {
            self.say(&file.span(), "the turns, the price and the window are those of the file");
            return None;
        }
        let path = resolve_path(self.path, file.get_ref()).and_then(|path| self.inside(&path));
        let Some(path) = path.filter(|path| path.is_file()) else {
            self.say(&file.span(), format!("there is no file `{}` beside this one", file.get_ref()));
            return None;
        };
        let read = if table.cassette.is_some() {
            Cassette::read(&path)
                .map(|cassette| Says::Cassette(Arc::new(cassette)))
                .map_err(|error| crate::chain(&error))
        } else {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            text.and_then(|text| Script::parse(&text).map_err(|error| error.to_string())).map(Says::Script)
        };
        read.map_err(|why| self.say(&file.span(), why)).ok()
    }

    fn fault(&mut self, table: FaultTable) -> Option<Fault> {
        let what = *table.what.get_ref();
        if what == FaultKind::CiRed {
            let message =
                "`ci_red` cannot happen in this release, which has no ci nodes: they come with release 0.5";
            self.say(&table.what.span(), message);
            return None;
        }
        let named = format!("fault `{}`", what.as_str());
        let fit = |node: &Node| match what {
            _ if what.is_of_agents() => is_agent(node),
            FaultKind::SandboxMemory => matches!(node.action, Action::Run(_)),
            _ => is_work(node),
        };
        self.fitting(&table.at, &named, fit);
        if let Some(turn) = table.turn.as_ref().filter(|turn| !what.is_of_agents() || *turn.get_ref() == 0) {
            self.say(
                &turn.span(),
                "`turn` is the turn of an agent, from 1, for faults of its model and its tools",
            );
        }
        if let Some(times) = table.times.as_ref().filter(|times| !(1..=1000).contains(times.get_ref())) {
            self.say(&times.span(), "`times` is 1 to 1000");
        }
        Some(Fault {
            line: self.line(&table.at.span()),
            at: table.at.into_inner(),
            round: table.round,
            turn: table.turn.map(Spanned::into_inner),
            what,
            times: table.times.map_or(1, Spanned::into_inner),
        })
    }

    /// A step of a route: a path, with `#N` for the Nth attempt.
    fn step(&mut self, range: &Range<usize>, written: &str) {
        let (path, attempt) = written.split_once('#').map_or((written, None), |(path, n)| (path, Some(n)));
        if self.nodes(path).is_empty() {
            self.say(range, unknown("node", path, self.names()));
        }
        if let Some(attempt) = attempt.filter(|attempt| attempt.parse::<u32>().map_or(true, |n| n < 2)) {
            let message = format!("`#{attempt}` is no attempt: the first is `{path}`, the second `{path}#2`");
            self.say(range, message);
        }
    }

    fn route(&mut self, steps: Option<Vec<Spanned<Together>>>) -> Option<Vec<Vec<String>>> {
        let mut route = Vec::new();
        for step in steps? {
            for written in &step.get_ref().0 {
                self.step(&step.span(), written);
            }
            route.push(step.into_inner().0);
        }
        Some(route)
    }

    fn part(&mut self, steps: Option<Vec<Spanned<String>>>) -> Option<Vec<String>> {
        let steps = steps?;
        for step in &steps {
            self.step(&step.span(), step.get_ref());
        }
        Some(steps.into_iter().map(Spanned::into_inner).collect())
    }

    fn expect(&mut self, table: ExpectTable) -> Expect {
        if !ENDS.contains(&table.outcome.get_ref().as_str()) {
            self.say(&table.outcome.span(), unknown("outcome", table.outcome.get_ref(), ENDS));
        }
        if let Some(effects) = table.effects.as_ref().filter(|effects| !effects.get_ref().is_empty()) {
            let message =
                "no effect can be expected: forge nodes come with release 0.5. Leave it empty or out";
            self.say(&effects.span(), message);
        }
        if let (Some(_), Some(Some(first))) =
            (&table.route, table.route_contains.as_ref().map(|steps| steps.first()))
        {
            self.say(&first.span(), "expect a whole `route` or a part of it with `route_contains`, not both");
        }
        let mut nodes = Vec::new();
        for (key, node) in table.nodes {
            if self.nodes(key.get_ref()).is_empty() {
                let message = unknown("node", key.get_ref(), self.names());
                self.say(&key.span(), message);
            }
            let phase = node.phase.and_then(|written| {
                let found = PHASES.into_iter().find(|phase| phase.as_str() == written.get_ref());
                if found.is_none() {
                    self.say(&written.span(), unknown("phase", written.get_ref(), PHASES.map(Phase::as_str)));
                }
                found
            });
            let expected = ExpectNode {
                phase,
                rounds: node.rounds,
                attempts: node.attempts,
                outputs: node.outputs,
                failure: node.failure,
                message: node.message,
            };
            nodes.push((key.into_inner(), expected));
        }
        let mut files = Vec::new();
        for (path, text) in table.files {
            if self.is_path(&path) {
                files.push((path.into_inner(), text));
            }
        }
        Expect {
            outcome: table.outcome.into_inner(),
            route: self.route(table.route),
            route_contains: self.part(table.route_contains),
            nodes,
            spent: ExpectSpent {
                model_calls: table.spent.model_calls,
                tool_calls: table.spent.tool_calls,
                max_cost_usd: table.spent.max_cost_usd,
                max_tokens: table.spent.max_tokens,
            },
            diff: table.diff,
            files,
        }
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
            Action::Agent(agent) => match &agent.mind {
                Mind::Script { .. } => return None,
                Mind::Model { model, .. } => {
                    let answered = scenario.models.iter().any(|(key, _)| key == model || means(key));
                    (!answered)
                        .then(|| (format!("ask the model `{model}`"), format!("`[models.{name}]` or ")))?
                }
                Mind::Program { .. } => ("start an agent of somebody else".to_owned(), String::new()),
            },
            Action::Ci | Action::Forge => {
                (format!("speak to {}, which this release cannot", node.action.kind()), String::new())
            }
            _ => return None,
        };
        Some(format!("`{name}` would {would}, and a test asks nobody: add {instead}`[stubs.{name}]`"))
    }
}
