//! The languages a map understands, by the names of files, and what stands where in one of them. Nothing outside of this
//! file knows how they are parsed.

use std::collections::BTreeMap;

use tree_sitter_tags::{TagsConfiguration, TagsContext};

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Tsx,
    Go,
}

/// What the grammar of Rust leaves out: types that are named, and constants.
const MORE_RUST: &str = "
(const_item name: (identifier) @name) @definition.constant
(static_item name: (identifier) @name) @definition.constant
(type_identifier) @name @reference.type
(call_expression function: (scoped_identifier name: (identifier) @name)) @reference.call
";
/// What that of Python leaves out.
const MORE_PYTHON: &str = "
(import_from_statement name: (dotted_name (identifier) @name)) @reference.import
";
/// What that of TypeScript leaves out.
const MORE_TYPESCRIPT: &str = "
(type_alias_declaration name: (type_identifier) @name) @definition.type
(enum_declaration name: (identifier) @name) @definition.enum
(class_declaration name: (type_identifier) @name) @definition.class
(function_declaration name: (identifier) @name) @definition.function
(method_definition name: (property_identifier) @name) @definition.method
(lexical_declaration (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression)]) @definition.function)
(call_expression function: (identifier) @name) @reference.call
(call_expression function: (member_expression property: (property_identifier) @name)) @reference.call
";

impl Language {
    pub(super) fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (stem, end) = name.rsplit_once('.')?;
        if stem.rsplit('.').next() == Some("min") {
            return None;
        }
        Some(match end {
            "rs" => Self::Rust,
            "py" | "pyi" => Self::Python,
            "js" | "jsx" | "mjs" | "cjs" => Self::JavaScript,
            "ts" | "mts" | "cts" => Self::TypeScript,
            "tsx" => Self::Tsx,
            "go" => Self::Go,
            _ => return None,
        })
    }

    /// `None`: a grammar does not understand its query, which a test rules out.
    fn configuration(self) -> Option<TagsConfiguration> {
        let (language, query) = match self {
            Self::Rust => {
                (tree_sitter_rust::LANGUAGE, format!("{}{MORE_RUST}", tree_sitter_rust::TAGS_QUERY))
            }
            Self::Python => {
                (tree_sitter_python::LANGUAGE, format!("{}{MORE_PYTHON}", tree_sitter_python::TAGS_QUERY))
            }
            Self::JavaScript => {
                (tree_sitter_javascript::LANGUAGE, tree_sitter_javascript::TAGS_QUERY.to_owned())
            }
            Self::TypeScript => (tree_sitter_typescript::LANGUAGE_TYPESCRIPT, typescript()),
            Self::Tsx => (tree_sitter_typescript::LANGUAGE_TSX, typescript()),
            Self::Go => (tree_sitter_go::LANGUAGE, tree_sitter_go::TAGS_QUERY.to_owned()),
        };
        TagsConfiguration::new(language.into(), &query, "").ok()
    }
}

fn typescript() -> String {
    format!("{}{MORE_TYPESCRIPT}", tree_sitter_typescript::TAGS_QUERY)
}

/// A name that stands somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) defines: bool,
    /// Where the name begins, in bytes.
    pub(super) at: usize,
    /// The line, from 1.
    pub(super) line: usize,
}

/// Reads files. What it learnt about a language it keeps.
#[derive(Default)]
pub(super) struct Parser {
    context: Option<TagsContext>,
    known: BTreeMap<Language, Option<TagsConfiguration>>,
}

impl Parser {
    /// The names in a text. `None`: it could not be parsed.
    pub(super) fn tags(&mut self, language: Language, text: &str) -> Option<Vec<Tag>> {
        let configuration =
            self.known.entry(language).or_insert_with(|| language.configuration()).as_ref()?;
        let context = self.context.get_or_insert_with(TagsContext::new);
        let (found, _) = context.generate_tags(configuration, text.as_bytes(), None).ok()?;
        let tags = found.filter_map(Result::ok).filter_map(|tag| {
            Some(Tag {
                name: text.get(tag.name_range.clone())?.to_owned(),
                defines: tag.is_definition,
                at: tag.name_range.start,
                line: tag.span.start.row + 1,
            })
        });
        Some(tags.collect())
    }
}
