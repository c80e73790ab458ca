//! `edit` nodes: changes to files of a checkout.

use std::sync::Arc;

use blueprint_core::run::{Failure, FailureClass, Success};

use super::{Ending, Job};
use crate::shared::Shared;

pub(super) async fn run(_shared: &Arc<Shared>, _job: &Job) -> Result<Success, Ending> {
    Err(Failure::new(FailureClass::Policy, "not yet").into())
}
