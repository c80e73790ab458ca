//! Tools of MCP servers. A server is a stranger: what it says is bounded, stripped and shown, never obeyed, and its
//! death costs a tool error. It runs inside the node's sandbox or is reached through the runtime's client, never
//! in another way.

mod config;
mod address;
mod access;
mod settings;
mod outside;
mod auth;
mod connection;
mod complaints;
mod asked;
mod rounds;
pub(crate) mod foreign;
mod servers;
mod tool;

pub use access::{
    Access, AccessError, Algorithm, ClientCredentials, Credentials, Held, Identity, NamedSecret, NoAccess,
    Person, Proof, Registration,
};
pub use address::{AddressError, ServerUrl};
pub use auth::{Login, LoginError, LoginFileError, LoginRequest, login};
pub use config::{ConfigError, Elicitation, Server, ServerConfig};
pub use outside::Outside;
pub use servers::{Servers, Trouble};
pub use settings::{ClientConfig, IdentityConfig, McpConfig};
