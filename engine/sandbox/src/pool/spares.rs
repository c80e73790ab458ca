//! A pool of unused sandboxes. It starts what it is told to, gives each to one claimant, and never takes one back. A spare
//! that is missing, late or silent means a cold start of the very same sandbox, never another one.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time};

use crate::{
    contract::{Backend, Spec},
    error::StartError,
    host::{Launcher, Sandbox, Spare},
    pool::{
        Key, PoolSettings,
        slots::{Slot, Slots},
    },
};

/// How a sandbox came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It waited, unused.
    Warm,
    /// It was started when it was wanted.
    Cold,
}

impl Start {
    /// The word for it in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// Sandboxes that wait. Cheap to clone; all clones are one pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: PoolSettings,
    slots: Mutex<Slots>,
    /// What left unused and is on its way out.
    leaving: Mutex<JoinSet<()>>,
    numbers: AtomicU64,
    replaced: AtomicU64,
}

impl Inner {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        while leaving.try_join_next().is_some() {}
        leaving
    }
}

/// What one spare is made from.
#[derive(Clone, Debug)]
struct Recipe {
    launcher: Launcher,
    backend: Backend,
    spec: Spec,
    key: Key,
}

impl Pool {
    /// An empty pool.
    pub fn new(settings: PoolSettings) -> Self {
        Self(Arc::new(Inner {
            settings,
            slots: Mutex::default(),
            leaving: Mutex::default(),
            numbers: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
        }))
    }

    /// Begins to start a sandbox in the background unless `upto` of its kind wait or are under way. Says whether it
    /// did. Needs a runtime of tokio; a start that fails is said in the log and changes nothing else.
    pub fn warm(&self, launcher: &Launcher, backend: Backend, spec: &Spec, upto: usize) -> bool {
        let Some(key) = Key::of(launcher, backend, spec) else { return false };
        self.begin(Recipe { launcher: launcher.clone(), backend, spec: spec.clone(), key }, upto)
    }

    fn begin(&self, recipe: Recipe, upto: usize) -> bool {
        let size = self.0.settings.size;
        let mut slots = self.0.slots();
        if !slots.wants(&recipe.key, upto, size) {
            return false;
        }
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let key = recipe.key.clone();
        let making = tokio::spawn(make(recipe.clone()));
        let renewal = tokio::spawn(renew(Arc::downgrade(&self.0), number, recipe, upto)).abort_handle();
        let leaving = slots.put(Slot { number, key, making, renewal }, size);
        drop(slots);
        for slot in leaving {
            self.0.leaving().spawn(end(slot));
        }
        true
    }

    /// A sandbox for a first command: one that waits and answers, else a new one. `Err` is that of the cold start.
    pub async fn start(
        &self,
        launcher: &Launcher,
        backend: Backend,
        spec: &Spec,
    ) -> Result<(Sandbox, Start), StartError> {
        if let Some(key) = Key::of(launcher, backend, spec)
            && let Some(sandbox) = self.claim(&key).await
        {
            return Ok((sandbox, Start::Warm));
        }
        Ok((Sandbox::start_with(launcher, backend, spec).await?, Start::Cold))
    }

    /// One of this kind that answers. Waits for one that is being started. If the future is dropped half-way, the spare is
    /// ended with it.
    pub async fn claim(&self, key: &Key) -> Option<Sandbox> {
        loop {
            let mut slot = self.0.slots().take(key)?;
            match (&mut slot.making).await {
                Ok(Ok(spare)) => match spare.take_up().await {
                    Some(sandbox) => return Some(sandbox),
                    None => tracing::debug!("a spare sandbox did not answer and was ended"),
                },
                // Said where it happened.
                Ok(Err(_)) => {}
                Err(error) => tracing::debug!(%error, "a spare sandbox could not be made"),
            }
        }
    }

    /// How many wait or are being started.
    pub fn len(&self) -> usize {
        self.0.slots().len()
    }

    /// How many are not being started any more.
    pub fn ready(&self) -> usize {
        self.0.slots().ready()
    }

    /// Whether none waits or is being started.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were replaced because they waited too long.
    pub fn replaced(&self) -> u64 {
        self.0.replaced.load(Ordering::Relaxed)
    }

    /// Ends all that wait and are being started, and starts none any more. Returns when nothing of them is left.
    pub async fn close(&self) {
        let all = self.0.slots().close();
        let mut ending = std::mem::take(&mut *self.0.leaving());
        for slot in all {
            ending.spawn(end(slot));
        }
        while ending.join_next().await.is_some() {}
    }
}

/// Makes a spare.
async fn make(recipe: Recipe) -> Result<Spare, StartError> {
    let Recipe { launcher, backend, spec, key: _ } = recipe;
    let started = time::Instant::now();
    let made = match Sandbox::start_with(&launcher, backend, &spec).await {
        Ok(sandbox) => sandbox.set_aside().await.ok_or(StartError::TimedOut),
        Err(error) => Err(error),
    };
    let (backend, took) = (backend.name(), started.elapsed());
    match &made {
        Ok(_) => tracing::debug!(backend, ?took, "a spare sandbox is ready"),
        Err(error) => tracing::debug!(backend, %error, "a spare sandbox could not be made"),
    }
    made
}

/// Replaces a spare when its time is over.
async fn renew(pool: Weak<Inner>, number: u64, recipe: Recipe, upto: usize) {
    let Some(ttl) = pool.upgrade().map(|inner| inner.settings.ttl) else { return };
    time::sleep(ttl.max(Duration::from_millis(1))).await;
    let Some(inner) = pool.upgrade() else { return };
    let Some(slot) = inner.slots().take_number(number) else { return };
    inner.replaced.fetch_add(1, Ordering::Relaxed);
    // Nothing is awaited from here on: with the slot goes this task.
    inner.leaving().spawn(end(slot));
    Pool(inner).begin(recipe, upto);
}

/// Ends what is in a slot, once it is ready.
async fn end(mut slot: Slot) {
    if let Ok(Ok(spare)) = (&mut slot.making).await {
        spare.stop().await;
    }
}
