//! The loop, cut off at every step and gone on with: it comes to the same end as if nothing had happened, asks for no
//! answer twice and repeats no call that has an outcome.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blueprint_agent::model::{Script, Scripted};
use blueprint_agent::session::{Ended, Limits, RecordError, Recorder, Session, Step, Stopped};
use blueprint_agent::tool::builtin::Finish;
use blueprint_agent::tool::{Effect, HostError, Tool, ToolHost, ToolOutcome, ToolSpec, Toolbox};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::direct_host::DirectHost;

/// Counts in memory what it was asked for.
#[derive(Debug)]
struct Mark {
    spec: ToolSpec,
    made: Arc<Mutex<Vec<i64>>>,
}

impl Mark {
    fn named(name: &str, effect: Effect, made: &Arc<Mutex<Vec<i64>>>) -> Arc<dyn Tool> {
        let schema = json!({
            "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"], "additionalProperties": false
        });
        let spec = ToolSpec { name: name.to_owned(), description: "Marks.".to_owned(), schema, effect };
        Arc::new(Self { spec, made: Arc::clone(made) })
    }
}

#[async_trait]
impl Tool for Mark {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(
        &self,
        _: &dyn ToolHost,
        arguments: Value,
        _: &CancellationToken,
    ) -> Result<ToolOutcome, HostError> {
        let n = arguments["n"].as_i64().unwrap();
        self.made.lock().unwrap().push(n);
        Ok(if n % 5 == 4 {
            ToolOutcome::Failed(format!("not {n}"))
        } else {
            ToolOutcome::Done(format!("did {n}"))
        })
    }
}

/// Takes so many steps and no more.
#[derive(Debug)]
struct Taker {
    steps: Mutex<Vec<Step>>,
    left: Mutex<usize>,
}

#[async_trait]
impl Recorder for Taker {
    async fn record(&self, step: Step) -> Result<(), RecordError> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            return Err(RecordError::Lost("cut off".to_owned()));
        }
        *left -= 1;
        self.steps.lock().unwrap().push(step);
        Ok(())
    }
}

struct Lab {
    script: Script,
    wants_value: bool,
    turns: u32,
    made: Arc<Mutex<Vec<i64>>>,
}

impl Lab {
    async fn part(&self, before: &[Step], steps: usize) -> (Ended, Vec<Step>) {
        let asked = before
            .iter()
            .filter(|step| matches!(step, Step::ModelAnswered { .. } | Step::ModelFailed { .. }))
            .count();
        let mut tools = vec![
            Mark::named("look", Effect::Read, &self.made),
            Mark::named("change", Effect::Write, &self.made),
        ];
        if self.wants_value {
            let schema =
                json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
            tools.push(Arc::new(Finish::new(schema)));
        }
        let scope = ["look".to_owned(), "change".to_owned()];
        let ceiling = BTreeSet::from([Effect::Read, Effect::Write]);
        let taker = Arc::new(Taker { steps: Mutex::new(before.to_vec()), left: Mutex::new(steps) });
        let session = Session {
            model: Arc::new(Scripted::new("scripted/test", self.script.clone(), "n", 1, asked)),
            toolbox: Arc::new(Toolbox::new(tools, &scope, &ceiling).unwrap()),
            host: Arc::new(DirectHost::new("/nonexistent")),
            recorder: taker.clone(),
            system: "Test.".to_owned(),
            prompt: "Do it.".to_owned(),
            limits: Limits { turns: self.turns, tokens: None, cost_micros: None },
            paces: None,
            hooks: None,
            renewal: None,
            notes: Box::new(|_| Vec::new()),
            wants_value: self.wants_value,
        };
        let ended = session.run(before, &CancellationToken::new()).await;
        let steps = taker.steps.lock().unwrap().clone();
        (ended, steps)
    }
}

/// What is the same however often a session was cut off: answers, outcomes in the order of the calls, corrections.
fn told(steps: &[Step]) -> Vec<String> {
    let mut told: Vec<(u32, u32, String)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::ModelAnswered { turn, answer } => {
                Some((*turn, 0, format!("answer {} {:?}", answer.text, answer.calls)))
            }
            Step::ModelFailed { turn, message, .. } => Some((*turn, 0, format!("failed {message}"))),
            Step::ToolReturned { turn, call, outcome, .. } => Some((*turn, 1 + call, format!("{outcome:?}"))),
            Step::Told { turn, text } => Some((*turn, 0, format!("told {text}"))),
            Step::Compacted { .. }
            | Step::ModelCalled { .. }
            | Step::ToolCalled { .. }
            | Step::Offered { .. }
            | Step::HookAsked { .. }
            | Step::HookAnswered { .. }
            | Step::HookFailed { .. } => None,
        })
        .collect();
    told.sort();
    told.into_iter().map(|(turn, call, text)| format!("{turn}.{call} {text}")).collect()
}

fn end(ended: &Ended) -> String {
    match &ended.result {
        Ok(value) => format!("{value:?} {}", ended.text),
        Err(stopped) => stopped.to_string(),
    }
}

/// A script: turns of calls, empty answers, cut-off ones, refusals and ends.
fn scripts() -> impl Strategy<Value = (Vec<String>, bool, u32)> {
    let call = (0_u8..5, 0_i64..6).prop_map(|(tool, n)| {
        let name = ["look", "change", "look", "nothing", "finish"][usize::from(tool)];
        let args = if tool == 2 && n == 3 { "{ m = 1 }".to_owned() } else { format!("{{ n = {n} }}") };
        format!("[[turn.call]]\ntool = \"{name}\"\nargs = {args}\n")
    });
    let turn = prop_oneof![
        6 => prop::collection::vec(call, 1..4).prop_map(|calls| format!("[[turn]]\n{}", calls.concat())),
        1 => Just("[[turn]]\n".to_owned()),
        1 => Just("[[turn]]\ntext = \"cut\"\nstop = \"length\"\n[[turn.call]]\ntool = \"look\"\nargs = { n = 1 }\n".to_owned()),
        2 => Just("[[turn]]\ntext = \"Done.\"\n".to_owned()),
        1 => Just("[[turn]]\nfault = \"overloaded\"\n".to_owned()),
    ];
    (prop::collection::vec(turn, 1..8), any::<bool>(), 1_u32..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_session_that_is_cut_off_anywhere_comes_to_the_same_end((script, wants_value, turns) in scripts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lab = || Lab {
                script: Script::parse(&script.concat()).unwrap(),
                wants_value,
                turns,
                made: Arc::default(),
            };
            let whole = lab();
            let (ended, steps) = whole.part(&[], usize::MAX).await;
            let made = whole.made.lock().unwrap().len();
            for pieces in [2_usize, 3, 5] {
                let cut = lab();
                let mut before = Vec::new();
                let mut last = None;
                // Two steps are the least that get anywhere: to ask and to hear. A part may have to ask again.
                for _ in 0..=3 * steps.len() + 3 {
                    let (ended, after) = cut.part(&before, pieces).await;
                    let over = !matches!(ended.result, Err(Stopped::Lost));
                    before = after;
                    last = Some(ended);
                    if over {
                        break;
                    }
                }
                let last = last.unwrap();
                prop_assert_eq!(told(&before), told(&steps), "in pieces of {}", pieces);
                prop_assert_eq!(end(&last), end(&ended), "in pieces of {}", pieces);
                prop_assert_eq!((last.turns, last.tool_calls), (ended.turns, ended.tool_calls));
                let again = cut.made.lock().unwrap().len();
                prop_assert!(again >= made, "a call was left out");
            }
            Ok(())
        })?;
    }
}
