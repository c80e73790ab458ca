//! A run is started again from a cassette: the same graph, the same inputs, the same base, as a new run. The cassette is
//! kept with the new run, so that whoever resumes it does not ask the world either.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint_core::run::SecretSource;

use super::{Cassette, Listening, Player};
use crate::drive::Driver;
use crate::shared::{Observer, Settings};
use crate::start::{Engine, NewRunOptions, Replayed, RunOptions, StartError, needs_workspace};
use crate::store::Digest;
use crate::trees::Trees;
use crate::workspace::{CommitId, Dirty};

/// How a cassette is replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The id of the new run.
    pub id: String,
    /// What is replayed, for people: a run, or the path of a file.
    pub of: String,
    /// What to start from in place of what was recorded, as git names it.
    pub base: Option<String>,
    /// Where the secrets come from.
    pub secrets: BTreeMap<String, SecretSource>,
    /// How many nodes run at the same time.
    pub jobs: u32,
    /// Who starts it.
    pub by: String,
}

impl Engine {
    /// Starts a run that gets from a cassette what the outside world said.
    pub async fn replay(
        &self,
        cassette: &Cassette,
        asked: Replay,
        observer: Arc<dyn Observer>,
    ) -> Result<Driver, StartError> {
        let program = cassette.program()?;
        let (trees, base) = if needs_workspace(&program) {
            let trees = self.trees(&asked.id, &program)?;
            let base = self.base_of(cassette, asked.base.as_deref(), &trees)?;
            (Some(trees), Some(base))
        } else {
            (None, None)
        };
        let kept = self.store.blobs().put(&cassette.bytes()?).map_err(crate::payload::PayloadError::from)?;
        let options = RunOptions {
            sandbox: self.settings.isolation.named(),
            replay: Some(Replayed { of: asked.of, cassette: kept.to_string() }),
            ..RunOptions::default()
        };
        let new = NewRunOptions {
            id: asked.id,
            sources: cassette.head.sources.clone(),
            program,
            inputs: cassette.head.inputs.clone(),
            secrets: asked.secrets,
            dirty: Dirty::Exclude,
            jobs: asked.jobs,
            by: asked.by,
            options: options.to_value(),
        };
        self.start_from(new, trees, base, observer).await
    }

    /// What a replay starts from: what was asked for, else the commit that was recorded, else its tree.
    fn base_of(
        &self,
        cassette: &Cassette,
        asked: Option<&str>,
        trees: &Trees,
    ) -> Result<CommitId, StartError> {
        let repository = trees.repository();
        if let Some(reference) = asked {
            let found = repository.resolve(reference)?;
            return found.ok_or_else(|| {
                StartError::NoBase(format!("`{reference}` names no commit of this repository"))
            });
        }
        let Some(base) = &cassette.head.base else {
            return Err(StartError::NoBase("the cassette does not say what the run started from".to_owned()));
        };
        if let Ok(commit) = base.commit.parse::<CommitId>()
            && let Some(found) = repository.known_commit(commit)?
            && repository.tree_of(found)?.to_string() == base.tree
        {
            return Ok(found);
        }
        let tree = base.tree.parse().ok().map(|tree| repository.known_tree(tree)).transpose()?.flatten();
        let Some(tree) = tree else {
            return Err(StartError::NoBase(format!(
                "this repository has neither the commit {} that the recorded run started from nor its tree {}",
                base.commit, base.tree
            )));
        };
        Ok(repository.write_commit(tree, &[], self.clock.now_ms(), "Base of a replay\n")?)
    }

    /// What stands in for the outside world in a run with these options, if it is a replay.
    pub(crate) fn player(&self, options: &RunOptions) -> Result<Option<Arc<Player>>, StartError> {
        let Some(replay) = &options.replay else { return Ok(None) };
        let lost = || StartError::NoCassette(replay.cassette.clone());
        let digest: Digest = replay.cassette.parse().map_err(|_| lost())?;
        let bytes = self.store.blobs().get(digest).map_err(crate::payload::PayloadError::from)?;
        Ok(Some(Arc::new(Player::new(Cassette::from_bytes(&bytes)?))))
    }

    /// How a run with a player is run, and who watches.
    pub(crate) fn playing(
        &self,
        player: Option<Arc<Player>>,
        observer: Arc<dyn Observer>,
    ) -> (Settings, Arc<dyn Observer>) {
        let mut settings = self.settings.clone();
        match player {
            None => (settings, observer),
            Some(player) => {
                settings.outside = Some(Arc::clone(&player) as Arc<dyn crate::outside::Outside>);
                // Nobody else is there to be asked.
                settings.models = None;
                (settings, Arc::new(Listening { player, inner: observer }))
            }
        }
    }
}
