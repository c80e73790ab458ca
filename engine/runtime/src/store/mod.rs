//! The journal: one SQLite file for events, leases and messages, and a folder of large bodies beside it.
//! It must never read the clock, look into an event, or report as written what is not on disk.

mod anchor;
mod append;
mod blob_writer;
mod blobs;
mod chain;
mod changes;
mod create;
mod digest;
mod event;
mod fault;
mod forget;
mod inbox;
mod lease;
mod migrate;
mod open;
mod owner;
mod read;
mod rewrite;
mod runs;
mod salvage;
mod verify;

pub use anchor::{ANCHORS_FOLDER, LostRun};
pub use append::{Append, AppendError, Appended, INLINE_BODY_LIMIT};
pub use blob_writer::BlobWriter;
pub use blobs::{BlobError, BlobReader, Blobs, Swept};
pub use chain::{Break, ChainCheck, ENVELOPE_VERSION, Head, Identity};
pub use changes::Changes;
pub use digest::{Digest, NotADigest};
pub use event::{NewEvent, StoredEvent};
pub use fault::Fault;
pub use inbox::{Message, MessageId, PostError};
pub use lease::{AcquireError, Held, LEASE_TTL_MS, Lease, LeaseError};
pub use migrate::SCHEMA_VERSION;
pub use open::{JOURNAL_FILE, Mode, OpenError, Options, Store, SyncLevel};
pub use owner::{Life, Owner};
pub use read::ReadError;
pub use rewrite::{RewriteError, Rewritten};
pub use runs::{CreateError, Lookup, NewRun, RunSummary};
pub use salvage::{Salvage, SalvagedRun, Stop, salvage};
pub use verify::Verdict;
