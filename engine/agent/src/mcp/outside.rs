//! What the runtime lends for servers that are reached over the network. Nothing here asks the environment, the file
//! system or the network by itself.

use std::fmt::Debug;
use std::sync::Arc;

use super::access::Access;

/// Whether something may be reached, or why not.
type Rule = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// What a name stands for.
type Values = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What the runtime lends for servers: a client that keeps to the rules for what may leave, and the values of names.
#[derive(Clone)]
pub struct Outside {
    /// Makes the requests. It follows no redirects to where the rules do not allow, and has no time limit for a whole
    /// answer: answers are streams.
    pub client: reqwest::Client,
    /// Whether the rules of the node allow this URL.
    pub allows: Arc<Rule>,
    /// The value of a variable that a server or a header may have.
    pub value: Arc<Values>,
    /// What the user has for servers that ask who is there.
    pub access: Arc<dyn Access>,
}

impl Outside {
    /// For a person at a terminal, who may go where they say. Redirects are still not followed.
    pub fn attended(access: Arc<dyn Access>) -> Result<Self, String> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| format!("nothing can be asked over the network: {error}"))?;
        Ok(Self { client, allows: Arc::new(|_| Ok(())), value: Arc::new(|_| None), access })
    }
}

impl Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}
