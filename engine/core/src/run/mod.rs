//! The run state machine. An [`Event`] is a fact that was made durable; [`State`] is what the facts add up to;
//! [`State::plan`] says what should happen now, as [`Command`]s. A command that was issued is itself an event,
//! so planning twice asks for nothing twice. Time, ids and payloads come from outside.

pub use command::Command;
pub use event::{
    Adopted, BuiltImage, Decision, Evaluated, Event, Failure, FailureClass, LostBecause, Millis, Outcome,
    Payload, RunStart, SecretSource, Success, Timer, TimerPurpose,
};
pub use session::{Did, Overrun, Session, SessionStep, Spend, Spent, usd};
pub use state::{Inst, Instance, Phase, Region, RunStatus, Scope, State};
pub use taint::Flowed;

mod event;
mod command;
mod session;
mod state;
mod fold;
mod plan;
mod taint;
