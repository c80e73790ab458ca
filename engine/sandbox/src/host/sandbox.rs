//! A started sandbox, whatever built it.
//! Dropping it ends everything inside; `stop` also waits until that has happened.

use std::{future::Future, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    attestation::Attestation,
    contract::{Backend, Ended, Exec, Image, Output, Spec},
    error::{ExecError, StartError},
    host::{Launcher, check, direct::Direct, guarded::Guarded},
    proxy::Proxy,
};

/// A started sandbox. Runs one command at a time.
#[derive(Debug)]
pub struct Sandbox {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Guarded(Box<Guarded>),
    Direct(Box<Direct>),
}

impl Sandbox {
    /// Starts a sandbox, using the running program as launcher.
    pub async fn start(backend: Backend, spec: &Spec) -> Result<Self, StartError> {
        Self::start_with(&Launcher::this_program(), backend, spec).await
    }

    /// Starts a sandbox with another launcher.
    pub async fn start_with(launcher: &Launcher, backend: Backend, spec: &Spec) -> Result<Self, StartError> {
        Self::start_behind(launcher, backend, spec, None).await
    }

    /// Starts a sandbox whose commands reach the hosts of `proxy`, through it and at no other place. Each request is
    /// decided there. A backend without isolation has no use for it: its commands reach what the caller reaches.
    pub async fn start_behind(
        launcher: &Launcher,
        backend: Backend,
        spec: &Spec,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Self, StartError> {
        check::spec(spec)?;
        if let (Image::Named(name) | Image::Built { of: name, .. }, false) =
            (&spec.image, backend.is_container())
        {
            let what = format!("the image `{name}`: it shows commands this machine's own programs");
            return Err(StartError::Unsupported { backend, what });
        }
        let kind = match backend {
            Backend::Microvm
            | Backend::Process
            | Backend::Bubblewrap
            | Backend::Container
            | Backend::Gvisor => {
                Kind::Guarded(Box::new(Guarded::start(launcher, backend, spec, proxy).await?))
            }
            Backend::None => Kind::Direct(Box::new(Direct::start(spec)?)),
        };
        Ok(Self { kind })
    }

    /// Runs a command to its end and sends what it writes to `output`.
    ///
    /// A slow receiver slows the command down; a dropped one discards the output. When `cancel` completes,
    /// or the wall time is up, the command's process group gets `SIGTERM` and after the grace period
    /// everything it started is killed. Whatever the command leaves running is killed when its main process
    /// ends. If the returned future is dropped half-way, the sandbox can only be stopped.
    pub async fn exec(
        &mut self,
        exec: Exec,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Ended, ExecError> {
        self.carry_out(exec, None, output, cancel).await
    }

    /// The same for a command that is spoken to while it runs: what comes through `input` follows `exec.stdin` on
    /// its standard input, and the end of that is the end of the channel.
    ///
    /// A command that does not read slows the sender down once the window of the sandbox and the pipe are full. One
    /// that closed its input, and lives on, loses what is sent. The channel closes when the command has ended.
    pub async fn exec_with_input(
        &mut self,
        exec: Exec,
        input: mpsc::Receiver<Vec<u8>>,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Ended, ExecError> {
        self.carry_out(exec, Some(input), output, cancel).await
    }

    async fn carry_out(
        &mut self,
        exec: Exec,
        input: Option<mpsc::Receiver<Vec<u8>>>,
        output: &mpsc::Sender<Output>,
        cancel: impl Future<Output = ()>,
    ) -> Result<Ended, ExecError> {
        check::exec(&exec)?;
        match &mut self.kind {
            Kind::Guarded(sandbox) => sandbox.exec(exec, input, output, cancel).await,
            Kind::Direct(sandbox) => sandbox.exec(exec, input, output, cancel).await,
        }
    }

    /// Empties what is private to it, so that another command finds it as the first one did, and says whether that can be
    /// relied on. If not, it can only be stopped.
    pub async fn renew(&mut self) -> bool {
        match &mut self.kind {
            Kind::Guarded(sandbox) => sandbox.renew().await,
            Kind::Direct(_) => false,
        }
    }

    /// Sets an unused one aside until it is wanted. `None` if it cannot be, and it is ended then.
    pub(crate) async fn set_aside(self) -> Option<Spare> {
        match self.kind {
            Kind::Guarded(mut sandbox) => sandbox.set_aside().await.then_some(Spare(sandbox)),
            Kind::Direct(_) => None,
        }
    }

    /// What this sandbox really is.
    pub fn attestation(&self) -> &Attestation {
        match &self.kind {
            Kind::Guarded(sandbox) => sandbox.attestation(),
            Kind::Direct(sandbox) => sandbox.attestation(),
        }
    }

    /// Ends everything inside and waits until it is gone.
    pub async fn stop(self) {
        match self.kind {
            Kind::Guarded(sandbox) => sandbox.stop().await,
            Kind::Direct(_) => {}
        }
    }
}

/// A sandbox that no command ran in and none can until it is taken up.
#[derive(Debug)]
pub(crate) struct Spare(Box<Guarded>);

impl Spare {
    /// The sandbox, if it answers; otherwise it is ended.
    pub(crate) async fn take_up(mut self) -> Option<Sandbox> {
        self.0.take_up().await.then(|| Sandbox { kind: Kind::Guarded(self.0) })
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}
