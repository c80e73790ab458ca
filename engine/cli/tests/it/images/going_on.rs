//! Runs that go on: with the images they began with, or not at all. And images that only claim to be what was built.

use super::{Stand, attested, recorded, steps};

/// A run that waits between two commands in one image.
fn blueprint(tier: &str) -> String {
    format!(
        "[defaults]\ntier = \"{tier}\"\nworkspace = \"none\"\nimage = {{ dockerfile = \"ci/Dockerfile\" }}\n\
         [nodes.a]\nrun = \"/bin/busybox cat /made\"\n[nodes.wait]\nneeds = [\"a\"]\ngate = {{}}\n\
         [nodes.b]\nneeds = [\"wait\"]\nrun = \"/bin/busybox cat /made\"\n"
    )
}

/// Begins a run that waits, and approves it.
fn begun(stand: &mut Stand, tier: &str) -> String {
    let base = stand.base(&[], &[]);
    stand.lab.write("ci/Dockerfile", &format!("FROM {base}\nCOPY mark /made\n"));
    stand.lab.write("ci/mark", "the first");
    stand.lab.blueprint("x", &blueprint(tier));
    stand.lab.say(&["run", "x"]).ends(75).mentions("a | the first");
    let run = stand.lab.run();
    stand.lab.say(&["approve", &run, "wait"]).ends(0);
    run
}

fn id_of(stand: &Stand, run: &str, node: &str) -> String {
    let facts = &stand.lab.show(run, node)["attestation"]["runtime"]["image"];
    facts.as_str().unwrap().rsplit_once(" (").unwrap().1.trim_end_matches(')').to_owned()
}

#[test]
fn a_run_goes_on_with_the_image_it_began_with() {
    let Some(mut stand) = Stand::new() else { return };
    let run = begun(&mut stand, "untrusted");
    let before = id_of(&stand, &run, "a");
    // Whatever the files say by now, and whatever is remembered of them.
    stand.lab.write("ci/mark", "the second");
    std::fs::remove_file(stand.lab.state().join("images.json")).unwrap();
    let said = stand.lab.say(&["resume", &run]).ends(0).mentions("b | the first");
    assert_eq!(steps(&said), 0, "{said}");
    assert_eq!(id_of(&stand, &run, "b"), before);
    // A fork takes over what was done in it, and the image with it.
    let said = stand.lab.say(&["fork", &run, "--from", "b"]).ends(0).mentions("b | the first");
    assert_eq!(steps(&said), 0, "{said}");
}

#[test]
fn an_image_that_is_gone_is_made_again_only_of_the_same_and_never_for_strangers() {
    let Some(mut stand) = Stand::new() else { return };
    let run = begun(&mut stand, "untrusted");
    let id = id_of(&stand, &run, "a");
    stand.docker(&["rmi", "--no-prune", &id]);
    let said = stand.lab.say(&["resume", &run]).ends(3);
    assert!(said.err.contains("is gone from the container engine") && said.err.contains(&id), "{said}");
    assert_eq!(stand.lab.phase(&run, "b"), "pending");
    stand.lab.say(&["cancel", &run]).ends(0);
    assert_eq!(stand.lab.status(&run)["status"], "cancelled", "it can be ended all the same");

    let run = begun(&mut stand, "trusted");
    let id = id_of(&stand, &run, "a");
    stand.docker(&["rmi", "--no-prune", &id]);
    stand.lab.write("ci/mark", "the second");
    let said = stand.lab.say(&["resume", &run]).ends(3);
    assert!(said.err.contains("what `ci/Dockerfile` is built of has changed since"), "{said}");
    stand.lab.write("ci/mark", "the first");
    let said = stand.lab.say(&["resume", &run]).ends(0).mentions("b | the first");
    assert!(steps(&said) > 0, "{said}");
    let events = stand.lab.events(&run);
    let drivers: Vec<&serde_json::Value> =
        events.iter().filter_map(|entry| entry["event"].get("driver_started")).collect();
    assert_eq!(drivers.len(), 2, "both are on record: {drivers:#?}");
    assert_eq!(drivers[1]["images"][0]["id"].as_str().unwrap(), id_of(&stand, &run, "b"));
}

#[test]
fn an_image_that_claims_to_be_what_was_built_is_not_taken_for_it() {
    let Some(mut stand) = Stand::new() else { return };
    let base = stand.base(&[], &[]);
    stand.lab.write("ci/Dockerfile", &format!("FROM {base}\nCOPY mark /made\n"));
    stand.lab.write("ci/mark", "the real one");
    stand.lab.blueprint(
        "x",
        "[nodes.a]\nworkspace = \"none\"\nimage = { dockerfile = \"ci/Dockerfile\" }\nrun = \"/bin/busybox cat /made\"\n",
    );
    stand.lab.say(&["run", "x"]).ends(0);
    let digest = recorded(&stand)[0]["digest"].as_str().unwrap().to_owned();
    let real = recorded(&stand)[0]["id"].as_str().unwrap().to_owned();
    stand.docker(&["rmi", "--no-prune", &real]);
    let label = format!("LABEL dev.blueprint.recipe={digest}");
    let forged = stand.base(&[("made", "a forged one")], &[&label]);
    std::fs::remove_file(stand.lab.state().join("images.json")).unwrap();
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("the real one") && steps(&said) > 0, "{said}");
    assert!(!attested(&stand).contains(&forged));
    // What is remembered is not taken either if the image does not say the same.
    let other = stand.base(&[("made", "another one")], &[]);
    stand.lab.write(".blueprint/images.json", &format!("{{\"{digest}\":\"{other}\"}}"));
    let said = stand.lab.say(&["run", "x"]).ends(0);
    assert!(said.err.contains("the real one") && steps(&said) > 0, "{said}");
}
