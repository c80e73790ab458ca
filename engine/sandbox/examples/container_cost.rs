//! Measures what containers cost through the guest, beside the engine's bare API on the same image, mounts and limits:
//! a container for one command, a command in one that runs, a claim of one that is paused, and output. All take turns in every round. Prints medians and
//! the ratios; it judges nothing. `DOCKER_HOST` names the engine.

use std::{
    collections::HashMap,
    error::Error,
    future,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use blueprint_sandbox::{
    Backend, DockerSettings, Exec, HOME, Launcher, Limits, Output, Pool, PoolSettings, Sandbox, Spec, Start,
    launcher_main,
};
use bollard::{
    ClientVersion, Docker,
    exec::StartExecResults,
    models::{ContainerCreateBody, ExecConfig, HostConfig},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, ListImagesOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
    },
};
use futures::StreamExt;
use tokio::sync::mpsc;

const ROUNDS: usize = 15;
const COMMANDS: usize = 20;
const OUTPUT_BYTES: u64 = 1 << 30;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(code) = launcher_main(std::env::args_os()) {
        return code;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(everything()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("nothing was measured: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program that prints what it measured")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::disallowed_methods, reason = "the engine is named the way every Docker client is told")]
fn host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

async fn everything() -> Outcome<()> {
    let folder = std::env::temp_dir().join(format!("blueprint-docker-{}", nix_uid()));
    let launcher =
        Launcher::this_program().with_docker(DockerSettings { host: host(), ..DockerSettings::new(folder) });
    let version = ClientVersion { major_version: 1, minor_version: 41 };
    let api = Docker::connect_with_unix(host().trim_start_matches("unix://"), 120, &version)?;
    say("what                                            api        guest      ratio");
    for (backend, runtime) in [(Backend::Container, "runc"), (Backend::Gvisor, "runsc")] {
        // The first one makes the image.
        one(&launcher, backend).await?;
        let bare = Bare { api: &api, image: base(&api).await?, runtime };
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(bare.one().await?);
            ours.push(one(&launcher, backend).await?);
        }
        line(runtime, "a container for one command", theirs, ours);
        let (theirs, ours) = commands(&launcher, backend, &bare).await?;
        line(runtime, "a command in one that runs", theirs, ours);
        let (theirs, ours) = claims(&launcher, backend, &bare).await?;
        line(runtime, "a claim of one that is paused", theirs, ours);
        let took = flood(&launcher, backend).await?;
        let rate = (OUTPUT_BYTES >> 20) as f64 / took.as_secs_f64();
        say(&format!("{runtime:6} output through the guest: {rate:.0} MiB/s"));
    }
    Ok(())
}

fn nix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
}

fn line(runtime: &str, what: &str, theirs: Vec<Duration>, ours: Vec<Duration>) {
    let (theirs, ours) = (median(theirs), median(ours));
    say(&format!(
        "{runtime:6} {what:36} {:>8.1} ms {:>8.1} ms {:>8.2}",
        theirs.as_secs_f64() * 1e3,
        ours.as_secs_f64() * 1e3,
        ours.as_secs_f64() / theirs.as_secs_f64()
    ));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// From nothing to the end of one command.
async fn one(launcher: &Launcher, backend: Backend) -> Outcome<Duration> {
    let started = Instant::now();
    let mut sandbox = Sandbox::start_with(launcher, backend, &Spec::default()).await?;
    command(&mut sandbox, &["/bin/true"]).await?;
    let took = started.elapsed();
    sandbox.stop().await;
    Ok(took)
}

async fn command(sandbox: &mut Sandbox, argv: &[&str]) -> Outcome<u64> {
    let (sender, mut receiver) = mpsc::channel::<Output>(16);
    let exec = Exec::new(argv.iter().copied(), "/", Path::new(HOME));
    let run = async {
        let ended = sandbox.exec(exec, &sender, future::pending()).await;
        drop(sender);
        ended
    };
    let count = async {
        let mut bytes = 0;
        while let Some(piece) = receiver.recv().await {
            bytes += piece.bytes.len() as u64;
        }
        bytes
    };
    let (ended, bytes) = tokio::join!(run, count);
    ended?;
    Ok(bytes)
}

async fn commands(
    launcher: &Launcher,
    backend: Backend,
    bare: &Bare<'_>,
) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let mut sandbox = Sandbox::start_with(launcher, backend, &Spec::default()).await?;
    let id = bare.start(&["/bin/sleep", "600"]).await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..COMMANDS {
        let started = Instant::now();
        bare.exec(&id).await?;
        theirs.push(started.elapsed());
        let started = Instant::now();
        command(&mut sandbox, &["/bin/true"]).await?;
        ours.push(started.elapsed());
    }
    sandbox.stop().await;
    bare.remove(&id).await?;
    Ok((theirs, ours))
}

/// From wanting a sandbox to having one whose guest has answered, when one waits; beside that, the engine resuming a
/// container and answering one more request about it.
async fn claims(
    launcher: &Launcher,
    backend: Backend,
    bare: &Bare<'_>,
) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let pool = Pool::new(PoolSettings::default());
    let spec = Spec::default();
    let id = bare.start(&["/bin/sleep", "600"]).await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.api.pause_container(&id).await?;
        let started = Instant::now();
        bare.api.unpause_container(&id).await?;
        bare.api.inspect_container(&id, None::<InspectContainerOptions>).await?;
        theirs.push(started.elapsed());
        pool.warm(launcher, backend, &spec, 1);
        while pool.ready() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let started = Instant::now();
        let (sandbox, start) = pool.start(launcher, backend, &spec).await?;
        ours.push(started.elapsed());
        sandbox.stop().await;
        if start != Start::Warm {
            return Err("a claim found nothing".into());
        }
    }
    bare.remove(&id).await?;
    pool.close().await;
    Ok((theirs, ours))
}

async fn flood(launcher: &Launcher, backend: Backend) -> Outcome<Duration> {
    let limits = Limits { output_bytes: OUTPUT_BYTES * 2, ..Limits::default() };
    let mut sandbox = Sandbox::start_with(launcher, backend, &Spec { limits, ..Spec::default() }).await?;
    let started = Instant::now();
    let bytes =
        command(&mut sandbox, &["/usr/bin/head", "-c", &OUTPUT_BYTES.to_string(), "/dev/zero"]).await?;
    let took = started.elapsed();
    sandbox.stop().await;
    if bytes == OUTPUT_BYTES { Ok(took) } else { Err(format!("{bytes} bytes came").into()) }
}

/// The name of the image that shows this machine's base system.
async fn base(api: &Docker) -> Outcome<String> {
    let filters = HashMap::from([("reference".to_owned(), vec!["blueprint-base".to_owned()])]);
    let images = api.list_images(Some(ListImagesOptionsBuilder::default().filters(&filters).build())).await?;
    images.first().map(|image| image.id.clone()).ok_or_else(|| "there is no base image".into())
}

/// The same containers through the API alone.
struct Bare<'a> {
    api: &'a Docker,
    image: String,
    runtime: &'a str,
}

impl Bare<'_> {
    async fn start(&self, argv: &[&str]) -> Outcome<String> {
        let binds = ["/usr"].map(|path| format!("{path}:{path}:ro")).to_vec();
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(argv.iter().map(|word| (*word).to_owned()).collect()),
            user: Some("65534:65534".to_owned()),
            host_config: Some(HostConfig {
                runtime: Some(self.runtime.to_owned()),
                network_mode: Some("none".to_owned()),
                binds: Some(binds),
                memory: Some(4 << 30),
                memory_swap: Some(4 << 30),
                pids_limit: Some(1024),
                readonly_rootfs: Some(true),
                cap_drop: Some(vec!["ALL".to_owned()]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let made = self.api.create_container(None::<CreateContainerOptions>, body).await?;
        self.api.start_container(&made.id, None::<StartContainerOptions>).await?;
        Ok(made.id)
    }

    async fn one(&self) -> Outcome<Duration> {
        let started = Instant::now();
        let id = self.start(&["/bin/true"]).await?;
        drop(self.api.wait_container(&id, None::<WaitContainerOptions>).next().await);
        let took = started.elapsed();
        self.remove(&id).await?;
        Ok(took)
    }

    async fn exec(&self, id: &str) -> Outcome<()> {
        let config = ExecConfig {
            cmd: Some(vec!["/bin/true".to_owned()]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.api.create_exec(id, config).await?;
        if let StartExecResults::Attached { mut output, .. } = self.api.start_exec(&exec.id, None).await? {
            while output.next().await.is_some() {}
        }
        self.api.inspect_exec(&exec.id).await?;
        Ok(())
    }

    async fn remove(&self, id: &str) -> Outcome<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        Ok(self.api.remove_container(id, Some(options)).await?)
    }
}
