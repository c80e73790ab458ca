//! Hooks that make sense, in the order in which they are written. What does not is an error here, never a hook that
//! quietly matches nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};

use super::builtin::{Builtin, Builtins};
use super::config::{HandlerConfig, HookConfig, HookConfigError, MatchConfig};
use super::engine::Facts;
use super::event::{Event, EventKind};
use crate::tool::Effect;

/// How long a hook may take if nobody says otherwise.
const USUAL_TIME: Duration = Duration::from_secs(5);
/// The same for one that asks a model.
const TIME_TO_THINK: Duration = Duration::from_mins(1);
/// The longest a hook may be given, in seconds.
const LONGEST_TIME: u64 = 600;

const EFFECTS: [Effect; 4] = [Effect::Read, Effect::Write, Effect::Network, Effect::Destructive];

/// Hooks that make sense.
#[derive(Debug, Default)]
pub struct HookTable {
    pub(super) hooks: Vec<Hook>,
}

#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) handler: Handler,
    pub(super) timeout: Duration,
    pub(super) observes: bool,
    /// It panicked, and is not called again.
    pub(super) broken: AtomicBool,
    matcher: Matcher,
}

#[derive(Debug)]
pub(super) enum Handler {
    Builtin(Arc<dyn Builtin>),
    Command { argv: Vec<String>, env: BTreeSet<String> },
    Prompt { prompt: String, model: String },
}

#[derive(Debug, Default)]
struct Matcher {
    node: Option<GlobMatcher>,
    tool: Option<String>,
    tool_glob: Option<GlobMatcher>,
    effect: BTreeSet<Effect>,
}

impl HookTable {
    /// Checks hooks; with all that is wrong, if anything is.
    pub fn compile(hooks: &[HookConfig], builtins: &Builtins) -> Result<Self, Vec<HookConfigError>> {
        let mut table = Self::default();
        let mut wrong = Vec::new();
        let mut names = BTreeSet::new();
        for config in hooks {
            let compiled = compile(config, builtins).and_then(|hook| {
                names
                    .insert(&config.name)
                    .then_some(hook)
                    .ok_or_else(|| "there are two of this name".to_owned())
            });
            match compiled {
                Ok(hook) => table.hooks.push(hook),
                Err(why) => wrong.push(HookConfigError { hook: config.name.clone(), why }),
            }
        }
        if wrong.is_empty() { Ok(table) } else { Err(wrong) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }
}

impl Hook {
    pub(super) fn fits(&self, event: Event, facts: &Facts<'_>) -> bool {
        if event != self.event {
            return false;
        }
        let Matcher { node, tool, tool_glob, effect } = &self.matcher;
        // What is not known is the worst it can be.
        let worst = facts.effect.unwrap_or(Effect::Destructive);
        node.as_ref().is_none_or(|glob| facts.node.is_some_and(|node| glob.is_match(node)))
            && tool.as_ref().is_none_or(|name| facts.tool == Some(name))
            && tool_glob.as_ref().is_none_or(|glob| facts.tool.is_some_and(|tool| glob.is_match(tool)))
            && (effect.is_empty() || effect.contains(&worst))
    }
}

fn compile(config: &HookConfig, builtins: &Builtins) -> Result<Hook, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if config.name.is_empty() || config.name.len() > 64 || !config.name.chars().all(fits) {
        return Err("a name has at most 64 lower-case letters, digits, `-` and `_`".to_owned());
    }
    let known = || Event::ALL.map(Event::as_str).into_iter();
    let event = Event::ALL.into_iter().find(|event| event.as_str() == config.event);
    let event = event.ok_or_else(|| unknown("event", &config.event, known()))?;
    let timeout = match config.timeout_seconds {
        None if config.handler.prompt.is_some() => TIME_TO_THINK,
        None => USUAL_TIME,
        Some(seconds @ 1..=LONGEST_TIME) => Duration::from_secs(seconds),
        Some(_) => return Err(format!("`timeout_seconds` is between 1 and {LONGEST_TIME}")),
    };
    let handler = handler(&config.handler, builtins)?;
    if matches!(handler, Handler::Prompt { .. }) && !event.is_of_session() {
        return Err(format!(
            "a model can be asked where the budget of an agent pays for it, which `{event}` is not part of"
        ));
    }
    let looks = matches!(&handler, Handler::Builtin(builtin) if builtin.observes());
    Ok(Hook {
        name: config.name.clone(),
        event,
        matcher: matcher(&config.matches, event)?,
        handler,
        timeout,
        observes: config.observe || looks || event.kind() == EventKind::Observer,
        broken: AtomicBool::new(false),
    })
}

fn matcher(config: &MatchConfig, event: Event) -> Result<Matcher, String> {
    let about_tools = config.tool.is_some() || config.tool_glob.is_some() || !config.effect.is_empty();
    if about_tools && !event.has_tool() {
        return Err(format!(
            "`{event}` is not about a tool, so `tool`, `tool_glob` and `effect` never match"
        ));
    }
    if config.node.is_some() && !event.has_node() {
        return Err(format!("`{event}` is not about a node, so `node` never matches"));
    }
    if config.tool.as_ref().is_some_and(String::is_empty) {
        return Err("`match.tool` is empty".to_owned());
    }
    let known = || EFFECTS.map(Effect::as_str).into_iter();
    let effect = |text: &String| {
        let found = EFFECTS.into_iter().find(|effect| effect.as_str() == text);
        found.ok_or_else(|| unknown("effect", text, known()))
    };
    Ok(Matcher {
        node: config.node.as_deref().map(|text| glob("node", text, true)).transpose()?,
        tool: config.tool.clone(),
        tool_glob: config.tool_glob.as_deref().map(|text| glob("tool_glob", text, false)).transpose()?,
        effect: config.effect.iter().map(effect).collect::<Result<_, _>>()?,
    })
}

fn glob(what: &str, text: &str, by_parts: bool) -> Result<GlobMatcher, String> {
    if text.is_empty() {
        return Err(format!("`match.{what}` is empty"));
    }
    let glob = GlobBuilder::new(text).literal_separator(by_parts).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| format!("`match.{what}`: {error}"))
}

fn handler(config: &HandlerConfig, builtins: &Builtins) -> Result<Handler, String> {
    if config.builtin.is_none() && !config.with.is_empty() {
        return Err("`with` is for a `builtin`".to_owned());
    }
    if config.prompt.is_none() && config.model.is_some() {
        return Err("`model` is for a `prompt`".to_owned());
    }
    if config.command.is_none() && !config.env.is_empty() {
        return Err("`env` is for a `command`".to_owned());
    }
    match (&config.command, &config.builtin, &config.prompt) {
        (Some(argv), None, None) => command(argv, &config.env),
        (None, Some(name), None) => match builtins.make(name, &config.with) {
            Some(builtin) => builtin.map(Handler::Builtin),
            None => Err(unknown("builtin", name, builtins.names())),
        },
        (None, None, Some(prompt)) if prompt.trim().is_empty() => Err("`prompt` asks nothing".to_owned()),
        (None, None, Some(prompt)) => {
            let model = config.model.clone().unwrap_or_else(|| "default".to_owned());
            Ok(Handler::Prompt { prompt: prompt.clone(), model })
        }
        _ => Err("`handler` has one of `command`, `builtin` and `prompt`".to_owned()),
    }
}

fn command(argv: &[String], env: &BTreeSet<String>) -> Result<Handler, String> {
    let program = argv.first().filter(|program| !program.is_empty()).ok_or("`command` names no program")?;
    // A path from here would run whatever the checkout of the day holds at that place.
    if program.contains('/') && !program.starts_with('/') {
        return Err(format!(
            "`{program}` depends on the folder; write the whole path, or a name that `PATH` finds"
        ));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err("`command` holds a NUL".to_owned());
    }
    if let Some(name) = env.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(format!("`env` holds names of variables, which `{name}` is not"));
    }
    Ok(Handler::Command { argv: argv.to_vec(), env: env.clone() })
}

fn unknown<'a>(what: &str, text: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|name| (strsim::damerau_levenshtein(name, text), name)).min();
    match near {
        Some((distance, name)) if distance <= 3 && distance < name.len() => {
            format!("there is no {what} `{text}`; did you mean `{name}`?")
        }
        _ => format!("there is no {what} `{text}`; there are {}", known.join(", ")),
    }
}
