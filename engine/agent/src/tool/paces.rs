//! How fast tools may be called, by all agents of a run together. A call that comes too early waits before it is
//! announced; none is refused.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{Pace, Rate};

/// What is said about tools in configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsConfig {
    /// How fast tools may be called, by globs over their names. Every glob that fits a tool counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, ToolRate>,
}

/// How fast a tool may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRate {
    /// Calls per minute, as many of which may come at once.
    pub calls_per_minute: NonZeroU64,
}

/// A name of tools that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{glob}` is not a pattern of tool names: {reason}")]
pub struct ToolsConfigError {
    /// The pattern.
    pub glob: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Keeps the paces of one run.
#[derive(Debug, Default)]
pub struct ToolPaces(Vec<(GlobMatcher, Pace)>);

impl ToolPaces {
    /// Of a configuration, if it makes sense.
    pub fn new(config: &ToolsConfig) -> Result<Self, ToolsConfigError> {
        let paces = config.limits.iter().map(|(glob, rate)| {
            let matcher = Glob::new(glob)
                .map_err(|error| ToolsConfigError { glob: glob.clone(), reason: error.kind().to_string() })?;
            let rate = Rate { requests_per_minute: Some(rate.calls_per_minute), tokens_per_minute: None };
            Ok((matcher.compile_matcher(), Pace::new(rate)))
        });
        paces.collect::<Result<_, _>>().map(Self)
    }

    /// Waits until this tool may be called, and counts the call. Dropped while it waits, it may have counted for some of
    /// the globs.
    pub async fn take(&self, tool: &str) {
        for (_, pace) in self.0.iter().filter(|(glob, _)| glob.is_match(tool)) {
            pace.take(0).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn paces(text: &str) -> Result<ToolPaces, ToolsConfigError> {
        ToolPaces::new(&toml::from_str(text).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn every_glob_that_fits_counts_and_others_do_not() {
        let paces =
            paces("[limits]\n\"mcp.*\" = { calls_per_minute = 2 }\nshell = { calls_per_minute = 1 }\n")
                .unwrap();
        let start = Instant::now();
        for tool in ["mcp.a.x", "shell", "mcp.b.y", "fs.read", "fs.read"] {
            paces.take(tool).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        paces.take("mcp.a.x").await;
        assert!((29..=31).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[test]
    fn a_pattern_that_is_none_is_said() {
        let error = paces("[limits]\n\"[\" = { calls_per_minute = 2 }\n").unwrap_err();
        assert!(error.to_string().starts_with("`[` is not a pattern"), "{error}");
    }
}
