//! Random blueprints in a world full of trouble: the state machine against the second opinion, and against what
//! must hold at every moment. `BLUEPRINT_CASES` runs more of them.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::drive::program;
use super::oracle::Oracle;
use super::script::Script;
use super::spec::{Spec, name, specs};
use super::world::{Trouble, World};

fn cases() -> Config {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is for whoever starts it")]
    let cases = std::env::var("BLUEPRINT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

fn inputs() -> impl Strategy<Value = (Spec, Script, u64)> {
    let script = (any::<u64>(), prop::sample::select(vec![0_u64, 10, 30, 60]));
    (specs(), script.prop_map(|(seed, trouble)| Script { seed, trouble }), any::<u64>())
}

fn world(spec: &Spec, script: Script, dice: u64, trouble: Trouble, head: &str) -> World {
    let mut texts = spec.texts();
    texts[0].1.insert_str(0, head);
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    World::new(program(&texts), spec.jobs, script, dice, trouble)
}

fn runner() -> TestRunner {
    let config = cases();
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

#[test]
fn every_node_ends_as_the_oracle_says_in_whatever_order_things_happen() {
    let tested = runner().run(&inputs(), |(spec, script, dice)| {
        let oracle = Oracle::new(&spec, script);
        let mut world = world(&spec, script, dice, Trouble::OfMachines, "");
        for (node, skipped) in oracle.taken_over() {
            world.take_over(&name(node), skipped);
        }
        prop_assert_eq!(world.run(), oracle.run());
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

#[test]
fn whatever_people_do_a_run_stays_sound_and_comes_to_an_end() {
    let tested = runner().run(&inputs(), |(spec, script, dice)| {
        world(&spec, script, dice, Trouble::OfPeople, "[budget]\nwall = \"1h\"\n").run();
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
