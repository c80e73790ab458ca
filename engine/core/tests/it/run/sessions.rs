//! What agents spend: reserved before, settled after, never more than the budget, never forgotten.

use blueprint_core::run::{
    Command, Did, Event, Failure, FailureClass, LostBecause, Overrun, Payload, SessionStep, Spend, State,
    Success, usd,
};
use proptest::prelude::*;
use serde_json::Value;

use super::drive::{program, replay, start};

const AGENT: &str = r#"
[budget]
cost_usd = 1.0
tokens = 1000
tool_calls = 3

[nodes.think]
agent = { prompt = "think" }
retry = { attempts = 2, on = ["infra"], backoff = "0s" }
"#;

struct Run {
    state: State,
    journal: Vec<(u64, Event)>,
    attempt: u32,
}

impl Run {
    fn of(text: &str) -> Self {
        let mut run = Self { state: State::new(program(&[("main", text)])), journal: Vec::new(), attempt: 1 };
        run.fold(start(1));
        run.issue();
        run
    }

    fn fold(&mut self, event: Event) {
        let at = self.journal.len() as u64;
        self.state.fold(at, &event);
        self.journal.push((at, event));
    }

    fn issue(&mut self) {
        loop {
            let due = self.state.plan();
            if due.is_empty() {
                return;
            }
            for command in due {
                if let Command::StartNode { attempt, .. } = &command {
                    self.attempt = *attempt;
                }
                self.fold(Event::Issued(command));
            }
        }
    }

    fn step(&mut self, turn: u32, did: Did) -> Result<(), Overrun> {
        let step = SessionStep { turn, did, detail: Payload::Inline(Value::from(turn)) };
        self.state.allows(&step)?;
        let attempt = self.attempt;
        self.fold(Event::SessionAdvanced { node: "think".into(), attempt, step: Box::new(step) });
        Ok(())
    }

    fn ask(&mut self, turn: u32, cost: Option<u64>, tokens: u64) -> Result<(), Overrun> {
        self.step(turn, Did::CallModel { model: "m".into(), reserve: Spend { cost_micros: cost, tokens } })
    }

    fn hear(&mut self, turn: u32, cost: Option<u64>, tokens: u64) {
        let spent = Spend { cost_micros: cost, tokens };
        self.step(turn, Did::HearModel { model: "m".into(), origin: "provider".into(), spent, ok: true })
            .unwrap();
    }

    fn lose(&mut self) {
        let (node, attempt) = ("think".into(), self.attempt);
        self.fold(Event::CommandLost { node, attempt, because: LostBecause::Crash });
        self.issue();
    }
}

#[test]
fn what_was_reserved_is_settled_by_what_was_used() {
    let mut run = Run::of(AGENT);
    run.ask(1, Some(600_000), 500).unwrap();
    assert!(matches!(run.ask(1, Some(600_000), 1), Err(Overrun::Cost { used: 600_000, .. })));
    run.hear(1, Some(100_000), 50);
    assert_eq!((run.state.spent().cost_micros, run.state.spent().tokens), (100_000, 50));
    run.ask(2, Some(900_000), 950).unwrap();
}

#[test]
fn a_call_that_nobody_heard_the_end_of_may_have_cost_what_it_could() {
    let mut run = Run::of(AGENT);
    run.ask(1, Some(600_000), 500).unwrap();
    run.lose();
    assert_eq!((run.state.spent().cost_micros, run.state.spent().tokens), (600_000, 500));
    assert!(matches!(run.ask(2, Some(500_000), 1), Err(Overrun::Cost { .. })));
    let think = run.state.at("think").unwrap();
    let session = run.state.instance(think).session.as_ref().unwrap();
    assert_eq!(session.steps.len(), 1, "the session goes on with what it did before");
}

/// A call that is announced over one that is still open: the one before is settled, and nothing stays reserved for it.
#[test]
fn a_call_that_was_given_up_for_another_may_have_cost_what_it_could() {
    let mut run = Run::of(AGENT);
    run.ask(1, Some(500_000), 400).unwrap();
    run.ask(1, Some(200_000), 300).unwrap();
    assert_eq!((run.state.spent().cost_micros, run.state.spent().tokens), (500_000, 400));
    run.hear(1, Some(100_000), 100);
    assert_eq!((run.state.spent().cost_micros, run.state.spent().tokens), (600_000, 500));
    run.ask(2, Some(400_000), 500).unwrap();
    assert_eq!(replay(run.state.program(), &run.journal).spent(), run.state.spent());
}

#[test]
fn tokens_and_tools_are_counted() {
    let mut run = Run::of(AGENT);
    assert!(matches!(run.ask(1, Some(1), 1001), Err(Overrun::Tokens { limit: 1000, wanted: 1001, .. })));
    for _ in 0..3 {
        run.step(1, Did::CallTool { tool: "shell".into(), effect: "destructive".into() }).unwrap();
    }
    let more = run.step(1, Did::CallTool { tool: "shell".into(), effect: "destructive".into() });
    assert!(matches!(more, Err(Overrun::ToolCalls { limit: 3 })));
}

#[test]
fn a_price_that_is_not_known_is_never_taken_for_zero() {
    let mut run = Run::of(AGENT);
    assert!(matches!(run.ask(1, None, 1), Err(Overrun::Unpriced(_))));
    let mut run = Run::of("[nodes.think]\nagent = { prompt = \"think\" }\n");
    run.ask(1, None, u64::MAX).unwrap();
    run.hear(1, None, 10);
    assert_eq!(run.state.spent().unpriced_calls, 1, "without a limit it is only counted");
}

#[test]
fn zero_is_zero() {
    let mut run = Run::of("[budget]\ncost_usd = 0\n[nodes.think]\nagent = { prompt = \"think\" }\n");
    assert!(matches!(run.ask(1, Some(1), 1), Err(Overrun::Cost { limit: 0, .. })));
    run.ask(1, Some(0), 1).expect("what costs nothing is not forbidden");
}

#[test]
fn another_try_is_another_session() {
    let mut run = Run::of(AGENT);
    run.ask(1, Some(1000), 10).unwrap();
    run.hear(1, Some(1000), 10);
    let failure = Box::new(Failure::new(FailureClass::Infra, "gone"));
    run.fold(Event::NodeFailed { node: "think".into(), attempt: 1, failure });
    let think = run.state.at("think").unwrap();
    run.issue();
    let timer = run.state.timers().map(|(timer, _)| timer.clone()).next().unwrap();
    run.fold(Event::TimerFired { timer });
    run.issue();
    assert_eq!(run.attempt, 2);
    assert!(run.state.instance(think).session.is_none());
    assert_eq!(run.state.spent().cost_micros, 1000, "but the money is gone");
}

#[test]
fn a_step_of_an_older_attempt_counts_for_nothing() {
    let mut run = Run::of(AGENT);
    run.lose();
    let step = SessionStep { turn: 1, did: Did::Note, detail: Payload::Inline(Value::Null) };
    run.fold(Event::SessionAdvanced { node: "think".into(), attempt: 1, step: Box::new(step) });
    assert!(run.state.instance(run.state.at("think").unwrap()).session.is_none());
}

#[test]
fn money_is_written_in_dollars() {
    for (micros, text) in
        [(0, "0.00"), (1, "0.000001"), (10_000, "0.01"), (1_500_000, "1.50"), (12_340_500, "12.3405")]
    {
        assert_eq!(usd(micros), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Whatever an agent asks for, is answered or loses, the limits hold, and the journal tells the same.
    #[test]
    fn no_order_of_steps_spends_more_than_the_budget(
        steps in prop::collection::vec((0_u8..5, 0_u64..400_000, 0_u64..400), 0..60)
    ) {
        let mut run = Run::of(AGENT);
        let mut open: Option<(u64, u64)> = None;
        for (number, (what, cost, tokens)) in steps.into_iter().enumerate() {
            let turn = number as u32 + 1;
            match what {
                0 | 1 if open.is_none() && run.ask(turn, Some(cost), tokens).is_ok() => {
                    open = Some((cost, tokens));
                }
                2 => {
                    if let Some((most, tokens)) = open.take() {
                        run.hear(turn, Some(cost.min(most)), tokens / 2);
                    }
                }
                3 => {
                    drop(run.step(turn, Did::CallTool { tool: "t".into(), effect: "read".into() }));
                }
                4 => {
                    open = None;
                    run.lose();
                }
                _ => {}
            }
            let spent = run.state.spent();
            prop_assert!(spent.cost_micros <= 1_000_000 && spent.tokens <= 1000 && spent.tool_calls <= 3);
        }
        let attempt = run.attempt;
        run.fold(Event::NodeSucceeded { node: "think".into(), attempt, success: Box::new(Success::default()) });
        prop_assert!(run.state.spent().cost_micros <= 1_000_000);
        let again = replay(run.state.program(), &run.journal);
        prop_assert_eq!(again.spent(), run.state.spent());
    }
}
