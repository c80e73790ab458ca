//! The command line. The doc comments are the help; `man` and completions are made from them.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Runs engineering work described by a blueprint: a graph of steps in sandboxes, journalled so that a killed
/// run resumes.
#[derive(Debug, Parser)]
#[command(
    name = "blueprint",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The project folder; the repository or folder around the current one if left out.
    #[arg(long, short = 'C', global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// Where runs are kept; `.blueprint` in the project if left out.
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    /// How output is written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// When output is coloured: auto, always or never.
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<String>,
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: JSON, for running commands one object a line.
    Json,
    /// For code hosts and editors: the findings of `check` as SARIF 2.1.0.
    Sarif,
}

/// How runs are run.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct RunSettings {
    /// How many nodes run at the same time.
    #[arg(long, short, value_name = "N")]
    pub(crate) jobs: Option<String>,
    /// How commands are isolated: auto, process, bubblewrap, or none. `none` isolates nothing, must be typed each
    /// time, and is recorded in the run.
    #[arg(long, value_name = "KIND")]
    pub(crate) sandbox: Option<String>,
    /// What the journal survives: full (a power loss) or normal (the death of the process).
    #[arg(long, value_name = "LEVEL")]
    pub(crate) sync: Option<String>,
    /// Stay while the run waits at a gate, in place of leaving it to be resumed.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print every line of output, in place of the live tree.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Print no output of nodes.
    #[arg(long, short, conflicts_with = "plain")]
    pub(crate) quiet: bool,
}

/// What a run may cost at most, or it is refused before it starts.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Ceilings {
    /// Refuse if the run may cost more than this many US dollars, or nobody knows how much.
    #[arg(long, value_name = "USD")]
    pub(crate) max_usd: Option<f64>,
    /// Refuse if the run may take longer than this without the time of people, such as 45m.
    #[arg(long, value_name = "TIME")]
    pub(crate) max_wall: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a first blueprint in this project.
    Init {
        /// The name of the blueprint.
        #[arg(default_value = "hello")]
        name: String,
    },
    /// Check a blueprint and report everything that is wrong with it.
    Check {
        /// The blueprint: a name, or the path of a file.
        blueprint: String,
    },
    /// Show what would run, in which order, in which tier, and what it can cost at most.
    Plan {
        /// The blueprint: a name, or the path of a file.
        blueprint: String,
        #[command(flatten)]
        ceilings: Ceilings,
    },
    /// Run a blueprint.
    Run {
        /// The blueprint: a name, or the path of a file.
        blueprint: String,
        /// An input, as NAME=VALUE.
        #[arg(long = "input", short, value_name = "NAME=VALUE")]
        inputs: Vec<String>,
        /// A secret input, as NAME=env:VARIABLE or NAME=file:PATH.
        #[arg(long = "secret", value_name = "NAME=SOURCE")]
        secrets: Vec<String>,
        /// Let the run see what is not committed.
        #[arg(long)]
        include_dirty: bool,
        /// Who answers in place of a model of the blueprint, as ALIAS=MODEL; scripted/FILE is a script, read now and
        /// kept with the run.
        #[arg(long = "model", value_name = "ALIAS=MODEL")]
        models: Vec<String>,
        /// Write what the outside world said to a file that `replay` plays.
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        record: Option<PathBuf>,
        #[command(flatten)]
        ceilings: Ceilings,
        #[command(flatten)]
        settings: RunSettings,
    },
    /// Run again what was recorded, without asking the outside world, and say where reality differs.
    ///
    /// Models, servers and people say again what they said then; commands and tools in sandboxes run for real. Ends with
    /// 0 if everything came as it was recorded, and with 1 if something differs.
    Replay {
        /// The run, or the beginning of its id, or a file that `run --record` wrote.
        what: String,
        /// Start from this commit in place of the recorded one.
        #[arg(long, value_name = "REF")]
        base: Option<String>,
        /// A secret input, as NAME=env:VARIABLE or NAME=file:PATH; those of a run of this project are known.
        #[arg(long = "secret", value_name = "NAME=SOURCE")]
        secrets: Vec<String>,
        #[command(flatten)]
        settings: RunSettings,
    },
    /// Run the scenarios beside blueprints: tests in which a script stands in for models, people and the network.
    Test {
        /// The blueprints: names, or paths of files; all that have scenarios if left out.
        #[arg(value_name = "BLUEPRINT")]
        names: Vec<String>,
        /// How commands that are not stubbed are isolated: auto, process, bubblewrap, or none.
        #[arg(long, value_name = "KIND")]
        sandbox: Option<String>,
    },
    /// Go on with a run that waits, was stopped or was killed.
    Resume {
        /// The run, or the beginning of its id; the newest one that is not finished if left out.
        run: Option<String>,
        #[command(flatten)]
        settings: RunSettings,
    },
    /// Show the runs of this project, or one of them.
    Status {
        /// The run, or the beginning of its id.
        run: Option<String>,
    },
    /// Print what the nodes of a run wrote.
    Logs {
        /// The run, or the beginning of its id; the newest one if left out.
        run: Option<String>,
        /// A node; all of them if left out.
        node: Option<String>,
        /// Go on printing until the run ends.
        #[arg(long, short)]
        follow: bool,
        /// What agents said, called and were told, step by step, instead.
        #[arg(long, conflicts_with = "follow")]
        transcript: bool,
    },
    /// Show everything that is known about a run or a node of it.
    Show {
        /// The run, or the beginning of its id; the newest one if left out.
        run: Option<String>,
        /// A node.
        node: Option<String>,
    },
    /// Print what a run changed, as a patch.
    Diff {
        /// The run, or the beginning of its id; the newest one if left out.
        run: Option<String>,
        /// Only what this node changed.
        node: Option<String>,
        /// Only how much changed in which files.
        #[arg(long)]
        stat: bool,
    },
    /// Approve at a gate.
    Approve(DecideArgs),
    /// Reject at a gate.
    Reject(DecideArgs),
    /// End a run.
    Cancel {
        /// The run, or the beginning of its id; the newest one that is not finished if left out.
        run: Option<String>,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Try a node again, with everything behind it.
    Retry {
        /// The run, or the beginning of its id.
        run: String,
        /// The node.
        node: String,
        #[command(flatten)]
        settings: RunSettings,
    },
    /// Start a new run that takes over the outcomes of another up to a node.
    Fork {
        /// The run, or the beginning of its id.
        run: String,
        /// The first node to run again.
        #[arg(long, value_name = "NODE")]
        from: String,
        #[command(flatten)]
        settings: RunSettings,
    },
    /// Delete runs that have ended, with everything that is kept for them alone.
    Prune(PruneArgs),
    /// Draw a blueprint, or a run as it stands.
    Graph {
        /// The blueprint, or the id of a run.
        what: String,
        /// The kind of drawing.
        #[arg(long = "as", value_enum, default_value_t = GraphKind::Svg)]
        kind: GraphKind,
        /// Where to write it; standard output if left out.
        #[arg(long, short, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Explain a code such as BP012, or a node of a blueprint.
    Explain {
        /// The code, or the name of a node.
        what: String,
        /// The blueprint the node is in.
        #[arg(long, short)]
        blueprint: Option<String>,
    },
    /// Show which tools, hosts and secrets nodes are granted, and which of them their runs used.
    ///
    /// Proposes a difference that grants no more than was used. Nodes with few runs are left alone: what did not happen
    /// yet may be needed all the same.
    Grants {
        /// The blueprint: a name, or the path of a file.
        blueprint: String,
        /// How many runs must have ended before anything is proposed.
        #[arg(long, value_name = "N", default_value_t = 5)]
        least: usize,
    },
    /// Check the records of runs.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Let an MCP client look at runs and blueprints, over standard input and output. It can change nothing.
    ///
    /// With a command: the logins to MCP servers that agents may use.
    Mcp {
        #[command(subcommand)]
        command: Option<McpCommand>,
    },
    /// Print the JSON Schema of blueprint files.
    Schema,
    /// Show settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Say what this machine can do, found by trying it.
    Doctor,
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages.
    Man {
        /// The folder to write them to; the first page goes to standard output if left out.
        #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Which runs to delete.
#[derive(Debug, ClapArgs)]
pub(crate) struct PruneArgs {
    /// The runs, or the beginnings of their ids.
    #[arg(value_name = "RUN", conflicts_with_all = ["older_than", "keep"])]
    pub(crate) runs: Vec<String>,
    /// Every run that ended longer ago than this, such as 30d or 12h.
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<String>,
    /// Every run but the newest N that have ended; with `--older-than` of those only.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<usize>,
    /// Only say what would be deleted.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A decision at a gate.
#[derive(Debug, ClapArgs)]
pub(crate) struct DecideArgs {
    /// The run, or the beginning of its id; the newest one with an open gate if left out.
    pub(crate) run: Option<String>,
    /// The gate; may be left out if only one is open.
    pub(crate) gate: Option<String>,
    /// Why.
    #[arg(long, short)]
    pub(crate) reason: Option<String>,
    /// What was looked at, as `show` prints it. Refused if the gate asks about something else by now.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) subject: Option<String>,
    /// Go on with the run at once.
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) settings: RunSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphKind {
    /// A picture.
    Svg,
    /// Text for Mermaid.
    Mermaid,
    /// Text for Graphviz.
    Dot,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that nothing in the journal was changed, left out or added.
    Verify {
        /// The run, or the beginning of its id; all of them if left out.
        run: Option<String>,
    },
    /// Say what of a damaged journal is intact, and save it.
    ///
    /// The damaged file is only read. With `--to`, what is intact is written to a new journal, which every command
    /// reads with `--state FOLDER`.
    Salvage {
        /// A new state folder for what is intact.
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Log in to an MCP server, so that agents can use it. Prints an address to open in a browser of this machine.
    ///
    /// What is granted is kept for this server alone, in the user's own state folder, and renewed when it is used.
    Login(LoginArgs),
    /// Forget the login to an MCP server.
    Logout {
        /// The address of the server.
        url: String,
    },
    /// Show the logins that are kept, and never a token.
    Logins,
}

/// A login to an MCP server.
#[derive(Debug, ClapArgs)]
pub(crate) struct LoginArgs {
    /// The address of the server, as blueprints name it.
    pub(crate) url: String,
    /// A scope to ask for, in place of those the server names; may be given more than once.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
    /// The id of a client that was registered before; otherwise the program registers itself.
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// The variable with the secret of that client. Only its name is kept.
    #[arg(long, value_name = "VARIABLE", requires = "client_id")]
    pub(crate) client_secret_env: Option<String>,
    /// An https:// address that describes a client, for servers that read it in place of a registration.
    #[arg(long, value_name = "URL", conflicts_with = "client_id")]
    pub(crate) client_metadata: Option<String>,
    /// How long to wait for the browser, such as 90s or 10m.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) timeout: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting and where its value comes from.
    Show,
}
