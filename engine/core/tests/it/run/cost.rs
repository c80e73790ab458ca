//! What a large run costs, counted in plans and commands, never in time: each thing is planned once and answered
//! once, however many nodes there are.

use std::fmt::Write;
use std::sync::Arc;

use blueprint_core::graph::Program;
use blueprint_core::run::{Command, Event, Outcome, RunStatus, State, Success};

use super::drive::{program, start};

/// Layers of a hundred nodes, each of which needs three of the layer before; every tenth pauses, the others work.
fn layers(nodes: usize) -> Arc<Program> {
    let mut text = String::new();
    for node in 0..nodes {
        let kind = if node % 10 == 0 { "wait = \"0s\"" } else { "run = \"true\"" };
        let _ = write!(text, "[nodes.n{node}]\n{kind}\n");
        if let Some(layer) = (node / 100).checked_sub(1) {
            let needs: Vec<String> =
                (0..3).map(|step| format!("n{}", layer * 100 + (node + step * 37) % 100)).collect();
            let _ = writeln!(text, "needs = {needs:?}");
        }
    }
    program(&[("main", &text)])
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Cost {
    plans: usize,
    planned: usize,
    facts: usize,
}

fn run(program: Arc<Program>) -> Cost {
    let mut state = State::new(program);
    let mut cost = Cost::default();
    let mut fold = |state: &mut State, event: &Event| {
        cost.facts += 1;
        state.fold(0, event);
    };
    fold(&mut state, &start(64));
    let mut answers = Vec::new();
    let (mut plans, mut planned) = (0, 0);
    loop {
        let commands = state.plan();
        plans += 1;
        planned += commands.len();
        for command in commands {
            fold(&mut state, &Event::Issued(command.clone()));
            match command {
                Command::StartNode { node, attempt, .. } => {
                    answers.push(Event::NodeSucceeded {
                        node,
                        attempt,
                        success: Box::new(Success::default()),
                    });
                }
                Command::StartTimer { timer, .. } => answers.push(Event::TimerFired { timer }),
                _ => {}
            }
        }
        let Some(answer) = answers.pop() else { break };
        fold(&mut state, &answer);
    }
    assert_eq!(state.status(), RunStatus::Finished(Outcome::Succeeded));
    Cost { plans, planned, ..cost }
}

#[test]
fn a_run_plans_each_command_once_and_takes_each_answer_once() {
    for nodes in [1_000, 10_000] {
        // The end of the run is a command, its start a fact.
        let expected = Cost { plans: nodes + 1, planned: nodes + 1, facts: 2 * nodes + 2 };
        assert_eq!(run(layers(nodes)), expected);
    }
}

#[test]
fn rounds_of_many_regions_cost_what_their_nodes_cost() {
    let mut text = String::new();
    for region in 0..1_000 {
        let _ = write!(
            text,
            "[nodes.fix{region}]\nrun = \"true\"\n[nodes.verify{region}]\nneeds = [\"fix{region}\"]\nrun = \"true\"\n\
             repair = {{ from = \"fix{region}\", rounds = 3 }}\n"
        );
    }
    let expected = Cost { plans: 2_001, planned: 2_001, facts: 4_002 };
    assert_eq!(run(program(&[("main", &text)])), expected);
}
