//! Thinks: one bounded loop of a model and its tools. Knows nothing of graphs, journals, sandboxes or forges: what
//! it does to the world goes through [`tool::ToolHost`], and what it learns through [`session::Recorder`].
#![forbid(unsafe_code)]

pub mod context;
pub mod external;
pub mod hook;
pub mod mcp;
pub mod model;
pub mod scan;
pub mod session;
pub mod tool;
