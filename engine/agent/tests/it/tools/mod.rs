//! The dispatcher and the built-in tools, with real processes in a temporary folder.

mod builtin;
mod dispatch;
mod edits;
mod escapes;
mod fake;
mod files;
mod patches;
mod process_host;
mod result;
