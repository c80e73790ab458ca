//! What the requests of a sandbox meet on the host: a proxy that lets through what the rules of a node name and nothing
//! else. It trusts no word of a client, opens no connection before it has decided, and when in doubt it closes.

mod authority;
mod content;
mod credential;
mod dial;
mod head;
mod hello;
mod intercept;
mod ledger;
mod meter;
mod prefixed;
mod refuse;
mod relay;
mod serve;
mod settings;
mod trust;

pub use content::{Scrub, Scrubbing};
pub use credential::{Credential, CredentialError};
pub use ledger::{Ledger, Request};
pub use settings::{Limits, Proxy, TRUSTED};

pub(crate) use settings::Session;
