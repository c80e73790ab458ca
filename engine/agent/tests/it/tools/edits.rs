//! Writing, editing and deleting single files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::process_host::ProcessHost;

fn mode(host: &ProcessHost, name: &str) -> u32 {
    fs::metadata(host.path(name)).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_file_is_created_with_its_folders_and_replaced() {
    let host = ProcessHost::new();
    assert_eq!(host.done("fs.write", json!({"path": "a/b/c", "content": "one\n"})).await, "created, 4 bytes");
    assert_eq!(
        host.done("fs.write", json!({"path": "a/b/c", "content": "two\r\n"})).await,
        "replaced, 5 bytes"
    );
    assert_eq!(host.get("a/b/c"), "two\r\n");
    assert!(host.failed("fs.write", json!({"path": "a/b", "content": ""})).await.contains("is a folder"));
    assert!(host.failed("fs.write", json!({"path": "a/b/c/d", "content": ""})).await.contains("not a f"));
    let left: Vec<_> = fs::read_dir(host.path("a/b")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn what_can_be_run_can_be_run_after_a_change() {
    let host = ProcessHost::new();
    for (tool, arguments) in [
        ("fs.write", json!({"path": "run", "content": "#!/bin/sh\nexit 1\n"})),
        ("fs.edit", json!({"path": "run", "old": "exit 0", "new": "exit 1"})),
        (
            "fs.patch",
            json!({"patch": "--- a/run\n+++ b/run\n@@ -1,2 +1,2 @@\n #!/bin/sh\n-exit 0\n+exit 1\n"}),
        ),
    ] {
        host.put("run", "#!/bin/sh\nexit 0\n");
        fs::set_permissions(host.path("run"), fs::Permissions::from_mode(0o751)).unwrap();
        host.done(tool, arguments).await;
        assert_eq!((mode(&host, "run"), host.get("run").as_str()), (0o751, "#!/bin/sh\nexit 1\n"), "{tool}");
    }
}

#[tokio::test]
async fn an_edit_that_could_mean_two_places_is_refused() {
    let host = ProcessHost::new();
    host.put("a", "x = 1\ny = 2\nx = 1\n");
    let edit = |old: &str, more: serde_json::Value| {
        let mut arguments = json!({"path": "a", "old": old, "new": "z = 3"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let text = host.failed("fs.edit", edit("x = 1", json!({}))).await;
    assert!(text.contains("2 times, not 1 (lines 1, 3)"), "{text}");
    let text = host.failed("fs.edit", edit("x = 1", json!({"count": 3}))).await;
    assert!(text.contains("2 times, not 3"), "{text}");
    assert!(
        host.failed("fs.edit", edit("x = 1", json!({"count": 2, "all": true})))
            .await
            .contains("exclude each other")
    );
    assert!(host.failed("fs.edit", edit("z = 3", json!({}))).await.contains("are the same"));
    assert_eq!(host.get("a"), "x = 1\ny = 2\nx = 1\n");
    let done = host.done("fs.edit", edit("x = 1", json!({"count": 2}))).await;
    assert_eq!(done, "replaced in 2 places (lines 1, 3)");
    assert_eq!(host.get("a"), "z = 3\ny = 2\nz = 3\n");
    let done = host.done("fs.edit", json!({"path": "a", "old": "= ", "new": "=", "all": true})).await;
    assert_eq!(done, "replaced in 3 places (lines 1, 2, 3)");
    let done = host.done("fs.edit", json!({"path": "a", "old": "y =2\n", "new": ""})).await;
    assert_eq!(done, "replaced in 1 place (line 2)");
    assert_eq!(host.get("a"), "z =3\nz =3\n");
}

#[tokio::test]
async fn an_edit_of_what_is_not_there_says_what_is_near() {
    let host = ProcessHost::new();
    host.put("a", "fn main() {\n    let total = sum(&items);\n    print(total);\n}\n");
    let near = |old: &str| json!({"path": "a", "old": old, "new": "x"});
    let text = host.failed("fs.edit", near("  let total = sum(&items);\n  print(total);")).await;
    assert!(
        text.contains("only white space differs from line 2:\n    let total = sum(&items);\n    print"),
        "{text}"
    );
    let text = host.failed("fs.edit", near("let total = sum(items);")).await;
    assert!(text.contains("the nearest is line 2:\n    let total = sum(&items);"), "{text}");
    let text = host.failed("fs.edit", near("wholly different")).await;
    assert_eq!(text, "`a`: the text to replace is not there");
    let text = host.failed("fs.edit", near("\n\n\n")).await;
    assert_eq!(text, "`a`: the text to replace is not there");
    assert!(
        host.failed("fs.edit", json!({"path": "b", "old": "x", "new": "y"})).await.contains("is not there")
    );
}

#[tokio::test]
async fn a_file_that_ends_its_lines_with_crlf_keeps_them() {
    let host = ProcessHost::new();
    host.put("a", "one\r\ntwo\r\nthree\r\n");
    host.done("fs.edit", json!({"path": "a", "old": "one\ntwo\n", "new": "1\n2\n2b\n"})).await;
    assert_eq!(host.get("a"), "1\r\n2\r\n2b\r\nthree\r\n");
    host.done("fs.patch", json!({"patch": "--- a/a\n+++ b/a\n@@ -3,2 +3,2 @@\n 2b\n-three\n+3\n"})).await;
    assert_eq!(host.get("a"), "1\r\n2\r\n2b\r\n3\r\n");
    host.put("mixed", "one\r\ntwo\nthree\r\n");
    host.done("fs.edit", json!({"path": "mixed", "old": "two\n", "new": "2\n"})).await;
    assert_eq!(host.get("mixed"), "one\r\n2\nthree\r\n");
}

#[tokio::test]
async fn what_is_not_utf_8_is_not_edited() {
    let host = ProcessHost::new();
    host.put("latin", b"caf\xe9 one\n");
    let text = host.failed("fs.edit", json!({"path": "latin", "old": "one", "new": "two"})).await;
    assert!(text.contains("is not UTF-8 text (byte 3)"), "{text}");
    let patch = "--- a/latin\n+++ b/latin\n@@ -1 +1 @@\n-one\n+two\n";
    assert!(host.failed("fs.patch", json!({ "patch": patch })).await.contains("is not UTF-8 text"));
    assert_eq!(fs::read(host.path("latin")).unwrap(), b"caf\xe9 one\n");
}

#[tokio::test]
async fn an_edit_cannot_make_a_file_without_end() {
    let host = ProcessHost::new();
    host.put("a", "a".repeat(100_000));
    let text = host
        .failed("fs.edit", json!({"path": "a", "old": "a", "new": "b".repeat(100_000), "all": true}))
        .await;
    assert!(text.contains("would be larger than"), "{text}");
    assert_eq!(host.get("a"), "a".repeat(100_000));
}

#[tokio::test]
async fn a_file_is_deleted_and_a_folder_is_not() {
    let host = ProcessHost::new();
    host.put("a/b", "");
    assert!(host.failed("fs.delete", json!({"path": "a"})).await.contains("is a folder"));
    assert_eq!(host.done("fs.delete", json!({"path": "a/b"})).await, "deleted");
    assert!(host.failed("fs.delete", json!({"path": "a/b"})).await.contains("is not there"));
}
