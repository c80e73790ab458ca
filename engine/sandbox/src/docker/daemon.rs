//! The connection to a Docker engine, and what it says about itself.
//! Asks once per connection; an engine that does not answer is an error, never a reason to do without it.

use std::{collections::BTreeMap, time::Duration};

use bollard::{ClientVersion, Docker};
use serde::{Deserialize, Serialize};
use tokio::time;

use crate::{
    contract::Backend,
    docker::settings::DockerSettings,
    error::{StartError, described},
};

/// Time the engine may take to say what it is.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// Seconds the engine may take to begin its answer to any request.
const ANSWER_SECONDS: u64 = 120;

/// The API of the oldest engine that is tried, Docker 20.10.
const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// A Docker engine that answered.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(super) api: Docker,
    pub(super) settings: DockerSettings,
    pub(super) facts: DaemonFacts,
}

/// What an engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DaemonFacts {
    /// Its version.
    pub version: String,
    /// Version of its API.
    pub api: String,
    /// Version of the control groups it uses, "1" or "2".
    pub control_groups: String,
    /// Whether it runs as an ordinary user.
    pub rootless: bool,
    /// Whether it translates user ids for all containers.
    pub remaps_users: bool,
    /// Its OCI runtimes and their programs.
    pub runtimes: BTreeMap<String, String>,
}

impl Daemon {
    /// Connects and asks what it is.
    pub(crate) async fn connect(settings: &DockerSettings) -> Result<Self, StartError> {
        let unreachable = |error: &(dyn std::error::Error + 'static)| StartError::NoEngine {
            host: settings.host.clone(),
            reason: described(error),
        };
        let path = settings.host.strip_prefix("unix://").ok_or_else(|| {
            StartError::BadSpec(format!(
                "`{}` is no address of a Docker engine: only sockets of this machine (`unix:///PATH`) can show a \
                 workspace to a container",
                settings.host
            ))
        })?;
        let api = Docker::connect_with_unix(path, ANSWER_SECONDS, &OLDEST_API)
            .map_err(|error| unreachable(&error))?;
        let asking = async { Ok((api.version().await?, api.info().await?)) };
        let (version, info) = match time::timeout(GREETING_TIME, asking).await {
            Ok(answer) => answer.map_err(|error: bollard::errors::Error| unreachable(&error))?,
            Err(elapsed) => return Err(unreachable(&elapsed)),
        };
        let options = info.security_options.unwrap_or_default();
        let has = |name: &str| {
            options.iter().any(|option| option.split(',').any(|part| part == format!("name={name}")))
        };
        let facts = DaemonFacts {
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            control_groups: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            rootless: has("rootless"),
            remaps_users: has("userns"),
            runtimes: info
                .runtimes
                .unwrap_or_default()
                .into_iter()
                .map(|(name, runtime)| (name, runtime.path.unwrap_or_default()))
                .collect(),
        };
        if !has("seccomp") {
            return Err(StartError::NoEngine {
                host: settings.host.clone(),
                reason: "it has no system call filters (seccomp)".to_owned(),
            });
        }
        Ok(Self { api, settings: settings.clone(), facts })
    }

    /// The engine's name of the runtime behind a backend, if the engine has it.
    pub(super) fn runtime(&self, backend: Backend) -> Result<&str, StartError> {
        let name = self.settings.runtime(backend).unwrap_or_default();
        if self.facts.runtimes.contains_key(name) {
            return Ok(name);
        }
        Err(StartError::NoRuntime {
            runtime: name.to_owned(),
            known: self.facts.runtimes.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}
