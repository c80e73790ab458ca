//! Examples: order, joins, conditions, places.

use insta::assert_snapshot;

use super::drive::Drive;

#[test]
fn a_chain_goes_one_by_one() {
    let mut run = Drive::of(
        r#"
        [nodes.a]
        run = "a"
        [nodes.b]
        needs = ["a"]
        wait = "5s"
        [nodes.c]
        needs = ["b"]
        run = "c"
        "#,
    );
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start a#1
      a#1 ok
    timer pause b#1 5000ms
      pause b#1 over
    start c#1
      c#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    a succeeded
    b succeeded
    c succeeded
    succeeded
    ");
}

const DIAMOND: &str = r#"
    [nodes.a]
    run = "a"
    [nodes.b]
    run = "b"
    [nodes.c]
    run = "c"
    [nodes.join]
    needs = ["a", "b", "c"]
    run = "join"
"#;

fn diamond(join: &str) -> Drive {
    Drive::of(&format!("{DIAMOND}join = \"{join}\"\n"))
}

#[test]
fn all_waits_for_every_need_to_succeed() {
    assert_snapshot!(diamond("all").end(), @"
    a succeeded
    b succeeded
    c succeeded
    join succeeded
    succeeded
    ");
}

#[test]
fn all_is_skipped_when_a_need_failed_but_only_after_the_others_came_to_an_end() {
    let mut run = diamond("all").script("a", "fail").script("c", "hold");
    run.go();
    assert_snapshot!(run.ends(), @"
    a failed
    b succeeded
    c running
    join pending
    goes on
    ");
    run.answer("c", 1, "ok");
    assert_snapshot!(run.end(), @"
    a failed
    b succeeded
    c succeeded
    join skipped
    failed
    ");
}

#[test]
fn any_starts_with_the_first_success_and_the_others_go_on() {
    let mut run = diamond("any").script("a", "fail").script("c", "hold");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    start a#1
    start b#1
    start c#1
      a#1 failed: command
      b#1 ok
    start join#1
      join#1 ok
    ");
    run.answer("c", 1, "fail");
    assert_snapshot!(run.end(), @"
    a failed
    b succeeded
    c failed
    join succeeded
    failed
    ");
}

#[test]
fn any_is_skipped_when_no_need_succeeded() {
    assert_snapshot!(diamond("any").script("a", "fail").script("b", "fail").script("c", "fail").end(), @"
    a failed
    b failed
    c failed
    join skipped
    failed
    ");
}

#[test]
fn settled_runs_whatever_became_of_its_needs() {
    assert_snapshot!(diamond("settled").script("a", "fail").script("b", "fail").script("c", "fail").end(), @"
    a failed
    b failed
    c failed
    join succeeded
    failed
    ");
}

#[test]
fn a_false_condition_skips_the_node_and_all_that_rely_on_it() {
    let mut run = Drive::of(
        r#"
        [inputs]
        on = { type = "boolean", default = false }
        [nodes.a]
        when = "inputs.on"
        run = "a"
        [nodes.b]
        needs = ["a"]
        run = "b"
        [nodes.c]
        needs = ["b"]
        when = "inputs.on"
        run = "c"
        [nodes.d]
        needs = ["c"]
        join = "settled"
        run = "d"
        "#,
    )
    .script("a?", "skip");
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    evaluate a#1
      a#1 skip
    start d#1
      d#1 ok
    finish succeeded
    ");
    assert_snapshot!(run.ends(), @"
    a skipped
    b skipped
    c skipped
    d succeeded
    succeeded
    ");
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_the_node() {
    let run = Drive::of("[nodes.a]\nrun = \"a\"\nwhen = \"1 > 0\"\n[nodes.b]\nneeds = [\"a\"]\nrun = \"b\"")
        .script("a?", "fail");
    assert_snapshot!(run.end(), @"
    a failed
    b skipped
    failed
    ");
}

#[test]
fn places_go_to_the_nodes_with_the_longest_way_to_go_and_pauses_take_none() {
    let mut run = Drive::with(
        1,
        &[(
            "main",
            r#"
            [nodes.short]
            run = "short"
            [nodes.pause]
            wait = "1s"
            [nodes.long]
            run = "long"
            [nodes.end]
            needs = ["long"]
            run = "end"
            "#,
        )],
    );
    run.go();
    assert_snapshot!(run.log(), @"
      run started
    timer pause pause#1 1000ms
    start long#1
      long#1 ok
    start short#1
      short#1 ok
    start end#1
      end#1 ok
      pause pause#1 over
    finish succeeded
    ");
}
