//! What is known of models before they are asked: prices, windows, longest answers. What is not in the table and not
//! declared is not known, and is not guessed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::Price;
use super::provider::Effort;

/// A model as it stands in the table or is declared in configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What its tokens cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// How many tokens fit into one call, input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// The most tokens one answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_answer: Option<u64>,
    /// How hard it is to think; the provider's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
}

/// Where a price comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PriceOrigin {
    /// The table of this release.
    BuiltIn {
        /// The day it was taken from the provider's page: `2026-11-21`.
        taken: String,
    },
    /// The configuration.
    Declared,
}

impl fmt::Display for PriceOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn { taken } => write!(f, "built in, of {taken}"),
            Self::Declared => f.write_str("declared"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    taken: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for people who read the file"))]
    sources: BTreeMap<String, String>,
    models: BTreeMap<String, Known>,
}

static TABLE: LazyLock<Option<Table>> = LazyLock::new(|| toml::from_str(include_str!("prices.toml")).ok());

/// What the table of this release says of a model: `anthropic/claude-sonnet-5`. The second part is the day it was
/// taken.
pub(super) fn built_in(model: &str) -> Option<(Known, &'static str)> {
    let table = TABLE.as_ref()?;
    Some((*table.models.get(model)?, table.taken.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::Usage;
    use super::*;

    #[test]
    fn the_table_can_be_read_and_every_line_of_it_is_complete() {
        let table = TABLE.as_ref().expect("prices.toml");
        assert!(table.taken.parse::<jiff::civil::Date>().is_ok());
        assert!(!table.models.is_empty());
        for (name, known) in &table.models {
            let provider = name.split('/').next().unwrap();
            assert!(table.sources.contains_key(provider), "{name} has no source");
            let price = known.price.unwrap_or_else(|| panic!("{name} has no price"));
            assert!(price.is_sound() && price.input > 0.0 && price.output > price.input, "{name}");
            assert!(price.cache_read.is_some_and(|read| read < price.input), "{name}");
            assert!(
                price.long.is_none_or(|long| long.input > price.input && long.output > price.output),
                "{name}"
            );
            assert!(known.longest_answer.unwrap() < known.window.unwrap(), "{name}");
        }
    }

    #[test]
    fn a_model_that_nobody_listed_is_not_known() {
        assert_eq!(built_in("anthropic/claude-opus-99"), None);
        assert_eq!(built_in("claude-sonnet-5"), None);
    }

    #[test]
    fn all_of_a_long_call_has_the_long_price() {
        let price: Price = toml::from_str(
            "input = 1.0\noutput = 2.0\n[long]\nabove = 100\ninput = 10.0\noutput = 20.0\ncache_read = 5.0",
        )
        .unwrap();
        let call = |input, cache_read| Usage { input, cache_read, output: 10, ..Usage::default() };
        assert_eq!(price.micros(&call(100, 0)), 100 + 20);
        assert_eq!(price.micros(&call(101, 1)), 1000 + 5 + 200);
        assert_eq!(price.at_most(100, 10), 120);
        assert_eq!(price.at_most(101, 10), 1010 + 200);
    }

    #[test]
    fn what_can_be_reserved_covers_what_can_be_used() {
        for name in ["anthropic/claude-haiku-5-5", "openai/gpt-6.2-sol", "anthropic/claude-sonnet-5"] {
            let price = built_in(name).unwrap().0.price.unwrap();
            for input in [1, 99_999, 100_001, 272_000, 272_001] {
                for share in 0..=4 {
                    let usage =
                        Usage { input, cache_write: input * share / 4, output: 77, ..Usage::default() };
                    assert!(price.micros(&usage) <= price.at_most(input, 77), "{name} {input} {share}");
                }
            }
        }
    }
}
