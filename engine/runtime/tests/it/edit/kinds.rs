//! Every kind of edit, and several of them together.

use blueprint_core::run::FailureClass;
use serde_json::json;

use super::lab::Lab;

const PATCH: &str =
    "--- a/src/main.rs\n+++ b/src/main.rs\n@@ -1,3 +1,3 @@\n fn main() {\n-    old();\n+    new();\n }\n";
const MAIN: &[u8] = b"fn main() {\n    old();\n}\n";

#[test]
fn one_edit_of_each_kind_makes_one_commit() {
    let lab = Lab::new();
    lab.write("src/main.rs", MAIN);
    lab.write("notes.txt", b"one\r\ntwo\r\n");
    lab.write("Cargo.toml", b"[package] # p\nversion = \"1.0.0\" # v\n");
    lab.write("a.json", b"{\n  // c\n  \"a\": 1\n}\n");
    lab.write("w.yml", b"on: push # event\n");
    let ended = lab.edit_with(
        r#"{ file = "notes.txt", replace = "one", with = "{{ inputs.who }}" },
           { file = "notes.txt", regex = '(t)(w)o', with = "${2}${1}o" },
           { file = "notes.txt", insert = "three", after = "wto" },
           { file = "new/deep/log.txt", insert = "first", at = "end" },
           { file = "made.txt", template = "made.tmpl" },
           { patch = "main.patch" },
           { file = "Cargo.toml", set = "package.version", value = "'1.1.0'" },
           { file = "a.json", set = "b.c", value = true },
           { file = "w.yml", set = "name", value = "inputs.who" }"#,
        "",
        &[("made.tmpl", "for {{ inputs.who }}\n"), ("main.patch", PATCH)],
        json!({ "who": "somebody else" }),
    );
    let expected = [
        ("notes.txt", "somebody else\r\nwto\r\nthree\r\n"),
        ("new/deep/log.txt", "first\n"),
        ("made.txt", "for somebody else\n"),
        ("src/main.rs", "fn main() {\n    new();\n}\n"),
        ("Cargo.toml", "[package] # p\nversion = \"1.1.0\" # v\n"),
        ("a.json", "{\n  // c\n  \"a\": 1,\n  \"b\": {\n    \"c\": true\n  }\n}\n"),
        ("w.yml", "on: push # event\nname: \"somebody else\"\n"),
        ("README", "hello\n"),
    ];
    for (path, text) in expected {
        assert_eq!(lab.left(&ended, path), text, "{path}");
    }
    let record = ended.unwrap().record;
    assert_eq!(record["changed"], true);
    let edits = record["edits"].as_array().unwrap();
    assert_eq!(edits.len(), 9);
    assert_eq!(
        edits[0],
        json!({ "kind": "replace", "file": "notes.txt", "replacements": 1, "changed": true })
    );
    assert_eq!(edits[3]["created"], true);
    assert_eq!(edits[5], json!({ "kind": "patch", "files": ["src/main.rs"], "changed": true }));
    assert_eq!(edits[6]["key"], "package.version");
}

#[test]
fn edits_count_together_or_not_at_all() {
    let lab = Lab::new();
    lab.write("src/main.rs", MAIN);
    let edits = r#"{ file = "README", replace = "hello", with = "bye" },
                   { patch = "main.patch" },
                   { file = "README", replace = "hello", with = "again" }"#;
    let failure = lab.edit_with(edits, "", &[("main.patch", PATCH)], json!({})).unwrap_err();
    assert_eq!(failure.class, FailureClass::Command);
    assert!(failure.message.starts_with("edit 3 (replace in `README`)"), "{}", failure.message);
    assert!(failure.message.contains("the text is there not at all, expected once"), "{}", failure.message);
    assert!(failure.fingerprint.is_some());
    assert_eq!(failure.record["failed"], 3);
    let left = failure.tree.expect("the input is named");
    assert_eq!(lab.show(&left, "README"), "hello\n");
    assert_eq!(left, lab.git(&["rev-parse", "HEAD"]).trim());
}

#[test]
fn a_patch_that_does_not_fit_names_the_file() {
    let lab = Lab::new();
    lab.write("src/main.rs", b"something else\n");
    let failure = lab.edit_with("{ patch = \"p\" }", "", &[("p", PATCH)], json!({})).unwrap_err();
    assert_eq!(failure.class, FailureClass::Command);
    assert!(failure.message.contains("src/main.rs:1"), "{}", failure.message);
}

#[test]
fn a_patch_sees_what_earlier_edits_left() {
    let lab = Lab::new();
    lab.write("src/main.rs", b"fn main() {\n    older();\n}\n");
    let edits = r#"{ file = "src/main.rs", replace = "older", with = "old" }, { patch = "p" },
                   { file = "src/main.rs", replace = "new", with = "newer" }"#;
    let ended = lab.edit_with(edits, "", &[("p", PATCH)], json!({}));
    assert_eq!(lab.left(&ended, "src/main.rs"), "fn main() {\n    newer();\n}\n");
}

#[test]
fn edits_that_change_nothing_succeed_and_say_so() {
    let lab = Lab::new();
    lab.write("a.toml", b"a = 0x10\n");
    let edits = r#"{ file = "a.toml", set = "a", value = 16 }, { file = "README", replace = "hello", with = "hello" }"#;
    let success = lab.edit(edits).unwrap();
    assert_eq!(success.tree, None);
    assert_eq!(success.record["changed"], false);
    assert!(success.record["note"].as_str().unwrap().starts_with("nothing changed"));
}

#[test]
fn a_file_that_is_ignored_is_written_and_the_record_says_that_it_is_left_out() {
    let lab = Lab::new();
    lab.write(".gitignore", b"target/\n");
    let success = lab.edit(r#"{ file = "target/x", insert = "a", at = "start" }"#).unwrap();
    assert_eq!(success.tree, None);
    assert!(success.record["note"].as_str().unwrap().contains("ignore rules"), "{}", success.record);
}

#[test]
fn a_scratch_workspace_is_thrown_away() {
    let lab = Lab::new();
    let edits = r#"{ file = "README", replace = "hello", with = "bye" }"#;
    let success = lab.edit_with(edits, "workspace = \"scratch\"", &[], json!({})).unwrap();
    assert_eq!(success.tree, None);
    assert_eq!(success.record["changed"], true);
}
