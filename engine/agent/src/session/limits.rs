//! What one session may use up. Limits of the run as a whole are the recorder's.

use super::end::Stopped;
use super::step::Spend;
use crate::model::Model;

/// The most calls of one answer that are looked at; the others are refused without being tried.
pub const MOST_CALLS: usize = 64;
/// How many tools that only read run side by side.
pub(super) const SIDE_BY_SIDE: usize = 8;
/// The most tokens of one answer, if the model could give more.
pub const LONGEST_ANSWER: u64 = 16_384;
/// An answer that may not even have this many tokens is not asked for.
pub(super) const SHORTEST_ANSWER: u64 = 256;

/// What a session may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Answers of the model.
    pub turns: u32,
    /// Tokens, in and out.
    pub tokens: Option<u64>,
    /// Money, in millionths of a US dollar.
    pub cost_micros: Option<u64>,
}

impl Limits {
    /// Whether a session that spent this much (money, tokens) may make a call that can cost `reserve`.
    pub(super) fn allow(
        self,
        model: &dyn Model,
        spent: (Option<u64>, u64),
        reserve: Spend,
    ) -> Result<(), Stopped> {
        if let Some(limit) = self.cost_micros {
            let unpriced = || Stopped::Unpriced(model.name().to_owned());
            let used = spent.0.ok_or_else(unpriced)?;
            let wanted = reserve.cost_micros.ok_or_else(unpriced)?;
            if used.saturating_add(wanted) > limit {
                return Err(Stopped::Cost { used, limit });
            }
        }
        match self.tokens {
            Some(limit) if spent.1.saturating_add(reserve.tokens) > limit => {
                Err(Stopped::Tokens { used: spent.1, limit })
            }
            _ => Ok(()),
        }
    }
}
