//! The user's own repository: its working tree, index, branches and stash are as they were after any run, and what
//! a node plants in its workspace neither acts nor lasts.

use super::lab::Lab;

/// Everything of a repository that belongs to its user.
fn picture(lab: &Lab) -> Vec<String> {
    let index = std::fs::read(lab.project().join(".git/index")).unwrap();
    let config = std::fs::read_to_string(lab.project().join(".git/config")).unwrap();
    let refs = lab.git(&[
        "for-each-ref",
        "--format=%(refname) %(objectname)",
        "refs/heads",
        "refs/tags",
        "refs/stash",
    ]);
    // Read without writing: a plain `status` may refresh the index.
    let status = lab.git(&[
        "--no-optional-locks",
        "status",
        "--porcelain",
        "--untracked-files=all",
        "--",
        ":!.blueprint",
    ]);
    let hooks: Vec<String> = std::fs::read_dir(lab.project().join(".git/hooks"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect();
    let head = std::fs::read_to_string(lab.project().join(".git/HEAD")).unwrap();
    vec![
        format!("{index:?}"),
        config,
        refs,
        status,
        hooks.join(" "),
        head,
        lab.git(&["stash", "list"]),
        lab.git(&["worktree", "list"]),
    ]
}

const WRITES: &str = "[nodes.write]\nrun = 'cat README; echo changed > README; echo new > new; rm -f gone; ls'\nshell = \"sh\"\n";

#[test]
fn a_run_leaves_the_repository_of_its_user_alone() {
    let lab = Lab::in_git();
    lab.blueprint("writes", WRITES);
    // A staged change, an unstaged one, an untracked file, a stash.
    lab.write("stashed", "stashed\n");
    lab.git(&["add", "stashed"]);
    lab.git(&["stash", "-q"]);
    lab.write("staged", "staged\n");
    lab.git(&["add", "staged"]);
    lab.write("README", "unstaged\n");
    lab.write("untracked", "untracked\n");
    let before = picture(&lab);
    for more in [&[][..], &["--include-dirty"], &["--sandbox", "none"]] {
        lab.say(&[&["run", "writes"], more].concat()).ends(0);
        assert_eq!(picture(&lab), before, "with {more:?}");
        assert_eq!(std::fs::read_to_string(lab.project().join("README")).unwrap(), "unstaged\n");
        assert!(!lab.project().join("new").exists());
    }
}

#[test]
fn what_is_not_committed_is_seen_only_when_asked_for() {
    let lab = Lab::in_git();
    lab.write("gone", "gone\n");
    lab.blueprint("writes", WRITES);
    lab.write("README", "unstaged\n");
    lab.write("untracked", "untracked\n");
    std::fs::remove_file(lab.project().join("gone")).unwrap();
    let said =
        lab.say(&["run", "writes"]).ends(0).mentions("a project").mentions("`--include-dirty` includes them");
    let said = said.mentions("README");
    assert!(!said.err.contains("| untracked"), "{said}");
    let said =
        lab.say(&["run", "writes", "--include-dirty"]).ends(0).mentions("| unstaged").mentions("| untracked");
    assert!(!said.err.contains("| gone"), "{said}");
    let run = lab.run();
    assert!(lab.say(&["show", &run]).ends(0).out.contains("with uncommitted changes"));
    // The run changed only what its nodes changed.
    let diff = lab.diff(&run);
    assert!(diff.contains("-unstaged\n+changed\n") && !diff.contains("untracked"), "{diff}");
}

#[test]
fn a_project_outside_of_git_runs_too() {
    let lab = Lab::new();
    lab.write("README", "a project\n");
    lab.blueprint("writes", WRITES);
    lab.say(&["run", "writes"]).ends(0).mentions("| a project");
    let run = lab.run();
    assert!(lab.diff(&run).contains("-a project\n+changed\n"));
    assert!(!lab.project().join(".git").exists() && !lab.project().join("new").exists());
    // The state folder is no part of what nodes see.
    assert!(!lab.say(&["logs", &run]).ends(0).out.contains(".blueprint"));
}

#[test]
fn a_repository_without_a_commit_runs_too() {
    let lab = Lab::new();
    lab.git(&["init", "-q", "-b", "main"]);
    lab.write(
        "blueprints/writes/blueprint.toml",
        &format!("schema = 1\nname = \"writes\"\n{}", WRITES.replace("cat README; ", "")),
    );
    lab.say(&["run", "writes", "--include-dirty"]).ends(0);
    assert!(lab.diff(&lab.run()).contains("+new"));
}

#[test]
fn hooks_and_settings_that_a_node_plants_neither_run_nor_last() {
    for sandbox in ["auto", "none"] {
        let lab = Lab::in_git();
        let trap = lab.beside("trapped");
        lab.blueprint(
            "planting",
            &format!(
                r#"
[defaults]
shell = "sh"

[nodes.plant]
run = '''
mkdir -p .git/hooks sub/.git/hooks
for hook in pre-commit post-commit post-checkout reference-transaction post-index-change post-merge; do
  printf '#!/bin/sh\ntouch {trap}\n' > .git/hooks/$hook; chmod +x .git/hooks/$hook
  cp .git/hooks/$hook sub/.git/hooks/$hook
done
printf '[core]\n\tfsmonitor = touch {trap}\n\tsshCommand = touch {trap}\n[filter "trap"]\n\tclean = touch {trap}\n\tsmudge = touch {trap}\n[diff "trap"]\n\ttextconv = touch {trap}\n[alias]\n\tdiff = !touch {trap}\n' > .git/config
cp .git/config sub/.git/config
printf '* filter=trap diff=trap merge=trap\n' > .gitattributes
mkdir -p .git/objects/info; echo /etc > .git/objects/info/alternates
printf '[submodule "x"]\n\tpath = sub\n\turl = ext::touch {trap}\n\tupdate = !touch {trap}\n' > .gitmodules
echo planted > planted
'''

[nodes.left]
needs = ["plant"]
run   = 'test ! -e .git/hooks; test ! -e sub/.git; echo left > left'

[nodes.right]
needs = ["plant"]
run   = 'echo right > right'

[nodes.join]
needs = ["left", "right"]
run   = 'cat left right planted; ls -a'
"#,
                trap = trap.display()
            ),
        );
        let before = picture(&lab);
        lab.say(&["run", "planting", "--sandbox", sandbox]).ends(0).mentions("| planted");
        let run = lab.run();
        let diff = lab.diff(&run);
        assert!(
            diff.contains("b/planted") && !diff.contains("hooks") && !diff.contains("fsmonitor"),
            "{diff}"
        );
        assert!(!trap.exists(), "something that a node planted was executed");
        assert_eq!(picture(&lab), before);
    }
}

#[test]
fn a_hostile_setting_of_the_user_is_not_needed_and_not_used() {
    let lab = Lab::in_git();
    let trap = lab.beside("trapped");
    // The user's own hooks and filters are theirs; a run makes commits of its own and must start none of them.
    lab.write(".gitattributes", "* filter=mine\n");
    lab.git(&["config", "filter.mine.clean", "cat"]);
    lab.blueprint("writes", WRITES);
    lab.git(&["config", "filter.mine.clean", &format!("sh -c 'touch {}; cat'", trap.display())]);
    lab.git(&["config", "filter.mine.smudge", &format!("sh -c 'touch {}; cat'", trap.display())]);
    lab.git(&["config", "core.fsmonitor", &format!("touch {}", trap.display())]);
    let hook = lab.project().join(".git/hooks/reference-transaction");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", trap.display())).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    lab.say(&["run", "writes"]).ends(0);
    lab.diff(&lab.run());
    assert!(!trap.exists(), "a hook or filter was started");
}

#[test]
fn the_history_of_a_run_is_its_graph() {
    let lab = Lab::in_git();
    lab.blueprint(
        "graph",
        "[defaults]\nshell = \"sh\"\n[nodes.a]\nrun = 'echo a > a'\n[nodes.b]\nneeds = [\"a\"]\nrun = 'echo b > b'\n\
         [nodes.c]\nneeds = [\"a\"]\nrun = 'echo c > c'\n[nodes.d]\nneeds = [\"b\", \"c\"]\nrun = 'echo d > d'\n",
    );
    lab.say(&["run", "graph"]).ends(0);
    let run = lab.run();
    let d = lab.show(&run, "d")["tree"].as_str().unwrap().to_owned();
    let log =
        lab.git(&["log", "--graph", "--format=%(trailers:key=Blueprint-Node,valueonly,separator=%x2C)", &d]);
    for node in ["a", "b", "c", "d"] {
        assert!(log.contains(node), "{log}");
    }
    // Only what one node changed.
    let said = lab.say(&["diff", &run, "b"]).ends(0);
    assert!(said.out.contains("b/b") && !said.out.contains("b/a") && !said.out.contains("b/c"), "{said}");
    assert!(lab.say(&["diff", &run, "--stat"]).ends(0).out.contains('a'));
}

#[test]
fn a_project_in_a_folder_of_its_repository_has_that_folder_as_its_own() {
    let lab = Lab::in_git();
    let folder = lab.project().join("parts/one");
    std::fs::create_dir_all(folder.join("blueprints/sub")).unwrap();
    std::fs::write(folder.join("seed.txt"), "seed\n").unwrap();
    std::fs::write(
        folder.join("blueprints/sub/blueprint.toml"),
        "schema = 1\nname = \"sub\"\n\
         [nodes.write]\nshell = \"sh\"\nrun = 'test -f seed.txt; echo made > made.txt; echo \"{\\\"n\\\": 1}\" > out.json'\n\
         output = { n = \"integer\" }\noutput_from = { file = \"out.json\" }\nartifacts = [\"made.txt\"]\n\
         [nodes.edit]\nneeds = [\"write\"]\nedit = { file = \"seed.txt\", replace = \"seed\", with = \"plant\" }\n",
    )
    .unwrap();
    lab.commit();
    lab.say(&["run", "sub", "-C", "parts/one"]).ends(0);
    let diff = lab.say(&["diff", "-C", "parts/one"]).ends(0);
    assert!(diff.out.contains("+++ b/parts/one/made.txt"), "{}", diff.out);
    assert!(diff.out.contains("+plant"), "{}", diff.out);
}
