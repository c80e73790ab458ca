//! When a call is made again, and after how long. A pure function of the fault; it neither waits nor counts.

use std::time::Duration;

use super::ModelFault;

/// How often one model is asked the same thing, the first time included (N-40).
pub const TRIES: u32 = 3;

/// The longest that a provider's wish to be left alone is waited for. One that wants more is left for the next.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(1);

const FIRST_WAIT: Duration = Duration::from_secs(1);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// A wait is up to this much longer or shorter, so that many who failed together do not come back together.
const SPREAD: f64 = 0.25;

/// What is done about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// The same model may answer later.
    Again,
    /// This model will not answer in this run, and neither will others of its provider.
    LeaveProvider,
    /// This model will not answer in this run.
    LeaveModel,
    /// Nobody else is asked.
    Up,
}

/// What is done about a fault.
///
/// `Rejected` goes up, to no other model: a provider that does not take a request says that the request is wrong.
/// Asking the next one would hide that, at the price of sending it to somebody else. `TooLong` goes up because the
/// session can do something about it and another model of the same size could not.
pub(super) fn course(fault: ModelFault) -> Course {
    match fault {
        ModelFault::Unreachable
        | ModelFault::RateLimited
        | ModelFault::Overloaded
        | ModelFault::Timeout
        | ModelFault::Invalid => Course::Again,
        ModelFault::Auth | ModelFault::Billing => Course::LeaveProvider,
        ModelFault::NoModel => Course::LeaveModel,
        ModelFault::TooLong | ModelFault::Rejected | ModelFault::Cancelled => Course::Up,
    }
}

/// How long to wait before the next try, after `failed` tries: a second, doubled with each, a quarter more or less.
/// `chance` is between 0 and 1.
pub(super) fn pause(failed: u32, chance: f64) -> Duration {
    let doubled = FIRST_WAIT * 2_u32.saturating_pow(failed.saturating_sub(1).min(16));
    let spread = 1.0 + SPREAD * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
    doubled.mul_f64(spread).max(SHORTEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_spread_by_a_quarter() {
        let millis = |failed, chance| pause(failed, chance).as_millis();
        assert_eq!([millis(1, 0.5), millis(2, 0.5), millis(3, 0.5)], [1000, 2000, 4000]);
        assert_eq!([millis(1, 0.0), millis(1, 1.0)], [750, 1250]);
        assert_eq!([millis(1, -7.0), millis(1, 7.0)], [750, 1250]);
        assert!(pause(u32::MAX, 1.0) > pause(3, 1.0));
    }

    #[test]
    fn what_is_transient_is_tried_again_and_nothing_else() {
        use ModelFault::{
            Auth, Billing, Cancelled, Invalid, NoModel, Overloaded, RateLimited, Rejected, Timeout, TooLong,
            Unreachable,
        };
        let all = [
            Unreachable,
            RateLimited,
            Overloaded,
            Timeout,
            Invalid,
            Auth,
            TooLong,
            NoModel,
            Rejected,
            Billing,
        ];
        for fault in all.into_iter().chain([Cancelled]) {
            assert_eq!(course(fault) == Course::Again, fault.is_transient(), "{fault:?}");
        }
    }
}
