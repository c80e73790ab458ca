//! Where edits may reach, and what they leave of a file besides its text.

use std::fs;
use std::path::Path;

use blueprint_core::run::FailureClass;
use serde_json::json;

use super::lab::Lab;

#[test]
fn what_cannot_be_edited_is_refused_and_named() {
    let lab = Lab::new();
    let outside = lab.path("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("file"), "hello\n").unwrap();
    lab.write("folder/file", b"hello\n");
    lab.write("latin", b"hello gr\xfc\xdfe\n");
    lab.write("large", &vec![b'h'; (16 << 20) + 1]);
    lab.link("to_file", Path::new("README"));
    lab.link("to_folder", Path::new("folder"));
    // Once around and back: resolved step by step, it never leaves.
    lab.link("around", Path::new("folder/../README"));
    let cases = [
        ("missing", "there is no such file"),
        ("folder/missing", "there is no such file"),
        ("folder", "it is a folder, not a file"),
        ("README/x", "a part of the path is not a folder"),
        ("to_file", "symbolic link"),
        ("to_folder/file", "symbolic link"),
        ("around", "symbolic link"),
        ("latin", "it is not UTF-8 text (the first other byte is at offset 8)"),
        ("large", "it is larger than 16777216 bytes"),
    ];
    for (file, expected) in cases {
        let failure = lab
            .edit(&format!("{{ file = \"{file}\", replace = \"hello\", with = \"bye\", count = 0 }}"))
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::Command, "{file}");
        assert!(failure.message.starts_with(&format!("edit 1 (replace in `{file}`)")), "{}", failure.message);
        assert!(failure.message.contains(expected), "{file}: {}", failure.message);
    }
}

#[test]
fn nothing_is_written_through_links_that_lead_out() {
    let lab = Lab::new();
    let outside = lab.path("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("file"), "hello\n").unwrap();
    lab.link("out", &outside);
    lab.link("out_file", &outside.join("file"));
    lab.link("dangling", &outside.join("new"));
    lab.link("dots", Path::new("../outside"));
    for file in ["out/file", "out/new", "out_file", "dangling", "dots/file", "dots/new/deep"] {
        for edit in ["insert = \"x\", at = \"end\"", "template = \"t\""] {
            let edit = format!("{{ file = \"{file}\", {edit} }}");
            let failure = lab.edit_with(&edit, "", &[("t", "x\n")], json!({})).unwrap_err();
            assert_eq!(failure.class, FailureClass::Command, "{file}");
            assert!(failure.message.contains("symbolic link"), "{file}: {}", failure.message);
        }
    }
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "hello\n");
}

#[test]
fn modes_and_endings_are_kept() {
    let lab = Lab::new();
    lab.write("tool.sh", b"#!/bin/sh\r\necho one");
    lab.executable("tool.sh");
    let edits = r#"{ file = "tool.sh", replace = "one", with = "two" },
                   { file = "other.sh", insert = "echo", at = "start" },
                   { file = "README", template = "t" }"#;
    let ended = lab.edit_with(edits, "", &[("t", "no newline at the end: ü")], json!({}));
    assert_eq!(lab.left(&ended, "tool.sh"), "#!/bin/sh\r\necho two");
    assert_eq!(lab.mode(&ended, "tool.sh"), "100755");
    assert_eq!(lab.mode(&ended, "other.sh"), "100644");
    assert_eq!(lab.left(&ended, "README"), "no newline at the end: ü");
}

#[test]
fn an_empty_file_is_a_file() {
    let lab = Lab::new();
    lab.write("empty", b"");
    let ended = lab.edit(r#"{ file = "empty", insert = "x", at = "end" }"#);
    assert_eq!(lab.left(&ended, "empty"), "x\n");
    let failure = lab.edit(r#"{ file = "empty", insert = "x", after = "y" }"#).unwrap_err();
    assert!(failure.message.contains("the anchor `y` is on no line"), "{}", failure.message);
}

#[test]
fn the_working_tree_of_the_user_stays_as_it_is() {
    let lab = Lab::new();
    lab.edit(r#"{ file = "README", replace = "hello", with = "bye" }"#).unwrap();
    assert_eq!(fs::read_to_string(lab.project().join("README")).unwrap(), "hello\n");
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}
