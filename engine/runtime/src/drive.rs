//! The only loop: receive, journal and sync, fold, plan, journal the intent, perform. One transaction carries
//! everything that became known since the last one and everything that follows from it; nothing is done
//! before its intent is on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use blueprint_core::format::Tier;
use blueprint_core::graph::Action;
use blueprint_core::run::{
    Command, Event, Failure, FailureClass, Inst, LostBecause, Outcome, Phase, RunStatus, State, Timer,
    TimerPurpose,
};
use serde_json::json;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crash::CrashPoint;
use crate::hooks;
use crate::journal::{Entry, Journal};
use crate::message::Message;
use crate::payload::PayloadError;
use crate::perform::{self, Handover, Job, Lesson};
use crate::scope::scope_of;
use crate::shared::Shared;
use crate::steps::{NotTaken, Report, Steps};
use crate::store::{AppendError, Fault, LEASE_TTL_MS, LeaseError, MessageId};
use crate::trees::{collected_commits, input_commits};

/// How long a process waits for a timer before it leaves the run to be resumed.
const LONGEST_WAIT_MS: u64 = 10 * 60 * 1000;
/// How often other processes' messages are looked for.
const INBOX_EVERY: Duration = Duration::from_millis(200);
/// How many events may be taken in before they are written.
const LARGEST_BATCH: usize = 4096;

/// Why a run could not be driven on. It can be resumed; nothing that is on record is lost.
#[derive(Debug, Error)]
pub enum DriveError {
    /// The journal did not take events.
    #[error("the journal could not be written")]
    Append(#[from] AppendError),
    /// The lease is gone.
    #[error("another process drives the run")]
    Lease(#[from] LeaseError),
    /// The inbox could not be read.
    #[error("messages to the run could not be read")]
    Inbox(#[from] Fault),
    /// A value of the run could not be read.
    #[error("a value of the run could not be read")]
    Payload(#[from] PayloadError),
}

/// How driving ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveEnd {
    /// The run ended.
    Finished(Outcome),
    /// The run waits for somebody or for a time far away; the process may leave.
    Waiting {
        /// Paths of gates that are open.
        gates: Vec<Arc<str>>,
        /// When the next timer is due, in milliseconds since the Unix epoch.
        next_due_ms: Option<u64>,
    },
    /// It was stopped and can be resumed.
    Interrupted,
}

/// Whether to stay while the run only waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Leave at a gate or a distant timer.
    Leave,
    /// Stay until the run ends.
    Stay,
}

/// A fact that became known.
#[derive(Debug)]
struct Known {
    event: Event,
    /// The message it came with.
    message: Option<MessageId>,
    /// Who waits for it to be on disk.
    durable: Option<oneshot::Sender<Result<(), NotTaken>>>,
}

impl From<Event> for Known {
    fn from(event: Event) -> Self {
        Self { event, message: None, durable: None }
    }
}

/// Drives one run.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    journal: Journal,
    state: State,
    seq: u64,
    /// Facts that became known and are not in the journal yet.
    known: VecDeque<Known>,
    reports: mpsc::UnboundedReceiver<Report>,
    report: mpsc::UnboundedSender<Report>,
    working: BTreeMap<(Arc<str>, u32), CancellationToken>,
    wall_fired: bool,
    /// When the last fact became known: the wall budget is used up from there on.
    last_ms: u64,
    /// Attempts that the run itself wants stopped; everything else that stops was interrupted.
    told_to_stop: BTreeSet<(Arc<str>, u32)>,
    crash: CrashPoint,
    /// Observers that are being told.
    watching: JoinSet<()>,
}

impl Driver {
    /// Takes over a run whose journal was folded into `state` up to `seq`.
    pub fn new(shared: Arc<Shared>, journal: Journal, state: State, seq: u64) -> Self {
        let (report, reports) = mpsc::unbounded_channel();
        let last_ms = shared.clock.now_ms();
        Self {
            shared,
            journal,
            state,
            seq,
            known: VecDeque::new(),
            reports,
            report,
            working: BTreeMap::new(),
            wall_fired: false,
            last_ms,
            told_to_stop: BTreeSet::new(),
            crash: CrashPoint::default(),
            watching: JoinSet::new(),
        }
    }

    /// Makes the process die at a chosen event; for tests.
    pub fn crash_at(&mut self, point: CrashPoint) {
        self.crash = point;
    }

    /// Adds a fact to the next transaction.
    pub fn tell(&mut self, event: Event) {
        self.known.push_back(event.into());
    }

    /// The state as far as it is durable.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was issued before this process drove the run has no outcome: it is lost.
    pub fn recover(&mut self) {
        let lost: Vec<(Arc<str>, u32)> =
            self.state.in_flight().map(|(node, attempt)| (node.clone(), attempt)).collect();
        for (node, attempt) in lost {
            self.tell(Event::CommandLost { node, attempt, because: LostBecause::Crash });
        }
    }

    /// Drives until the run ends, waits, or is stopped.
    pub async fn drive(
        mut self,
        patience: Patience,
        stop: CancellationToken,
    ) -> (Result<DriveEnd, DriveError>, Journal, State) {
        let end = self.run(patience, &stop).await;
        // Each of them has a time limit of its own.
        while self.watching.join_next().await.is_some() {}
        for cancel in self.working.values() {
            cancel.cancel();
        }
        self.shared.kept.stop().await;
        self.shared.pool.close().await;
        (end, self.journal, self.state)
    }

    async fn run(&mut self, patience: Patience, stop: &CancellationToken) -> Result<DriveEnd, DriveError> {
        let mut heartbeat =
            tokio::time::interval(Duration::from_millis(u64::try_from(LEASE_TTL_MS / 3).unwrap_or(5000)));
        heartbeat.tick().await;
        let mut inbox = tokio::time::interval(INBOX_EVERY);
        inbox.tick().await;
        self.read_inbox().await?;
        self.ask_before_run().await;
        loop {
            let stopping = stop.is_cancelled();
            let commands = self.turn(stopping).await?;
            for command in commands {
                self.perform(command)?;
            }
            if let RunStatus::Finished(outcome) = self.state.status() {
                return Ok(DriveEnd::Finished(outcome));
            }
            self.hear();
            if !self.known.is_empty() {
                continue;
            }
            if stopping && self.working.is_empty() {
                return Ok(DriveEnd::Interrupted);
            }
            if self.working.is_empty()
                && let Some(end) = self.idle(patience)
            {
                return Ok(end);
            }
            let due = self.next_due();
            // The runtime's timers are a millisecond coarse: what is due already must not wait for them.
            if due.is_some_and(|due| due <= self.shared.clock.now_ms()) {
                continue;
            }
            tokio::select! {
                report = self.reports.recv() => {
                    if let Some(report) = report {
                        self.heard(report);
                    }
                }
                () = sleep_until(due, &self.shared) => {}
                _ = heartbeat.tick() => {
                    let now = i64::try_from(self.shared.clock.now_ms()).unwrap_or(i64::MAX);
                    self.shared.store.heartbeat(self.journal.lease(), now).await?;
                }
                _ = inbox.tick() => self.read_inbox().await?,
                () = stop.cancelled(), if !stopping => self.interrupt(),
            }
            self.hear();
        }
    }

    /// A run that a hook does not want begins and is cancelled, so that the no and its reason are on record.
    async fn ask_before_run(&mut self) {
        let Some(hooks) = self.shared.settings.hooks.as_ref().filter(|_| self.seq == 0) else { return };
        let start = self.known.iter().find_map(|known| match &known.event {
            Event::RunStarted(start) => Some(start),
            _ => None,
        });
        let data = start.map(|start| {
            serde_json::json!({ "blueprint": start.blueprint, "digest": start.digest, "inputs": start.inputs, "by": start.by })
        });
        let asked = hooks.before_run(&self.shared.run, data.unwrap_or_default()).await;
        if let Err((hook, reason)) = asked {
            let reason = self.shared.redactor.redact_str(&reason);
            self.tell(Event::CancelRequested { by: format!("the hook {hook}"), reason: Some(reason) });
        }
    }

    /// One turn: everything known becomes durable together with everything that follows from it. Returns what is
    /// to be done now.
    async fn turn(&mut self, stopping: bool) -> Result<Vec<Command>, DriveError> {
        let now = self.shared.clock.now_ms();
        if self.state.timers().any(|(timer, due)| timer.purpose == TimerPurpose::GateExpiry && due <= now) {
            // What was decided in time counts, even if it is read only now.
            self.read_inbox().await?;
        }
        self.fire(now);
        let mut events: Vec<(u64, Event)> = Vec::new();
        let mut taking = Vec::new();
        let mut commands = Vec::new();
        let mut waiting = Vec::new();
        while let Some(Known { event, message, durable }) = self.known.pop_front() {
            if let Some(durable) = durable {
                if let Err(refused) = self.takes(&event) {
                    // Whoever asked may be gone; then nobody needs to know.
                    let _ = durable.send(Err(refused));
                    continue;
                }
                waiting.push(durable);
            }
            self.state.fold(now, &event);
            self.last_ms = now;
            events.push((now, event));
            taking.extend(message);
            if events.len() >= LARGEST_BATCH {
                break;
            }
        }
        loop {
            // Issuing may make more due at once: a round that starts, a scope that opens.
            let due = if stopping { Vec::new() } else { self.state.plan() };
            if due.is_empty() {
                break;
            }
            for command in due {
                let event = Event::Issued(command.clone());
                self.state.fold(now, &event);
                self.last_ms = now;
                events.push((now, event));
                commands.push(command);
            }
        }
        if events.is_empty() {
            return Ok(commands);
        }
        let status = status_text(&self.state);
        let range = self.seq + 1..=self.seq + events.len() as u64;
        self.crash.before(&range);
        let alone = self.working.is_empty();
        self.journal.append(&self.shared.store, &events, &taking, Some(status), alone).await?;
        self.crash.after(&range);
        for durable in waiting {
            let _ = durable.send(Ok(()));
        }
        for (_, event) in &events {
            if let (Some(hooks), Some((mount, node, data))) =
                (&self.shared.settings.hooks, hooks::shown(event, &self.state))
                && hooks.engine.wants(mount)
            {
                let (hooks, run) = (hooks.clone(), self.shared.run.clone());
                self.watching.spawn(async move { hooks.seen(run, node, mount, data).await });
            }
            let decided = perform::decided_outside(&self.shared, &self.state, event);
            self.known.extend(decided.into_iter().map(Into::into));
        }
        for (at_ms, event) in events {
            self.seq += 1;
            self.shared.observer.journalled(&Entry { seq: self.seq, at_ms, event }, &self.state);
        }
        Ok(commands)
    }

    /// Timers that are due.
    fn fire(&mut self, now: u64) {
        let due: Vec<Timer> =
            self.state.timers().filter(|(_, due)| *due <= now).map(|(timer, _)| timer.clone()).collect();
        for timer in due {
            self.known.push_back(Event::TimerFired { timer }.into());
        }
        if self.wall_due().is_some_and(|due| due <= now) && self.state.status() == RunStatus::Running {
            self.wall_fired = true;
            let timer = Timer { purpose: TimerPurpose::Wall, node: None, attempt: 0 };
            self.known.push_back(Event::TimerFired { timer }.into());
        }
    }

    /// Closes the gates whose time was over by then: a decision that came later is none.
    fn close_gates(&mut self, by: u64) {
        let over: Vec<Timer> = self
            .state
            .timers()
            .filter(|(timer, due)| timer.purpose == TimerPurpose::GateExpiry && *due <= by)
            .map(|(timer, _)| timer.clone())
            .collect();
        for timer in over {
            let event = Event::TimerFired { timer };
            if !self.known.iter().any(|known| known.event == event) {
                self.known.push_back(event.into());
            }
        }
    }

    /// When the wall budget is used up, if nothing else becomes known before. The state counts time by what is
    /// journalled, so a node that says nothing for long is counted from here.
    fn wall_due(&self) -> Option<u64> {
        let left = self.state.wall_left().filter(|_| !self.wall_fired)?;
        (left == 0 || self.state.is_active()).then(|| self.last_ms.saturating_add(left))
    }

    fn next_due(&self) -> Option<u64> {
        let timer = self.state.timers().map(|(_, due)| due).min();
        let wall = self.wall_due().filter(|_| self.state.is_active());
        timer.into_iter().chain(wall).min()
    }

    /// Whether to leave, when nothing is being worked on.
    fn idle(&self, patience: Patience) -> Option<DriveEnd> {
        if patience == Patience::Stay {
            return None;
        }
        let now = self.shared.clock.now_ms();
        let next = self.state.timers().map(|(_, due)| due).min();
        let soon = self.state.timers().any(|(timer, due)| {
            timer.purpose != TimerPurpose::GateExpiry && due <= now.saturating_add(LONGEST_WAIT_MS)
        });
        if soon || next.is_some_and(|due| due <= now) {
            return None;
        }
        let gates = self.state.open_gates().map(|inst| self.state.instance(inst).path.clone()).collect();
        Some(DriveEnd::Waiting { gates, next_due_ms: next })
    }

    /// Stops what is being worked on, so that it can be done again later.
    fn interrupt(&mut self) {
        for cancel in self.working.values() {
            cancel.cancel();
        }
    }

    fn hear(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.heard(report);
        }
    }

    /// Whether a step of an agent may become a fact: somebody still waits for the attempt, and the budget allows it.
    fn takes(&self, event: &Event) -> Result<(), NotTaken> {
        let Event::SessionAdvanced { node, attempt, step } = event else { return Ok(()) };
        let current = self.state.at(node).map(|inst| self.state.instance(inst));
        if !current.is_some_and(|node| node.phase == Phase::Running && node.attempt == *attempt) {
            return Err(NotTaken::Over);
        }
        self.state.allows(step).map_err(NotTaken::Overrun)
    }

    fn heard(&mut self, report: Report) {
        let Report { mut event, durable } = report;
        if let Event::CommandLost { node, attempt, because: because @ LostBecause::Cancelled } = &mut event
            && !self.told_to_stop.remove(&(node.clone(), *attempt))
        {
            // Stopped because this process is to leave: the run goes on with it later.
            *because = LostBecause::Interrupted;
        }
        let key = match &event {
            Event::NodeEvaluated { node, attempt, .. }
            | Event::NodeSucceeded { node, attempt, .. }
            | Event::NodeFailed { node, attempt, .. }
            | Event::CommandLost { node, attempt, .. }
            | Event::GateOpened { node, attempt, .. }
            | Event::Escalated { node, attempt, .. } => Some((node.clone(), *attempt)),
            _ => None,
        };
        if let Some(key) = key {
            self.working.remove(&key);
        }
        self.known.push_back(Known { event, message: None, durable });
    }

    async fn read_inbox(&mut self) -> Result<(), DriveError> {
        let messages = self.shared.store.pending(&self.shared.run).await?;
        for message in messages {
            if self.known.iter().any(|known| known.message == Some(message.id)) {
                continue;
            }
            self.close_gates(u64::try_from(message.at_ms).unwrap_or(0));
            match serde_json::from_str::<Message>(&message.body) {
                Ok(parsed) => {
                    let event = parsed.into_event(&self.state);
                    self.known.push_back(Known { event, message: Some(message.id), durable: None });
                }
                Err(error) => tracing::warn!(%error, "a message to the run does not parse and is ignored"),
            }
        }
        Ok(())
    }

    /// Starts what was journalled. Never waits for it.
    fn perform(&mut self, command: Command) -> Result<(), DriveError> {
        match command {
            Command::Evaluate { node, .. } => {
                if let Some(inst) = self.state.at(&node) {
                    let event = perform::evaluate(&self.shared, &self.state, inst);
                    self.known.push_back(event.into());
                }
            }
            Command::StartNode { node, attempt, taint, .. } => {
                if let Some(refused) = self.refused(&node, attempt, taint) {
                    self.known.push_back(refused.into());
                } else if let Some(job) = self.job(&node, attempt)? {
                    let cancel = CancellationToken::new();
                    self.working.insert((node, attempt), cancel.clone());
                    self.spawn(perform::node(Arc::clone(&self.shared), job, cancel));
                }
            }
            Command::OpenGate { node, attempt, .. } => {
                if let Some(job) = self.job(&node, attempt)? {
                    self.working.insert((node, attempt), CancellationToken::new());
                    self.spawn(perform::open_gate(Arc::clone(&self.shared), job));
                }
            }
            Command::Collect { node, attempt } => {
                if let Some(inst) = self.state.at(&node) {
                    let outputs = perform::collected_outputs(&self.shared, &self.state, inst);
                    let commits = if self.shared.trees.is_some() {
                        collected_commits(&self.state, inst)
                    } else {
                        Vec::new()
                    };
                    self.working.insert((node.clone(), attempt), CancellationToken::new());
                    self.spawn(perform::collect(Arc::clone(&self.shared), node, attempt, outputs, commits));
                }
            }
            Command::Escalate { node, attempt } => {
                if let Some(inst) = self.state.at(&node) {
                    let handover = Handover::of(&self.state, inst);
                    self.working.insert((node, attempt), CancellationToken::new());
                    self.spawn(perform::escalate(Arc::clone(&self.shared), handover));
                }
            }
            Command::CancelNode { node, attempt } => {
                let key = (node, attempt);
                if let Some(cancel) = self.working.get(&key) {
                    cancel.cancel();
                    self.told_to_stop.insert(key);
                }
            }
            // Timers are looked at on every turn; a round and the end take effect by being issued.
            Command::StartTimer { .. } | Command::StartRound { .. } | Command::Finish { .. } => {}
        }
        Ok(())
    }

    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let report = self.report.clone();
        tokio::spawn(async move {
            // The receiver is gone only when the driver is, and then nobody waits for the report.
            let _ = report.send(work.await.into());
        });
    }

    fn job(&self, path: &Arc<str>, attempt: u32) -> Result<Option<Job>, DriveError> {
        let Some(inst) = self.state.at(path) else { return Ok(None) };
        let instance = self.state.instance(inst);
        if !matches!(instance.phase, Phase::Running | Phase::Waiting) || instance.attempt != attempt {
            return Ok(None);
        }
        let scope = scope_of(&self.state, self.shared.store.blobs(), &self.shared.secrets, inst)?;
        let inputs = if self.shared.trees.is_some() { input_commits(&self.state, inst) } else { Vec::new() };
        Ok(Some(Job {
            graph: self.state.scope(instance.scope).graph,
            node: instance.node,
            path: Arc::clone(path),
            attempt,
            round: instance.round,
            scope,
            inputs,
            steps: Steps::new(Arc::clone(path), attempt, self.report.clone()),
            session: instance.session.clone(),
            lesson: self.lesson(inst),
            shown: self.shown(inst),
        }))
    }
}

impl Driver {
    /// A node that would run something less trusted than the check allowed for does not start: then the check was wrong,
    /// or the journal is not of this blueprint.
    fn refused(&self, path: &Arc<str>, attempt: u32, taint: Option<Tier>) -> Option<Event> {
        let node = self.state.node(self.state.at(path)?);
        let taint = taint.filter(|taint| *taint > node.tier)?;
        let message = format!(
            "what reaches it is {taint}, which is worse than {}, the tier that it was checked and isolated for",
            node.tier
        );
        let failure = Box::new(Failure::new(FailureClass::Policy, message));
        Some(Event::NodeFailed { node: Arc::clone(path), attempt, failure })
    }

    /// The outputs that the gate at `inst` shows: those of the nodes it needs.
    fn shown(&self, inst: Inst) -> Vec<String> {
        let Action::Gate(_) = &self.state.node(inst).action else { return Vec::new() };
        let needs = self.state.needs(inst).map(|need| self.state.instance(need));
        needs.map(|need| json!([need.path, need.phase.as_str(), need.outputs]).to_string()).collect()
    }

    /// Why the round before did not pass, for a node that goes round again.
    fn lesson(&self, inst: Inst) -> Option<Lesson> {
        let instance = self.state.instance(inst);
        let graph = self.state.graph_of(instance.scope);
        // Inner regions stand before outer ones.
        let mut inside = graph.regions.iter().filter(|region| region.members.contains(&instance.node));
        inside.find_map(|region| {
            let closer = self.state.in_scope(instance.scope, region.closer);
            let round = self.state.region(closer)?.round;
            let failure = self.state.instance(closer).failure.clone().filter(|_| round > 1)?;
            let node = self.state.instance(closer).path.clone();
            Some(Lesson { node, round, failure })
        })
    }
}

async fn sleep_until(due: Option<u64>, shared: &Shared) {
    match due {
        Some(due) => {
            tokio::time::sleep(Duration::from_millis(due.saturating_sub(shared.clock.now_ms()))).await;
        }
        None => std::future::pending().await,
    }
}

/// The status for listings.
pub fn status_text(state: &State) -> &'static str {
    match state.status() {
        RunStatus::NotStarted => "starting",
        RunStatus::Finished(outcome) => outcome.as_str(),
        RunStatus::Running => "running",
    }
}
