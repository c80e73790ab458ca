//! Merging what several nodes put out.

use blueprint_runtime::workspace::{Clean, CommitId, Dirty, Merge, TreePath};

use super::ground::{Ground, content, empty, info, node_output};

const LINES: &[u8] = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n";

#[test]
fn nodes_that_change_different_places_merge_in_any_order() {
    let ground = Ground::new();
    ground.write("file", LINES);
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap().commit;
    let mut checkout = ground.checkout("a");
    let top =
        node_output(&repository, &mut checkout, base, "top", &[("file", b"one\n2\n3\n4\n5\n6\n7\n8\n9\n")]);
    let end =
        node_output(&repository, &mut checkout, base, "end", &[("file", b"1\n2\n3\n4\n5\n6\n7\n8\nnine\n")]);
    let new = node_output(&repository, &mut checkout, base, "new", &[("new", b"new")]);
    let mut results = Vec::new();
    for order in [[top, end, new], [new, end, top], [end, new, top]] {
        results.push(repository.merge(&order).unwrap());
    }
    let Merge::Clean(tree) = results[0] else { panic!("{results:?}") };
    assert!(results.iter().all(|result| *result == Merge::Clean(tree)));
    assert_eq!(content(&repository, tree, "file").unwrap(), b"one\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    assert_eq!(content(&repository, tree, "new").unwrap(), b"new");
    checkout.set_to(&repository, tree, Clean::All).unwrap();
    assert_eq!(checkout.capture(&repository).unwrap().tree, tree);
}

#[test]
fn a_conflict_names_its_paths() {
    let ground = Ground::new();
    ground.write("file", LINES);
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap().commit;
    let mut checkout = ground.checkout("a");
    let one = node_output(&repository, &mut checkout, base, "one", &[("file", b"one\n"), ("x\ny", b"1")]);
    let two = node_output(&repository, &mut checkout, base, "two", &[("file", b"two\n"), ("x\ny", b"2")]);
    let Merge::Conflict { paths, message } = repository.merge(&[one, two]).unwrap() else { panic!() };
    assert_eq!(paths, [TreePath::from("file"), TreePath::from("x\ny")]);
    assert_eq!(message.lines().count(), 2, "{message}");
    assert!(message.contains("CONFLICT (content): Merge conflict in file"), "{message}");
}

#[test]
fn equal_inputs_and_single_inputs_need_no_git() {
    let ground = Ground::new();
    ground.write("file", LINES);
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap();
    let same = repository.commit(base.tree, &[base.commit], &info("run", "idle")).unwrap();
    let _away = ground.without_git();
    assert_eq!(repository.merge(&[]).unwrap(), Merge::Clean(empty(&repository)));
    assert_eq!(repository.merge(&[same]).unwrap(), Merge::Clean(base.tree));
    assert_eq!(repository.merge(&[same, base.commit, same]).unwrap(), Merge::Clean(base.tree));
}

#[test]
fn an_input_that_contains_another_wins() {
    let ground = Ground::new();
    ground.write("file", LINES);
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap().commit;
    let mut checkout = ground.checkout("a");
    let one = node_output(&repository, &mut checkout, base, "one", &[("file", b"one")]);
    let two = node_output(&repository, &mut checkout, one, "two", &[("file", b"two")]);
    assert_eq!(repository.merge(&[one, two, base]).unwrap(), Merge::Clean(repository.tree_of(two).unwrap()));
}

#[test]
fn a_diamond_of_merges_knows_what_was_merged_before() {
    let ground = Ground::new();
    ground.write("file", LINES);
    let repository = ground.repository();
    let base = repository.base(Dirty::Include, 0).unwrap().commit;
    let mut checkout = ground.checkout("a");
    let left =
        node_output(&repository, &mut checkout, base, "left", &[("file", b"left\n2\n3\n4\n5\n6\n7\n8\n9\n")]);
    let right = node_output(&repository, &mut checkout, base, "right", &[("other", b"right")]);
    let Merge::Clean(tree) = repository.merge(&[left, right]).unwrap() else { panic!() };
    let join = repository.commit(tree, &[left, right], &info("run", "join")).unwrap();
    let later = node_output(
        &repository,
        &mut checkout,
        join,
        "later",
        &[("file", b"later\n2\n3\n4\n5\n6\n7\n8\n9\n")],
    );
    let Merge::Clean(tree) = repository.merge(&[left, later]).unwrap() else { panic!() };
    assert_eq!(content(&repository, tree, "file").unwrap(), b"later\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_eq!(content(&repository, tree, "other").unwrap(), b"right");
}

#[test]
fn a_merge_of_an_unknown_commit_is_an_error() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let unknown: CommitId = "b".repeat(40).parse().unwrap();
    let head = repository.base(Dirty::Exclude, 0).unwrap().commit;
    assert!(repository.merge(&[unknown, head]).is_err());
}

#[test]
fn a_commit_says_where_it_came_from_and_is_the_same_every_time() {
    let ground = Ground::with_repository();
    let repository = ground.repository();
    let base = repository.base(Dirty::Exclude, 0).unwrap();
    let mut about = info("run-1", "fix\nBlueprint-Run: forged");
    about.message = "Fix it\n\nBecause.\n\nBlueprint-Run: forged\nBlueprint-Attempt: 9\n";
    about.attempt = 3;
    let commit = repository.commit(base.tree, &[base.commit], &about).unwrap();
    assert_eq!(repository.commit(base.tree, &[base.commit], &about).unwrap(), commit);
    let commit = commit.to_string();
    let trailer =
        |key: &str| ground.git(&["log", "-1", &format!("--format=%(trailers:key={key},valueonly)"), &commit]);
    assert_eq!(trailer("Blueprint-Run"), "run-1");
    assert_eq!(trailer("Blueprint-Node"), "fix | Blueprint-Run: forged");
    assert_eq!(trailer("Blueprint-Attempt"), "3");
    assert_eq!(trailer("Blueprint-Name"), "demo");
    assert_eq!(
        ground.git(&["log", "-1", "--format=%an <%ae> %at %s", &commit]),
        "blueprint <blueprint@localhost> 1700000000 Fix it"
    );
}
