//! `doctor`: what this machine can do, found by trying it; and the choice of isolation for runs, which rests on
//! the same trial and is remembered until the machine or the program changes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

use blueprint_core::format::Tier;
use blueprint_core::graph::{Node, Program};
use blueprint_core::run::BuiltImage;
use blueprint_runtime::isolation::{Isolation, Need};
use blueprint_sandbox::{Backend, Launcher, ProbeReport, Verdict, probe_machine, probe_with};
use serde_json::{Value, json};

use super::images;
use crate::args::{Format, RunSettings};
use crate::config::{Mapped, Sandbox};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::progress;
use crate::terminal;

const MEMORY: &str = "sandbox.json";

/// What isolates the nodes of a program, with the images they need. Refuses if there is something that nothing here can
/// isolate as it should be. `began` is what the run that goes on began with.
pub(crate) async fn isolation(
    context: &Context,
    settings: &RunSettings,
    program: &Program,
    began: Option<&BTreeMap<String, BuiltImage>>,
) -> Result<Isolation, CliError> {
    let isolation = choose(context, &Need::all(program), true).await?;
    let shown = progress::Images::of_run(context, settings);
    let images = Box::pin(images::prepare(context, &shown, program.nodes(), began, true)).await?;
    Ok(isolation.with_images(images))
}

/// The same for a run that only has to come to its end. A command that was run all the same would have no image.
pub(crate) async fn isolation_to_end(context: &Context, program: &Program) -> Result<Isolation, CliError> {
    choose(context, &Need::all(program), true).await
}

/// The same for tests, which leave nothing in the state folder of the project: what is found out is not remembered.
///
/// In a test nobody is a stranger: models, servers and people say what stands in files of the project. So every node has
/// what the tier `trusted` has, and tests run where the sandboxes of other tiers are missing.
pub(crate) async fn isolation_of_tests(context: &Context, nodes: &[&Node]) -> Result<Isolation, CliError> {
    let mut trials = Trials::new(context, false);
    let mut chosen = Vec::new();
    for need in nodes.iter().map(|node| Need::of(node)).collect::<BTreeSet<_>>() {
        chosen.push((need, trials.backend(Need { tier: Tier::Trusted, ..need }).await?));
    }
    let isolation = Isolation::new(chosen);
    let shown = progress::Images::Nothing;
    let images = Box::pin(images::prepare(context, &shown, nodes.iter().copied(), None, false)).await?;
    Ok(isolation.with_images(images))
}

async fn choose(context: &Context, needs: &BTreeSet<Need>, remember: bool) -> Result<Isolation, CliError> {
    let mut trials = Trials::new(context, remember);
    let mut chosen = Vec::new();
    for need in needs {
        chosen.push((*need, trials.backend(*need).await?));
    }
    Ok(Isolation::new(chosen))
}

/// What was tried, in this process and before.
struct Trials<'c> {
    context: &'c Context,
    launcher: Launcher,
    key: Value,
    known: Value,
    remember: bool,
}

impl<'c> Trials<'c> {
    fn new(context: &'c Context, remember: bool) -> Self {
        let key = identity(context);
        let path = context.state_dir().join(MEMORY);
        let remembered: Value =
            std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let known = if remembered["key"] == key { remembered["works"].clone() } else { json!({}) };
        Self { context, launcher: context.launcher(), key, known, remember }
    }

    async fn backend(&mut self, need: Need) -> Result<Backend, CliError> {
        let Mapped { sandbox, weaker } = self.context.wanted(need.tier);
        let tier = need.tier.as_str();
        if weaker {
            terminal::error_line(&format!(
                "warning: the settings map the tier `{tier}` to `{sandbox}`, which isolates less than its default; the \
                 run records it"
            ));
        }
        let candidates: &[Backend] = match sandbox {
            Sandbox::Auto if need.image => &[Backend::Container],
            Sandbox::Auto => &[Backend::Process, Backend::Bubblewrap, Backend::Container],
            Sandbox::Container => &[Backend::Container],
            Sandbox::Gvisor => &[Backend::Gvisor],
            Sandbox::Microvm | Sandbox::Process | Sandbox::Bubblewrap | Sandbox::None if need.image => {
                return Err(CliError::environment(format!(
                    "a node of the tier `{tier}` names an image, and only containers can show one: `{sandbox}` cannot"
                ))
                .hint("leave out `image`, or let the tier have a container"));
            }
            Sandbox::Microvm => &[Backend::Microvm],
            Sandbox::Process => &[Backend::Process],
            Sandbox::Bubblewrap => &[Backend::Bubblewrap],
            Sandbox::None => {
                terminal::error_line(
                    "warning: `--sandbox none`: commands run without any isolation; the run records it",
                );
                return Ok(Backend::None);
            }
        };
        let mut failures = Vec::new();
        for backend in candidates {
            // In their order, whatever was needed before: the same choice on every day.
            if self.known[backend.name()] == true {
                return Ok(*backend);
            }
            let report = tried(self.context, &self.launcher, *backend).await;
            if works(&report) {
                self.note(*backend);
                return Ok(*backend);
            }
            failures.push(report);
        }
        let what = match need.tier {
            Tier::Trusted => "this machine cannot isolate commands, so nothing was started".to_owned(),
            _ => format!("this machine cannot isolate commands of the tier `{tier}`, so nothing was started"),
        };
        let mut error = CliError::environment(what);
        for report in &failures {
            error = error.hint(format!("{}: {}", report.backend.name(), terminal::clean(&described(report))));
        }
        Err(error.hint(match need.tier {
            Tier::Trusted => {
                "`blueprint doctor` says more; `--sandbox none` runs without isolation, at your own risk".to_owned()
            }
            _ => format!(
                "`blueprint doctor` says more; nothing weaker is taken unless `[tiers] {tier} = \"…\"` in your own \
                 settings file says so"
            ),
        }))
    }

    /// Remembers that a backend works. Only a memory: without it, the next run tries again.
    fn note(&mut self, backend: Backend) {
        if !self.known.is_object() {
            self.known = json!({});
        }
        self.known[backend.name()] = json!(true);
        if self.remember {
            drop(private_folder(&self.context.state_dir()));
            let text = json!({ "key": self.key, "works": self.known }).to_string();
            drop(std::fs::write(self.context.state_dir().join(MEMORY), text));
        }
    }
}

/// Tries a backend, with what the settings say it is made of.
async fn tried(context: &Context, launcher: &Launcher, backend: Backend) -> ProbeReport {
    match (backend, context.machine()) {
        (Backend::Microvm, Some(machine)) => probe_machine(launcher, machine).await,
        (Backend::Microvm, None) => {
            let reason = "no virtual machine is described: name its base system in your settings file, \
                          `[microvm] rootfs = \"/path\"`";
            ProbeReport { backend, verdict: Verdict::Broken { reason: reason.to_owned() } }
        }
        _ => probe_with(launcher, backend).await,
    }
}

/// Runs hold what nodes wrote, so their folder is its owner's alone from the start.
fn private_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What a trial depends on: the boot, this very program, and the container engine.
fn identity(context: &Context) -> Value {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let program =
        std::fs::metadata("/proc/self/exe").map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec())).ok();
    let docker = context.docker();
    json!({
        "boot": boot.trim(), "view": std::fs::read_link("/proc/self/ns/mnt").unwrap_or_default(), "program": program, "uid": rustix::process::getuid().as_raw(),
        "docker": [docker.host, docker.runc, docker.gvisor],
        "machine": format!("{:?}", context.machine()),
    })
}

fn described(report: &ProbeReport) -> String {
    match &report.verdict {
        Verdict::Works(attestation) => {
            let by = attestation
                .runtime
                .as_ref()
                .map(|runtime| format!("{} of engine {}, ", runtime.name, runtime.engine));
            format!(
                "works ({}kernel {}, uid {})",
                by.unwrap_or_default(),
                attestation.kernel,
                attestation.host_uid
            )
        }
        Verdict::Broken { reason } => format!("does not work here: {reason}"),
    }
}

fn works(report: &ProbeReport) -> bool {
    matches!(report.verdict, Verdict::Works(_))
}

pub(crate) async fn doctor(context: &Context) -> Result<Exit, CliError> {
    let mut reports = Vec::new();
    let launcher = context.launcher();
    for backend in [Backend::Process, Backend::Bubblewrap, Backend::Container, Backend::Gvisor] {
        reports.push(probe_with(&launcher, backend).await);
    }
    if context.machine().is_some() {
        reports.push(tried(context, &launcher, Backend::Microvm).await);
    }
    let tiers: Vec<(Tier, Mapped)> = Tier::ALL.iter().map(|tier| (*tier, context.wanted(*tier))).collect();
    let holds = |mapped: &Mapped| {
        let name = mapped.sandbox.to_string();
        let trusted = || reports.iter().any(works);
        if mapped.sandbox == Sandbox::Auto {
            trusted()
        } else {
            reports.iter().any(|report| report.backend.name() == name && works(report))
        }
    };
    let git = std::process::Command::new("git").arg("--version").output();
    let git =
        git.ok().filter(|output| output.status.success()).map(|output| terminal::clean_bytes(&output.stdout));
    let builds = match Box::pin(launcher.builds_have_network()).await {
        Ok(true) => "built by the container engine; a build has its network and no secrets".to_owned(),
        Ok(false) => {
            "built by the container engine, which has no network for it: nothing can be fetched".to_owned()
        }
        Err(error) => format!("cannot be fetched or built: {}", terminal::clean(&error.to_string())),
    };
    let store = context.store().await;
    let usable = reports.iter().any(works);
    if context.format == Format::Json {
        let sandboxes: Vec<Value> = reports
            .iter()
            .map(|report| json!({ "backend": report.backend.name(), "works": works(report), "report": described(report) }))
            .collect();
        let tiers_json: Vec<Value> = tiers
            .iter()
            .map(|(tier, mapped)| {
                json!({ "tier": tier.as_str(), "sandbox": mapped.sandbox.to_string(), "weaker": mapped.weaker, "usable": holds(mapped) })
            })
            .collect();
        let state = match &store {
            Ok(_) => json!("usable"),
            Err(error) => json!(format!("{error:?}")),
        };
        terminal::line(
            &json!({ "sandboxes": sandboxes, "tiers": tiers_json, "images": builds, "git": git, "state": state, "project": context.project })
                .to_string(),
        );
    } else {
        terminal::line(&format!("project    {}", context.project.display()));
        terminal::line(&format!(
            "state      {} ({})",
            context.state_dir().display(),
            if store.is_ok() { "usable" } else { "not usable" }
        ));
        terminal::line(&format!(
            "git        {}",
            git.as_deref().map_or("not found; install git 2.40 or newer", str::trim)
        ));
        for report in &reports {
            terminal::line(&format!("{:10} {}", report.backend.name(), terminal::clean(&described(report))));
        }
        terminal::line(&format!("images     {builds}"));
        for (tier, mapped) in &tiers {
            let note = match (holds(mapped), mapped.weaker) {
                (false, _) => ": nodes of this tier are refused here",
                (true, true) => ", which isolates less than its default",
                (true, false) => "",
            };
            terminal::line(&format!("tier       {} → {}{note}", tier.as_str(), mapped.sandbox));
        }
    }
    let store = store?;
    drop(store.close().await);
    Ok(if usable && git.is_some() { Exit::Succeeded } else { Exit::Environment })
}
