//! Acts: drives runs, keeps the journal, the workspace and the artifacts.
//! It must never decide what a run does next; that is the core's part.

#![forbid(unsafe_code)]

pub mod artifacts;
pub mod cassette;
pub mod clock;
pub mod crash;
pub mod drive;
mod egress;
pub mod fingerprint;
pub mod hooks;
pub mod images;
pub mod isolation;
pub mod journal;
pub mod load;
pub mod logs;
pub mod message;
pub mod models;
pub mod outputs;
pub mod outside;
pub mod payload;
pub mod perform;
pub mod prune;
pub mod scenario;
pub mod scope;
pub mod shared;
pub mod start;
mod steps;
pub mod store;
mod sweep;
pub mod trees;
pub mod workspace;

pub use blueprint_agent::scan::secrets as redact;

/// An error with everything behind it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text
}

/// A duration for people.
pub fn human(duration: std::time::Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}
