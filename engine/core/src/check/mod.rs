//! Checks a blueprint and compiles it into a [`Program`]. Reports everything that is wrong in one go. Looks at
//! texts only; whoever calls has read the files.

use std::sync::Arc;

use crate::finding::Findings;
use crate::graph::Program;
use crate::proof::Policy;
use crate::source::SourceSet;

mod agent;
mod claims;
mod compiler;
mod command;
mod defaults;
mod edit;
mod event;
mod credentials;
mod hosts;
mod image;
mod dockerfile;
mod recipe;
mod inputs;
mod later;
mod lower;
mod names;
mod regions;
mod requests;
mod shape;
mod text_place;
mod values;

/// What a check gives: the findings, and a program if none of them stops a run.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Ready to run.
    pub program: Option<Arc<Program>>,
    /// In the order of their places.
    pub findings: Findings,
}

/// The most nodes of a blueprint with everything it uses.
pub const MAX_NODES: usize = 100_000;

/// Checks the blueprint at `sources.entry`.
pub fn compile(sources: &SourceSet) -> Checked {
    compile_under(sources, &[])
}

/// Checks the blueprint at `sources.entry`, which must satisfy these policies as well.
pub fn compile_under(sources: &SourceSet, policies: &[Policy]) -> Checked {
    let mut compiler = compiler::Compiler::new(sources);
    let mut program = compiler.program();
    let mut findings = compiler.findings;
    if let Some(program) = &mut program {
        let trust = crate::trust::judge(program, &mut findings);
        crate::proof::judge(program, &trust, &mut findings);
        crate::proof::judge_policies(program, &trust, policies, &mut findings);
        crate::lint::warn(program, &mut findings);
    }
    findings.sort();
    let program = program.filter(|_| !findings.has_errors()).map(Arc::new);
    Checked { program, findings }
}
