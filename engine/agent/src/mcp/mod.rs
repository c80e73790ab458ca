//! Tools of MCP servers. A server is a stranger: what it says is bounded, stripped and shown, never obeyed, and its
//! death costs a tool error. It runs inside the node's sandbox or is reached through the runtime's client, never
//! in another way.

mod config;
mod outside;
mod connection;
mod asked;
pub(crate) mod foreign;
mod servers;
mod tool;

pub use config::{ConfigError, Elicitation, Server, ServerConfig};
pub use outside::Outside;
pub use servers::{Servers, Trouble};
