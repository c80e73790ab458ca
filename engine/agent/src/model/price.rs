//! What tokens cost. A price that is not known is never taken for zero.

use serde::{Deserialize, Serialize};

use super::message::Usage;

/// Prices in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// In.
    pub input: f64,
    /// Out.
    pub output: f64,
    /// In, from the provider's cache; as `input` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<f64>,
    /// In, to the provider's cache; as `input` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Of calls with a long input, where a provider asks more for all of such a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
}

/// Prices of calls with a long input, in US dollars per million tokens. They hold for the whole call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrice {
    /// Long is more than this many tokens in, those from and to the cache included.
    pub above: u64,
    /// In.
    pub input: f64,
    /// Out.
    pub output: f64,
    /// In, from the provider's cache; as `input` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<f64>,
    /// In, to the provider's cache; as `input` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
}

struct Rates {
    input: f64,
    output: f64,
    cache_read: f64,
    cache_write: f64,
}

impl Price {
    /// Costs nothing.
    pub const FREE: Self = Self { input: 0.0, output: 0.0, cache_read: None, cache_write: None, long: None };

    /// What a call cost, in millionths of a US dollar, rounded up.
    pub fn micros(&self, usage: &Usage) -> u64 {
        let rates = self.rates(usage.input);
        let cached = usage.cache_read.saturating_add(usage.cache_write);
        let fresh = usage.input.saturating_sub(cached);
        let parts = [
            (fresh, rates.input),
            (usage.cache_read, rates.cache_read),
            (usage.cache_write, rates.cache_write),
            (usage.output, rates.output),
        ];
        // Dollars per million tokens are millionths of a dollar per token.
        parts.iter().map(|(tokens, price)| *tokens as f64 * price).sum::<f64>().ceil() as u64
    }

    /// The most a call with this many tokens can cost, in millionths of a US dollar.
    pub fn at_most(&self, input: u64, output: u64) -> u64 {
        let rates = self.rates(input);
        let dearest = rates.input.max(rates.cache_read).max(rates.cache_write);
        (input as f64 * dearest + output as f64 * rates.output).ceil() as u64
    }

    /// Whether every number in it can be a price.
    pub fn is_sound(&self) -> bool {
        let mut numbers = vec![self.input, self.output];
        numbers.extend(self.cache_read);
        numbers.extend(self.cache_write);
        if let Some(long) = &self.long {
            numbers.extend([long.input, long.output]);
            numbers.extend(long.cache_read);
            numbers.extend(long.cache_write);
        }
        numbers.iter().all(|number| number.is_finite() && *number >= 0.0)
    }

    fn rates(&self, input: u64) -> Rates {
        match &self.long {
            Some(long) if input > long.above => Rates {
                input: long.input,
                output: long.output,
                cache_read: long.cache_read.unwrap_or(long.input),
                cache_write: long.cache_write.unwrap_or(long.input),
            },
            _ => Rates {
                input: self.input,
                output: self.output,
                cache_read: self.cache_read.unwrap_or(self.input),
                cache_write: self.cache_write.unwrap_or(self.input),
            },
        }
    }
}
