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
        "The file is not TOML 1.1. Nothing else of it can be checked before it is, so every place that does not parse is shown first.";
    UnknownKey = 2, Error, "unknown key",
        "A key that means nothing here is an error, because a misspelt key would otherwise be a silent change of meaning: `timout = \"5m\"` would run without a time limit.";
    MissingKey = 3, Error, "missing key",
        "Something that has no default was not given: a key of a table, or all of the keys that would make a table say anything.";
    BadValue = 4, Error, "wrong type or value",
        "The value is not of the type, or not one of the words, or not in the range that the key takes. Durations are texts with a unit, such as \"90s\", \"5m\" or \"1h30m\", of at most 366 days.";
    BadName = 5, Error, "not a usable name",
        "Names of nodes, inputs, outputs and returned values are lower-case letters, digits and `_`, start with a letter and have at most 64 characters, so that they can stand in an expression as they are. A blueprint's own name may also hold `-`. Names of environment variables are letters, digits and `_`. Every node has an output `status`, so that name is taken.";
    SchemaVersion = 6, Error, "unsupported schema version",
        "`schema = 1` is the only version of the format this release reads. A newer file needs a newer release.";
    Duplicate = 7, Error, "defined twice",
        "The same key, node or input was defined twice: in one file, or by a file that is included.";
    FileMissing = 8, Error, "file not found",
        "The blueprint names a file that does not exist, cannot be read, or lies outside the project. Paths are relative to the file that names them, use `/`, and never leave the project.";
    NoKind = 10, Error, "node without a kind",
        "Every node does exactly one thing, named by one of the keys run, edit, http, agent, gate, ci, forge, wait and use.";
    TwoKinds = 11, Error, "node with several kinds",
        "Every node does exactly one thing, and so does a forge node on its forge. Two things are two nodes, one of which needs the other.";
    UnknownNode = 12, Error, "unknown node",
        "A node is named, in `needs`, `repair` or `[[prove]]`, that does not exist in this blueprint.";
    Cycle = 13, Error, "nodes need each other in a circle",
        "A graph of `needs` must have no circle, or none of its nodes could ever start. The only way back is `repair`, which is bounded.";
    RepeatedNeed = 14, Warning, "need named twice",
        "The same node is listed twice in `needs`. The second time has no effect.";
    IdleJoin = 15, Warning, "join without a choice",
        "`join` says what a node with several needs waits for. With fewer than two needs there is nothing to choose; only `join = \"settled\"` makes a difference with a single one, since it waits for a failure too.";
    EmptyBlueprint = 16, Error, "no nodes",
        "A blueprint without nodes would succeed without doing anything.";
    KeyWithoutEffect = 17, Error, "key without effect here",
        "The key exists, but means nothing here: for another kind of node or edit, without another key it goes with, or in a file that is only included. Keys that would be ignored are errors, since somebody relies on them.";
    TemplateInCommand = 20, Error, "template in a command",
        "Commands are never templated. A value that is put into the text of a command can become a command itself (script injection). Pass it as an environment variable with `env`, or as an argument of its own with `args`: both arrive as data, whatever they hold.";
    ShellSyntax = 21, Error, "shell syntax without a shell",
        "`run` starts a program directly, without a shell, so pipes, redirections, variables, globs, comments and `&&` would be passed on as plain text. Say `shell = \"bash\"` (or \"sh\") to have a shell read the line; it then runs with errexit, nounset and, in bash, pipefail. A plain character is put in quotes.";
    EmptyCommand = 22, Error, "empty command",
        "`run` holds no program to start. Write the program and its arguments, as one text or as a list of words.";
    UnbalancedQuote = 23, Error, "quote that never closes",
        "A command line is split into words as a POSIX shell would split it. A quote is open at its end, or a backslash has nothing behind it.";
    BadExpression = 30, Error, "expression does not parse",
        "Conditions, values and `{{ }}` in texts are expressions such as `inputs.repeat > 3 and nodes.build.status == 'succeeded'`. A plain text in the place of an expression needs quotes of its own: \"'text'\". Only the filters, tests and functions of the format exist.";
    UnknownReference = 31, Error, "unknown name in an expression",
        "An expression may use `inputs.NAME`, `nodes.NODE.OUTPUT` and `nodes.NODE.status`; inside an `each` node also `item` and `index`, in the outputs of an http node `status`, `headers` and `body`, and in a trigger `event` alone. A secret may only be passed on as a whole. Everything is resolved before anything runs.";
    NotUpstream = 32, Error, "reads a node that may not have run",
        "An expression reads a node that this node does not need, directly or by way of others. Whether its outputs are there would depend on chance. Add it to `needs`.";
    UnknownOutput = 33, Error, "unknown output",
        "The node does not declare this output. Outputs are typed and declared: `output = { version = \"string\" }`. The outputs of a `use` node are what the used blueprint `returns`.";
    MaybeSkipped = 34, Error, "reads an output that may be missing",
        "The node that gives the output may be skipped or may fail, and this node may run all the same, because of `join = \"any\"` or `join = \"settled\"` here or on the way. Wrap the reference in `| default(...)`, or need the node directly with `join = \"all\"`, which runs only if every need succeeded. `status` is always there.";
    TypeMismatch = 37, Error, "type does not fit",
        "The value can be seen to have another type than the place where it is used, to be out of its bounds, or to have no such part.";
    BadDefault = 40, Error, "default does not fit its input",
        "The default of an input must satisfy the same type and bounds as a given value.";
    BadBounds = 41, Error, "bounds that no value satisfies",
        "`min` is above `max`, a bound is not a finite number, or an `enum` has no values: no value could ever be given.";
    SecretDefault = 42, Error, "secret with a default",
        "A secret written into a file is no secret. Give it when the run starts: `--secret token=env:NAME` or `--secret token=file:PATH`.";
    RepairFrom = 50, Error, "repair from a node that is not upstream",
        "`repair = { from = \"x\" }` sends the nodes from `x` to this one round again. So this node must need `x`, directly or by way of others.";
    RepairOverlap = 51, Error, "repair regions overlap",
        "Two repair regions must lie one inside the other or apart. If they only overlap, it is not defined what one round of the one means for the rounds of the other. And since whoever needs a node of a region waits until the region is closed, two regions that lie apart must not wait for each other.";
    RepairBounds = 52, Error, "repair without a sensible bound",
        "A repair is always bounded: 2 to 100 rounds, the first one included. One round would be no repair. Only a ci node may leave `rounds` out; it then takes `ci_rounds` of the budget.";
    RepairUseless = 53, Warning, "repair that cannot change what it verifies",
        "No other node of the region runs, edits, asks or uses anything, so a further round sees the same as the last one.";
    RetryBounds = 60, Error, "retry without a sensible bound",
        "`attempts` counts all tries of one node in one round: 2 to 20.";
    RetryClass = 61, Error, "unknown or pointless class to retry",
        "`on` lists the failure classes that are worth another try: timeout, infra, sandbox, command, conflict. A semantic failure of an agent, a budget, a policy or a rejection does not change by trying again.";
    BadPath = 80, Error, "path that leaves the workspace",
        "Paths of edits, folders, outputs and artifacts are relative to the workspace, use `/`, have no `..`, and stay out of `.git`, where the history of the run is kept.";
    BadEdit = 81, Error, "edit that cannot be made",
        "An edit node needs a workspace it may write. An edit does one thing to one file: replace, regex, insert, template, patch or set, with what belongs to it. `replace` and `regex` take `with`, `insert` takes one of after, before and at, and `set` takes `value`.";
    BadRegex = 82, Error, "regular expression does not parse",
        "Regular expressions are those of the Rust `regex` crate: linear time, no look-around, no back references.";
    BadKeyPath = 83, Error, "key path does not parse",
        "A key to set is written with dots, such as `package.version`; a part with dots of its own is quoted.";
    UnknownFormat = 84, Error, "file format is not known",
        "`set` edits .toml, .json, .yaml and .yml files.";
    BadUrl = 90, Error, "URL is not usable",
        "An http node needs an absolute http or https URL. Its scheme and host are literal: a template may only stand behind them, so that data can never choose where a request goes. It holds no user name or password.";
    BadHeader = 91, Error, "header is not usable",
        "The name or value of a header is not what HTTP allows, or the header is set by the request itself.";
    BadHost = 92, Error, "host that cannot be reached",
        "`network` lists the exact hosts that a command or an agent may reach, each with its port: `network = [\"crates.io:443\"]`; without a port it is 443. There are no patterns, no URLs and no spellings that two programs could read in two ways. Without `network` a node reaches nobody. Hosts of this machine and of private networks are refused besides, unless the settings of the user name them in `[egress]`.";
    BadCredential = 93, Error, "credential that cannot be used",
        "`credentials` gives a secret to requests for one host: `credentials = { \"api.example.com\" = { secret = \"inputs.token\", env = \"API_TOKEN\" } }`. The host is one of `network`, the secret an input of the type `secret`, and the variable, in which a command finds a placeholder instead of the secret, has no other value.";
    BadImage = 94, Error, "image that cannot be used",
        "An image is written as `NAME@sha256:DIGEST`, so that what runs tomorrow is what was looked at today: a tag may be moved to something else. The tiers `trusted` and `internal` may name a tag, and the run records the digest it led to. `docker inspect --format '{{index .RepoDigests 0}}' NAME` says the digest of an image you have. An image can also be made before the run, of one thing: `packages` on a `base`, a `dockerfile`, or what a `devcontainer` says.";
    BadPackage = 95, Error, "package that cannot be named",
        "`image = { packages = [\"git\", \"jq\"], base = \"NAME@sha256:DIGEST\" }` makes an image of a base and packages of its distribution. A package is written as `NAME` or `NAME=VERSION`, as the distribution spells it: small letters, digits, `+`, `-` and `.`, beginning with a letter or a digit and not ending with `-`, which would take a package away.";
    BadDockerfile = 96, Error, "unusable Dockerfile",
        "A Dockerfile is built before the run by the engine's own builder, without BuildKit: no heredocs, no `RUN --mount`, no `# escape`. Every image it begins with or copies from can be read off it: a name, or an `ARG` in front of the first `FROM` with a plain default. For the tiers `generated` and `untrusted` each of them has a digest, or is `scratch` or an earlier stage.";
    BadDevcontainer = 97, Error, "devcontainer that cannot be used",
        "Of a `devcontainer.json`, `image` or `build` with `dockerfile`, `context`, `target` and `args` is used. What is only for editors and people (`customizations`, `name`, ports, `remoteUser`) passes; everything else, such as features, compose files, lifecycle commands, mounts and privileges, is refused by name rather than left out.";
    UnknownBlueprint = 100, Error, "sub-blueprint not found",
        "`use` names a file that ends in .toml (`./part.toml`, relative to this one) or a blueprint of the project (`name`, found as blueprints/name/blueprint.toml or blueprints/name.toml). It never lies outside the project.";
    Recursion = 101, Error, "blueprint uses itself",
        "A blueprint cannot use or include itself, directly or by way of others: a graph is finite.";
    MissingInput = 102, Error, "input not given",
        "An input without a default is not given: by the `with` of a node that uses the blueprint, or by that of a trigger that starts it.";
    UnknownInput = 103, Error, "unknown input",
        "The blueprint that is used or started has no such input.";
    IdleBudget = 104, Warning, "budget of a used blueprint",
        "The budget of the blueprint that is run holds for everything in the run. What a blueprint that is used says in its own `[budget]` about money, tokens, calls or time bounds nothing while it is used; it counts when that blueprint is run by itself. Put the bound into the `[budget]` of the blueprint that is run, or give nodes a `timeout`.";
    EachBounds = 110, Error, "each without a sensible bound",
        "`max_parallel`, the number of items of an `each` that run at the same time, is 1 to 1000.";
    DefaultApprove = 120, Error, "gate that approves by itself",
        "A gate that is not answered in time must not count as approved: absent or late verdicts mean no. `on_timeout` is \"reject\" or \"escalate\".";
    GateBounds = 121, Error, "gate without a sensible bound",
        "A gate needs 1 to 20 approvals (`min`), and some time to be approved in.";
    AgentBounds = 125, Error, "agent without a sensible bound",
        "An agent always ends: after 1 to 10000 turns (50 if left out), at its limit of tokens or money if it has one, and at the budget of the run. Money is in US dollars and never negative.";
    BadTrigger = 130, Error, "trigger that never fires",
        "An `[[on]]` has either `event` or `schedule`, and a schedule is a cron expression of five fields: minute, hour, day, month and weekday.";
    MaskedExit = 140, Warning, "exit status is masked",
        "The command ends so that its failure cannot be seen (`|| true`, `; true`, `|| :`), or a pipe in a shell without pipefail hides the failure of all but its last program. Use `expect = \"any\"` if the outcome really does not matter, and bash for pipes.";
    GateBypassed = 141, Warning, "gate that does not hold a node up",
        "A node needs a gate, or something behind one, and can run without it having been passed: it joins with \"any\" and another need will do, or with \"settled\" and runs after a no as well.";
    FixedCondition = 142, Warning, "condition that never changes",
        "The condition names nothing that differs from run to run, or looks at how a node ended that has always succeeded by then. To act on a failure, join with \"settled\".";
    NeverRuns = 143, Warning, "node that never runs",
        "The node waits for needs that can never all be there: one of them never runs, or two of them run only without each other.";
    IdleRepair = 144, Warning, "repair that never starts",
        "A round of a repair starts when the node that closes it fails, and this one succeeds with every exit code.";
    SharedSecret = 145, Warning, "secret for every command",
        "`[defaults]` gives a secret to the environment of every command of the file. Give it to the nodes that need it, or let them have a placeholder by `credentials`.";
    LaterRelease = 150, Warning, "kind of node that this release cannot run",
        "Ci and forge nodes are part of the format and are checked, but the release you have cannot run them yet. `blueprint run` refuses such a graph before it starts.";
    NotTriggered = 152, Warning, "trigger that this release does not serve",
        "`[[on]]` is part of the format and is checked; this release starts runs from the command line only.";
    TooLarge = 160, Error, "too large",
        "A file, an expression, a number of nodes, or how deep blueprints or repairs lie inside each other is more than can be handled responsibly. The finding names the bound.";
    TierTooGood = 170, Error, "declared better than what it works with",
        "The tier of a node is the worse of what it declares and what reaches it: the workspace it starts from, and the values it names. A model's work is `generated`, what strangers wrote is `untrusted`. Declaring a better tier would run their work in a weaker sandbox. Leave the key out and the tier follows from what reaches the node; only a gate that a person must pass, and that showed what came before, makes it better again.";
    SecretReached = 171, Error, "secret within reach of untrusted work",
        "A node whose commands or tools can use a secret works with something that a model or a stranger wrote. They could make it give the secret away, or use it for something else. Let a person approve what comes before by a gate that the node needs, or keep the secret in a node that works with nothing of it. Headers of an http node are no such secret: they go to the one host that is written there.";
    EffectReached = 172, Error, "change to the world that nobody approved",
        "A merge, a release or a request that changes something elsewhere comes after work of a model or of a stranger, and can happen without a person having approved it. A gate covers what was there when it was asked: the tree, and the outputs of the nodes it needs. A request that changes nothing that matters says `effect = \"propose\"`.";
    Broken = 180, Error, "invariant that does not hold",
        "A `[[prove]]` says what must hold on every path, and there is a path on which it does not: the finding shows a shortest one. All ways are looked at: conditions, joins, rounds of repair, and the graphs that nodes use. `before` and `after` name nodes, or all of a sort as `kind:agent` or `effect:commit`; `passed` names nodes that must have succeeded by then, and `gated_by` who must have approved; `touches` limits the claim to changes of some paths; `never` keeps secrets, hosts and effects away from what is of a tier or worse.";
    Hollow = 181, Error, "invariant that says nothing",
        "The invariant holds whatever happens, and so protects nothing: a node that must have passed succeeds with any exit code, or nothing is of the sort that is named.";
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
