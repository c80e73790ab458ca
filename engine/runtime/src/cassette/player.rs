//! A cassette in place of the outside world. Each try of a node gets what the same try got when it was recorded, in the
//! same order, whatever it asks; whether it asks the same is compared afterwards. What was not recorded is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blueprint_agent::model::{Answer, Delta, Listener, Model, ModelError, ModelFault, Origin, Request};
use blueprint_agent::session::{Extent, Spend, Step};
use blueprint_agent::tool::{ToolOutcome, ToolSpec};
use blueprint_core::run::{Event, Failure, FailureClass, State, Success};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Cassette, End, Said};
use crate::journal::Entry as Journalled;
use crate::logs::Line;
use crate::outside::{Asker, Decided, HttpAnswer, Outside};
use crate::shared::Observer;

/// What one try of a node got.
#[derive(Debug, Default)]
struct Try {
    calls: Vec<Call>,
    tools: Mutex<VecDeque<(String, Value, ToolOutcome)>>,
    http: Option<HttpAnswer>,
    /// What servers outside the sandbox offered, each from a turn on.
    offered: Vec<(u32, Vec<ToolSpec>)>,
    /// What the models of hooks said, by hook.
    hooks: BTreeMap<String, Vec<Call>>,
    gate: Vec<Decided>,
    failure: Option<Failure>,
}

impl Try {
    fn is_over_budget(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.class == FailureClass::Budget)
    }
}

/// A call that failed, as it was when it was recorded.
fn failed(model: String, message: &str, fault: Option<ModelFault>, spent: Spend) -> ModelError {
    let prefix = format!("{model}: ");
    ModelError {
        message: message.strip_prefix(&prefix).unwrap_or(message).to_owned(),
        model,
        fault: fault.unwrap_or(ModelFault::Invalid),
        retry_after: None,
        maybe_billed: spent.tokens > 0,
    }
}

/// One call of a model.
#[derive(Debug, Clone)]
struct Call {
    model: String,
    reserve: Spend,
    extent: Extent,
    came: Result<Box<Answer>, ModelError>,
}

/// Plays a cassette.
#[derive(Debug)]
pub(crate) struct Player {
    tries: BTreeMap<(String, u32), Try>,
    /// Attempts that came to an end in the replay, by node.
    ended: Mutex<BTreeMap<Arc<str>, BTreeSet<u32>>>,
    /// Gates that were opened in the replay.
    opened: Mutex<BTreeMap<Arc<str>, BTreeSet<u32>>>,
}

impl Player {
    pub(crate) fn new(cassette: Cassette) -> Self {
        let mut tries: BTreeMap<(String, u32), Try> = BTreeMap::new();
        let mut asked: BTreeMap<(String, u32), (String, Spend, Extent)> = BTreeMap::new();
        let mut hooked: BTreeMap<(String, u32), (String, Spend, Extent)> = BTreeMap::new();
        let mut announced: BTreeMap<(String, u32), BTreeMap<(u32, u32), Value>> = BTreeMap::new();
        for entry in cassette.entries {
            let key = (entry.node, entry.attempt);
            let found = tries.entry(key.clone()).or_default();
            match entry.said {
                Said::Step(Step::ModelCalled { model, reserve, extent, .. }) => {
                    asked.insert(key, (model, reserve, extent));
                }
                Said::Step(Step::ModelAnswered { mut answer, .. }) => {
                    if let Some((model, reserve, extent)) = asked.remove(&key) {
                        answer.origin = Origin::Recorded;
                        found.calls.push(Call { model, reserve, extent, came: Ok(answer) });
                    }
                }
                Said::Step(Step::ModelFailed { model, spent, message, fault, .. }) => {
                    if let Some((name, reserve, extent)) = asked.remove(&key) {
                        let came = Err(failed(model, &message, fault, spent));
                        found.calls.push(Call { model: name, reserve, extent, came });
                    }
                }
                Said::Step(Step::HookAsked { model, reserve, extent, .. }) => {
                    hooked.insert(key, (model, reserve, extent));
                }
                Said::Step(Step::HookAnswered { hook, mut answer, .. }) => {
                    if let Some((model, reserve, extent)) = hooked.remove(&key) {
                        answer.origin = Origin::Recorded;
                        let call = Call { model, reserve, extent, came: Ok(answer) };
                        found.hooks.entry(hook).or_default().push(call);
                    }
                }
                Said::Step(Step::HookFailed { hook, model, spent, message, fault, .. }) => {
                    if let Some((name, reserve, extent)) = hooked.remove(&key) {
                        let came = Err(failed(model, &message, fault, spent));
                        let call = Call { model: name, reserve, extent, came };
                        found.hooks.entry(hook).or_default().push(call);
                    }
                }
                Said::Step(Step::Offered { turn, tools }) => found.offered.push((turn, tools)),
                Said::Step(Step::ToolCalled { turn, call, arguments, .. }) => {
                    announced.entry(key).or_default().insert((turn, call), arguments);
                }
                Said::Step(Step::ToolReturned { turn, call, tool, outcome, .. }) => {
                    let arguments = announced.get_mut(&key).and_then(|calls| calls.remove(&(turn, call)));
                    let tools = found.tools.get_mut().unwrap_or_else(PoisonError::into_inner);
                    tools.extend(arguments.map(|arguments| (tool, arguments, outcome)));
                }
                Said::Http { status, headers, body, .. } => {
                    found.http = body.bytes().map(|body| HttpAnswer { status, headers, body });
                }
                Said::Gate { decision, by, reason } => found.gate.push((decision, by, reason)),
                Said::End(End::Failed { class, message, fingerprint, .. }) => {
                    found.failure = Some(Failure { fingerprint, ..Failure::new(class, message) });
                }
                Said::Step(Step::Told { .. } | Step::Compacted { .. }) | Said::End(End::Succeeded { .. }) => {
                }
            }
        }
        Self { tries, ended: Mutex::default(), opened: Mutex::default() }
    }

    /// Takes in a fact of the replay: tries are counted by what came to an end.
    pub(crate) fn heard(&self, event: &Event) {
        let (counted, node, attempt) = match event {
            Event::NodeSucceeded { node, attempt, .. } | Event::NodeFailed { node, attempt, .. } => {
                (&self.ended, node, attempt)
            }
            Event::GateOpened { node, attempt, .. } => (&self.opened, node, attempt),
            _ => return,
        };
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.entry(Arc::clone(node)).or_default().insert(*attempt);
    }

    fn at(&self, node: &str, counted: &Mutex<BTreeMap<Arc<str>, BTreeSet<u32>>>) -> Option<&Try> {
        let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counted.get(node).map_or(0, BTreeSet::len);
        self.tries.get(&(node.to_owned(), u32::try_from(before).ok()?.saturating_add(1)))
    }
}

impl Outside for Player {
    fn kind(&self) -> &'static str {
        "recorded"
    }

    fn stub(&self, _: Asker<'_>) -> Option<Result<Success, Failure>> {
        None
    }

    fn model(&self, who: Asker<'_>, name: &str, asked: usize) -> Result<Arc<dyn Model>, String> {
        let found = self.at(who.node, &self.ended);
        let calls = found.map_or_else(Vec::new, |found| found.calls.clone());
        let name = calls.first().map_or(name, |call| &call.model).to_owned();
        let over_budget = found.is_some_and(Try::is_over_budget);
        Ok(Arc::new(Recorded { name, calls, next: AtomicUsize::new(asked), over_budget }))
    }

    fn offers(&self, who: Asker<'_>, turn: u32) -> Result<Vec<ToolSpec>, String> {
        let offered = self.at(who.node, &self.ended).map_or(&[][..], |found| &found.offered);
        let now = offered.iter().rev().find(|(from, _)| *from <= turn);
        Ok(now.map(|(_, tools)| tools.clone()).unwrap_or_default())
    }

    fn hook(&self, who: Asker<'_>, hook: &str, asked: usize) -> Result<Arc<dyn Model>, String> {
        let found = self.at(who.node, &self.ended);
        let calls = found.and_then(|found| found.hooks.get(hook)).cloned().unwrap_or_default();
        let Some(first) = calls.first() else {
            return Err("the cassette holds no answer to this hook, and nothing was asked".to_owned());
        };
        let (name, over_budget) = (first.model.clone(), found.is_some_and(Try::is_over_budget));
        Ok(Arc::new(Recorded { name, calls, next: AtomicUsize::new(asked), over_budget }))
    }

    fn http(&self, who: Asker<'_>, _: &str, _: &str, _: &[u8]) -> Result<HttpAnswer, Failure> {
        let found = self.at(who.node, &self.ended);
        if let Some(answer) = found.and_then(|found| found.http.clone()) {
            return Ok(answer);
        }
        Err(found.and_then(|found| found.failure.clone()).unwrap_or_else(|| {
            Failure::new(
                FailureClass::Policy,
                "the cassette holds no answer to this request, and nothing was sent",
            )
        }))
    }

    fn tool(&self, who: Asker<'_>, tool: &str, arguments: &Value) -> Result<String, String> {
        let none = || format!("the cassette holds no answer of `{tool}` to this, and nothing was asked");
        let found = self.at(who.node, &self.ended).ok_or_else(none)?;
        let mut tools = found.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let at =
            tools.iter().position(|(name, given, _)| name == tool && given == arguments).ok_or_else(none)?;
        match tools.remove(at) {
            Some((_, _, ToolOutcome::Done(text))) => Ok(text),
            Some((_, _, ToolOutcome::Failed(text))) => Err(text),
            Some((_, _, ToolOutcome::Finish(_))) | None => Err(none()),
        }
    }

    fn gate(&self, who: Asker<'_>, _: &str) -> Vec<Decided> {
        self.at(who.node, &self.opened).map_or_else(Vec::new, |found| found.gate.clone())
    }
}

/// A model that says again what one said.
#[derive(Debug)]
struct Recorded {
    name: String,
    calls: Vec<Call>,
    next: AtomicUsize,
    over_budget: bool,
}

impl Recorded {
    fn fault(&self, fault: ModelFault, message: &str) -> ModelError {
        ModelError::new(&self.name, fault, message)
    }

    fn extent(&self) -> Extent {
        self.calls.first().map_or(Extent::default(), |call| call.extent)
    }
}

#[async_trait]
impl Model for Recorded {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> Origin {
        Origin::Recorded
    }

    fn window(&self) -> u64 {
        match self.extent().window {
            0 => 200_000,
            window => window,
        }
    }

    fn longest_answer(&self) -> u64 {
        match self.extent().longest {
            0 => 8192,
            longest => longest,
        }
    }

    fn at_most(&self, _: u64, _: u64) -> Option<u64> {
        match self.calls.get(self.next.load(Ordering::SeqCst)) {
            Some(call) => call.reserve.cost_micros,
            // The call that the money did not reach for is not on record, and must not be made now.
            None if self.over_budget => Some(u64::MAX / 4),
            None => Some(0),
        }
    }

    async fn answer(
        &self,
        _: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        if cancel.is_cancelled() {
            return Err(self.fault(ModelFault::Cancelled, "cancelled"));
        }
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let Some(call) = self.calls.get(number) else {
                let why = "the cassette holds no further answer, and nothing was asked";
                return Err(self.fault(ModelFault::Rejected, why));
            };
            let failed = match call.came.clone() {
                Ok(answer) => {
                    if !answer.text.is_empty() {
                        on.delta(Delta::Text(&answer.text));
                    }
                    return Ok(*answer);
                }
                Err(failed) => failed,
            };
            // A try that may have been billed was made again if the budgets allowed it, as part of the same call.
            let again = failed.maybe_billed && failed.fault.is_transient();
            if !again || (number + 1 >= self.calls.len() && !self.over_budget) {
                return Err(failed);
            }
            if !on.again(&failed).await {
                return Err(ModelError { maybe_billed: false, ..failed });
            }
        }
    }
}

/// Shows a replay to whoever watches, and to its player.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) player: Arc<Player>,
    pub(crate) inner: Arc<dyn Observer>,
}

impl Observer for Listening {
    fn journalled(&self, entry: &Journalled, state: &State) {
        self.player.heard(&entry.event);
        self.inner.journalled(entry, state);
    }

    fn line(&self, node: &str, attempt: u32, line: &Line) {
        self.inner.line(node, attempt, line);
    }
}
