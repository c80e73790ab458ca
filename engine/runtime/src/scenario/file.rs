//! What may stand in the file of a scenario, as it is written. Shapes and places only; what it means for a blueprint is
//! for [`super::read`] to find out.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use blueprint_agent::model::{Price, Turn};
use blueprint_core::run::{Decision, FailureClass};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use toml::Spanned;

use super::{FaultKind, Several};

/// A table whose keys are remembered with their places.
pub(super) type Keyed<T> = BTreeMap<Spanned<String>, T>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) summary: Option<String>,
    #[serde(default)]
    pub(super) inputs: Keyed<Value>,
    #[serde(default)]
    pub(super) files: Keyed<String>,
    pub(super) fixture: Option<Spanned<String>>,
    pub(super) jobs: Option<Spanned<u32>>,
    pub(super) timeout: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) stubs: Keyed<Several<StubTable>>,
    #[serde(default)]
    pub(super) models: Keyed<ModelTable>,
    #[serde(default)]
    pub(super) http: Keyed<Several<HttpTable>>,
    #[serde(default)]
    pub(super) gates: Keyed<Several<GateTable>>,
    #[serde(default)]
    pub(super) faults: Vec<FaultTable>,
    pub(super) expect: ExpectTable,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ends {
    Succeeded,
    Failed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StubTable {
    pub(super) ends: Ends,
    pub(super) class: Option<Spanned<FailureClass>>,
    pub(super) message: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) outputs: Keyed<Value>,
    #[serde(default)]
    pub(super) writes: Keyed<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelTable {
    pub(super) script: Option<Spanned<String>>,
    pub(super) cassette: Option<Spanned<String>>,
    pub(super) price: Option<Price>,
    pub(super) window: Option<u64>,
    #[serde(default, rename = "turn")]
    pub(super) turns: Vec<Turn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpTable {
    #[serde(default = "fine")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// A text, or a value that is sent as JSON.
    pub(super) body: Option<Value>,
}

fn fine() -> u16 {
    200
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GateTable {
    pub(super) decision: Spanned<Decision>,
    pub(super) by: Spanned<Together>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultTable {
    pub(super) at: Spanned<String>,
    pub(super) round: Option<u32>,
    pub(super) turn: Option<Spanned<u32>>,
    pub(super) what: Spanned<FaultKind>,
    pub(super) times: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectTable {
    pub(super) outcome: Spanned<String>,
    pub(super) route: Option<Vec<Spanned<Together>>>,
    pub(super) route_contains: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) nodes: Keyed<NodeTable>,
    #[serde(default)]
    pub(super) spent: SpentTable,
    #[serde(default)]
    pub(super) diff: Vec<String>,
    #[serde(default)]
    pub(super) files: Keyed<String>,
    pub(super) effects: Option<Spanned<Vec<Value>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeTable {
    pub(super) phase: Option<Spanned<String>>,
    pub(super) rounds: Option<u32>,
    pub(super) attempts: Option<u32>,
    #[serde(default)]
    pub(super) outputs: Map<String, Value>,
    pub(super) failure: Option<FailureClass>,
    pub(super) message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpentTable {
    pub(super) model_calls: Option<u64>,
    pub(super) tool_calls: Option<u64>,
    pub(super) max_cost_usd: Option<f64>,
    pub(super) max_tokens: Option<u64>,
}

/// One name, or several: the step of a route and those that go in any order, a person and others.
#[derive(Debug)]
pub(super) struct Together(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Together {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;
        impl<'de> Visitor<'de> for Steps {
            type Value = Together;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a list of names")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Together, E> {
                Ok(Together(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Together, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Together(all))
            }
        }
        deserializer.deserialize_any(Steps)
    }
}

/// A table or a list of tables. By hand, since an untagged enum loses the places.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Several<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or a list of tables with one for each attempt")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Several<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Several::Always)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Several<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Several::Each(all))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
