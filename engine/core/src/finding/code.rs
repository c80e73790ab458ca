//! The stable codes of findings and what `blueprint explain CODE` says of each. A code is never reused.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Severity;

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $title:literal, $text:literal;)*) => {
        /// The stable code of a finding, written `BP012`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        /// Every code there is, in order.
        pub const ALL_CODES: &[Code] = &[$(Code::$name,)*];

        impl Code {
            /// Whether a finding of this code stops a run.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What the code stands for, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Why it is a fault and how to mend it, in a few sentences.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    Syntax = 1, Error, "not valid TOML",
        "The file is not TOML 1.1. Nothing else can be checked before it is.";
    UnknownKey = 2, Error, "unknown key",
        "A key that means nothing here is an error, because a misspelt key would otherwise be a silent change of meaning: `timout = \"5m\"` would run without a time limit.";
    MissingKey = 3, Error, "missing key",
        "Something that has no default was not given.";
    BadValue = 4, Error, "wrong type or value",
        "The value is not of the type, or not in the range, that the key takes. Durations are texts such as \"90s\", \"5m\" or \"1h30m\".";
    BadName = 5, Error, "not a usable name",
        "Names of nodes, inputs and outputs are lower-case letters, digits and `_`, start with a letter and have at most 64 characters, so that they can stand in an expression as they are. A blueprint's own name may also hold `-`.";
    SchemaVersion = 6, Error, "unsupported schema version",
        "`schema = 1` is the only version of the format this release reads. A newer file needs a newer release.";
    Duplicate = 7, Error, "defined twice",
        "The same name was defined twice, most often by a file that is included.";
    FileMissing = 8, Error, "file not found",
        "The blueprint names a file that does not exist, cannot be read, or lies outside the project. Paths are relative to the file that names them, use `/`, and never leave the project.";
    NoKind = 10, Error, "node without a kind",
        "Every node does exactly one thing, named by one of the keys run, edit, http, agent, gate, ci, forge, wait and use.";
    TwoKinds = 11, Error, "node with several kinds",
        "Every node does exactly one thing. Two things are two nodes, one of which needs the other.";
    UnknownNode = 12, Error, "unknown node",
        "A node is named that does not exist in this blueprint.";
    Cycle = 13, Error, "nodes need each other in a circle",
        "A graph of `needs` must have no circle, or none of its nodes could ever start. The only way back is `repair`, which is bounded.";
    RepeatedNeed = 14, Warning, "need named twice",
        "The same node is listed twice in `needs`. It has no further effect.";
    IdleJoin = 15, Warning, "join without a choice",
        "`join` says what a node with several needs waits for. With fewer than two needs there is nothing to choose, and `join = \"any\"` with a single need is the same as `all`.";
    EmptyBlueprint = 16, Error, "no nodes",
        "A blueprint without nodes would succeed without doing anything.";
    KeyWithoutEffect = 17, Error, "key without effect here",
        "The key exists, but not for this kind of node. Keys that would be ignored are errors, since somebody relies on them.";
    TemplateInCommand = 20, Error, "template in a command",
        "Commands are never templated. A value that is put into the text of a command can become a command itself (script injection). Pass it as an environment variable with `env`, or as an argument of its own with `args`: both arrive as data, whatever they hold.";
    ShellSyntax = 21, Error, "shell syntax without a shell",
        "`run` starts a program directly, without a shell, so pipes, redirections, variables, globs and `&&` would be passed on as plain text. Say `shell = \"bash\"` (or \"sh\") to have a shell read the line; it then runs with errexit, nounset and, in bash, pipefail.";
    EmptyCommand = 22, Error, "empty command",
        "There is no program to run.";
    UnbalancedQuote = 23, Error, "quote that never closes",
        "A command line is split into words as a POSIX shell would split it. A quote is open at its end.";
    BadExpression = 30, Error, "expression does not parse",
        "Conditions, values and `{{ }}` in texts are expressions such as `inputs.repeat > 3 and nodes.build.status == 'succeeded'`. A plain text in the place of an expression needs quotes of its own: \"'text'\".";
    UnknownReference = 31, Error, "unknown name in an expression",
        "An expression may use `inputs.NAME`, `nodes.NODE.OUTPUT`, `nodes.NODE.status`, and inside an `each` node `item` and `index`. Everything is resolved before anything runs.";
    NotUpstream = 32, Error, "reads a node that may not have run",
        "An expression reads the outputs of a node that this node does not need, directly or by way of others. Whether the outputs are there would depend on chance. Add it to `needs`.";
    UnknownOutput = 33, Error, "unknown output",
        "The node does not declare this output. Outputs are typed and declared: `output = { version = \"string\" }`.";
    MaybeSkipped = 34, Error, "reads an output that may be missing",
        "The node that gives the output may be skipped or may fail, and this node may run all the same. Wrap the reference in `| default(...)`, or use `join = \"all\"`, which runs only if every need succeeded.";
    TypeMismatch = 37, Error, "type does not fit",
        "The value can be seen to have another type than the place where it is used.";
    BadDefault = 40, Error, "default does not fit its input",
        "The default of an input must satisfy the same type and bounds as a given value.";
    BadBounds = 41, Error, "bounds that no value satisfies",
        "`min` is above `max`, or an `enum` has no values: no value could ever be given.";
    SecretDefault = 42, Error, "secret with a default",
        "A secret written into a file is no secret. Give it when the run starts: `--secret token=env:NAME` or `--secret token=file:PATH`.";
    RepairFrom = 50, Error, "repair from a node that is not upstream",
        "`repair = { from = \"x\" }` sends the nodes from `x` to this one round again. So this node must need `x`, directly or by way of others.";
    RepairOverlap = 51, Error, "repair regions overlap",
        "Two repair regions must lie one inside the other or apart. If they only overlap, it is not defined what one round of the one means for the rounds of the other.";
    RepairBounds = 52, Error, "repair without a sensible bound",
        "A repair is always bounded: 2 to 100 rounds. One round would be no repair.";
    RepairUseless = 53, Warning, "repair that cannot change what it verifies",
        "No node in the region writes the workspace or gives an output, so a further round sees the same as the last one.";
    RetryBounds = 60, Error, "retry without a sensible bound",
        "`attempts` counts all tries of one node in one round: 2 to 20.";
    RetryClass = 61, Error, "unknown or pointless class to retry",
        "`on` lists the failure classes that are worth another try: timeout, infra, sandbox, command, conflict. A semantic failure of an agent, a budget, a policy or a rejection does not change by trying again.";
    BadPath = 80, Error, "path that leaves the workspace",
        "Paths of edits, outputs and artifacts are relative to the workspace, use `/`, and have no `..`.";
    BadEdit = 81, Error, "edit that does not say what to do",
        "An edit does one thing: replace, regex, insert, template, patch or set.";
    BadRegex = 82, Error, "regular expression does not parse",
        "Regular expressions are those of the Rust `regex` crate: linear time, no look-around, no back references.";
    BadKeyPath = 83, Error, "key path does not parse",
        "A key to set is written with dots, such as `package.version`; a part with dots of its own is quoted.";
    UnknownFormat = 84, Error, "file format is not known",
        "`set` edits .toml, .json, .yaml and .yml files.";
    BadUrl = 90, Error, "URL is not usable",
        "An http node needs an absolute http or https URL. Its scheme and host are literal: a template may only stand behind them, so that data can never choose where a request goes.";
    BadHeader = 91, Error, "header is not usable",
        "A header name or value that HTTP does not allow.";
    UnknownBlueprint = 100, Error, "sub-blueprint not found",
        "`use` names a file (`./part.toml`) or a blueprint of the project (`name`, found as blueprints/name/blueprint.toml or blueprints/name.toml).";
    Recursion = 101, Error, "blueprint uses itself",
        "A blueprint cannot use or include itself, directly or by way of others: a graph is finite.";
    MissingInput = 102, Error, "input not given",
        "The sub-blueprint has an input without a default that `with` does not give.";
    UnknownInput = 103, Error, "unknown input",
        "The sub-blueprint has no such input.";
    EachBounds = 110, Error, "each without a sensible bound",
        "`max_parallel` is 1 to 1000 and only means something beside `each`.";
    DefaultApprove = 120, Error, "gate that approves by itself",
        "A gate that is not answered in time must not count as approved: absent or late verdicts mean no. `on_timeout` is \"reject\" or \"escalate\".";
    GateBounds = 121, Error, "gate without a sensible bound",
        "A gate needs at least one approval (`min`) and at most 20.";
    BadTrigger = 130, Error, "trigger that never fires",
        "An `[[on]]` has either `event` or `schedule`.";
    MaskedExit = 140, Warning, "exit status is masked",
        "The command ends so that its failure cannot be seen (`|| true`, `; true`, `|| :`). Use `expect = \"any\"` if the outcome really does not matter.";
    LaterRelease = 150, Warning, "kind of node that this release cannot run",
        "Agent, ci and forge nodes are part of the format and are checked, but the release you have cannot run them yet. `blueprint run` refuses such a graph before it starts.";
    NotProved = 151, Warning, "invariant that this release does not prove",
        "`[[prove]]` is part of the format; its names are checked, but this release does not prove it. Do not rely on it yet.";
    NotTriggered = 152, Warning, "trigger that this release does not serve",
        "`[[on]]` is part of the format; this release starts runs from the command line only.";
    TooLarge = 160, Error, "too large",
        "The blueprint has more nodes, text or nesting than can be handled responsibly.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BP{:03}", *self as u16)
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        ALL_CODES.iter().copied().find(|code| code.to_string().eq_ignore_ascii_case(text)).ok_or(())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
