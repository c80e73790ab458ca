//! An upper bound, or why there is none. Never less than what can happen: sums and products saturate upwards.

use serde::Serialize;

/// The most that something can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Bound {
    /// Not more than this.
    AtMost(u64),
    /// Nothing bounds it, for this reason.
    Open {
        /// Why.
        open: String,
    },
}

impl Default for Bound {
    fn default() -> Self {
        Self::AtMost(0)
    }
}

impl Bound {
    /// Not bounded, and why.
    pub fn open(why: impl Into<String>) -> Self {
        Self::Open { open: why.into() }
    }

    /// The number, if there is one.
    pub fn most(&self) -> Option<u64> {
        match self {
            Self::AtMost(most) => Some(*most),
            Self::Open { .. } => None,
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::AtMost(0)
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::AtMost(one), Self::AtMost(two)) => Self::AtMost(one.saturating_add(*two)),
            (Self::Open { .. }, _) => self.clone(),
            (_, Self::Open { .. }) => other.clone(),
        }
    }

    /// Nothing times whatever is nothing.
    pub(super) fn times(&self, other: &Self) -> Self {
        match (self, other) {
            _ if self.is_zero() || other.is_zero() => Self::AtMost(0),
            (Self::AtMost(one), Self::AtMost(two)) => Self::AtMost(one.saturating_mul(*two)),
            (Self::Open { .. }, _) => self.clone(),
            (_, Self::Open { .. }) => other.clone(),
        }
    }

    /// The tighter one.
    pub(super) fn within(&self, cap: Option<u64>) -> Self {
        match (self, cap) {
            (_, None) => self.clone(),
            (Self::AtMost(most), Some(cap)) => Self::AtMost((*most).min(cap)),
            (Self::Open { .. }, Some(cap)) => Self::AtMost(cap),
        }
    }

    /// What is left without such a part, rounded up.
    pub(super) fn less_part(&self, parts: u64) -> Self {
        match self {
            Self::AtMost(most) => Self::AtMost(most - most / parts.max(1)),
            Self::Open { .. } => self.clone(),
        }
    }

    /// A part of it, rounded up.
    pub(super) fn part(&self, parts: u64) -> Self {
        match self {
            Self::AtMost(most) => Self::AtMost(most.div_ceil(parts.max(1))),
            Self::Open { .. } => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_never_becomes_less_than_what_can_happen() {
        let open = Bound::open("why");
        assert_eq!(Bound::AtMost(u64::MAX).plus(&Bound::AtMost(1)), Bound::AtMost(u64::MAX));
        assert_eq!(Bound::AtMost(u64::MAX).times(&Bound::AtMost(2)), Bound::AtMost(u64::MAX));
        assert_eq!(open.times(&Bound::AtMost(0)), Bound::AtMost(0));
        assert_eq!(open.plus(&Bound::AtMost(1)), open);
        assert_eq!(open.within(Some(3)), Bound::AtMost(3));
        assert_eq!(Bound::AtMost(7).part(2), Bound::AtMost(4));
        assert_eq!(Bound::AtMost(7).less_part(2), Bound::AtMost(4));
    }
}
