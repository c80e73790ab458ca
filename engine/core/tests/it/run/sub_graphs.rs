//! Examples: blueprints that use others, once or for each item of a list.

use insta::assert_snapshot;

use super::drive::Drive;

const EACH: &str = r#"
    [inputs]
    items = { type = "list", default = [] }
    [nodes.build]
    each = "inputs.items"
    max_parallel = 2
    run = "build"
    retry = { attempts = 2, on = ["command"] }
    [nodes.end]
    needs = ["build"]
    run = "end"
"#;

#[test]
fn each_runs_as_many_items_at_a_time_as_it_may() {
    let mut run = Drive::of(EACH).script("build?", "x3").script("build[0]", "fail ok");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    evaluate build#1
      build#1 x3
    start build[0]#1
    start build[1]#1
      build[0]#1 failed: command
    timer backoff build[0]#1 1000ms
      build[1]#1 ok
    start build[2]#1
      build[2]#1 ok
      backoff build[0]#1 over
    start build[0]#2
      build[0]#2 ok
    collect build#1
      build#1 ok
    start end#1
      end#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    build succeeded
    end succeeded
    build[0] succeeded #2
    build[1] succeeded
    build[2] succeeded
    succeeded
    ");
}

#[test]
fn an_item_that_fails_stops_no_other_item_but_fails_the_whole() {
    assert_snapshot!(Drive::of(EACH).script("build?", "x3").script("build[1]", "fail fail").end(), @"
    build failed
    end skipped
    build[0] succeeded
    build[1] failed #2
    build[2] succeeded
    failed
    ");
}

#[test]
fn each_over_nothing_succeeds() {
    let mut run = Drive::of(EACH).script("build?", "x0");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    evaluate build#1
      build#1 x0
    collect build#1
      build#1 ok
    start end#1
      end#1 ok
    finish succeeded
    ");
}

#[test]
fn each_over_very_much_needs_no_deep_stack() {
    let mut run = Drive::of(EACH).script("build?", "x5000");
    run.go();
    let ends = run.ends();
    assert_eq!(ends.lines().count(), 5_003);
    assert!(ends.lines().all(|line| line.ends_with("succeeded")));
}

const PART: (&str, &str) = (
    "part",
    r#"
    [nodes.one]
    run = "one"
    [nodes.two]
    needs = ["one"]
    run = "two"
    "#,
);

#[test]
fn a_blueprint_uses_another() {
    let main = ("main", "[nodes.part]\nuse = \"part\"\n[nodes.end]\nneeds = [\"part\"]\nrun = \"end\"");
    let mut run = Drive::with(8, &[main, PART]);
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    evaluate part#1
      part#1 x1
    start part/one#1
      part/one#1 ok
    start part/two#1
      part/two#1 ok
    collect part#1
      part#1 ok
    start end#1
      end#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    part succeeded
    end succeeded
    part/one succeeded
    part/two succeeded
    succeeded
    ");
}

#[test]
fn what_fails_inside_fails_outside_as_the_same_kind_of_failure() {
    let main = ("main", "[nodes.part]\nuse = \"part\"\n[nodes.end]\nneeds = [\"part\"]\nrun = \"end\"");
    let mut run = Drive::with(8, &[main, PART]).script("part/one", "fail:timeout");
    run.go();
    assert_snapshot!(run.ends(), @"
    part failed
    end skipped
    part/one failed
    part/two skipped
    failed
    ");
    let part = run.state.instance(run.state.at("part").unwrap());
    assert_snapshot!(format!("{:?}", part.failure.as_ref().map(|failure| (failure.class, &failure.message))), @r#"
    Some((Timeout, "part/one failed"))
    "#);
}

const NESTED: (&str, &str) = (
    "main",
    r#"
    [inputs]
    items = { type = "list", default = [] }
    [nodes.all]
    each = "inputs.items"
    use = "middle"
    max_parallel = 1
    retry = { attempts = 2, on = ["command"] }
    "#,
);
const MIDDLE: (&str, &str) = ("middle", "[nodes.part]\nuse = \"part\"");

#[test]
fn sub_graphs_nest_in_each() {
    assert_snapshot!(Drive::with(8, &[NESTED, MIDDLE, PART]).script("all?", "x2").end(), @"
    all succeeded
    all[0]/part succeeded
    all[0]/part/one succeeded
    all[0]/part/two succeeded
    all[1]/part succeeded
    all[1]/part/one succeeded
    all[1]/part/two succeeded
    succeeded
    ");
}

#[test]
fn a_sub_graph_that_is_tried_again_starts_from_nothing_and_takes_no_answer_of_its_former_self() {
    let mut run = Drive::with(8, &[NESTED, MIDDLE, PART])
        .script("all?", "x2 x1")
        .script("all[1]/part/two", "fail")
        .script("all[0]/part/one", "ok hold");
    run.go();
    assert_snapshot!(run.ends(), @"
    all expanded #2
    all[0]/part expanded #2
    all[0]/part/one running #2
    all[0]/part/two pending
    goes on
    ");
    run.answer("all[0]/part/one", 1, "fail");
    run.answer("all[1]/part/two", 1, "ok");
    assert_snapshot!(run.ends(), @"
    all expanded #2
    all[0]/part expanded #2
    all[0]/part/one running #2
    all[0]/part/two pending
    goes on
    ");
    run.answer("all[0]/part/one", 2, "ok");
    assert_snapshot!(run.end(), @"
    all succeeded #2
    all[0]/part succeeded #2
    all[0]/part/one succeeded #2
    all[0]/part/two succeeded #2
    succeeded
    ");
}

#[test]
fn a_repair_inside_a_sub_graph_goes_round_inside() {
    let main = ("main", "[nodes.part]\nuse = \"part\"");
    let part = (
        "part",
        "[nodes.fix]\nrun = \"fix\"\n[nodes.verify]\nneeds = [\"fix\"]\nrun = \"verify\"\nrepair = { from = \"fix\", rounds = 2 }",
    );
    assert_snapshot!(Drive::with(8, &[main, part]).script("part/verify", "fail ok").end(), @"
    part succeeded
    part/fix succeeded #2 round 2
    part/verify succeeded #2 round 2
    succeeded
    ");
    assert_snapshot!(Drive::with(8, &[main, part]).script("part/verify", "fail fail").end(), @"
    part failed
    part/fix succeeded #2 round 2
    part/verify failed #2 round 2
    escalated
    ");
}

#[test]
fn the_last_try_of_a_sub_graph_says_how_the_run_ends() {
    let main = ("main", "[nodes.part]\nuse = \"part\"\nretry = { attempts = 2, on = [\"command\"] }");
    let part = (
        "part",
        "[nodes.fix]\nrun = \"fix\"\n[nodes.verify]\nneeds = [\"fix\"]\nrun = \"verify\"\nrepair = { from = \"fix\", rounds = 2 }",
    );
    let run = Drive::with(8, &[main, part]).script("part/verify", "fail fail").script("part?", "x1 fail");
    assert_snapshot!(run.end(), @"
    part failed #2
    failed
    ");
}

#[test]
fn a_sub_graph_in_a_region_is_run_anew_in_each_round() {
    let main = (
        "main",
        "[nodes.part]\nuse = \"part\"\n[nodes.verify]\nneeds = [\"part\"]\nrun = \"verify\"\nrepair = { from = \"part\", rounds = 2 }",
    );
    let mut run = Drive::with(8, &[main, PART]).script("verify", "fail ok");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    evaluate part#1
      part#1 x1
    start part/one#1
      part/one#1 ok
    start part/two#1
      part/two#1 ok
    collect part#1
      part#1 ok
    start verify#1
      verify#1 failed: command
    round 2 of verify
    evaluate part#2
      part#2 x1
    start part/one#2
      part/one#2 ok
    start part/two#2
      part/two#2 ok
    collect part#2
      part#2 ok
    start verify#2 round 2
      verify#2 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    part succeeded #2 round 2
    verify succeeded #2 round 2
    part/one succeeded #2
    part/two succeeded #2
    succeeded
    ");
}
