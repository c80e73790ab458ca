//! What a model is shown, and how it is made to fit: estimates, packing, rule files, a map of the repository, digests of
//! logs, compaction. Everything here follows from its inputs alone, so that a session that is replayed sees the same.
//! Must never decide what a text is trusted for.

mod compact;
mod digest;
#[cfg(feature = "map")]
mod map;
mod pack;
mod rules;
mod tokens;

pub use compact::{Compaction, Policy, compact, squeeze};
pub use digest::{Digest, DigestOptions, digest};
#[cfg(feature = "map")]
pub use map::{MAPPED_AT_MOST, Map, Source, map, speaks};
pub use pack::{Cut, Fate, Packed, Part, PartReport, pack};
pub use rules::{Reader, RuleFile, Rules, collect_rules};
pub use tokens::{Family, count, count_message, count_request};
