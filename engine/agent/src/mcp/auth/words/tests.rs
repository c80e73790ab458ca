//! Words of servers in what is said to a person.

use super::{ServerUrl, command, scopes};

#[test]
fn scopes_of_a_stranger_are_words_and_few() {
    assert_eq!(scopes("  mcp:read \n files.write "), ["mcp:read", "files.write"]);
    assert_eq!(scopes("a\"b c\\d \u{1b}[31m é ok"), ["ok"]);
    assert_eq!(scopes(&"x".repeat(200)), Vec::<String>::new());
    assert_eq!(scopes(&"x ".repeat(200)).len(), 32);
}

#[test]
fn a_command_holds_nothing_that_a_shell_would_read_otherwise() {
    let server = ServerUrl::parse("https://example.com/mcp").unwrap();
    let said = |text: &str| command(&server, &scopes(text));
    assert_eq!(
        said("mcp:read b"),
        "`blueprint mcp login https://example.com/mcp --scope mcp:read --scope b`"
    );
    for hostile in ["$(id)", "a;id", "`id`", "a|b", "a&b", "(x)", "~", "--help"] {
        assert_eq!(said(hostile), "`blueprint mcp login https://example.com/mcp`", "{hostile}");
    }
}
