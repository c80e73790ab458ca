//! Hooks: what people want to be asked, told or run at the boundaries of a run. A hook that may say no fails closed;
//! one that only looks fails alone. Hooks come from trusted configuration and never reach a budget, a limit or the
//! facts of the engine: what they may change is listed with each event.

mod builtin;
mod config;
mod engine;
mod event;
mod host;
mod reply;
mod table;

pub use builtin::{Builtin, Builtins, MakeBuiltin};
pub use config::{HandlerConfig, HookConfig, HookConfigError, MatchConfig};
pub use engine::{
    CommandRan, Dispatched, Facts, HookEnd, HookEngine, HookRan, HookRunner, Question, Verdict, Veto,
};
pub use event::{Event, EventKind};
pub use host::HostRunner;
pub use reply::Reply;
pub use table::HookTable;
