//! The workspace of a run: its history is a git graph, its checkouts are ours.
//!
//! Git is used as an object database only. It is never pointed at a directory a sandbox wrote:
//! checkouts are written and read by this module, bytes in and bytes out.

mod base;
mod blobs;
mod checkout;
mod diff;
mod findings;
pub(crate) mod fsdir;
mod git;
mod history;
mod ids;
mod ignores;
mod index;
mod known;
mod leaves;
mod locate;
mod manifest;
mod merge;
mod names;
mod pack;
mod reconcile;
mod refs;
mod remove;
mod repository;
mod scan;
mod secrets;
mod stamp;
mod tree;

pub use base::{Base, BaseError, Dirty, LeftOut};
pub use checkout::{CaptureError, Captured, Checkout, CheckoutError, Clean, SetToError, Stats};
pub use diff::{ApplyError, Diff, DiffOptions, FileStat, ReadFileError};
pub use findings::{ChangedPath, EscapingLinks, FlagKind, Flagged, Kind, Limits, ScanError};
pub use git::GitError;
pub use history::{Listed, ListedKind};
pub use ids::{CommitId, IdError, ObjectFormat, TreeId};
pub(crate) use locate::init;
pub use merge::Merge;
pub use names::TreePath;
pub use refs::RefName;
pub use repository::{CommitInfo, Repository, RepositoryError};
