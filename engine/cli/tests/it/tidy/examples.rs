//! Examples of blueprints in documents are compiled, and the lists of names in them are those of the program. An
//! example that stops a run would teach what does not work.

use blueprint_core::check::compile;
use blueprint_core::expr::{FILTERS, FUNCTIONS, TESTS};
use blueprint_core::finding::ALL_CODES;
use blueprint_core::source::SourceSet;

use super::{files, nothing, quoted, read};

/// A block of TOML in a document.
struct Example {
    place: String,
    path: String,
    text: String,
    /// Files it names that need not be shown.
    beside: Vec<String>,
}

/// The blocks of a document, in order. A first line `# file: PATH` says where one would be; a comment
/// `<!-- files: … -->` before it names files beside it.
fn examples(document: &str) -> Vec<Example> {
    let text = read(document);
    let mut examples = Vec::new();
    let mut beside = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line) {
            (None, "```toml") => open = Some((number + 1, Vec::new())),
            (None, line) => {
                if let Some(names) = line.strip_prefix("<!-- files: ") {
                    beside = names.trim_end_matches(" -->").split(' ').map(str::to_owned).collect();
                }
            }
            (Some((at, block)), "```") => {
                let first = block.first().copied().unwrap_or_default();
                let path = first
                    .strip_prefix("# file: ")
                    .map_or_else(|| format!("example_{at}.toml"), str::to_owned);
                let body = block.join("\n");
                let text = if body.contains("schema") {
                    body
                } else {
                    format!("schema = 1\nname = \"example\"\n{body}")
                };
                let beside = std::mem::take(&mut beside);
                examples.push(Example { place: format!("{document}:{at}"), path, text, beside });
                open = None;
            }
            (Some((_, block)), line) => block.push(line),
        }
    }
    assert!(open.is_none(), "{document}: a block of code does not end");
    examples
}

#[test]
fn every_example_of_a_blueprint_is_sound() {
    let mut wrong = Vec::new();
    for document in ["README.md", "docs/format.md"] {
        let examples = examples(document);
        assert!(!examples.is_empty(), "{document} has no examples");
        let mut sources = SourceSet::default();
        for example in &examples {
            sources.files.insert(example.path.clone(), example.text.clone());
            sources.files.extend(example.beside.iter().map(|name| (name.clone(), String::new())));
        }
        for example in &examples {
            let checked = compile(&SourceSet { entry: example.path.clone(), ..sources.clone() });
            if checked.program.is_none() {
                let messages =
                    checked.findings.iter().map(|f| format!("{}: {} {}", example.place, f.code, f.message));
                wrong.extend(messages);
            }
        }
    }
    nothing(&wrong, "these examples are wrong");
}

#[test]
fn the_names_of_the_expression_language_are_all_in_its_reference() {
    let text = read("docs/format.md");
    for (what, names) in [("Filters: ", FILTERS), ("Tests: ", TESTS), ("Functions: ", FUNCTIONS)] {
        let start =
            text.find(&format!("\n{what}")).unwrap_or_else(|| panic!("docs/format.md has no `{what}`"));
        let list = text[start..].trim_start().split("\n\n").next().unwrap_or_default();
        assert_eq!(quoted(list).collect::<Vec<_>>(), names, "docs/format.md, {what}");
    }
}

#[test]
fn codes_in_documents_are_codes_of_the_program() {
    let known: Vec<String> = ALL_CODES.iter().map(ToString::to_string).collect();
    let mut wrong = Vec::new();
    for file in files().into_iter().filter(|file| file.is("md")) {
        for rest in file.text.split("BP").skip(1) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let code = format!("BP{digits}");
            if digits.len() == 3 && !known.contains(&code) {
                wrong.push(format!("{}: {code}", file.path));
            }
        }
    }
    nothing(&wrong, "there are no such codes");
}
