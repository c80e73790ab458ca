//! What may leave: exact hosts and ports, and never an address that is ours. A request is decided by the name it was made
//! for, and once more by every address that name stands for; nothing here opens a connection by itself.

mod address;
mod host;
mod private;
mod rules;

pub use address::{Reach, reach};
pub use host::{Endpoint, EndpointError, Host};
pub use private::Private;
pub use rules::{Refusal, Rules};
