//! Edits of texts, without a workspace: what comes out, byte for byte.

mod files;
mod properties;
mod set;
mod text;
