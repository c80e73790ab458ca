//! What one evaluation may still build and emit. Every operation that can make a value larger is
//! charged here, because fuel counts instructions and one instruction can double a string.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::error::EvalError;
use super::limits;

/// What is left for one evaluation. It lives in the evaluation's own state, never in a global.
pub(super) struct Budget {
    work: u64,
    output: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { work: limits::WORK, output: limits::OUTPUT_BYTES }
    }
}

/// Which bound was hit; travels through the template engine as the source of its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exhausted {
    #[error("work")]
    Work,
    #[error("output")]
    Output,
    #[error("depth")]
    Depth,
}

impl Exhausted {
    pub(super) fn into_error(self) -> Error {
        Error::new(ErrorKind::InvalidOperation, "a bound of the expression language was reached")
            .with_source(self)
    }

    pub(super) fn into_eval_error(self) -> EvalError {
        match self {
            Self::Work => EvalError::TooMuchWork { limit: limits::WORK },
            Self::Output => EvalError::OutputTooLarge { limit: limits::OUTPUT_BYTES },
            Self::Depth => EvalError::Value {
                message: format!("a value is nested deeper than {} levels", limits::VALUE_DEPTH),
            },
        }
    }
}

/// Charges `units` bytes or items of work.
pub(super) fn charge(state: &mut State<'_, '_>, units: usize) -> Result<(), Error> {
    let budget = state.get_or_insert_extension_with(Budget::default);
    budget.work = budget.work.checked_sub(units as u64).ok_or_else(|| Exhausted::Work.into_error())?;
    Ok(())
}

/// Charges `bytes` of emitted text.
pub(super) fn charge_output(state: &mut State<'_, '_>, bytes: usize) -> Result<(), Error> {
    let budget = state.get_or_insert_extension_with(Budget::default);
    budget.output = budget.output.checked_sub(bytes as u64).ok_or_else(|| Exhausted::Output.into_error())?;
    Ok(())
}

/// Charges the whole size of `value`, counting shared parts as often as they appear: that is what
/// printing or comparing it would cost.
pub(super) fn charge_value(state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let budget = state.get_or_insert_extension_with(Budget::default);
    weigh(value, &mut budget.work, 0).map_err(Exhausted::into_error)
}

fn weigh(value: &Value, left: &mut u64, depth: usize) -> Result<(), Exhausted> {
    if depth > limits::VALUE_DEPTH {
        return Err(Exhausted::Depth);
    }
    let own = value.as_str().map_or(1, |text| text.len() + 1);
    *left = left.checked_sub(own as u64).ok_or(Exhausted::Work)?;
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        let is_map = value.kind() == ValueKind::Map;
        // A value that claims to be iterable and is not has no parts to weigh.
        for item in value.try_iter().into_iter().flatten() {
            weigh(&item, left, depth + 1)?;
            if is_map && let Ok(inner) = value.get_item(&item) {
                weigh(&inner, left, depth + 1)?;
            }
        }
    }
    Ok(())
}
