//! The trees of a run and the checkouts nodes work in. A chain of nodes reuses one checkout; parallel nodes get
//! one each. Never the user's own working tree.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use blueprint_core::graph::Program;
use blueprint_core::run::{Failure, FailureClass, Inst, State};

use crate::redact::Redactor;
use crate::workspace::{
    Checkout, CheckoutError, Clean, CommitId, CommitInfo, Merge, RefName, Repository, TreeId,
};

mod lineage;

use lineage::Lineage;

/// The folder of a state folder in which checkouts lie, by run.
pub const WORK_FOLDER: &str = "work";

/// What `inst` starts from: the commits its needs left, or what its sub-graph or the run started from.
pub fn input_commits(state: &State, inst: Inst) -> Vec<String> {
    commits_of(state, vec![(inst, true)])
}

/// What these nodes left: their own commits, or what they passed on.
pub fn output_commits(state: &State, insts: &[Inst]) -> Vec<String> {
    commits_of(state, insts.iter().map(|inst| (*inst, false)).collect())
}

/// What the sub-graphs of `inst` left: the commits of every node that no other node needs.
pub fn collected_commits(state: &State, inst: Inst) -> Vec<String> {
    let mut ends = Vec::new();
    for scope in state.instance(inst).children.iter().flat_map(|children| &children.scopes) {
        let graph = state.graph_of(*scope);
        for number in 0..graph.nodes.len() as u32 {
            let ix = blueprint_core::graph::NodeIx(number);
            if !graph.behind(ix).any(|(_, edge)| edge == blueprint_core::graph::Edge::Needs) {
                ends.push((state.in_scope(*scope, ix), false));
            }
        }
    }
    if ends.is_empty() { input_commits(state, inst) } else { commits_of(state, ends) }
}

fn commits_of(state: &State, starts: Vec<(Inst, bool)>) -> Vec<String> {
    let mut commits = Vec::new();
    // A work list: passing through nodes that changed nothing may go back over the whole graph.
    let mut next = starts;
    let mut seen = std::collections::BTreeSet::new();
    while let Some((inst, inputs_of)) = next.pop() {
        if !seen.insert((inst, inputs_of)) {
            continue;
        }
        let instance = state.instance(inst);
        let found = if inputs_of { &instance.carried } else { &instance.tree };
        if let Some(commit) = found {
            commits.push(commit.to_string());
            continue;
        }
        let before = next.len();
        next.extend(state.tree_needs(inst).map(|need| (need, false)));
        if next.len() == before {
            match state.scope(instance.scope).parent {
                Some(parent) => next.push((parent, true)),
                None => commits.extend(state.start().and_then(|start| start.base.clone())),
            }
        }
    }
    commits.sort_unstable();
    commits.dedup();
    commits
}

/// A checkout brought to the input tree of a node.
#[derive(Debug)]
pub struct Prepared {
    /// The private directory.
    pub checkout: Checkout,
    /// The commit the node starts from.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// Whether several inputs were merged into it.
    pub merged: bool,
}

/// The checkouts of one run.
#[derive(Debug)]
pub struct Trees {
    repository: Repository,
    dir: PathBuf,
    run: String,
    lineage: Lineage,
    free: Mutex<Vec<Checkout>>,
    secrets: Option<Redactor>,
}

/// Which try of which node a commit comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Path of the node.
    pub node: &'a str,
    /// The attempt.
    pub attempt: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

fn infra(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureClass::Infra, format!("{what}: {}", crate::chain(error)))
}

impl Trees {
    /// The checkouts of `run` lie below `state`.
    pub fn new(repository: Repository, state: &Path, run: &str, program: Arc<Program>) -> Self {
        Self {
            repository,
            dir: state.join(WORK_FOLDER).join(run),
            run: run.to_owned(),
            lineage: Lineage::new(program),
            free: Mutex::new(Vec::new()),
            secrets: None,
        }
    }

    /// Captures no tree that holds one of these secrets.
    #[must_use]
    pub fn guarding(mut self, secrets: Redactor) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// A path of the project as a path of the tree: the project may be a folder of its repository.
    pub fn in_tree(&self, path: &str) -> String {
        match self.repository.project_prefix().to_str() {
            None | Some("") => path.to_owned(),
            Some(prefix) if path.is_empty() => prefix.to_owned(),
            Some(prefix) => format!("{prefix}/{path}"),
        }
    }

    /// The object database.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Merges the inputs of a node into the commit it starts from.
    pub fn input(&self, commits: &[String], origin: Origin<'_>) -> Result<(CommitId, TreeId, bool), Failure> {
        let mut ids = Vec::new();
        for commit in commits {
            let id: CommitId = commit.parse().map_err(|e| infra("a recorded commit is unreadable", &e))?;
            ids.push(id);
        }
        let tree_of =
            |id| self.repository.tree_of(id).map_err(|e| infra("git could not read a commit of the run", &e));
        if let [only] = ids.as_slice() {
            return Ok((*only, tree_of(*only)?, false));
        }
        match self.repository.merge(&ids).map_err(|e| infra("git could not merge the inputs", &e))? {
            Merge::Clean(tree) => {
                let info = self.info(origin, "Merge of what the needs left");
                let commit = self
                    .repository
                    .commit(tree, &ids, &info)
                    .map_err(|e| infra("git could not commit the merge", &e))?;
                Ok((commit, tree, true))
            }
            Merge::Conflict { paths, message } => {
                let names: Vec<String> = paths.iter().take(10).map(ToString::to_string).collect();
                let more =
                    if paths.len() > 10 { format!(" and {} more", paths.len() - 10) } else { String::new() };
                Err(Failure {
                    fingerprint: Some(crate::fingerprint::of("conflict", names.join("\n").as_bytes())),
                    ..Failure::new(
                        FailureClass::Conflict,
                        format!(
                            "parallel nodes changed the same places: {}{more}\n{message}",
                            names.join(", ")
                        ),
                    )
                })
            }
        }
    }

    /// A checkout that holds the input of a node.
    pub fn prepare(&self, commits: &[String], origin: Origin<'_>) -> Result<Prepared, Failure> {
        let (commit, tree, merged) = self.input(commits, origin)?;
        let mut checkout =
            self.take(tree, origin.node).map_err(|e| infra("no checkout could be made", &e))?;
        // What the tree does not name and an earlier node left, such as a cache, stays for those behind that node.
        let clean =
            if self.lineage.inherits(checkout.user(), origin.node) { Clean::Untracked } else { Clean::All };
        checkout.set_user(origin.node);
        checkout
            .set_to(&self.repository, tree, clean)
            .map_err(|e| infra("the checkout could not be filled", &e))?;
        Ok(Prepared { checkout, commit, tree, merged })
    }

    /// Brings a checkout to what an earlier part of the same attempt left at the commit `at`. What the node starts from
    /// stays what it was.
    pub fn bring_to(&self, prepared: &mut Prepared, at: &str) -> Result<(), Failure> {
        let commit: CommitId = at.parse().map_err(|e| infra("a recorded commit is unreadable", &e))?;
        let tree = self
            .repository
            .tree_of(commit)
            .map_err(|e| infra("git could not read a commit of the run", &e))?;
        prepared
            .checkout
            .set_to(&self.repository, tree, Clean::Untracked)
            .map_err(|e| infra("the checkout could not be filled", &e))?;
        Ok(())
    }

    /// A checkout nobody uses: best one whose leftovers the node may have, then one that holds the tree.
    fn take(&self, tree: TreeId, node: &str) -> Result<Checkout, CheckoutError> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = |checkout: &Checkout| {
            (self.lineage.inherits(checkout.user(), node), checkout.tree() == Some(tree))
        };
        if let Some(best) = (0..free.len()).max_by_key(|at| fit(&free[*at])) {
            return Ok(free.swap_remove(best));
        }
        drop(free);
        let mut number = 0_u32;
        loop {
            match Checkout::open_or_create(&self.dir.join(number.to_string())) {
                Err(CheckoutError::Busy { .. }) => number += 1,
                Ok(checkout) => {
                    return Ok(match &self.secrets {
                        Some(secrets) => checkout.guarding(secrets.clone()),
                        None => checkout,
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a checkout back, whatever it holds now.
    pub fn give_back(&self, checkout: Checkout) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(checkout);
    }

    /// Reads what a node left, and commits it if it is something new. The commit is the node's output; without
    /// one, its output is its input.
    pub fn capture(
        &self,
        prepared: &mut Prepared,
        origin: Origin<'_>,
    ) -> Result<(Option<CommitId>, Vec<String>), Failure> {
        let captured = prepared.checkout.capture(&self.repository).map_err(|error| {
            let class = if error.blames_content() { FailureClass::Policy } else { FailureClass::Infra };
            Failure::new(class, format!("what the node left cannot be kept: {}", crate::chain(&error)))
        })?;
        let flagged = captured.flagged.iter().map(|flag| {
            let told = format!("{}: {:?}", flag.path, flag.kind);
            // What is left out of a tree can have a name all the same.
            self.secrets.as_ref().map_or_else(|| told.clone(), |secrets| secrets.redact_str(&told))
        });
        let flagged = flagged.collect();
        if captured.tree == prepared.tree {
            return Ok((prepared.merged.then_some(prepared.commit), flagged));
        }
        let commit = self.keep(captured.tree, &[prepared.commit], origin)?;
        Ok((Some(commit), flagged))
    }

    /// Commits a tree as the output of a node and points the node's ref at it.
    pub fn keep(&self, tree: TreeId, parents: &[CommitId], origin: Origin<'_>) -> Result<CommitId, Failure> {
        let info = self.info(origin, "");
        let commit =
            self.repository.commit(tree, parents, &info).map_err(|e| infra("git could not commit", &e))?;
        let name = RefName::of_node(&self.run, origin.node);
        self.repository.set_ref(&name, commit).map_err(|e| infra("git could not write a ref", &e))?;
        Ok(commit)
    }

    fn info<'a>(&'a self, origin: Origin<'a>, message: &'a str) -> CommitInfo<'a> {
        CommitInfo {
            run: &self.run,
            node: origin.node,
            attempt: origin.attempt,
            blueprint: self.lineage.blueprint(),
            at_ms: origin.at_ms,
            message,
        }
    }
}
