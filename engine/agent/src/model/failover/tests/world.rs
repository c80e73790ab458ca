//! Models that do as they are told, and remember when they were asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::{
    Answer, Delta, Forgetful, Listener, Message, Model, ModelError, ModelFault, Models, ModelsConfig, Origin,
    Price, Request, Stop, Surroundings, ToolCall, Usage, unheard,
};
use Does::{Answers, BreaksOff, Calls, Fails, Hangs, Wants};
use ModelFault::{Cancelled, Unreachable};

/// What a model of the tests does when it is asked. When it has nothing left to do, it answers.
#[derive(Debug, Clone)]
pub(in crate::model) enum Does {
    Answers,
    Fails(ModelFault),
    /// With a wish to be left alone for this many seconds.
    Wants(ModelFault, u64),
    /// After some text, and it may have been billed.
    BreaksOff,
    Hangs,
    Opaque(Value),
    Calls,
}
#[derive(Debug)]
pub(in crate::model) struct Fake {
    name: String,
    price: Option<Price>,
    origin: Origin,
    world: Arc<World>,
}

#[derive(Debug)]
pub(in crate::model) struct World {
    started: Instant,
    pub(in crate::model) does: Mutex<BTreeMap<String, VecDeque<Does>>>,
    /// Who was asked, after how many milliseconds.
    pub(in crate::model) asked: Mutex<Vec<(String, u64)>>,
    pub(in crate::model) heard: Mutex<Vec<Request>>,
    pub(in crate::model) memory: Arc<Forgetful>,
}

impl World {
    pub(in crate::model) fn new(does: &[(&str, &[Does])]) -> Arc<Self> {
        let does = does.iter().map(|(name, does)| ((*name).to_owned(), does.iter().cloned().collect()));
        Arc::new(Self {
            started: Instant::now(),
            does: Mutex::new(does.collect()),
            asked: Mutex::default(),
            heard: Mutex::default(),
            memory: Arc::default(),
        })
    }

    pub(in crate::model) fn surroundings(self: &Arc<Self>) -> Surroundings {
        let (world, started) = (self.clone(), self.started);
        Surroundings {
            variables: Arc::new(|name| (name == "SET").then(|| "secret".to_owned())),
            connect: Arc::new(move |settings| {
                let name = settings.name;
                let origin = if name.contains("script") { Origin::Scripted } else { Origin::Provider };
                Ok(Arc::new(Fake { name, price: settings.price, origin, world: world.clone() }))
            }),
            memory: self.memory.clone(),
            now: Arc::new(move || 1_700_000_000_000 + started.elapsed().as_millis() as u64),
            chance: Arc::new(|| 0.5),
        }
    }

    /// With `a/x`, `a/y` and `b/x` behind the alias `all`.
    pub(in crate::model) fn models(self: &Arc<Self>, more: &str) -> Models {
        Models::new(config(more), self.surroundings()).unwrap()
    }

    pub(in crate::model) fn asked(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

pub(in crate::model) fn config(more: &str) -> ModelsConfig {
    let text = format!(
        r#"
        {more}
        [aliases]
        ab = ["a/x", "b/x"]
        both = ["a/y", "b/x"]
        a = ["a/x"]
        [providers]
        a = {{ kind = "anthropic", limits = {{}} }}
        b = {{ kind = "ollama" }}
        script = {{ kind = "ollama" }}
        keyless = {{ kind = "openai", key_env = "NOT_SET" }}
        other = {{ kind = "openai", key_env = "NOT_SET_EITHER" }}
        slow = {{ kind = "anthropic", limits = {{ requests_per_minute = 60 }} }}
        [known]
        "a/x" = {{ price = {{ input = 3.0, output = 15.0 }}, window = 1000, longest_answer = 100 }}
        "a/y" = {{ window = 1000 }}
        "b/x" = {{ price = {{ input = 1.0, output = 30.0 }}, window = 800, longest_answer = 200 }}
        "script/x" = {{ price = {{ input = 1.0, output = 1.0 }}, window = 800 }}
        "slow/x" = {{ window = 800 }}
        "keyless/x" = {{ window = 800 }}
        "other/x" = {{ window = 800 }}
        "#
    );
    toml::from_str(&text).unwrap()
}

#[async_trait]
impl Model for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn window(&self) -> u64 {
        if self.name == "b/x" { 800 } else { 1000 }
    }

    fn longest_answer(&self) -> u64 {
        100
    }

    fn at_most(&self, input: u64, output: u64) -> Option<u64> {
        self.price.map(|price| price.at_most(input, output))
    }

    async fn answer(
        &self,
        request: &Request,
        on: &mut dyn Listener,
        cancel: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        let world = &self.world;
        world.asked.lock().unwrap().push((self.name.clone(), world.started.elapsed().as_millis() as u64));
        world.heard.lock().unwrap().push(request.clone());
        tokio::task::yield_now().await;
        let does = world.does.lock().unwrap().get_mut(&self.name).and_then(VecDeque::pop_front);
        let error = |fault, seconds: Option<u64>, maybe_billed| {
            let (model, retry_after) = (self.name.clone(), seconds.map(Duration::from_secs));
            Err(ModelError { model, fault, message: format!("{fault:?}"), retry_after, maybe_billed })
        };
        let mut opaque = None;
        let mut calls = Vec::new();
        match does.unwrap_or(Answers) {
            Answers => {}
            Fails(fault) => return error(fault, None, false),
            Wants(fault, seconds) => return error(fault, Some(seconds), false),
            BreaksOff => {
                on.delta(Delta::Text("half an"));
                return error(Unreachable, None, true);
            }
            Hangs => {
                cancel.cancelled().await;
                return error(Cancelled, None, true);
            }
            Does::Opaque(value) => opaque = Some(value),
            Calls => {
                calls.push(ToolCall { id: "1".to_owned(), name: "t".to_owned(), arguments: json!({}) });
            }
        }
        on.delta(Delta::Text("an answer"));
        let usage = Usage { input: 7, output: 3, ..Usage::default() };
        Ok(Answer {
            model: self.name.clone(),
            origin: self.origin,
            text: "an answer".to_owned(),
            calls,
            stop: Stop::End,
            usage,
            cost_micros: self.price.map(|price| price.micros(&usage)),
            opaque,
        })
    }
}

pub(in crate::model) fn request() -> Request {
    Request {
        system: "you".to_owned(),
        messages: vec![Message::User { text: "do".to_owned() }],
        tools: Vec::new(),
        max_output: 10,
        temperature: None,
    }
}

pub(in crate::model) async fn answer(model: &dyn Model) -> Result<Answer, ModelError> {
    model.answer(&request(), &mut unheard(), &CancellationToken::new()).await
}

pub(in crate::model) async fn ask(models: &Models, name: &str) -> Result<String, ModelFault> {
    let model = models.resolve(name).unwrap();
    answer(model.as_ref()).await.map(|answer| answer.model).map_err(|error| error.fault)
}

pub(in crate::model) fn times(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, millis)| ((*name).to_owned(), *millis)).collect()
}
