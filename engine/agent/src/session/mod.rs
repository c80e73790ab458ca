//! One agent node: a prompt, a model, tools and limits, in a loop that always ends. Every step is recorded before
//! the next is taken, so that a session that was cut off goes on from its last step. Never acts on the world but
//! through its tools, and never trusts what the model says.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::context::{Family, Policy, compact, count_request, squeeze};
use crate::hook::Event;
use crate::model::{Answer, Message, Model, ModelError, ModelFault, Request, Stop};
use crate::tool::{Notes, ToolHost, ToolPaces, Toolbox};

mod asking;
mod calls;
mod end;
mod guard;
mod hearing;
mod history;
mod hooks;
mod limits;
mod renew;
mod steady;
mod step;

pub use asking::HookModels;
pub use end::{Ended, Stopped};
pub use hooks::Hooks;
pub use limits::{LONGEST_ANSWER, Limits, MOST_CALLS};
pub use renew::Renewal;
pub use steady::steady;
pub use step::{Extent, RecordError, Recorder, Spend, Step};

use asking::{Asking, Questions};
use guard::Guard;
use hearing::Hearing;
use history::History;
use limits::SHORTEST_ANSWER;

/// What a model is told when it said nothing.
const SAY_SOMETHING: &str = "Your answer was empty. Go on with the task: call a tool, or finish.";
/// What a model is told when its answer was cut off.
const SAY_LESS: &str = "Your answer was cut off because it was too long, and none of its calls were made. Go on in smaller steps.";

/// A session that can be run.
pub struct Session {
    /// Who answers.
    pub model: Arc<dyn Model>,
    /// What it may call.
    pub toolbox: Arc<Toolbox>,
    /// Who knows when that changes.
    pub renewal: Option<Arc<dyn Renewal>>,
    /// What its tools act on.
    pub host: Arc<dyn ToolHost>,
    /// Makes steps durable.
    pub recorder: Arc<dyn Recorder>,
    /// Who the model is to be.
    pub system: String,
    /// What it is to do.
    pub prompt: String,
    /// What it may use up.
    pub limits: Limits,
    /// How fast the run may call tools.
    pub paces: Option<Arc<ToolPaces>>,
    /// Who may say no and change what goes by.
    pub hooks: Option<Hooks>,
    /// What a scanner has to say of the results of tools.
    pub notes: Box<Notes<'static>>,
    /// Whether it has to end with a value: the tool `finish` is then one of the toolbox.
    pub wants_value: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("model", &self.model)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

struct Course<'a> {
    session: &'a Session,
    toolbox: Arc<Toolbox>,
    cancel: &'a CancellationToken,
    history: History,
    guard: Guard,
    /// What the last request was estimated to have in tokens, and what its provider counted.
    measured: Option<(u64, u64)>,
    /// The last answer, as long as nothing is on record of what followed from it.
    unheard: Option<Box<Answer>>,
    /// What a guard said when the steps were taken in again: the session ended there, and nobody heard of it.
    ended: Option<Stopped>,
    /// A compaction was tried because the provider said that the conversation is too long.
    shortened: bool,
}

impl Session {
    /// Runs to the end, on from what an earlier part of the session recorded.
    pub async fn run(&self, before: &[Step], cancel: &CancellationToken) -> Ended {
        let mut course = Course {
            session: self,
            toolbox: Arc::clone(&self.toolbox),
            cancel,
            history: History::new(self.prompt.clone()),
            guard: Guard::default(),
            measured: None,
            unheard: None,
            ended: None,
            shortened: false,
        };
        for step in before {
            course.replay(step);
        }
        course.history.settle();
        let result = course.run().await;
        let why = result.as_ref().err().map(ToString::to_string);
        let turns = course.history.turns;
        let seen = || serde_json::json!({ "turns": turns, "stopped": why });
        // Nothing of the session follows that could be stopped.
        drop(course.look(Event::AfterSession, turns, seen).await);
        let history = course.history;
        Ended {
            result,
            text: history.text,
            turns: history.turns,
            tool_calls: history.tool_calls,
            tokens: history.tokens,
            cost_micros: history.cost_micros,
            model: history.model,
            unreal: history.unreal,
        }
    }
}

impl Course<'_> {
    fn replay(&mut self, step: &Step) {
        let answer = self.history.pending.answer.clone();
        let mut outcomes = self.history.pending.outcomes.clone();
        self.history.take(step);
        // The calls of an answer that was cut off are refused first, and then it is told so.
        let refusing =
            |answer: &Answer| answer.stop == Stop::Length && matches!(step, Step::ToolReturned { .. });
        if let Some(answer) = self.unheard.take_if(|answer| !refusing(answer)) {
            drop(self.guard_calls(&answer));
        }
        let verdict = match step {
            Step::ModelAnswered { answer, .. } => {
                self.unheard = Some(answer.clone());
                Ok(())
            }
            Step::ToolReturned { call, outcome, .. } if self.history.pending.answer.is_none() => {
                outcomes.insert(*call, outcome.clone());
                let made = answer.filter(|answer| answer.stop != Stop::Length);
                made.map_or(Ok(()), |answer| self.guard_outcomes(&answer, &outcomes))
            }
            _ => Ok(()),
        };
        self.ended = verdict.err();
    }

    async fn run(&mut self) -> Result<Option<Value>, Stopped> {
        if let Some(ended) = self.ended.take() {
            return Err(ended);
        }
        if let Some(answer) = self.unheard.take() {
            let next = self.history.turns + 1;
            if let Some(end) = self.heard(next, &answer).await? {
                return Ok(end);
            }
        }
        loop {
            if self.cancel.is_cancelled() {
                return Err(Stopped::Lost);
            }
            if self.history.pending.answer.is_some() {
                self.make_calls().await?;
            }
            if let Some(value) = self.history.finished.take() {
                return Ok(Some(value));
            }
            if let Some(end) = self.turn().await? {
                return Ok(end);
            }
        }
    }

    async fn record(&mut self, step: Step) -> Result<(), Stopped> {
        recorded(self.session, &step).await?;
        self.history.take(&step);
        Ok(())
    }

    /// Who asks the hooks of an event, if there are any.
    fn asking(&self, turn: u32) -> Option<Asking<'_>> {
        let hooks = self.session.hooks.as_ref()?;
        let spent = (self.history.cost_micros, self.history.tokens);
        Some(Asking::new(self.session, hooks, self.cancel, turn, spent, self.history.hooks.clone()))
    }

    /// Takes in what hooks asked models. A question whose answer nobody waited for may have cost what it could.
    async fn questions(&mut self, asked: Questions) -> Result<(), Stopped> {
        for step in &asked.steps {
            self.history.take(step);
        }
        if let Some(stopped) = asked.stopped {
            return Err(stopped);
        }
        match asked.steps.into_iter().next_back() {
            Some(Step::HookAsked { turn, hook, model, reserve, .. }) => {
                let message = "nobody waited for its answer".to_owned();
                let fault = Some(ModelFault::Timeout);
                self.record(Step::HookFailed { turn, hook, model, spent: reserve, message, fault }).await
            }
            _ => Ok(()),
        }
    }

    /// One call of the model. `Some`: the session is at its end.
    async fn turn(&mut self) -> Result<Option<Option<Value>>, Stopped> {
        let limits = self.session.limits;
        let turn = self.history.turns + 1;
        if self.history.turns >= limits.turns {
            return Err(Stopped::Turns(limits.turns));
        }
        if let Some(renewal) = &self.session.renewal
            && let Some(toolbox) = renewal.renew(turn, self.cancel).await.map_err(calls::stopped)?
        {
            self.toolbox = toolbox;
        }
        self.fit(turn).await?;
        let mut request = self.request()?;
        if let Some(asking) = self.asking(turn) {
            let said = Hooks::before_model(&asking, &mut request).await;
            let asked = asking.end();
            self.questions(asked).await?;
            said?;
        }
        let reserve = self.reserve(&request)?;
        let model = &self.session.model;
        let asked = steady::request_digest(&request, &*self.session.host);
        let extent = Extent { window: model.window(), longest: model.longest_answer() };
        let call =
            Step::ModelCalled { turn, model: model.name().to_owned(), reserve, request: asked, extent };
        self.record(call.clone()).await?;
        match self.ask(&request, call, turn, reserve).await? {
            Ok(answer) => {
                self.measured = Some((self.estimate(&request), answer.usage.input));
                let answer = Box::new(answer);
                self.record(Step::ModelAnswered { turn, answer: answer.clone() }).await?;
                let seen = || serde_json::json!({ "turn": turn, "answer": answer });
                self.look(Event::AfterModel, turn, seen).await?;
                self.shortened = false;
                self.heard(turn + 1, &answer).await
            }
            Err(error) => match error.fault {
                ModelFault::Cancelled => Err(Stopped::Lost),
                ModelFault::TooLong if !self.shortened => {
                    self.shortened = true;
                    self.shorten(turn).await.map(|()| None)
                }
                ModelFault::TooLong => Err(Stopped::TooLong),
                _ => Err(Stopped::Model(error)),
            },
        }
    }

    fn request_of(&self, messages: Vec<Message>) -> Request {
        let session = self.session;
        Request {
            system: session.system.clone(),
            messages,
            tools: self.toolbox.specs(),
            max_output: session.model.longest_answer().min(LONGEST_ANSWER),
            temperature: None,
        }
    }

    fn request(&self) -> Result<Request, Stopped> {
        let session = self.session;
        let mut request = self.request_of(self.history.messages.clone());
        if let Some(limit) = session.limits.tokens {
            let used = self.history.tokens;
            let left = limit.saturating_sub(used).saturating_sub(self.estimate(&request));
            request.max_output = request.max_output.min(left);
            if request.max_output < SHORTEST_ANSWER {
                return Err(Stopped::Tokens { used, limit });
            }
        }
        Ok(request)
    }

    /// The most this call can cost, if the session may spend it.
    fn reserve(&self, request: &Request) -> Result<Spend, Stopped> {
        let input = self.estimate(request);
        let model = &self.session.model;
        let reserve = Spend {
            cost_micros: model.at_most(input, request.max_output),
            tokens: input + request.max_output,
        };
        let spent = (self.history.cost_micros, self.history.tokens);
        self.session.limits.allow(&**model, spent, reserve)?;
        Ok(reserve)
    }

    /// Asks the model. A failure is on record when this returns; so is every try that may have been billed.
    async fn ask(
        &mut self,
        request: &Request,
        call: Step,
        turn: u32,
        reserve: Spend,
    ) -> Result<Result<Answer, ModelError>, Stopped> {
        let session = self.session;
        let spent = (self.history.cost_micros, self.history.tokens);
        let steps = Mutex::default();
        let mut hearing = Hearing::new(session, &*session.model, call, turn, reserve, spent, &steps);
        let answer = session.model.answer(request, &mut hearing, self.cancel).await;
        hearing.end();
        for step in std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.history.take(&step);
        }
        if let Some(stopped) = hearing.stopped.take() {
            return Err(stopped);
        }
        if let Err(error) = &answer {
            let failure = hearing.failure(error);
            self.record(failure).await?;
        }
        Ok(answer)
    }

    /// What an answer without calls means.
    async fn heard(&mut self, next: u32, answer: &Answer) -> Result<Option<Option<Value>>, Stopped> {
        self.guard_calls(answer)?;
        if answer.stop == Stop::Length {
            if self.history.pending.answer.is_some() {
                self.refuse_calls(answer).await?;
            }
            return self.correct(next, SAY_LESS, Stopped::CutOff).await.map(|()| None);
        }
        if !answer.calls.is_empty() {
            return Ok(None);
        }
        if answer.stop == Stop::Refusal {
            return Err(Stopped::Refused(first_line(&answer.text)));
        }
        if answer.text.trim().is_empty() {
            return self.correct(next, SAY_SOMETHING, Stopped::Empty).await.map(|()| None);
        }
        if self.session.wants_value {
            let text = "You stopped without finishing. Call the tool `finish` with the values that the task asks for.";
            let bad = Stopped::BadOutput("it never called `finish`".to_owned());
            return self.correct(next, text, bad).await.map(|()| None);
        }
        Ok(Some(None))
    }

    /// Tells the model once what was wrong; the second time in a row is the end.
    async fn correct(&mut self, turn: u32, text: &str, or: Stopped) -> Result<(), Stopped> {
        let mut before =
            self.history.messages.iter().rev().skip_while(|said| matches!(said, Message::Tools { .. }));
        before.next();
        if matches!(before.next(), Some(Message::User { text: told }) if told == text) {
            return Err(or);
        }
        self.record(Step::Told { turn, text: text.to_owned() }).await
    }

    async fn look(
        &mut self,
        event: Event,
        turn: u32,
        data: impl FnOnce() -> Value + Send,
    ) -> Result<(), Stopped> {
        let Some(asking) = self.asking(turn) else { return Ok(()) };
        Hooks::look(&asking, event, data).await;
        let asked = asking.end();
        self.questions(asked).await
    }

    fn estimate(&self, request: &Request) -> u64 {
        count_request(Family::of(self.session.model.name()), request)
    }

    fn policy(&self) -> Policy {
        let model = &self.session.model;
        let family = Family::of(model.name());
        let mut bare = self.request_of(Vec::new());
        bare.max_output = 0;
        let answer = model.longest_answer().min(LONGEST_ANSWER);
        let policy = Policy::new(family, model.window(), count_request(family, &bare) + answer);
        match self.measured {
            Some((estimated, measured)) => policy.calibrated(estimated, measured),
            None => policy,
        }
    }

    /// Makes the conversation shorter when it fills too much of the window.
    async fn fit(&mut self, turn: u32) -> Result<(), Stopped> {
        match compact(&self.history.messages, &self.policy()) {
            Some(shorter) => {
                let note = shorter.note.clone();
                self.record(Step::Compacted { turn, note: shorter.note, messages: shorter.messages }).await?;
                self.look(Event::AfterCompaction, turn, || serde_json::json!({ "turn": turn, "note": note }))
                    .await
            }
            None => Ok(()),
        }
    }

    /// Makes the conversation as short as it goes, because its provider did not take it.
    async fn shorten(&mut self, turn: u32) -> Result<(), Stopped> {
        let shorter = squeeze(&self.history.messages, &self.policy()).ok_or(Stopped::TooLong)?;
        self.record(Step::Compacted { turn, note: shorter.note, messages: shorter.messages }).await
    }
}

/// Makes a step durable, or says why the session ends.
async fn recorded(session: &Session, step: &Step) -> Result<(), Stopped> {
    session.recorder.record(step.clone()).await.map_err(|error| match error {
        RecordError::Budget(why) => Stopped::Budget(why),
        RecordError::Lost(_) => Stopped::Lost,
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
