//! What a run can cost at most, and what earlier ones did: for `plan` to show, and for `--max-usd` and `--max-wall` to
//! refuse. What is not known counts as too much.

use std::collections::BTreeMap;
use std::time::Duration;

use blueprint_agent::model::{Described, Price, TRIES};
use blueprint_core::bill::{Bill, Bound, Most, Rate, Rates};
use blueprint_core::format::HumanDuration;
use blueprint_core::graph::{Action, Mind, Program};
use blueprint_core::run::{Outcome, RunStatus, usd};
use blueprint_runtime::start::StandIn;
use serde_json::{Value, json};

use crate::args::Ceilings;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::terminal;

/// Of how many earlier runs the usual cost is taken.
const EARLIER: usize = 50;
/// Lines that are shown.
const SHOWN: usize = 5;

/// The bill of a program with the models and limits of the settings.
pub(crate) fn of(context: &Context, program: &Program, stand_ins: &BTreeMap<String, StandIn>) -> Bill {
    let mut models = BTreeMap::new();
    for node in program.nodes() {
        if let Action::Agent(agent) = &node.action
            && let Mind::Model { model, .. } = &agent.mind
        {
            let rate = match stand_ins.get(model) {
                Some(StandIn::Script { .. }) => Some(Rate { tries: 1, tokens: Some(0), micros: Some(0) }),
                Some(StandIn::Model(other)) => rate(&context.described(other)),
                None => rate(&context.described(model)),
            };
            models.extend(rate.map(|rate| (model.clone(), rate)));
        }
    }
    let rates = Rates {
        models,
        jobs: context.settings.jobs().get() as u32,
        command: context.settings.limits().wall.get(),
        agent: blueprint_runtime::perform::AGENT_TIME,
        request: blueprint_runtime::perform::REQUEST_TIME,
        asking: context.hooks.as_ref().is_some_and(|hooks| !hooks.engine.models().is_empty()),
    };
    Bill::of(program, &rates)
}

/// What one call can use up: of all models that may be asked in turn, the dearest.
fn rate(chain: &[Described]) -> Option<Rate> {
    let tries = TRIES.saturating_mul(chain.len() as u32);
    let all = |each: fn(&Described) -> Option<u64>| {
        chain
            .iter()
            .map(each)
            .try_fold(0, |most: u64, each| Some(most.max(each?)))
            .filter(|_| !chain.is_empty())
    };
    (!chain.is_empty()).then(|| Rate {
        tries,
        tokens: all(|model| Some(model.window?.saturating_add(model.longest_answer))),
        micros: all(|model| {
            let (price, _) = model.price.as_ref()?;
            let (input, output) = dearest(price);
            // A price is in dollars per million tokens, and so in millionths of a dollar per token.
            let micros = model.window? as f64 * input + model.longest_answer as f64 * output;
            Some(micros.ceil() as u64)
        }),
    })
}

fn dearest(price: &Price) -> (f64, f64) {
    let long = price.long.as_ref();
    let input = [
        Some(price.input),
        price.cache_write,
        price.cache_read,
        long.map(|long| long.input),
        long.and_then(|long| long.cache_write),
    ];
    let output = [Some(price.output), long.map(|long| long.output)];
    let most = |all: &[Option<f64>]| all.iter().flatten().copied().fold(0.0, f64::max);
    (most(&input), most(&output))
}

/// What earlier runs of a blueprint cost.
#[derive(Debug, Default)]
pub(crate) struct History {
    runs: usize,
    cost: Vec<u64>,
    wall: Vec<u64>,
}

impl History {
    /// Of the newest runs that succeeded.
    pub(crate) async fn of(context: &Context, blueprint: &str) -> Result<Self, CliError> {
        let mut history = Self::default();
        if !context.state_dir().join(blueprint_runtime::store::JOURNAL_FILE).exists() {
            return Ok(history);
        }
        let engine = context.reader().await?;
        let runs =
            engine.store.runs().await.map_err(|error| crate::error::from_error(Exit::Environment, &error))?;
        for run in runs.iter().filter(|run| run.blueprint == blueprint).take(EARLIER) {
            // What cannot be read says nothing of what is usual; `audit` says what is wrong with it.
            let Ok(opened) = engine.open(&run.id).await else { continue };
            if opened.state.status() != RunStatus::Finished(Outcome::Succeeded) {
                continue;
            }
            let spent = opened.state.spent();
            history.runs += 1;
            history.wall.push(opened.state.age_ms());
            if spent.unpriced_calls == 0 && spent.unreal_calls == 0 {
                history.cost.push(spent.cost_micros);
            }
        }
        history.cost.sort_unstable();
        history.wall.sort_unstable();
        Ok(history)
    }

    fn json(&self) -> Value {
        json!({ "runs": self.runs,
            "cost_micros": { "p50": rank(&self.cost, 50), "p90": rank(&self.cost, 90), "of": self.cost.len() },
            "wall_ms": { "p50": rank(&self.wall, 50), "p90": rank(&self.wall, 90), "of": self.wall.len() } })
    }
}

/// The value at a percentile of sorted values, by nearest rank.
fn rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let at = (sorted.len() * percent).div_ceil(100);
    sorted.get(at.saturating_sub(1)).copied()
}

pub(crate) fn to_json(bill: &Bill, history: &History) -> Value {
    json!({ "most": bill.total, "wall_ms": bill.wall_ms, "longest": bill.longest, "capped": bill.capped,
        "nodes": bill.lines, "history": history.json() })
}

pub(crate) fn print(bill: &Bill, history: &History) {
    let Most { calls, tokens, cost_micros, sandboxes, ci_rounds, questions, .. } = &bill.total;
    let by_budget = |key: &str| if bill.capped.contains(&key) { ", which is the budget" } else { "" };
    let rows = [
        ("model calls", calls, spelled(calls, |n| n.to_string()), ""),
        ("tokens", tokens, spelled(tokens, |n| n.to_string()), by_budget("tokens")),
        ("money", cost_micros, spelled(cost_micros, |n| format!("${}", usd(n))), by_budget("cost_usd")),
        ("sandboxes", sandboxes, spelled(sandboxes, |n| n.to_string()), ""),
        ("rounds of CI", ci_rounds, spelled(ci_rounds, |n| n.to_string()), ""),
        ("questions to people", questions, spelled(questions, |n| n.to_string()), ""),
    ];
    terminal::line("at most:");
    for (what, bound, said, more) in rows {
        if *bound != Bound::default() {
            terminal::line(&format!("  {what:20} {}{more}", terminal::clean(&said)));
        }
    }
    let wall = spelled(&bill.wall_ms, |ms| blueprint_runtime::human(Duration::from_millis(ms)));
    terminal::line(&format!(
        "  {:20} {}{}",
        "time without people",
        terminal::clean(&wall),
        by_budget("wall")
    ));
    if bill.longest.len() > 1 {
        terminal::line(&format!("  {:20} {}", "the longest way", bill.longest.join(" → ")));
    }
    let dear: Vec<String> = bill
        .lines
        .iter()
        .filter(|line| line.most.calls != Bound::default())
        .take(SHOWN)
        .map(|line| {
            let cost = spelled(&line.most.cost_micros, |n| format!("${}", usd(n)));
            format!("{}: {cost} in {} calls", line.node, spelled(&line.most.calls, |n| n.to_string()))
        })
        .collect();
    for (at, line) in dear.iter().enumerate() {
        let head = if at == 0 { "the dearest nodes" } else { "" };
        terminal::line(&format!("  {head:20} {}", terminal::clean(line)));
    }
    if history.runs > 0 {
        let time = |percent| {
            let ms = rank(&history.wall, percent).unwrap_or_default();
            blueprint_runtime::human(Duration::from_millis(ms))
        };
        terminal::line(&format!("the last {} that succeeded:", plural(history.runs, "run")));
        terminal::line(&format!("  {:20} half within {}, 9 of 10 within {}", "time", time(50), time(90)));
        if let (Some(half), Some(most)) = (rank(&history.cost, 50), rank(&history.cost, 90)) {
            terminal::line(&format!(
                "  {:20} half within ${}, 9 of 10 within ${}",
                "money",
                usd(half),
                usd(most)
            ));
        }
    }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn spelled(bound: &Bound, number: impl Fn(u64) -> String) -> String {
    match bound {
        Bound::AtMost(most) => number(*most),
        Bound::Open { open } => format!("no bound: {open}"),
    }
}

/// Refuses a bill above what was typed.
pub(crate) fn refuse(bill: &Bill, ceilings: &Ceilings) -> Result<(), CliError> {
    if let Some(limit) = ceilings.max_usd {
        if !limit.is_finite() || limit < 0.0 {
            return Err(CliError::usage("`--max-usd` takes an amount of money, such as 2.50"));
        }
        let limit = (limit * 1_000_000.0).floor() as u64;
        let (most, hint) = (
            &bill.total.cost_micros,
            "lower it with `max_cost_usd` of the agents, or bound the run with `cost_usd` in its `[budget]`",
        );
        match most {
            Bound::AtMost(most) if *most <= limit => {}
            Bound::AtMost(most) => {
                let said =
                    format!("this run may cost ${}, and `--max-usd` allows ${}", usd(*most), usd(limit));
                return Err(CliError::usage(said).hint("nothing was started").hint(hint));
            }
            Bound::Open { open } => {
                let said = format!("nothing bounds the money of this run: {}", terminal::clean(open));
                return Err(CliError::usage(said).hint("nothing was started").hint(hint));
            }
        }
    }
    if let Some(text) = &ceilings.max_wall {
        let limit: HumanDuration = text.parse().map_err(|why: String| {
            CliError::usage(format!("`--max-wall` takes a duration such as 45m: {why}"))
        })?;
        let limit = u64::try_from(limit.0.as_millis()).unwrap_or(u64::MAX);
        let hint = "give nodes a `timeout`, or bound the run with `wall` in its `[budget]`";
        let human = |ms| blueprint_runtime::human(Duration::from_millis(ms));
        match &bill.wall_ms {
            Bound::AtMost(most) if *most <= limit => {}
            Bound::AtMost(most) => {
                let said =
                    format!("this run may take {}, and `--max-wall` allows {}", human(*most), human(limit));
                return Err(CliError::usage(said).hint("nothing was started").hint(hint));
            }
            Bound::Open { open } => {
                let said = format!("nothing bounds the time of this run: {}", terminal::clean(open));
                return Err(CliError::usage(said).hint("nothing was started").hint(hint));
            }
        }
    }
    Ok(())
}
