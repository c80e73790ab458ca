//! A node as its author wrote it. Exactly one of the kind keys must be there; that, and what the keys mean
//! together, is decided by [`crate::check`].

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::image::ImageValue;
use super::value::{Entries, HumanDuration, OneOrMany, Scalar, Sp, TextOr};

/// One step of a graph.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    /// What the node does, in a few words.
    #[serde(default)]
    pub summary: Option<Sp<String>>,
    /// The nodes that come before it.
    #[serde(default)]
    pub needs: Vec<Sp<String>>,
    /// A condition; the node is skipped when it is false.
    #[serde(default)]
    pub when: Option<Sp<String>>,
    /// What a node with several needs waits for.
    #[serde(default)]
    pub join: Option<Sp<Join>>,
    /// An expression that gives a list: the node runs once for each `item`.
    #[serde(default)]
    pub each: Option<Sp<String>>,
    /// How many items of `each` run at the same time.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub max_parallel: Option<Sp<u32>>,

    /// Kind: a program with its arguments, started without a shell.
    #[serde(default)]
    pub run: Option<Sp<RunLine>>,
    /// Kind: changes to files of the workspace.
    #[serde(default)]
    pub edit: Option<Sp<OneOrMany<EditOp>>>,
    /// Kind: an HTTP request.
    #[serde(default)]
    pub http: Option<Box<Sp<HttpTable>>>,
    /// Kind: a pause.
    #[serde(default)]
    pub wait: Option<Sp<HumanDuration>>,
    /// Kind: a point where somebody must approve.
    #[serde(default)]
    pub gate: Option<Box<Sp<GateTable>>>,
    /// Kind: another blueprint.
    #[serde(default, rename = "use")]
    pub uses: Option<Sp<String>>,
    /// Kind: a model in a loop with tools.
    #[serde(default)]
    pub agent: Option<Box<Sp<AgentTable>>>,
    /// Kind: waiting for CI.
    #[serde(default)]
    pub ci: Option<Box<Sp<CiTable>>>,
    /// Kind: an effect on a forge.
    #[serde(default)]
    pub forge: Option<Box<Sp<ForgeTable>>>,

    /// Arguments behind those of `run`, as expressions; each arrives as one argument, whatever it holds.
    #[serde(default)]
    pub args: Vec<Sp<Scalar>>,
    /// The shell that reads the `run` line.
    #[serde(default)]
    pub shell: Option<Sp<Shell>>,
    /// Environment variables, as expressions.
    #[serde(default)]
    pub env: Entries<Sp<Scalar>>,
    /// A text for the standard input of `run`; may hold `{{ }}`.
    #[serde(default)]
    pub stdin: Option<Sp<String>>,
    /// The folder of the workspace to run in.
    #[serde(default)]
    pub cwd: Option<Sp<String>>,
    /// Which end of `run` is a success.
    #[serde(default)]
    pub expect: Option<Sp<Expect>>,
    /// The inputs of a used blueprint, as expressions.
    #[serde(default)]
    pub with: Entries<Sp<Scalar>>,
    /// The tools of an agent, as globs.
    #[serde(default)]
    pub tools: Vec<Sp<String>>,
    /// The exact hosts a command or an agent may reach, as `host:port`; none if left out.
    #[serde(default)]
    pub network: Vec<Sp<String>>,
    /// Secrets for hosts of `network`: requests carry them, and commands have a placeholder.
    #[serde(default)]
    pub credentials: Entries<Sp<CredentialTable>>,

    /// Time limit of one attempt.
    #[serde(default)]
    pub timeout: Option<Sp<HumanDuration>>,
    /// More tries of this node alone.
    #[serde(default)]
    pub retry: Option<Box<Sp<RetryTable>>>,
    /// Sends the nodes from another one to this one round again when this one fails.
    #[serde(default)]
    pub repair: Option<Box<Sp<RepairTable>>>,
    /// The typed outputs.
    #[serde(default)]
    pub output: Entries<Sp<OutputSpec>>,
    /// Where the outputs of `run` are read: `"json"` (standard output is one JSON object), `"lines"`
    /// (`key=value` lines of standard output), or a file of the workspace.
    #[serde(default)]
    pub output_from: Option<Sp<OutputFrom>>,
    /// Files of the workspace to keep with the run, as globs.
    #[serde(default)]
    pub artifacts: Vec<Sp<String>>,
    /// What the node may do with the workspace.
    #[serde(default)]
    pub workspace: Option<Sp<Workspace>>,
    /// How much to trust what the node runs.
    #[serde(default)]
    pub tier: Option<Sp<Tier>>,
    /// The image whose programs the node's commands find, as `NAME@sha256:DIGEST` or as what to make it of. Without one
    /// they find those of the machine, read-only.
    #[serde(default)]
    pub image: Option<Box<Sp<ImageValue>>>,
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, serde::Serialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// As it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Every word, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a node with several needs waits for.
    Join {
        /// Runs when every need succeeded; is skipped when one did not.
        All = "all",
        /// Runs as soon as one need succeeded.
        Any = "any",
        /// Runs when every need came to an end, whichever.
        Settled = "settled",
    }
}

words! {
    /// A shell that reads a `run` line, with errors not ignored.
    Shell {
        /// bash with errexit, nounset and pipefail.
        Bash = "bash",
        /// The POSIX shell with errexit and nounset.
        Sh = "sh",
    }
}

words! {
    /// What a node may do with the workspace.
    Workspace {
        /// Read and write; what it leaves behind is its output tree.
        Write = "write",
        /// Read and write; what it leaves behind is thrown away.
        Scratch = "scratch",
        /// Read only.
        Read = "read",
        /// There is no workspace.
        None = "none",
    }
}

words! {
    /// How much to trust what a node runs and reads.
    Tier {
        /// Code of the default branch, run by its owner.
        Trusted = "trusted",
        /// Code of people with write access.
        Internal = "internal",
        /// What a model wrote or chose.
        Generated = "generated",
        /// What strangers wrote.
        Untrusted = "untrusted",
    }
}

words! {
    /// What something that leaves a sandbox does to the world.
    Effect {
        /// It proposes: a pull request, a comment, a message. Nothing changes by it until somebody agrees.
        Propose = "propose",
        /// It changes something: a merge, a release, a write elsewhere.
        Commit = "commit",
    }
}

words! {
    /// The type of an output.
    OutputType {
        /// A text.
        String = "string",
        /// A whole number.
        Integer = "integer",
        /// A number.
        Number = "number",
        /// `true` or `false`.
        Boolean = "boolean",
        /// A list of anything.
        List = "list",
        /// A table of anything.
        Object = "object",
    }
}

words! {
    /// A class of failure that another try may mend.
    RetryClass {
        /// The time limit passed.
        Timeout = "timeout",
        /// The machine or the network, not the work.
        Infra = "infra",
        /// The sandbox could not do its job.
        Sandbox = "sandbox",
        /// The command failed.
        Command = "command",
        /// Parallel changes did not merge.
        Conflict = "conflict",
    }
}

words! {
    /// What happens to a gate that is not answered in time.
    OnTimeout {
        /// It counts as rejected.
        Reject = "reject",
        /// It is handed to a person.
        Escalate = "escalate",
        /// Refused by the check; it parses so that the check can say why.
        Approve = "approve",
    }
}

words! {
    /// An HTTP method.
    HttpMethod {
        /// Reads.
        Get = "GET",
        /// Reads the head only.
        Head = "HEAD",
        /// Creates or acts.
        Post = "POST",
        /// Replaces.
        Put = "PUT",
        /// Changes.
        Patch = "PATCH",
        /// Removes.
        Delete = "DELETE",
    }
}

words! {
    /// How an external agent is spoken to.
    AgentProtocol {
        /// The prompt on standard input, the outputs as one JSON object in the last line of standard output.
        Plain = "plain",
        /// The agent client protocol, over standard input and output.
        Acp = "acp",
    }
}

words! {
    /// What is answered to the questions of a server of tools.
    Elicitation {
        /// A form is answered with its own defaults, if it has one for everything it requires; otherwise the answer is no.
        Defaults = "defaults",
    }
}

words! {
    /// Where a text is inserted.
    InsertPlace {
        /// Before everything.
        Start = "start",
        /// Behind everything.
        End = "end",
    }
}

/// One name, or a list of names.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrNames(pub Vec<Sp<String>>);

impl<'de> Deserialize<'de> for OneOrNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TextOr<Vec<Sp<String>>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(TextOr::Table)
            }
        }
        struct Whole(TextOr<Vec<Sp<String>>>);
        impl<'de> Deserialize<'de> for Whole {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Either).map(Whole)
            }
        }
        let whole = Sp::<Whole>::deserialize(deserializer)?;
        Ok(match whole.value.0 {
            TextOr::Text(value) => Self(vec![Sp { value, range: whole.range }]),
            TextOr::Table(names) => Self(names),
        })
    }
}

impl JsonSchema for OneOrNames {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// A command: a line that is split into words, or the words.
#[derive(Debug, Clone, PartialEq)]
pub enum RunLine {
    /// A line.
    Line(String),
    /// The words.
    Words(Vec<Sp<String>>),
}

impl<'de> Deserialize<'de> for RunLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RunLine;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command line or a list of words")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RunLine, E> {
                Ok(RunLine::Line(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RunLine, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(RunLine::Words)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for RunLine {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 }] })
    }
}

/// Which end of a command is a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Exit code 0.
    Success,
    /// Any exit code but 0.
    Failure,
    /// Any exit code.
    Any,
    /// One of these exit codes.
    Codes(Vec<i64>),
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Expect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"success\", \"failure\", \"any\", an exit code or a list of exit codes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Expect, E> {
                match text {
                    "success" => Ok(Expect::Success),
                    "failure" => Ok(Expect::Failure),
                    "any" => Ok(Expect::Any),
                    other => Err(E::unknown_variant(other, &["success", "failure", "any"])),
                }
            }

            fn visit_i64<E: Error>(self, code: i64) -> Result<Expect, E> {
                check_code(code)?;
                Ok(Expect::Codes(vec![code]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Expect, A::Error> {
                let codes = Vec::<i64>::deserialize(SeqAccessDeserializer::new(seq))?;
                if codes.is_empty() {
                    return Err(A::Error::custom("a list of exit codes needs at least one"));
                }
                codes.iter().try_for_each(|code| check_code(*code))?;
                Ok(Expect::Codes(codes))
            }
        }
        fn check_code<E: Error>(code: i64) -> Result<(), E> {
            if (0..=255).contains(&code) { Ok(()) } else { Err(E::custom("exit codes are 0 to 255")) }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Expect {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Expect".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let code = json_schema!({ "type": "integer", "minimum": 0, "maximum": 255 });
        json_schema!({ "anyOf": [{ "enum": ["success", "failure", "any"] }, code,
            { "type": "array", "items": code, "minItems": 1 }] })
    }
}

/// More tries of one node. Waits `backoff`, then twice that, and so on, at most five minutes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryTable {
    /// All tries together, 2 to 20.
    #[schemars(range(min = 2, max = 20))]
    pub attempts: Sp<u32>,
    /// The pause before the second try; a second if left out.
    #[serde(default)]
    pub backoff: Option<Sp<HumanDuration>>,
    /// The classes of failure worth another try; timeout, infra and sandbox if left out.
    #[serde(default)]
    pub on: Option<Sp<Vec<Sp<RetryClass>>>>,
}

/// A bounded way back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepairTable {
    /// The first node to go round again.
    pub from: Sp<String>,
    /// All rounds together, 2 to 100. A ci node takes `ci_rounds` of the budget if left out.
    #[serde(default)]
    #[schemars(range(min = 2, max = 100))]
    pub rounds: Option<Sp<u32>>,
}

/// The type of an output, or a table that says more.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Its type.
    pub ty: OutputType,
    /// For http nodes: an expression over `status`, `headers` and `body`.
    pub from: Option<Sp<String>>,
    /// What it is.
    pub help: Option<String>,
}

/// The long form of an output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputTable {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: OutputType,
    /// For http nodes: an expression over `status`, `headers` and `body`.
    #[serde(default)]
    pub from: Option<Sp<String>>,
    /// What it is.
    #[serde(default)]
    pub help: Option<String>,
}

impl<'de> Deserialize<'de> for OutputSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OutputSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type such as \"string\", or a table with `type`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OutputSpec, E> {
                let ty = OutputType::deserialize(serde::de::value::StrDeserializer::<E>::new(text))?;
                Ok(OutputSpec { ty, from: None, help: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OutputSpec, A::Error> {
                let table = OutputTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OutputSpec { ty: table.ty, from: table.from, help: table.help })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for OutputSpec {
    fn schema_name() -> Cow<'static, str> {
        "Output".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = generator.subschema_for::<OutputType>();
        let long = generator.subschema_for::<OutputTable>();
        json_schema!({ "anyOf": [short, long] })
    }
}

/// Where the outputs of a command are read.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputFrom {
    /// Standard output is one JSON object.
    Json,
    /// Standard output holds `key=value` lines; other lines are ignored.
    Lines,
    /// A file of the workspace holds one JSON object, or `key=value` lines if its name does not end in `.json`.
    File(Sp<String>),
}

impl<'de> Deserialize<'de> for OutputFrom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct FileTable {
            file: Sp<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OutputFrom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"json\", \"lines\" or { file = \"path\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OutputFrom, E> {
                match text {
                    "json" => Ok(OutputFrom::Json),
                    "lines" => Ok(OutputFrom::Lines),
                    other => Err(E::unknown_variant(other, &["json", "lines"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OutputFrom, A::Error> {
                FileTable::deserialize(MapAccessDeserializer::new(map))
                    .map(|table| OutputFrom::File(table.file))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for OutputFrom {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OutputFrom".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["json", "lines"] },
            { "type": "object", "properties": { "file": { "type": "string",
                "description": "A file of the workspace: one JSON object if its name ends in .json, otherwise `key=value` lines." } }, "required": ["file"],
              "additionalProperties": false }] })
    }
}

pub use credential::CredentialTable;
pub use kinds::{AgentTable, CiTable, EditOp, ForgeTable, GateTable, HttpTable, McpTable};

mod credential;
mod kinds;
