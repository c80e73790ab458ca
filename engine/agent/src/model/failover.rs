//! One model that asks several in order: tries again where that makes sense, goes on to the next where it does not,
//! and keeps away from providers that are down or want to be left alone. Never hides a fault of the request itself,
//! and never waits for a provider while another one can be asked, but for the pause before another try.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::breaker::{BreakerState, Pass};
use super::cache::Cache;
use super::pace::Pace;
use super::retry::{Course, LONGEST_WAIT, TRIES, course, pause};
use super::standing::Standing;
use super::{Answer, Delta, Listener, Message, Model, ModelError, ModelFault, Origin, Request};

#[cfg(test)]
pub(super) mod tests;

/// How much longer than agreed a client may take to notice by itself that its time is up.
const GRACE: Duration = Duration::from_secs(5);

/// A number between 0 and 1, another one each time.
pub type Chance = dyn Fn() -> f64 + Send + Sync;

/// Chance for waits. Good for nothing else.
pub fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

/// A model that can be asked, and how its provider stands.
#[derive(Debug)]
pub(super) struct Candidate {
    model: Arc<dyn Model>,
    standing: Arc<Standing>,
    total: Duration,
}

impl Candidate {
    pub(super) fn new(model: Arc<dyn Model>, standing: Arc<Standing>, total: Duration) -> Self {
        Self { model, standing, total }
    }

    fn cancelled(&self) -> Missed {
        Missed::Up(self.error(ModelFault::Cancelled, "cancelled".to_owned()))
    }

    fn error(&self, fault: ModelFault, message: String) -> ModelError {
        let model = self.model.name().to_owned();
        ModelError { model, fault, message, retry_after: None, maybe_billed: false }
    }
}

/// The models behind a name.
pub(super) struct Failover {
    name: String,
    candidates: Vec<Candidate>,
    cache: Option<Arc<Cache>>,
    /// How fast all models of the run may be asked.
    pace: Arc<Pace>,
    chance: Arc<Chance>,
}

impl std::fmt::Debug for Failover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failover")
            .field("name", &self.name)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

/// Why a candidate gave no answer.
enum Missed {
    /// Nobody else is to be asked.
    Up(ModelError),
    /// It was asked.
    Asked(ModelError),
    /// It was not.
    Skipped(ModelError),
    /// It was not, because it wants to be left alone for this long.
    Rests(ModelError, Duration),
}

/// One call from its first try to its end.
struct Call<'a> {
    request: &'a Request,
    on: &'a mut dyn Listener,
    cancel: &'a CancellationToken,
    /// Tokens in, at most.
    input: u64,
    /// The last try failed like this and may have been billed. Nobody has settled it yet.
    unsettled: Option<ModelError>,
    /// Some of an answer that did not come to its end was shown.
    shown: bool,
}

/// What a listener is shown while an answer arrives, with a note that something was shown.
struct Shown<'a> {
    on: &'a mut dyn Listener,
    shown: &'a mut bool,
}

#[async_trait]
impl Listener for Shown<'_> {
    fn delta(&mut self, delta: Delta<'_>) {
        *self.shown = true;
        self.on.delta(delta);
    }

    async fn again(&mut self, failed: &ModelError) -> bool {
        self.on.again(failed).await
    }
}

impl Failover {
    /// Of at least one candidate.
    pub(super) fn new(
        name: String,
        candidates: Vec<Candidate>,
        cache: Option<Arc<Cache>>,
        pace: Arc<Pace>,
        chance: Arc<Chance>,
    ) -> Self {
        Self { name, candidates, cache, pace, chance }
    }

    fn smallest(&self, of: impl Fn(&dyn Model) -> u64) -> u64 {
        self.candidates.iter().map(|candidate| of(candidate.model.as_ref())).min().unwrap_or(0)
    }

    async fn ask(&self, candidate: &Candidate, call: &mut Call<'_>) -> Result<Answer, Missed> {
        let name = candidate.model.name();
        if let Some(answer) = self.cache.as_ref().and_then(|cache| cache.find(name, call.request)) {
            tracing::info!(model = name, "answered from the cache");
            call.on.delta(Delta::Text(&answer.text));
            return Ok(sealed(answer, name));
        }
        let standing = &candidate.standing;
        if let Some((fault, why)) = standing.unusable(name) {
            return Err(Missed::Skipped(candidate.error(fault, why)));
        }
        if let Some(left) = standing.resting() {
            let mut error = candidate.error(ModelFault::RateLimited, rests(left));
            error.retry_after = Some(left);
            return Err(Missed::Rests(error, left));
        }
        let request = unsealed(call.request, name);
        let mut tried = 0;
        loop {
            let pass = standing.breaker.admit().map_err(|left| {
                let mut error = candidate.error(ModelFault::Overloaded, broken(left));
                error.retry_after = Some(left);
                Missed::Skipped(error)
            })?;
            tokio::select! {
                biased;
                () = call.cancel.cancelled() => return Err(candidate.cancelled()),
                () = async { self.pace.take(call.input).await; standing.pace.take(call.input).await } => {}
            }
            // What may have been paid for is settled before it may be paid for again.
            if let Some(failed) = &call.unsettled {
                let again = call.on.again(failed).await;
                if let Some(failed) = call.unsettled.take().filter(|_| !again) {
                    return Err(Missed::Up(ModelError { maybe_billed: false, ..failed }));
                }
            }
            tried += 1;
            let input = call.input;
            let settle = |used| {
                self.pace.settle(input, used);
                standing.pace.settle(input, used);
            };
            match self.once(candidate, &request, call).await {
                Ok(answer) => {
                    pass.succeeded();
                    settle(answer.usage.total());
                    if let Some(cache) = &self.cache {
                        cache.hold(name, call.request, &answer);
                    }
                    return Ok(sealed(answer, name));
                }
                Err(error) => {
                    settle(if error.maybe_billed { call.input } else { 0 });
                    self.missed(candidate, call, pass, error, tried).await?;
                }
            }
        }
    }

    async fn once(
        &self,
        candidate: &Candidate,
        request: &Request,
        call: &mut Call<'_>,
    ) -> Result<Answer, ModelError> {
        if std::mem::take(&mut call.shown) {
            call.on.delta(Delta::Text("\n"));
        }
        let Call { on, shown, cancel, .. } = call;
        let mut watch = Shown { on: &mut **on, shown };
        let answer = candidate.model.answer(request, &mut watch, cancel);
        match tokio::time::timeout(candidate.total.saturating_add(GRACE), answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("no answer within {} seconds", candidate.total.as_secs());
                Err(ModelError { maybe_billed: true, ..candidate.error(ModelFault::Timeout, why) })
            }
        }
    }

    /// `Ok`: another try, and its time has come.
    async fn missed(
        &self,
        candidate: &Candidate,
        call: &mut Call<'_>,
        pass: Pass,
        error: ModelError,
        tried: u32,
    ) -> Result<(), Missed> {
        let (standing, name) = (&candidate.standing, candidate.model.name());
        let course = course(error.fault);
        match course {
            Course::Again => pass.failed(),
            // It answered, so it is there.
            Course::LeaveModel => pass.succeeded(),
            Course::Up if error.fault != ModelFault::Cancelled => pass.succeeded(),
            Course::Up | Course::LeaveProvider => drop(pass),
        }
        if course == Course::Up {
            return Err(Missed::Up(error));
        }
        call.unsettled = error.maybe_billed.then(|| error.clone());
        if course != Course::Again {
            tracing::warn!(model = name, fault = ?error.fault, "will not be asked again in this run");
            let model = (course == Course::LeaveModel).then_some(name);
            standing.leave(model, error.fault, &error.message);
            return Err(Missed::Asked(error));
        }
        if let Some(wait) = error.retry_after {
            standing.rest(wait);
        }
        let wait = pause(tried, (self.chance)()).max(standing.resting().unwrap_or_default());
        let open = matches!(standing.breaker.state(), BreakerState::Open(_));
        if tried >= TRIES || open || wait > LONGEST_WAIT {
            tracing::warn!(model = name, fault = ?error.fault, tried, "left for the next model");
            return Err(Missed::Asked(error));
        }
        tracing::warn!(model = name, fault = ?error.fault, tried, ?wait, "will be asked again");
        if waited(call.cancel, wait).await { Ok(()) } else { Err(candidate.cancelled()) }
    }

    /// One error for all of them: the first that may pass by itself, or else the last.
    fn failed(&self, mut errors: Vec<ModelError>) -> ModelError {
        let Some(last) = errors.pop() else {
            let (model, message) = (self.name.clone(), "no model is left to ask".to_owned());
            return ModelError {
                model,
                fault: ModelFault::NoModel,
                message,
                retry_after: None,
                maybe_billed: false,
            };
        };
        if errors.is_empty() {
            return last;
        }
        errors.push(last);
        let message: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let fault = errors.iter().map(|error| error.fault).find(|fault| fault.is_transient());
        ModelError {
            model: self.name.clone(),
            fault: fault.unwrap_or(errors[errors.len() - 1].fault),
            message: format!("no model answered: {}", message.join("; ")),
            retry_after: errors.iter().filter_map(|error| error.retry_after).min(),
            maybe_billed: false,
        }
    }
}

fn rests(left: Duration) -> String {
    format!("its provider wants to be left alone for another {} seconds", left.as_secs() + 1)
}

fn broken(left: Duration) -> String {
    match left.as_secs() {
        0 => "its provider failed again and again, and is just being tried by somebody else".to_owned(),
        left => format!("its provider failed again and again, and is left alone for another {left} seconds"),
    }
}

/// Waits; `false` if nobody waits for the answer any more.
async fn waited(cancel: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        biased;
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}

/// What a provider wants to see again is shown to the model it came from, and to no other.
fn sealed(mut answer: Answer, name: &str) -> Answer {
    answer.opaque = answer.opaque.map(|opaque| json!({ "of": name, "is": opaque }));
    answer
}

fn unsealed<'a>(request: &'a Request, name: &str) -> Cow<'a, Request> {
    let foreign = |message: &Message| matches!(message, Message::Assistant { opaque: Some(_), .. });
    if !request.messages.iter().any(foreign) {
        return Cow::Borrowed(request);
    }
    let mut own = request.clone();
    for message in &mut own.messages {
        if let Message::Assistant { opaque, .. } = message {
            let seal = opaque.take().filter(|seal| seal.get("of").and_then(Value::as_str) == Some(name));
            *opaque = seal.and_then(|mut seal| seal.get_mut("is").map(Value::take));
        }
    }
    Cow::Owned(own)
}

/// The most tokens a request has, by its bytes: a token has at least one, and in practice three.
fn estimate(request: &Request) -> u64 {
    let text = serde_json::to_vec(&(&request.system, &request.messages, &request.tools));
    text.map_or(u64::MAX, |text| (text.len() as u64).div_ceil(3))
}

#[async_trait]
impl Model for Failover {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> Origin {
        self.candidates.first().map_or(Origin::Provider, |candidate| candidate.model.origin())
    }

    fn window(&self) -> u64 {
        self.smallest(|model| model.window())
    }

    fn longest_answer(&self) -> u64 {
        self.smallest(|model| model.longest_answer())
    }

    /// That of the dearest. One without a known price is enough to make it unknown: it may be the one that answers.
    fn at_most(&self, input: u64, output: u64) -> Option<u64> {
        let most = |candidate: &Candidate| candidate.model.at_most(input, output);
        self.candidates.iter().map(most).try_fold(0, |most, one| one.map(|one| most.max(one)))
    }

    /// Tries that may have been billed are settled one by one, with [`Listener::again`]; the error of the last one says
    /// whether it is such a try.
    async fn answer(
        &self,
        request: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        let mut call = Call { request, on, cancel, input: estimate(request), unsettled: None, shown: false };
        let mut rested = false;
        loop {
            let mut errors = Vec::new();
            let mut asked = false;
            let mut soonest: Option<Duration> = None;
            for candidate in &self.candidates {
                match self.ask(candidate, &mut call).await {
                    Ok(answer) => return Ok(answer),
                    Err(Missed::Up(error)) => {
                        let maybe_billed = error.maybe_billed || call.unsettled.is_some();
                        return Err(ModelError { maybe_billed, ..error });
                    }
                    Err(Missed::Asked(error)) => {
                        asked = true;
                        errors.push(error);
                    }
                    Err(Missed::Skipped(error)) => errors.push(error),
                    Err(Missed::Rests(error, left)) => {
                        soonest = Some(soonest.map_or(left, |soonest| soonest.min(left)));
                        errors.push(error);
                    }
                }
            }
            // Nobody could be asked, but somebody soon can.
            match soonest.filter(|wait| !asked && !rested && *wait <= LONGEST_WAIT) {
                Some(wait) if waited(cancel, wait).await => rested = true,
                _ => {
                    let error = self.failed(errors);
                    let maybe_billed = call.unsettled.is_some();
                    let cancelled = cancel.is_cancelled();
                    let fault = if cancelled { ModelFault::Cancelled } else { error.fault };
                    return Err(ModelError { fault, maybe_billed, ..error });
                }
            }
        }
    }
}
