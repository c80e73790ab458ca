//! Listing, reading and searching.

use serde_json::json;

use super::process_host::ProcessHost;

fn project() -> ProcessHost {
    let host = ProcessHost::new();
    host.put(".gitignore", "target\n*.log\n");
    host.put("src/lib.rs", "fn one() {}\nfn two() {}\n");
    host.put("src/deep/er/mod.rs", "fn three() {}\n");
    host.put("src/.gitignore", "made.rs\n");
    host.put("src/made.rs", "fn made() {}\n");
    host.put("target/out.rs", "fn built() {}\n");
    host.put("notes.log", "fn logged() {}\n");
    host.put(".github/ci.yml", "on: fn\n");
    host
}

#[tokio::test]
async fn a_list_leaves_out_what_git_ignores() {
    let host = project();
    let all = ".github/\n.github/ci.yml\n.gitignore\nsrc/\nsrc/.gitignore\nsrc/deep/\nsrc/lib.rs\n";
    assert_eq!(host.done("fs.list", json!({})).await, all);
    assert_eq!(host.done("fs.list", json!({"depth": 1})).await, ".github/\n.gitignore\nsrc/\n");
    let deep = "src/.gitignore\nsrc/deep/\nsrc/deep/er/\nsrc/deep/er/mod.rs\nsrc/lib.rs\n";
    assert_eq!(host.done("fs.list", json!({"path": "src", "depth": 3})).await, deep);
    assert_eq!(
        host.done("fs.list", json!({"path": "./src/deep/"})).await,
        "src/deep/er/\nsrc/deep/er/mod.rs\n"
    );
    assert_eq!(host.done("fs.list", json!({"path": "target"})).await, "nothing, or only what git ignores");
    assert_eq!(host.done("fs.list", json!({"path": "target", "ignored": true})).await, "target/out.rs\n");
    assert!(host.failed("fs.list", json!({"path": "nowhere"})).await.contains("is not there"));
}

#[tokio::test]
async fn a_list_is_bounded() {
    let host = ProcessHost::new();
    for number in 0..1100 {
        host.put(&format!("{number:04}"), "");
    }
    let list = host.done("fs.list", json!({})).await;
    assert!(list.ends_with("0999\n[more than these 1000: list a folder of them, or less deep]\n"));
    host.put("odd\nname", "");
    let list = host.done("fs.list", json!({"path": "odd\nname"})).await;
    assert_eq!(list, "\"odd\\nname\"\n");
}

#[tokio::test]
async fn a_file_is_read_with_numbers_and_in_ranges() {
    let host = ProcessHost::new();
    host.put("a", "one\ntwo\nthree\nfour");
    assert_eq!(
        host.done("fs.read", json!({"path": "a"})).await,
        "     1\tone\n     2\ttwo\n     3\tthree\n     4\tfour\n"
    );
    let some = host.done("fs.read", json!({"path": "a", "start": 2, "end": 3})).await;
    assert_eq!(some, "     2\ttwo\n     3\tthree\n[lines 2 to 3 of 4]\n");
    let some = host.done("fs.read", json!({"path": "a", "start": 4, "end": 99})).await;
    assert_eq!(some, "     4\tfour\n[lines 4 to 4 of 4]\n");
    assert!(host.failed("fs.read", json!({"path": "a", "start": 5})).await.contains("has 4 lines"));
    assert!(
        host.failed("fs.read", json!({"path": "a", "start": 3, "end": 2})).await.contains("before its start")
    );
    assert!(host.failed("fs.read", json!({"path": "b"})).await.contains("`b`: is not there"));
    host.put("d/x", "");
    assert!(host.failed("fs.read", json!({"path": "d"})).await.contains("is a folder"));
    assert_eq!(host.done("fs.read", json!({"path": "d/x"})).await, "an empty file");
}

#[tokio::test]
async fn what_is_long_is_read_in_pieces() {
    let host = ProcessHost::new();
    let lines: Vec<String> = (1..=5000).map(|number| format!("line {number}")).collect();
    host.put("many", lines.join("\n"));
    let text = host.done("fs.read", json!({"path": "many"})).await;
    assert!(text.ends_with("  2000\tline 2000\n[lines 1 to 2000 of 5000; go on with start = 2001]\n"));
    host.put("wide", format!("{}\nnext\n", "w".repeat(1_000_000)));
    let text = host.done("fs.read", json!({"path": "wide"})).await;
    assert!(text.contains("www [998000 more bytes]\n     2\tnext\n") && text.len() < 3000);
    host.put("both", format!("{}\n", "w".repeat(5000)).repeat(100));
    let text = host.done("fs.read", json!({"path": "both"})).await;
    assert!(text.contains("[lines 1 to 24 of 100; go on with start = 25]"), "{}", &text[text.len() - 80..]);
    host.put("huge", vec![b'x'; 9 * 1024 * 1024]);
    assert!(host.failed("fs.read", json!({"path": "huge"})).await.contains("is larger than"));
}

#[tokio::test]
async fn what_is_not_text_is_said_to_be_so() {
    let host = ProcessHost::new();
    host.put("image", b"\x89PNG\0\0");
    assert_eq!(host.done("fs.read", json!({"path": "image"})).await, "a binary file of 6 bytes");
    host.put("latin", b"caf\xe9\n");
    let text = host.done("fs.read", json!({"path": "latin"})).await;
    assert!(text.starts_with("[not UTF-8") && text.contains("caf\u{fffd}"), "{text}");
}

#[tokio::test]
async fn a_search_finds_lines_as_git_sees_them() {
    let host = project();
    let found = host.done("fs.search", json!({"pattern": r"fn \w+"})).await;
    assert_eq!(
        found,
        "src/deep/er/mod.rs:1:fn three() {}\nsrc/lib.rs:1:fn one() {}\nsrc/lib.rs:2:fn two() {}\n"
    );
    let found = host.done("fs.search", json!({"pattern": "fn", "glob": "*.yml"})).await;
    assert_eq!(found, ".github/ci.yml:1:on: fn\n");
    let found = host.done("fs.search", json!({"pattern": "fn", "glob": "src/*.rs"})).await;
    assert_eq!(found, "src/lib.rs:1:fn one() {}\nsrc/lib.rs:2:fn two() {}\n");
    let found = host
        .done("fs.search", json!({"pattern": "TWO()", "literal": true, "ignore_case": true, "context": 1}))
        .await;
    assert_eq!(found, "src/lib.rs-1-fn one() {}\nsrc/lib.rs:2:fn two() {}\n");
    let found = host.done("fs.search", json!({"pattern": "built", "ignored": true})).await;
    assert_eq!(found, "target/out.rs:1:fn built() {}\n");
    let found = host.done("fs.search", json!({"pattern": "fn", "path": "src/lib.rs"})).await;
    assert_eq!(found.lines().count(), 2);
    assert_eq!(host.done("fs.search", json!({"pattern": "nowhere"})).await, "no match\n");
}

#[tokio::test]
async fn hostile_patterns_are_refused_or_harmless() {
    let host = ProcessHost::new();
    host.put("a", format!("{}!\n", "a".repeat(200_000)));
    for pattern in ["(", "[z-a]", "(a{1000}){1000}", "a\nb", "\\1", "(?<=a)b"] {
        let text = host.failed("fs.search", json!({ "pattern": pattern })).await;
        assert!(text.contains("pattern cannot be used"), "{pattern}: {text}");
    }
    let nested = format!("{}a{}", "(".repeat(500), ")".repeat(500));
    host.failed("fs.search", json!({ "pattern": nested })).await;
    let begun = std::time::Instant::now();
    let found = host.done("fs.search", json!({"pattern": "^(a+)+$"})).await;
    assert_eq!(found, "no match\n");
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(
        host.failed("fs.search", json!({"pattern": "a", "glob": "[z"})).await.contains("glob cannot be used")
    );
}

#[tokio::test]
async fn a_search_is_bounded() {
    let host = ProcessHost::new();
    host.put("long", format!("{}x\n", "a".repeat(3_000_000)));
    let found = host.done("fs.search", json!({"pattern": "a"})).await;
    assert_eq!(found, format!("long:1:{} [2999601 more bytes]\n", "a".repeat(400)));
    host.put("many", "a\n".repeat(100_000));
    let found = host.done("fs.search", json!({"pattern": "^a$"})).await;
    assert!(found.ends_with("[more than these 200 matches: narrow the pattern, the path or the glob]\n"));
    assert_eq!(found.lines().count(), 201);
    host.put("huge", vec![b'a'; 9 * 1024 * 1024]);
    let found = host.done("fs.search", json!({"pattern": "a", "path": "huge"})).await;
    assert_eq!(found, "no match\n[1 files were not searched: too large, or they cannot be read]\n");
    host.put("binary", b"needle\n\0\n");
    let found = host.done("fs.search", json!({"pattern": "needle", "path": "binary"})).await;
    assert_eq!(found, "no match\n");
    host.put("binary", format!("needle\nneedle\n{}\0\n", "x\n".repeat(200_000)));
    let found = host.done("fs.search", json!({"pattern": "needle", "path": "binary"})).await;
    assert_eq!(found, "binary: a binary file matches\n");
}
