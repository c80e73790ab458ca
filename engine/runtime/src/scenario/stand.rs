//! Stands in for the outside world while a scenario runs. What the scenario does not name is refused, never asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use blueprint_agent::model::{
    Forgetful, Known, Model, Models, ModelsConfig, Origin, ProviderConfig, ProviderKind, Rate, Script,
    Scripted, Surroundings, TimeoutsConfig,
};
use blueprint_agent::tool::ToolSpec;
use blueprint_core::graph::{Action, Mind, Program};
use blueprint_core::run::{Failure, FailureClass, Payload, State, Success};
use globset::GlobBuilder;
use serde_json::{Value, json};

use super::fault::{Faults, Faulty};
use super::{Fault, Says, Scenario};
use crate::cassette::{Cassette, Player};
use crate::journal::Entry;
use crate::logs::Line;
use crate::outside::{Asker, Decided, HttpAnswer, Outside};
use crate::shared::Observer;

/// What a script is served under: the provider of scripted models.
const SCRIPTED: &str = "scripted";
/// Tokens that fit into a call of a script that does not say.
const WINDOW: u64 = 200_000;

/// Whether a key of a scenario means this node: its path, its name, or a pattern of paths.
pub(super) fn matches(key: &str, who: Asker<'_>) -> bool {
    key == who.node || key == who.name || fits(key, who.node)
}

/// Whether a pattern fits a path. `*` and `?` do not cross `/`, `**` does; everything else means itself.
pub(super) fn fits(pattern: &str, path: &str) -> bool {
    let mut plain = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        if matches!(c, '[' | ']' | '{' | '}' | '\\' | '!') {
            plain.push('\\');
        }
        plain.push(c);
    }
    let glob = GlobBuilder::new(&plain).literal_separator(true).backslash_escape(true).build();
    glob.is_ok_and(|glob| glob.compile_matcher().is_match(path))
}

/// The entry for a node: one with its path first, then its name, then the first pattern that fits.
fn entry<'a, T>(all: &'a [(String, T)], who: Asker<'_>) -> Option<&'a T> {
    let exact = |wanted: &str| all.iter().find(|(key, _)| key == wanted);
    let found = exact(who.node)
        .or_else(|| exact(who.name))
        .or_else(|| all.iter().find(|(key, _)| fits(key, who.node)));
    found.map(|(_, value)| value)
}

/// What stands in for a model in one run.
#[derive(Debug)]
enum Stands {
    Script(Script),
    Player(Player),
}

impl Stands {
    fn speaker(&self) -> Speaker<'_> {
        match self {
            Self::Script(script) => Speaker::Script(script.clone()),
            Self::Player(player) => Speaker::Player(player),
        }
    }
}

/// The same, for one session.
enum Speaker<'a> {
    Script(Script),
    Player(&'a Player),
}

/// What stands in for the outside world in one run of a scenario.
#[derive(Debug)]
pub struct Stand {
    scenario: Arc<Scenario>,
    faults: Arc<Faults>,
    models: Vec<(String, Stands)>,
    /// Scripts of the blueprint itself, by file. They ask nobody, so they hold unless the scenario has others.
    scripts: BTreeMap<String, String>,
    /// What commands start, by name of the node.
    programs: BTreeMap<String, String>,
}

impl Stand {
    /// For one run of `scenario`.
    pub fn new(scenario: Arc<Scenario>, program: &Program) -> Self {
        let mut scripts = BTreeMap::new();
        let mut programs = BTreeMap::new();
        for node in program.nodes() {
            match &node.action {
                Action::Agent(agent) => {
                    if let Mind::Script { file, script, .. } = &agent.mind {
                        scripts.insert(file.clone(), script.clone());
                    }
                }
                Action::Run(run) => {
                    let shell = run.shell.map(|_| "the shell".to_owned());
                    programs.insert(
                        node.name.to_string(),
                        shell.or_else(|| run.argv.first().cloned()).unwrap_or_default(),
                    );
                }
                _ => {}
            }
        }
        let faults = Arc::new(Faults::new(&scenario.faults));
        let models = scenario.models.iter().map(|(key, says)| {
            let stands = match says {
                Says::Script(script) => Stands::Script(script.clone()),
                Says::Cassette(cassette) => Stands::Player(Player::new(Cassette::clone(cassette))),
            };
            (key.clone(), stands)
        });
        let models = models.collect();
        Self { scenario, faults, models, scripts, programs }
    }

    /// Faults that did not happen as often as the scenario says.
    pub fn unused(&self) -> Vec<Fault> {
        self.faults.unused()
    }

    /// Who answers instead of a model, and under which name.
    fn says(&self, who: Asker<'_>, name: &str) -> Result<(String, Speaker<'_>), String> {
        if let Some(says) = entry(&self.models, who) {
            return Ok((format!("{SCRIPTED}/{}", who.name), says.speaker()));
        }
        if let Some((key, says)) = self.models.iter().find(|(key, _)| key == name) {
            return Ok((format!("{SCRIPTED}/{}", key.replace('/', "-")), says.speaker()));
        }
        let own = name.strip_prefix("scripted/").and_then(|file| self.scripts.get(file));
        let own = own.ok_or_else(|| {
            format!("the scenario has no model for `{}` (`{name}`), and a test asks nobody", who.node)
        })?;
        let own = Script::parse(own).map_err(|error| format!("`{name}`: {error}"))?;
        Ok((name.to_owned(), Speaker::Script(own)))
    }
}

/// Cassettes count the tries that came to an end.
impl Observer for Stand {
    fn journalled(&self, entry: &Entry, _: &State) {
        for (_, stands) in &self.models {
            if let Stands::Player(player) = stands {
                player.heard(&entry.event);
            }
        }
    }

    fn line(&self, _: &str, _: u32, _: &Line) {}
}

impl Outside for Stand {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn stub(&self, who: Asker<'_>) -> Option<Result<Success, Failure>> {
        if let Some(failure) = self.faults.of_node(who, self.programs.get(who.name).map(String::as_str)) {
            return Some(Err(failure));
        }
        let Some(stub) = entry(&self.scenario.stubs, who)?.of(who.attempt) else {
            return Some(Err(run_out("stub", who)));
        };
        let record = json!({ "stub": format!("scenario {}", self.scenario.name) });
        Some(match &stub.end {
            Ok(outputs) => Ok(Success { outputs: outputs.clone().map(Payload::Inline), tree: None, record }),
            Err(failure) => Err(Failure { record, ..failure.clone() }),
        })
    }

    fn writes(&self, who: Asker<'_>) -> Vec<(String, String)> {
        if self.faults.has_ended(who) {
            return Vec::new();
        }
        let stub = entry(&self.scenario.stubs, who).and_then(|stubs| stubs.of(who.attempt));
        stub.map(|stub| stub.writes.clone()).unwrap_or_default()
    }

    fn breaks(&self, who: Asker<'_>) -> bool {
        self.faults.of_tool(who)
    }

    fn model(&self, who: Asker<'_>, name: &str, asked: usize) -> Result<Arc<dyn Model>, String> {
        let (label, speaker) = self.says(who, name)?;
        let (price, window, inner): (_, _, Arc<dyn Model>) = match speaker {
            Speaker::Player(player) => (None, WINDOW, player.model(who, name, asked)?),
            Speaker::Script(script) => {
                let (price, window) = (script.price, script.window.unwrap_or(WINDOW));
                (price, window, Arc::new(Scripted::new(label.clone(), script, who.name, who.round, asked)))
            }
        };
        let recorded = inner.origin() == Origin::Recorded;
        let model = Arc::new(Faulty {
            inner,
            faults: Arc::clone(&self.faults),
            node: who.node.to_owned(),
            name: who.name.to_owned(),
            attempt: who.attempt,
            round: who.round,
            answered: AtomicU32::new(u32::try_from(asked).unwrap_or(u32::MAX)),
        });
        // A recording holds what came of all tries already.
        if recorded || name.starts_with("scripted/") {
            return Ok(model);
        }
        // What answers to the name of a real model is asked as a real one is: with tries, pauses and a breaker.
        let provider = ProviderConfig {
            kind: ProviderKind::Ollama,
            base_url: None,
            key_env: None,
            headers: BTreeMap::new(),
            free: price.is_none(),
            limits: Rate::default(),
            timeouts: TimeoutsConfig::default(),
        };
        let known =
            Known { price, window: Some(window), longest_answer: Some(model.longest_answer()), effort: None };
        let config = ModelsConfig {
            providers: BTreeMap::from([(SCRIPTED.to_owned(), provider)]),
            known: BTreeMap::from([(label.clone(), known)]),
            ..ModelsConfig::default()
        };
        let clock = Arc::new(crate::clock::Clock::system());
        let surroundings = Surroundings {
            variables: Arc::new(|_| None),
            connect: Arc::new(move |_| Ok(Arc::clone(&model) as Arc<dyn Model>)),
            memory: Arc::new(Forgetful::default()),
            now: Arc::new(move || clock.now_ms()),
            chance: Arc::new(|| 0.0),
        };
        let models = Models::new(config, surroundings).map_err(|wrong| {
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            wrong.join("; ")
        })?;
        models.resolve(&label).map_err(|error| error.to_string())
    }

    fn http(&self, who: Asker<'_>, method: &str, url: &str, _: &[u8]) -> Result<HttpAnswer, Failure> {
        let answers = entry(&self.scenario.http, who).ok_or_else(|| {
            let message = format!("the scenario has no answer to {method} {url}, and a test asks nobody");
            Failure::new(FailureClass::Policy, message)
        })?;
        let answer = answers.of(who.attempt).ok_or_else(|| run_out("answer", who))?;
        Ok(HttpAnswer { status: answer.status, headers: answer.headers.clone(), body: answer.body.clone() })
    }

    fn tool(&self, who: Asker<'_>, tool: &str, _: &Value) -> Result<String, String> {
        Err(format!("`{tool}` of `{}` speaks to the outside, and a test asks nobody", who.node))
    }

    fn offers(&self, who: Asker<'_>, _: u32) -> Result<Vec<ToolSpec>, String> {
        Err(format!("a server of `{}` is outside of the sandbox, and a test asks nobody", who.node))
    }

    fn hook(&self, _: Asker<'_>, _: &str, _: usize) -> Result<Arc<dyn Model>, String> {
        Err("a scenario asks no hooks".to_owned())
    }

    fn gate(&self, who: Asker<'_>, _: &str) -> Vec<Decided> {
        let Some(verdict) = entry(&self.scenario.gates, who).and_then(|verdicts| verdicts.of(who.attempt))
        else {
            return Vec::new();
        };
        let by = verdict.by.iter();
        by.map(|name| (verdict.decision, name.clone(), verdict.reason.clone())).collect()
    }
}

/// A list that is shorter than the attempts. Not repairable: another round would not make it longer.
fn run_out(what: &str, who: Asker<'_>) -> Failure {
    let message = format!("the scenario has no {what} for attempt {} of `{}`", who.attempt, who.node);
    Failure::new(FailureClass::Policy, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_paths_and_brackets_mean_themselves() {
        assert!(fits("deploy/*", "deploy/canary"));
        assert!(!fits("deploy/*", "deploy/canary/probe"));
        assert!(fits("deploy/**", "deploy/canary/probe"));
        assert!(fits("build[2]", "build[2]"));
        assert!(!fits("build[2]", "build2"));
        assert!(fits("build[*]", "build[12]"));
    }
}
