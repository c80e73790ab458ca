//! Reads a `devcontainer.json` as far as it says which image to use. What it asks for besides is a fault by name, unless it
//! is only for editors and people: it must never be left out in silence.

use std::collections::BTreeSet;
use std::ops::Range;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::value::Sp;

/// What a `devcontainer.json` says of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Devcontainer {
    /// The name of an image.
    pub(crate) image: Option<Sp<String>>,
    /// A Dockerfile, relative to this file.
    pub(crate) dockerfile: Option<Sp<String>>,
    /// The folder whose files it may copy, relative to this file.
    pub(crate) context: Option<Sp<String>>,
    /// The stage to build.
    pub(crate) target: Option<Sp<String>>,
    /// Values for its `ARG`s.
    pub(crate) args: Vec<(Sp<String>, Sp<String>)>,
}

/// Something in it that cannot be had.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    /// Where, in bytes of the file.
    pub(crate) range: Range<usize>,
    /// What.
    pub(crate) message: String,
    /// What to do.
    pub(crate) fix: String,
}

/// Keys for editors and the people in front of them, and those that say who somebody is who logs in: commands of a sandbox
/// always have its own identity.
const FOR_PEOPLE: [&str; 11] = [
    "$schema",
    "customizations",
    "extensions",
    "forwardPorts",
    "name",
    "otherPortsAttributes",
    "portsAttributes",
    "remoteUser",
    "settings",
    "shutdownAction",
    "updateRemoteUserUID",
];

const KNOWN_FIX: &str = "take it out, or put what it does into the Dockerfile";

/// Reads it, with everything in it that cannot be had.
pub(crate) fn read(text: &str) -> (Devcontainer, Vec<Fault>) {
    let strict = ParseOptions {
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
        ..ParseOptions::default()
    };
    let mut reader = Reader::default();
    match parse_to_ast(text, &CollectOptions::default(), &strict) {
        Ok(parsed) => match parsed.value {
            Some(Value::Object(root)) => reader.root(&root),
            _ => reader.fault(0..0, "it is no JSON object", "write `{ \"image\": \"…\" }`"),
        },
        Err(error) => {
            let range = error.range();
            reader.fault(range.start..range.end, "it is not JSON", format!("mend this: {}", error.kind()));
        }
    }
    let Reader { read, mut faults } = reader;
    faults.sort_by_key(|fault| fault.range.start);
    (read, faults)
}

#[derive(Default)]
struct Reader {
    read: Devcontainer,
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, range: Range<usize>, message: impl Into<String>, fix: impl Into<String>) {
        self.faults.push(Fault { range, message: message.into(), fix: fix.into() });
    }

    fn root(&mut self, root: &Object<'_>) {
        self.once(root);
        for property in &root.properties {
            match property.name.as_str() {
                "image" => self.read.image = self.text(property),
                "build" => match &property.value {
                    Value::Object(build) => self.build(build),
                    _ => self.fault(
                        place(property),
                        "`build` is no object",
                        "write `{ \"dockerfile\": \"…\" }`",
                    ),
                },
                "dockerFile" => {
                    self.fault(
                        place(property),
                        "`dockerFile` is the old way",
                        "write `\"build\": { \"dockerfile\": … }`",
                    );
                }
                name if FOR_PEOPLE.contains(&name) || asks_nothing(&property.value) => {}
                "remoteEnv" | "containerEnv" => {
                    let message = format!("`{}` is not taken over", property.name.as_str());
                    self.fault(place(property), message, "write the variables into `env` of the node");
                }
                name => {
                    let message = format!("`{}` is not supported", shown(name));
                    self.fault(place(property), message, KNOWN_FIX);
                }
            }
        }
        match (&self.read.image, &self.read.dockerfile) {
            (Some(_), Some(dockerfile)) => {
                let range = dockerfile.range.clone();
                self.fault(range, "it has both an image and a Dockerfile", "leave one of them out");
            }
            (None, None) if self.faults.is_empty() => {
                let fix = "write `\"image\": \"…\"` or `\"build\": { \"dockerfile\": \"…\" }`";
                self.fault(0..0, "it says no image", fix);
            }
            _ => {}
        }
    }

    fn build(&mut self, build: &Object<'_>) {
        self.once(build);
        for property in &build.properties {
            match property.name.as_str() {
                "dockerfile" => self.read.dockerfile = self.text(property),
                "context" => self.read.context = self.text(property),
                "target" => self.read.target = self.text(property),
                "args" => match &property.value {
                    Value::Object(args) => {
                        self.once(args);
                        for arg in &args.properties {
                            let name = Sp { value: arg.name.as_str().to_owned(), range: place(arg) };
                            if let Some(value) = self.text(arg) {
                                self.read.args.push((name, value));
                            }
                        }
                    }
                    _ => {
                        self.fault(place(property), "`args` is no object", "write `{ \"NAME\": \"value\" }`");
                    }
                },
                _ if asks_nothing(&property.value) => {}
                name => {
                    let message = format!("`build.{}` is not supported", shown(name));
                    self.fault(place(property), message, KNOWN_FIX);
                }
            }
        }
    }

    fn text(&mut self, property: &ObjectProp<'_>) -> Option<Sp<String>> {
        let range = property.value.range();
        let range = range.start..range.end;
        let name = shown(property.name.as_str());
        let Value::StringLit(text) = &property.value else {
            self.fault(range, format!("`{name}` is no text"), "write a text in quotes");
            return None;
        };
        if text.value.contains("${") {
            let message = format!("`{name}` depends on who opens it");
            self.fault(range, message, "write the value itself");
            return None;
        }
        Some(Sp { value: text.value.clone().into_owned(), range })
    }

    /// Two programs need not agree which of two entries counts.
    fn once(&mut self, object: &Object<'_>) {
        let mut seen = BTreeSet::new();
        for property in &object.properties {
            let name = property.name.as_str();
            if !seen.insert(name) {
                self.fault(place(property), format!("`{}` stands there twice", shown(name)), "leave one out");
            }
        }
    }
}

/// The place of a name.
fn place(property: &ObjectProp<'_>) -> Range<usize> {
    let range = property.name.range();
    range.start..range.end
}

fn asks_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::NullKeyword(_) => true,
        Value::BooleanLit(flag) => !flag.value,
        Value::Object(object) => object.properties.is_empty(),
        Value::Array(list) => list.elements.is_empty(),
        Value::StringLit(_) | Value::NumberLit(_) => false,
    }
}

/// A name as far as it is worth showing.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        read(text).1.into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn what_says_an_image_is_read_and_what_is_for_people_passes() {
        let text = r#"{
            // A comment.
            "name": "x", "customizations": { "vscode": {} }, "forwardPorts": [80], "remoteUser": "node",
            "features": {}, "privileged": false,
            "build": { "dockerfile": "Dockerfile", "context": "..", "target": "dev", "args": { "A": "1" } },
        }"#;
        let (read, faults) = read(text);
        assert_eq!(faults, []);
        assert_eq!(read.dockerfile.unwrap().value, "Dockerfile");
        assert_eq!(read.context.unwrap().value, "..");
        assert_eq!(read.target.unwrap().value, "dev");
        assert_eq!(read.args[0].1.value, "1");
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_its_name() {
        for key in [
            "features",
            "dockerComposeFile",
            "service",
            "runArgs",
            "mounts",
            "privileged",
            "capAdd",
            "securityOpt",
            "init",
            "overrideCommand",
            "workspaceMount",
            "workspaceFolder",
            "hostRequirements",
            "containerUser",
            "initializeCommand",
            "onCreateCommand",
            "updateContentCommand",
            "postCreateCommand",
            "postStartCommand",
            "postAttachCommand",
            "somethingNew",
        ] {
            let text = format!("{{ \"image\": \"debian\", \"{key}\": [\"x\"] }}");
            assert_eq!(faults(&text), [format!("`{key}` is not supported")]);
        }
        assert_eq!(
            faults("{\"image\":\"a\",\"containerEnv\":{\"A\":\"b\"}}"),
            ["`containerEnv` is not taken over"]
        );
        assert_eq!(
            faults("{\"build\":{\"dockerfile\":\"a\",\"options\":[\"--privileged\"]}}"),
            ["`build.options` is not supported"]
        );
        assert_eq!(faults("{\"image\":\"a\",\"image\":\"b\"}"), ["`image` stands there twice"]);
        assert_eq!(faults("{\"image\":\"${localEnv:X}\"}"), ["`image` depends on who opens it"]);
        assert_eq!(faults("{}"), ["it says no image"]);
        assert_eq!(faults("[]"), ["it is no JSON object"]);
        assert_eq!(faults("{'image': 1}"), ["it is not JSON"]);
        assert_eq!(
            faults("{\"image\":\"a\",\"build\":{\"dockerfile\":\"a\"}}"),
            ["it has both an image and a Dockerfile"]
        );
    }

    #[test]
    fn nothing_deep_or_odd_ends_the_program() {
        for text in ["[".repeat(100_000), "{\"a\":".repeat(10_000), "\u{0}".to_owned(), String::new()] {
            assert!(!faults(&text).is_empty());
        }
    }
}
