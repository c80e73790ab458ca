//! The door of the examples: a blueprint and a few words about how its nodes behave go in, everything that was
//! wished and everything that happened comes out as text. Answers come one at a time, in the order of the wishes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use blueprint_core::check::compile;
use blueprint_core::graph::{Action, Program};
use blueprint_core::run::{
    Adopted, Command, Decision, Evaluated, Event, Failure, FailureClass, LostBecause, Millis, Payload,
    RunStart, RunStatus, State, Success, Timer, TimerPurpose,
};
use blueprint_core::source::SourceSet;
use serde_json::{Value, json};

/// Compiles blueprints by name; the first is the one that runs.
pub(super) fn program(texts: &[(&str, &str)]) -> Arc<Program> {
    let path = |name: &str| format!("blueprints/{name}.toml");
    let files = texts.iter().map(|(name, text)| {
        let head = if text.contains("schema =") {
            String::new()
        } else {
            format!("schema = 1\nname = \"{name}\"\n")
        };
        (path(name), format!("{head}{text}"))
    });
    let sources = SourceSet { entry: path(texts[0].0), files: files.collect() };
    let checked = compile(&sources);
    match checked.program {
        Some(program) => program,
        None => panic!("the blueprint of a test is wrong: {:#?}\n{:#?}", checked.findings, sources.files),
    }
}

/// How a run starts.
pub(super) fn start(jobs: u32) -> Event {
    Event::RunStarted(Box::new(RunStart {
        blueprint: "test".to_owned(),
        digest: "digest".to_owned(),
        sources: Payload::Inline(Value::Null),
        inputs: json!({}),
        secrets: BTreeMap::new(),
        base: None,
        dirty_included: false,
        jobs,
        by: "ann".to_owned(),
        forked_from: None,
        options: Value::Null,
    }))
}

/// Everything that can be seen of a state, hidden counters among it.
pub(super) fn digest(state: &State) -> String {
    let mut text = format!("{:?} {:?} {:?}\n", state.status(), state.wall_left(), state.is_active());
    for (inst, instance) in state.instances() {
        let _ = writeln!(text, "{inst:?} {instance:?} {:?}", state.scope(instance.scope));
    }
    let _ = writeln!(text, "{:?}", state.in_flight().collect::<Vec<_>>());
    let _ = writeln!(text, "{:?}", state.timers().collect::<Vec<_>>());
    let _ = writeln!(text, "{:?}", state.open_gates().collect::<Vec<_>>());
    let _ = writeln!(text, "{:?}", state.plan());
    text
}

/// What a journal adds up to, read as it would be from a disk.
pub(super) fn replay(program: &Arc<Program>, journal: &[(Millis, Event)]) -> State {
    let mut state = State::new(Arc::clone(program));
    for (at, event) in journal {
        let text = serde_json::to_string(event).unwrap();
        let read: Event = serde_json::from_str(&text).unwrap();
        assert_eq!(read, *event, "the journal reads what it wrote");
        state.fold(*at, &read);
    }
    state
}

/// A run whose world does as it is told.
pub(super) struct Drive {
    pub(super) state: State,
    pub(super) now: Millis,
    journal: Vec<(Millis, Event)>,
    words: BTreeMap<String, VecDeque<String>>,
    todo: VecDeque<Command>,
    log: String,
}

impl Drive {
    /// A run of one blueprint with eight places, started.
    pub(super) fn of(text: &str) -> Self {
        Self::with(8, &[("main", text)])
    }

    pub(super) fn with(jobs: u32, texts: &[(&str, &str)]) -> Self {
        let mut drive = Self {
            state: State::new(program(texts)),
            now: 0,
            journal: Vec::new(),
            words: BTreeMap::new(),
            todo: VecDeque::new(),
            log: String::new(),
        };
        drive.tell(start(jobs));
        drive
    }

    /// How a node behaves, try by try: `ok` (also when no word is left), `hold` (no answer), `lost`, `fail`,
    /// `fail:timeout`, `fail#print`. `node?` is its evaluation (`run`, `skip`, `x3`, `fail`), `node!` the
    /// collection of its sub-graphs.
    pub(super) fn script(mut self, node: &str, words: &str) -> Self {
        self.words.insert(node.to_owned(), words.split_whitespace().map(str::to_owned).collect());
        self
    }

    /// Goes on until nothing moves by itself. Pauses end; gates wait.
    pub(super) fn go(&mut self) {
        loop {
            self.issue();
            if let Some(command) = self.todo.pop_front() {
                self.perform(&command);
                continue;
            }
            let due = self.state.timers().filter(|(timer, _)| timer.purpose < TimerPurpose::GateExpiry);
            let Some((timer, at)) = due.min_by_key(|(_, due)| *due).map(|(timer, due)| (timer.clone(), due))
            else {
                return;
            };
            self.now = self.now.max(at);
            self.tell(Event::TimerFired { timer });
        }
    }

    /// Issues everything that is due, without an answer to any of it.
    pub(super) fn issue(&mut self) {
        loop {
            let plan = self.state.plan();
            assert_eq!(plan, self.state.plan(), "planning changes nothing");
            if plan.is_empty() {
                return;
            }
            for command in plan {
                let line = wish(&command);
                let _ = writeln!(self.log, "{line}");
                self.quietly(Event::Issued(command.clone()));
                self.todo.push_back(command);
            }
        }
    }

    /// Something happens.
    pub(super) fn tell(&mut self, event: Event) {
        let line = fact(&event);
        let _ = writeln!(self.log, "  {line}");
        self.quietly(event);
    }

    fn quietly(&mut self, event: Event) {
        self.state.fold(self.now, &event);
        self.journal.push((self.now, event));
    }

    fn word(&mut self, key: &str) -> String {
        self.words.get_mut(key).and_then(VecDeque::pop_front).unwrap_or_else(|| "ok".to_owned())
    }

    fn perform(&mut self, command: &Command) {
        match command {
            Command::Evaluate { node, attempt } => {
                let used = self
                    .state
                    .at(node)
                    .is_some_and(|inst| matches!(self.state.node(inst).action, Action::Use(_)));
                let word = self.word(&format!("{node}?"));
                let result = match word.as_str() {
                    "skip" => Evaluated::Skip,
                    "ok" if !used => Evaluated::Run,
                    "fail" => return self.answer(node, *attempt, "fail"),
                    "lost" => return self.answer(node, *attempt, "lost"),
                    other => Evaluated::Expand {
                        count: other.trim_start_matches('x').parse().unwrap_or(1),
                        scopes: Payload::Inline(Value::Null),
                    },
                };
                self.tell(Event::NodeEvaluated { node: Arc::clone(node), attempt: *attempt, result });
            }
            Command::StartNode { node, attempt, .. } => {
                let word = self.word(node);
                self.answer(node, *attempt, &word);
            }
            Command::OpenGate { node, attempt, .. } => self.tell(Event::GateOpened {
                node: Arc::clone(node),
                attempt: *attempt,
                subject: format!("s{attempt}"),
                ask: None,
                tree: None,
            }),
            Command::CancelNode { node, attempt } => self.answer(node, *attempt, "cancelled"),
            Command::Collect { node, attempt } => {
                let word = self.word(&format!("{node}!"));
                self.answer(node, *attempt, &word);
            }
            Command::Escalate { node, attempt } => self.tell(Event::Escalated {
                node: Arc::clone(node),
                attempt: *attempt,
                record: Payload::Inline(Value::Null),
            }),
            Command::StartTimer { .. } | Command::StartRound { .. } | Command::Finish { .. } => {}
        }
    }

    /// An attempt ends.
    pub(super) fn answer(&mut self, node: &str, attempt: u32, word: &str) {
        let node: Arc<str> = node.into();
        let (kind, print) = word.split_once('#').map_or((word, None), |(kind, print)| (kind, Some(print)));
        match kind {
            "ok" => self.tell(Event::NodeSucceeded { node, attempt, success: Box::new(Success::default()) }),
            "hold" => {}
            "lost" => self.tell(Event::CommandLost { node, attempt, because: LostBecause::Crash }),
            "interrupted" => {
                self.tell(Event::CommandLost { node, attempt, because: LostBecause::Interrupted });
            }
            "cancelled" => self.tell(Event::CommandLost { node, attempt, because: LostBecause::Cancelled }),
            kind => {
                let class = match kind.split_once(':').map_or("command", |(_, class)| class) {
                    "timeout" => FailureClass::Timeout,
                    "infra" => FailureClass::Infra,
                    "policy" => FailureClass::Policy,
                    _ => FailureClass::Command,
                };
                let failure = Failure { fingerprint: print.map(str::to_owned), ..Failure::new(class, "no") };
                self.tell(Event::NodeFailed { node, attempt, failure: Box::new(failure) });
            }
        }
    }

    /// Somebody decides at a gate about what it asks for now.
    pub(super) fn decide(&mut self, gate: &str, decision: Decision, by: &str) {
        let instance = self.state.instance(self.state.at(gate).unwrap());
        let subject = instance.gate.as_ref().map_or_else(String::new, |open| open.subject.clone());
        let attempt = instance.attempt;
        self.decide_about(gate, attempt, decision, by, &subject);
    }

    pub(super) fn decide_about(
        &mut self,
        gate: &str,
        attempt: u32,
        decision: Decision,
        by: &str,
        subject: &str,
    ) {
        self.tell(Event::GateDecided {
            node: gate.into(),
            attempt,
            decision,
            by: by.to_owned(),
            reason: None,
            subject: subject.to_owned(),
        });
    }

    /// The time of a gate is over.
    pub(super) fn expire(&mut self) {
        let (timer, due) = self.state.timers().next().map(|(timer, due)| (timer.clone(), due)).unwrap();
        self.now = due;
        self.tell(Event::TimerFired { timer });
    }

    pub(super) fn cancel(&mut self) {
        self.tell(Event::CancelRequested { by: "ann".to_owned(), reason: None });
    }

    pub(super) fn retry(&mut self, node: &str) {
        self.tell(Event::RetryRequested { node: node.into(), by: "ann".to_owned() });
    }

    pub(super) fn adopt(&mut self, node: &str, adopted: Adopted) {
        self.tell(Event::NodeAdopted { node: node.into(), adopted: Box::new(adopted) });
    }

    /// The process dies, and another one takes over with nothing but the journal.
    pub(super) fn crash(&mut self) {
        self.todo.clear();
        self.state = replay(self.state.program(), &self.journal);
        self.tell(Event::DriverStarted {
            driver: "other".to_owned(),
            version: "0".to_owned(),
            isolation: Value::Null,
            images: Vec::new(),
        });
        let lost: Vec<(Arc<str>, u32)> =
            self.state.in_flight().map(|(node, attempt)| (Arc::clone(node), attempt)).collect();
        for (node, attempt) in lost {
            self.answer(&node, attempt, "lost");
        }
    }

    /// What was wished (to the left) and what happened (indented) since the last call.
    pub(super) fn log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }

    /// Where every node stands. What the journal says must be the same.
    pub(super) fn ends(&self) -> String {
        assert_eq!(
            digest(&replay(self.state.program(), &self.journal)),
            digest(&self.state),
            "replay equals live"
        );
        let mut text = String::new();
        for (_, instance) in self.state.instances() {
            let _ = write!(text, "{} {}", instance.path, instance.phase.as_str());
            if instance.attempt > 1 {
                let _ = write!(text, " #{}", instance.attempt);
            }
            if instance.round > 1 {
                let _ = write!(text, " round {}", instance.round);
            }
            text.push('\n');
        }
        match self.state.status() {
            RunStatus::Finished(outcome) => text.push_str(outcome.as_str()),
            RunStatus::Running => text.push_str("goes on"),
            RunStatus::NotStarted => text.push_str("not started"),
        }
        text
    }

    /// Goes on until nothing moves, and says what came of it.
    pub(super) fn end(mut self) -> String {
        self.go();
        self.ends()
    }
}

fn timer_name(timer: &Timer) -> String {
    let purpose = match timer.purpose {
        TimerPurpose::Wait => "pause",
        TimerPurpose::Backoff => "backoff",
        TimerPurpose::GateExpiry => "expiry",
        TimerPurpose::Wall => "wall",
    };
    match &timer.node {
        Some(node) => format!("{purpose} {node}#{}", timer.attempt),
        None => purpose.to_owned(),
    }
}

fn wish(command: &Command) -> String {
    let round = |round: &u32| if *round > 1 { format!(" round {round}") } else { String::new() };
    match command {
        Command::Evaluate { node, attempt } => format!("evaluate {node}#{attempt}"),
        Command::StartNode { node, attempt, round: r, .. } => format!("start {node}#{attempt}{}", round(r)),
        Command::OpenGate { node, attempt, round: r } => format!("open {node}#{attempt}{}", round(r)),
        Command::StartTimer { timer, after_ms } => format!("timer {} {after_ms}ms", timer_name(timer)),
        Command::CancelNode { node, attempt } => format!("cancel {node}#{attempt}"),
        Command::Collect { node, attempt } => format!("collect {node}#{attempt}"),
        Command::StartRound { node, round } => format!("round {round} of {node}"),
        Command::Escalate { node, attempt } => format!("escalate {node}#{attempt}"),
        Command::Finish { outcome } => format!("finish {}", outcome.as_str()),
    }
}

fn fact(event: &Event) -> String {
    match event {
        Event::RunStarted(_) => "run started".to_owned(),
        Event::DriverStarted { .. } => "driver started".to_owned(),
        Event::Issued(command) => wish(command),
        Event::NodeEvaluated { node, attempt, result } => match result {
            Evaluated::Skip => format!("{node}#{attempt} skip"),
            Evaluated::Run => format!("{node}#{attempt} run"),
            Evaluated::Expand { count, .. } => format!("{node}#{attempt} x{count}"),
        },
        Event::NodeSucceeded { node, attempt, .. } => format!("{node}#{attempt} ok"),
        Event::NodeFailed { node, attempt, failure } => {
            format!("{node}#{attempt} failed: {}", failure.class.as_str())
        }
        Event::CommandLost { node, attempt, because } => match because {
            LostBecause::Crash => format!("{node}#{attempt} lost"),
            LostBecause::Interrupted => format!("{node}#{attempt} interrupted"),
            LostBecause::Cancelled => format!("{node}#{attempt} cancelled"),
        },
        Event::GateOpened { node, attempt, .. } => format!("{node}#{attempt} open"),
        Event::GateDecided { node, attempt, decision, by, .. } => match decision {
            Decision::Approved => format!("{node}#{attempt} approved by {by}"),
            Decision::Rejected => format!("{node}#{attempt} rejected by {by}"),
        },
        Event::TimerFired { timer } => format!("{} over", timer_name(timer)),
        Event::Escalated { node, attempt, .. } => format!("{node}#{attempt} escalated"),
        Event::CancelRequested { by, .. } => format!("{by} cancels"),
        Event::RetryRequested { node, by } => format!("{by} retries {node}"),
        Event::SessionAdvanced { node, attempt, step } => format!("{node}#{attempt} turn {}", step.turn),
        Event::NodeAdopted { node, adopted } => match **adopted {
            Adopted::Succeeded(_) => format!("{node} taken over"),
            Adopted::Skipped => format!("{node} taken over, skipped"),
        },
    }
}
