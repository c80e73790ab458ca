//! All MCP servers of a session: started together, listed, and listed again when they say that something changed.
//! Never offers two tools that a model could mistake for each other.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::join_all;
use rmcp::model::Tool as Listed;
use tokio_util::sync::CancellationToken;

use super::config::Server;
use super::connection::Connection;
use super::foreign::complaint;
use super::outside::Outside;
use super::tool::Remote;
use crate::tool::{HostError, Tool, ToolHost};

/// Something that was configured and is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The server.
    pub server: String,
    /// One of its tools; `None` if it is the server itself.
    pub tool: Option<String>,
    /// Why, in a line.
    pub why: String,
}

/// The servers of a session.
#[derive(Debug)]
pub struct Servers {
    known: Vec<Known>,
    tools: Vec<Arc<dyn Tool>>,
    troubles: Vec<Trouble>,
}

struct Known {
    connection: Arc<Connection>,
    listed: Result<Vec<Listed>, String>,
}

impl Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The list is as the server wrote it, and may repeat what nobody may see.
        f.debug_struct("Known").field("server", &self.connection.server().name).finish_non_exhaustive()
    }
}

impl Servers {
    /// Starts them, all at the same time. One that cannot be started is a [`Trouble`], which the node may go on without
    /// and nobody should overlook.
    pub async fn start(
        servers: Vec<Server>,
        outside: &Outside,
        host: &dyn ToolHost,
        cancel: &CancellationToken,
    ) -> Result<Self, HostError> {
        let connections =
            servers.into_iter().map(|server| Arc::new(Connection::new(server, outside.clone())));
        let connections: Vec<_> = connections.collect();
        let lists = connections.iter().map(|connection| connection.list(host, cancel));
        let mut known = Vec::new();
        for (listed, connection) in join_all(lists).await.into_iter().zip(&connections) {
            known.push(Known { connection: Arc::clone(connection), listed: listed? });
        }
        let mut started = Self { known, tools: Vec::new(), troubles: Vec::new() };
        started.offer(host);
        Ok(started)
    }

    /// Their tools, in the order of the configuration and the servers.
    pub fn tools(&self) -> &[Arc<dyn Tool>] {
        &self.tools
    }

    /// What was configured and is not there.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Asks the servers that said so for their tools again; whether there was any. To be called between two turns.
    pub async fn refresh(
        &mut self,
        host: &dyn ToolHost,
        cancel: &CancellationToken,
    ) -> Result<bool, HostError> {
        let mut changed = false;
        for known in &mut self.known {
            if known.connection.take_changed() {
                known.listed = known.connection.list(host, cancel).await?;
                changed = true;
            }
        }
        if changed {
            self.offer(host);
        }
        Ok(changed)
    }

    /// Ends them. Dropping them does so too, without a word of farewell.
    pub async fn stop(self) {
        join_all(self.known.iter().map(|known| known.connection.stop())).await;
    }

    fn offer(&mut self, host: &dyn ToolHost) {
        let mut troubles = Vec::new();
        let mut offered: Vec<Remote> = Vec::new();
        for known in &self.known {
            let server = &known.connection.server().name;
            let mut trouble = |tool, why| troubles.push(Trouble { server: server.clone(), tool, why });
            match &known.listed {
                Err(why) => trouble(None, why.clone()),
                Ok(listed) => {
                    for tool in listed {
                        match Remote::new(&known.connection, tool, host) {
                            None => {}
                            Some(Ok(remote)) => offered.push(remote),
                            Some(Err(why)) => {
                                let name = known.connection.redact(host, &complaint(&tool.name));
                                trouble(Some(name), why);
                            }
                        }
                    }
                }
            }
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for remote in &offered {
            *seen.entry(remote.spec().wire_name()).or_default() += 1;
        }
        self.tools = Vec::new();
        for remote in offered {
            if seen.get(&remote.spec().wire_name()) == Some(&1) {
                self.tools.push(Arc::new(remote));
            } else {
                troubles.push(Trouble {
                    server: remote.server().to_owned(),
                    tool: Some(remote.spec().name.clone()),
                    why: "a model could not tell it from another tool".to_owned(),
                });
            }
        }
        for trouble in troubles.iter().filter(|trouble| !self.troubles.contains(trouble)) {
            let what = match &trouble.tool {
                Some(tool) => {
                    format!("the tool `{tool}` of the MCP server `{}` is not offered", trouble.server)
                }
                None => format!("the MCP server `{}` is not there", trouble.server),
            };
            host.note(&format!("{what}: {}", trouble.why));
        }
        self.troubles = troubles;
    }
}
