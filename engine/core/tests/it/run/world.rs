//! A world that answers in any order, late, twice and after crashes, and that watches the run at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blueprint_core::format;
use blueprint_core::graph::{Action, Edge, Program};
use blueprint_core::run::{
    Adopted, Command, Decision, Evaluated, Event, Failure, Inst, LostBecause, Millis, Outcome, Payload,
    Phase, RunStatus, State, Success, Timer, TimerPurpose,
};
use serde_json::Value;

use super::drive::{digest, replay, start};
use super::random::Dice;
use super::script::{Exit, Fate, Fault, Script, Verdict};

/// Steps after which a run of a few nodes has surely lost its way.
const TOO_LONG: usize = 200_000;

/// What else happens besides the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Answers come in any order, once.
    Little,
    /// Answers come in any order, late and twice; processes die. None of it may change how a run ends.
    OfMachines,
    /// People cancel and retry, and the time runs out, too.
    OfPeople,
}

pub(super) struct World {
    pub(super) state: State,
    pub(super) journal: Vec<(Millis, Event)>,
    program: Arc<Program>,
    script: Script,
    dice: Dice,
    trouble: Trouble,
    now: Millis,
    /// What will be reported some time, in no order.
    on_the_way: Vec<Event>,
    issued: BTreeSet<Command>,
    /// Attempts that hold a place.
    working: BTreeSet<(Arc<str>, u32)>,
    /// Answers that were given.
    answered: BTreeSet<(Arc<str>, u32, &'static str)>,
    interferences: usize,
    /// Somebody or something ended the run, which has not come to its end yet.
    stopping: bool,
    /// Sees every fact, once it is part of the state.
    observer: Option<Observer>,
}

/// Whoever wants to see how a run goes on.
pub(super) type Observer = Box<dyn FnMut(&State, &Event)>;

impl World {
    pub(super) fn new(program: Arc<Program>, jobs: u32, script: Script, dice: u64, trouble: Trouble) -> Self {
        let mut world = Self {
            state: State::new(Arc::clone(&program)),
            journal: Vec::new(),
            program,
            script,
            dice: Dice(dice),
            trouble,
            now: 0,
            on_the_way: Vec::new(),
            issued: BTreeSet::new(),
            working: BTreeSet::new(),
            answered: BTreeSet::new(),
            interferences: 0,
            stopping: false,
            observer: None,
        };
        assert!(world.state.plan().is_empty(), "nothing to do before the start");
        world.fold(start(jobs));
        world
    }

    /// Lets somebody see every fact from now on.
    pub(super) fn observed(mut self, observer: impl FnMut(&State, &Event) + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    pub(super) fn take_over(&mut self, node: &str, skipped: bool) {
        let adopted = if skipped { Adopted::Skipped } else { Adopted::Succeeded(Success::default()) };
        self.fold(Event::NodeAdopted { node: node.into(), adopted: Box::new(adopted) });
    }

    /// Lets the run go to its end.
    pub(super) fn run(&mut self) -> (BTreeMap<String, Phase>, Outcome) {
        for step in 0.. {
            assert!(step < TOO_LONG, "the run never ends");
            self.issue();
            self.watch();
            if let RunStatus::Finished(outcome) = self.state.status() {
                self.deliver_leftovers();
                if !self.interfere() {
                    if self.trouble != Trouble::Little {
                        self.recall(self.journal.len());
                    }
                    let ends = self
                        .state
                        .instances()
                        .map(|(_, instance)| (instance.path.to_string(), instance.phase));
                    return (ends.collect(), outcome);
                }
                continue;
            }
            self.interfere();
            if self.trouble != Trouble::Little && self.dice.chance(4) {
                self.crash();
            } else if !self.on_the_way.is_empty() {
                let next = self.dice.below(self.on_the_way.len());
                let event = self.on_the_way.swap_remove(next);
                self.deliver(event);
            }
            if self.trouble != Trouble::Little && self.dice.chance(2) {
                let prefix = self.dice.below(self.journal.len() + 1);
                self.recall(prefix);
            }
        }
        unreachable!("the loop returns")
    }

    /// A plan is asked for until nothing is due, and sometimes only begun.
    fn issue(&mut self) {
        loop {
            let plan = self.state.plan();
            assert_eq!(plan, self.state.plan(), "planning changes nothing");
            if plan.is_empty() {
                return;
            }
            assert_eq!(self.state.status(), RunStatus::Running, "nothing is planned when a run has ended");
            for command in plan {
                if self.dice.chance(2) {
                    return;
                }
                self.before_issue(&command);
                self.fold(Event::Issued(command.clone()));
                assert!(!self.state.plan().contains(&command), "{command:?} is asked for again");
                self.perform(command);
            }
        }
    }

    fn before_issue(&mut self, command: &Command) {
        // Rounds may start again in a further outer round; all else is asked for once in a run.
        let repeats = matches!(command, Command::StartRound { .. } | Command::Finish { .. });
        assert!(self.issued.insert(command.clone()) || repeats, "{command:?} is issued twice");
        let ends = matches!(command, Command::CancelNode { .. } | Command::Finish { .. });
        assert!(ends || !self.stopping, "{command:?} although the run is being stopped");
        match command {
            Command::StartNode { node, attempt, .. } => {
                self.may_start(node);
                self.working.insert((Arc::clone(node), *attempt));
            }
            Command::Evaluate { node, .. } | Command::OpenGate { node, .. } => self.may_start(node),
            Command::StartTimer {
                timer: Timer { purpose: TimerPurpose::Wait, node: Some(node), .. },
                ..
            } => {
                self.may_start(node);
            }
            Command::Finish { .. } => {
                assert_eq!(self.state.in_flight().count(), 0, "a run ends when its work is drained");
                assert!(self.state.instances().all(|(_, instance)| instance.phase.is_settled()));
            }
            _ => {}
        }
    }

    /// Whether the needs of a node allow it to start, by looking at the phases alone.
    fn may_start(&self, path: &str) {
        let inst = self.state.at(path).unwrap();
        let instance = self.state.instance(inst);
        let graph = self.state.graph_of(instance.scope);
        let node = graph.node(instance.node);
        let phase = |ix| self.state.instance(self.state.in_scope(instance.scope, ix)).phase;
        let needs: Vec<Phase> = node.needs.iter().map(|need| phase(*need)).collect();
        let allowed = match node.join {
            format::Join::All => needs.iter().all(|phase| *phase == Phase::Succeeded),
            format::Join::Any => needs.is_empty() || needs.contains(&Phase::Succeeded),
            format::Join::Settled => needs.iter().all(|phase| phase.is_settled()),
        };
        assert!(allowed, "{path} starts although its needs are {needs:?}");
        for region in graph.regions.iter().filter(|region| !region.members.contains(&instance.node)) {
            let looks_inside =
                node.needs.iter().any(|need| *need != region.closer && region.members.contains(need));
            assert!(!looks_inside || phase(region.closer).is_settled(), "{path} does not wait for a region");
        }
        let waits = graph.before(instance.node).filter(|(_, edge)| *edge == Edge::Order);
        assert!(waits.into_iter().all(|(before, _)| phase(before).is_settled()), "{path} waits for nothing");
    }

    fn fold(&mut self, event: Event) {
        self.now += 1;
        if let Event::NodeSucceeded { node, attempt, .. }
        | Event::NodeFailed { node, attempt, .. }
        | Event::CommandLost { node, attempt, .. } = &event
        {
            self.working.remove(&(Arc::clone(node), *attempt));
        }
        let running = self.state.status() == RunStatus::Running;
        self.state.fold(self.now, &event);
        self.stopping = match &event {
            Event::CancelRequested { .. } => running,
            Event::TimerFired { timer } if timer.purpose == TimerPurpose::Wall => running || self.stopping,
            Event::Issued(Command::Finish { .. }) => false,
            _ => self.stopping,
        };
        if let Some(observer) = &mut self.observer {
            observer(&self.state, &event);
        }
        self.journal.push((self.now, event));
    }

    /// Something is reported. What was reported before, or is about an attempt that is no longer the current
    /// one, must change nothing a node is.
    fn deliver(&mut self, event: Event) {
        let about = match &event {
            Event::NodeEvaluated { node, attempt, .. } => Some((node, *attempt, "evaluated")),
            Event::NodeSucceeded { node, attempt, .. } => Some((node, *attempt, "succeeded")),
            Event::NodeFailed { node, attempt, .. } => Some((node, *attempt, "failed")),
            Event::CommandLost { node, attempt, .. } => Some((node, *attempt, "lost")),
            Event::GateOpened { node, attempt, .. } => Some((node, *attempt, "opened")),
            Event::Escalated { node, attempt, .. } => Some((node, *attempt, "escalated")),
            _ => None,
        };
        let Some((node, attempt, what)) = about else { return self.again_some_time(event) };
        let node = Arc::clone(node);
        let current = self.state.at(&node).map(|inst| self.state.instance(inst));
        let fits = |phase: Phase| match what {
            "evaluated" => phase == Phase::Evaluating,
            "succeeded" => matches!(phase, Phase::Running | Phase::Collecting),
            "opened" => phase == Phase::Waiting,
            "escalated" => phase == Phase::Escalating,
            _ => phase != Phase::Escalating || what == "lost",
        };
        let counts = current.is_some_and(|current| current.attempt == attempt && fits(current.phase));
        let flies = self.state.in_flight().any(|(path, flying)| *path == node && flying == attempt);
        let again = !self.answered.insert((Arc::clone(&node), attempt, what));
        let before = (self.phases(), self.flying());
        let opened = matches!(event, Event::GateOpened { .. }) && counts && flies;
        self.again_some_time(event);
        if again || !flies {
            assert_eq!(
                (self.phases(), self.flying()),
                before,
                "{node}#{attempt} {what} counted twice, or unasked"
            );
        } else if !counts {
            assert_eq!(
                self.phases(),
                before.0,
                "{node}#{attempt} {what} counted although nobody waits for it"
            );
        }
        if opened {
            self.people_decide(&node, attempt);
        }
    }

    fn flying(&self) -> Vec<(Arc<str>, u32)> {
        self.state.in_flight().map(|(node, attempt)| (Arc::clone(node), attempt)).collect()
    }

    fn again_some_time(&mut self, event: Event) {
        if self.trouble != Trouble::Little
            && self.dice.chance(8)
            && !matches!(event, Event::CancelRequested { .. } | Event::RetryRequested { .. })
        {
            self.on_the_way.push(event.clone());
        }
        self.fold(event);
    }

    fn deliver_leftovers(&mut self) {
        let before = digest(&self.state);
        while let Some(event) = self.on_the_way.pop() {
            self.state.fold(self.now, &event);
            self.journal.push((self.now, event));
        }
        assert_eq!(digest(&self.state), before, "a finished run takes no answer");
    }

    fn phases(&self) -> Vec<(Arc<str>, Phase, u32, bool)> {
        let all = self.state.instances();
        all.map(|(_, i)| (Arc::clone(&i.path), i.phase, i.attempt, i.gate.is_some())).collect()
    }

    /// The process dies and another one takes over.
    fn crash(&mut self) {
        self.recall(self.journal.len());
        // Some answers get lost with it, some come after all.
        let dice = &mut self.dice;
        self.on_the_way.retain(|event| {
            let by_people = matches!(event, Event::GateDecided { .. });
            by_people || matches!(event, Event::TimerFired { .. }) || dice.chance(50)
        });
        self.fold(Event::DriverStarted {
            driver: "other".to_owned(),
            version: "0".to_owned(),
            isolation: Value::Null,
            images: Vec::new(),
        });
        for (node, attempt) in self.flying() {
            self.fold(Event::CommandLost { node, attempt, because: LostBecause::Crash });
        }
    }

    /// People and clocks do what they want. True if something was done to a run that had ended.
    fn interfere(&mut self) -> bool {
        if self.trouble != Trouble::OfPeople || self.interferences > 8 || !self.dice.chance(20) {
            return false;
        }
        self.interferences += 1;
        let ended = matches!(self.state.status(), RunStatus::Finished(_));
        match self.dice.below(8) {
            0 => self.fold(Event::CancelRequested { by: "ann".to_owned(), reason: None }),
            1 => {
                let timer = Timer { purpose: TimerPurpose::Wall, node: None, attempt: 0 };
                self.fold(Event::TimerFired { timer });
            }
            2..=4 => {
                let all: Vec<Arc<str>> = self.state.instances().map(|(_, i)| Arc::clone(&i.path)).collect();
                let node = Arc::clone(&all[self.dice.below(all.len())]);
                self.fold(Event::RetryRequested { node, by: "ann".to_owned() });
            }
            5 => {
                let working = self.flying();
                if !working.is_empty() {
                    let (node, attempt) = working[self.dice.below(working.len())].clone();
                    self.fold(Event::CommandLost { node, attempt, because: LostBecause::Cancelled });
                }
            }
            _ => {}
        }
        ended && self.state.status() == RunStatus::Running
    }

    fn perform(&mut self, command: Command) {
        let report = match command {
            Command::Evaluate { node, attempt } => {
                let inst = self.state.at(&node).unwrap();
                let uses = match &self.state.node(inst).action {
                    Action::Use(uses) => Some(uses.each.is_some()),
                    _ => None,
                };
                let result = match self.script.verdict(
                    &self.identity(inst),
                    uses == Some(true),
                    self.state.node(inst).when.is_some(),
                ) {
                    Verdict::Fault(fault) => {
                        self.on_the_way.push(failed(node, attempt, fault));
                        return;
                    }
                    Verdict::Skip => Evaluated::Skip,
                    Verdict::Go { .. } if uses.is_none() => Evaluated::Run,
                    Verdict::Go { items } => {
                        Evaluated::Expand { count: items, scopes: Payload::Inline(Value::Null) }
                    }
                };
                Event::NodeEvaluated { node, attempt, result }
            }
            Command::StartNode { node, attempt, .. } => {
                let inst = self.state.at(&node).unwrap();
                let id = self.identity(inst);
                let left = self.left(inst);
                let expect = match &self.state.node(inst).action {
                    Action::Run(run) => run.expect.clone(),
                    Action::Http(_) => format::Expect::Success,
                    other => panic!("{} nodes take no place", other.kind()),
                };
                let fault = match (self.script.exit(&id), expect) {
                    (Exit::Fault(fault), _) => Some(fault),
                    (Exit::Code(_), format::Expect::Any) | (Exit::Code(0), format::Expect::Success) => None,
                    (Exit::Code(code), format::Expect::Failure) if code != 0 => None,
                    (Exit::Code(_), _) => {
                        Some((blueprint_core::run::FailureClass::Command, self.script.look(&id)))
                    }
                };
                match fault {
                    Some(fault) => with_tree(failed(node, attempt, fault), left),
                    None => {
                        let success = Success { tree: left, ..Success::default() };
                        Event::NodeSucceeded { node, attempt, success: Box::new(success) }
                    }
                }
            }
            Command::OpenGate { node, attempt, .. } => {
                let subject = format!("subject of {attempt}");
                Event::GateOpened { node, attempt, subject, ask: None, tree: None }
            }
            Command::StartTimer { timer, .. } => {
                if timer.purpose == TimerPurpose::GateExpiry {
                    let inst = timer.node.as_ref().and_then(|node| self.state.at(node)).unwrap();
                    if self.script.fate(&self.identity(inst), true) != Fate::Silence {
                        return;
                    }
                }
                Event::TimerFired { timer }
            }
            Command::CancelNode { node, attempt } => {
                if self.dice.chance(50) {
                    return;
                }
                Event::CommandLost { node, attempt, because: LostBecause::Cancelled }
            }
            Command::Collect { node, attempt } => {
                let inst = self.state.at(&node).unwrap();
                match self.script.collects(&self.identity(inst)) {
                    Ok(()) => Event::NodeSucceeded { node, attempt, success: Box::new(Success::default()) },
                    Err(fault) => failed(node, attempt, fault),
                }
            }
            Command::Escalate { node, attempt } => {
                Event::Escalated { node, attempt, record: Payload::Inline(Value::Null) }
            }
            Command::StartRound { .. } | Command::Finish { .. } => return,
        };
        let answer = matches!(report, Event::TimerFired { .. });
        if !answer
            && self.trouble != Trouble::Little
            && self.dice.chance(3)
            && let Event::NodeEvaluated { node, attempt, .. }
            | Event::NodeSucceeded { node, attempt, .. }
            | Event::NodeFailed { node, attempt, .. } = &report
        {
            let (node, attempt) = (Arc::clone(node), *attempt);
            self.on_the_way.push(Event::CommandLost { node, attempt, because: LostBecause::Interrupted });
        } else {
            self.on_the_way.push(report);
        }
    }

    /// The commit that an attempt leaves, if it may write and does.
    fn left(&self, inst: Inst) -> Option<String> {
        let instance = self.state.instance(inst);
        let writes = self.state.node(inst).writes_workspace();
        (writes && self.script.writes(&self.identity(inst)))
            .then(|| format!("{}#{}", instance.path, instance.attempt))
    }

    fn people_decide(&mut self, gate: &Arc<str>, attempt: u32) {
        let Some(inst) = self.state.at(gate) else { return };
        let Action::Gate(rules) = &self.state.node(inst).action else { return };
        let (min, expires) = (rules.min, rules.expires.is_some());
        let decide = |decision, by: String, subject: String| Event::GateDecided {
            node: Arc::clone(gate),
            attempt,
            decision,
            by,
            reason: None,
            subject,
        };
        let subject = format!("subject of {attempt}");
        let fate = self.script.fate(&self.identity(inst), expires);
        self.on_the_way.push(decide(Decision::Rejected, "eve".to_owned(), "something else".to_owned()));
        match fate {
            Fate::Approve => {
                let yes =
                    (0..min).map(|by| decide(Decision::Approved, format!("person {by}"), subject.clone()));
                self.on_the_way.extend(yes);
            }
            Fate::Reject => self.on_the_way.push(decide(Decision::Rejected, "ann".to_owned(), subject)),
            Fate::Silence => {}
        }
    }

    /// Which try of which round of what this is.
    fn identity(&self, inst: Inst) -> String {
        let instance = self.state.instance(inst);
        let scope = self.state.scope(instance.scope);
        let graph = self.state.graph_of(instance.scope);
        let mut around: Vec<String> = graph
            .regions
            .iter()
            .filter(|region| region.members.contains(&instance.node))
            .map(|region| {
                let closer = self.state.in_scope(instance.scope, region.closer);
                format!("{}={}", graph.node(region.closer).name, self.state.region(closer).unwrap().round)
            })
            .collect();
        around.sort();
        let outside = scope
            .parent
            .map_or_else(String::new, |parent| format!("{}({})/", self.identity(parent), scope.index));
        format!("{outside}{}{around:?}t{}", graph.node(instance.node).name, instance.tries)
    }

    /// What must hold at every moment.
    fn watch(&self) {
        let state = &self.state;
        let jobs = state.start().map_or(0, |start| start.jobs as usize);
        assert!(self.working.len() <= jobs, "{:?} work in {jobs} places", self.working);
        for (inst, instance) in state.instances() {
            let Some(children) = &instance.children else { continue };
            let open = children.scopes.iter().filter(|scope| {
                let nodes = state.graph_of(**scope).nodes.len() as u32;
                let first = state.scope(**scope).base;
                (first..first + nodes).any(|number| !state.instance(Inst(number)).phase.is_settled())
            });
            let most = match &state.node(inst).action {
                Action::Use(uses) => uses.each.as_ref().map_or(1, |each| each.max_parallel as usize),
                _ => 0,
            };
            assert!(open.count() <= most, "{} runs more than {most} items", instance.path);
        }
        if state.status() == RunStatus::Running && state.plan().is_empty() {
            let waits = state.in_flight().count() + state.timers().count() + state.open_gates().count();
            assert!(waits > 0, "a standstill:\n{}", digest(state));
            assert!(!self.on_the_way.is_empty(), "nothing will happen:\n{}", digest(state));
        }
    }

    /// The journal up to some point adds up to one state, whoever reads it.
    fn recall(&self, prefix: usize) {
        let (one, two) =
            (replay(&self.program, &self.journal[..prefix]), replay(&self.program, &self.journal[..prefix]));
        assert_eq!(digest(&one), digest(&two));
        if prefix == self.journal.len() {
            assert_eq!(digest(&one), digest(&self.state), "replay equals live");
        }
        // Nothing of the past depends on what came after.
        let mut rest = one;
        for (at, event) in &self.journal[prefix..] {
            rest.fold(*at, event);
        }
        assert_eq!(digest(&rest), digest(&self.state), "a resumed run equals one that never stopped");
    }
}

fn with_tree(event: Event, tree: Option<String>) -> Event {
    match event {
        Event::NodeFailed { node, attempt, failure } => {
            Event::NodeFailed { node, attempt, failure: Box::new(Failure { tree, ..*failure }) }
        }
        other => other,
    }
}

fn failed(node: Arc<str>, attempt: u32, (class, fingerprint): Fault) -> Event {
    Event::NodeFailed {
        node,
        attempt,
        failure: Box::new(Failure { fingerprint, ..Failure::new(class, "no") }),
    }
}
