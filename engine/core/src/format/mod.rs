//! The TOML format: the types a file is read into, and the reader that reports everything that is wrong with
//! it in one go. What the parts mean together is decided by [`crate::check`].

pub use document::{
    Approval, Budget, Cost, Defaults, Document, Input, InputType, Never, Overlap, Prove, SCHEMA_VERSION,
    Trigger,
};
pub(crate) use files::is_file;
pub use files::{
    FileUse, ReferencedFile, SCRIPTED, blueprint_candidates, devcontainer_references, references,
};
pub use image::{ImageTable, ImageValue};
pub use node::{
    AgentProtocol, AgentTable, CiTable, CredentialTable, EditOp, Effect, Elicitation, Expect, ForgeTable,
    GateTable, HttpMethod, HttpTable, InsertPlace, Join, McpTable, NodeTable, OnTimeout, OneOrNames,
    OutputFrom, OutputSpec, OutputTable, OutputType, RepairTable, RetryClass, RetryTable, RunLine, Shell,
    Tier, Workspace,
};
pub(crate) use read::run_texts;
pub use read::{Reading, read};
pub use value::{Entries, HumanDuration, OneOrMany, Scalar, Sp, TextOr};

mod value;
mod image;
pub(crate) mod devcontainer;
mod document;
mod node;
mod read;
mod explain;
mod files;
mod schema;

pub use schema::json_schema;
