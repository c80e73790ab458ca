//! Keys for servers: what is granted to the user or a client of theirs, renewed, and sent to the one server it belongs
//! to. The protocol itself is the library's; here stands who decides, over which wire, and what nobody may see.

mod seen;
mod wire;
mod words;
mod login;
mod redirect;
mod flow;
mod client;
mod renewal;
mod keys;
mod authorized;

pub use flow::{LoginError, LoginRequest, login};
pub use login::{Login, LoginFileError};

pub(super) use authorized::{Authorized, cause, is_about_keys};
pub(super) use keys::Keys;
