//! Who watches what: one channel a generation, however many watch it. Only the latest snapshot is kept, so a slow watcher costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time};

use super::{Admitted, Engine, error::Error, view::View};
use crate::{
    domain::{
        generation::Generation,
        names::{GenerationId, TenantId},
    },
    telemetry::Watching,
};

/// A silent stream repeats its snapshot after this, so that idle proxies stay open.
const REPEAT: Duration = Duration::from_secs(15);

/// How many ended generations are remembered: news of one may arrive in the wrong order, and must not bring an old state back.
const N_REMEMBERED: usize = 1024;

/// The latest snapshot of every unfinished generation driven or watched here, and of those that ended last. What is driven here is shown as it
/// is stored; of what another process drives, only what is watched is kept up to date.
#[derive(Debug, Default)]
pub(super) struct Hub {
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    channels: HashMap<GenerationId, watch::Sender<Arc<Generation>>>,
    ended: VecDeque<GenerationId>,
}

impl Hub {
    /// Shows a snapshot that is stored to all who watch. An older one than is shown says nothing.
    pub(super) fn publish(&self, generation: Arc<Generation>) {
        self.lock().publish(generation);
    }

    /// As `publish`, but what nobody here watches or drives stays unknown here.
    pub(super) fn refresh(&self, generation: Arc<Generation>) {
        let mut shown = self.lock();
        if shown.channels.contains_key(&generation.id) {
            shown.publish(generation);
        }
    }

    /// Those that somebody here watches or drives and that have not ended, with the sequence that is shown.
    pub(super) fn watched(&self) -> Vec<(GenerationId, u64)> {
        let shown = self.lock();
        let watched = shown.channels.iter().filter(|(_, channel)| channel.receiver_count() > 0);
        let unfinished = watched.map(|(id, channel)| (*id, channel.borrow()));
        unfinished.filter(|(_, now)| !now.state.is_terminal()).map(|(id, now)| (id, now.sequence)).collect()
    }

    /// Forgets the unfinished ones that nobody here watches or drives: what is shown of them may be old.
    pub(super) fn forget_unwatched(&self) {
        self.lock().channels.retain(|_, channel| channel.receiver_count() > 0 || channel.borrow().state.is_terminal());
    }

    /// A receiver of the generation's snapshots, beginning with the newer of `known` and what is shown.
    pub(super) fn subscribe(&self, known: Arc<Generation>) -> watch::Receiver<Arc<Generation>> {
        if known.state.is_terminal() {
            // It changes no more but by expiring: nothing newer is shown than what was read.
            return watch::Sender::new(known).subscribe();
        }
        self.lock().publish(known).subscribe()
    }

    /// A receiver of what is shown of a generation, if anything is.
    pub(super) fn join(&self, id: GenerationId) -> Option<watch::Receiver<Arc<Generation>>> {
        self.lock().channels.get(&id).map(watch::Sender::subscribe)
    }

    /// What is shown of a generation, if anything is.
    pub(super) fn shown(&self, id: GenerationId) -> Option<Arc<Generation>> {
        self.lock().channels.get(&id).map(|channel| Arc::clone(&channel.borrow()))
    }

    /// A deleted generation is shown to nobody new; if it was not seen to end, those who watch it are told that it is gone.
    pub(super) fn forget(&self, id: GenerationId) {
        let mut shown = self.lock();
        shown.channels.remove(&id);
        shown.ended.retain(|ended| *ended != id);
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn publish(&mut self, generation: Arc<Generation>) -> &watch::Sender<Arc<Generation>> {
        let id = generation.id;
        let ended = generation.state.is_terminal();
        let mut news = false;
        let channel = self.channels.entry(id).or_insert_with(|| {
            news = true;
            watch::Sender::new(Arc::clone(&generation))
        });
        channel.send_if_modified(|shown| {
            let newer = shown.sequence < generation.sequence;
            if newer {
                *shown = generation;
            }
            news |= newer;
            newer
        });
        if news && ended {
            self.ended.push_back(id);
            if self.ended.len() > N_REMEMBERED
                && let Some(oldest) = self.ended.pop_front()
            {
                // Its watchers keep the last snapshot of a closed channel.
                self.channels.remove(&oldest);
            }
        }
        &self.channels[&id]
    }
}

impl Engine {
    /// The snapshots of a generation, from the current one to the last.
    pub async fn watch(&self, tenant: &TenantId, id: GenerationId, after_sequence: u64) -> Result<Watch, Error> {
        // What is driven here is shown as it is stored; only the rest is read, such as what has ended and may have expired since.
        let is_current = self.drivers().drives(id) || !self.store().is_shared();
        let shows = |shown: &Generation| {
            // Whoever changed it elsewhere may have been told of it before we were.
            let is_current = is_current && shown.sequence >= after_sequence;
            is_current && shown.tenant == *tenant && !shown.state.is_terminal()
        };
        if let Some(own) = self.hub().join(id).filter(|own| shows(&own.borrow())) {
            return Ok(Watch::new(self.clone(), own, after_sequence));
        }
        let known = self.find(tenant, id).await?;
        let ended = known.state.is_terminal();
        let own = self.hub().subscribe(Arc::new(known));
        if !ended {
            // What ended between reading and subscribing would otherwise be missed.
            let now = self.find(tenant, id).await?;
            self.hub().publish(Arc::new(now));
        }
        Ok(Watch::new(self.clone(), own, after_sequence))
    }

    /// The snapshots of a generation whose job another one shares; none if it cannot be read now.
    pub(super) async fn watch_leader(&self, leader: GenerationId) -> Option<watch::Receiver<Arc<Generation>>> {
        if let Some(shown) = self.hub().join(leader) {
            return Some(shown);
        }
        let loaded = self.store().load(leader).await.ok().flatten()?;
        Some(self.hub().subscribe(Arc::new(loaded.generation)))
    }

    /// The snapshots of what was just accepted; of a deleted generation, whose request id still answers, how it ended.
    pub async fn watch_admitted(&self, admitted: &Admitted) -> Result<Watch, Error> {
        let generation = &admitted.view.generation;
        if generation.state.is_terminal() {
            return Ok(Watch::new(self.clone(), self.hub().subscribe(Arc::clone(generation)), 0));
        }
        self.watch(&generation.tenant, generation.id, 0).await
    }
}

/// The snapshots of one generation, as a stream that ends itself.
#[derive(Debug)]
pub struct Watch {
    engine: Engine,
    own: watch::Receiver<Arc<Generation>>,
    /// The job shared with another generation, whose progress is shown too.
    leader: Option<watch::Receiver<Arc<Generation>>>,
    after_sequence: u64,
    sent_any: bool,
    ended: bool,
    _counted: Watching,
}

impl Watch {
    pub(super) fn new(engine: Engine, own: watch::Receiver<Arc<Generation>>, after_sequence: u64) -> Self {
        let _counted = engine.metrics().watching();
        Self { engine, own, leader: None, after_sequence, sent_any: false, ended: false, _counted }
    }

    /// The next snapshot: the current one at once (unless it is no newer than `after_sequence` and not terminal), then every newer one, the
    /// same again after 15 s of silence, last the terminal one, then nothing. `Err(Draining)` while the server shuts down,
    /// `Err(GenerationNotFound)` if it was deleted where it ended before its end was heard of here.
    pub async fn next(&mut self) -> Option<Result<View, Error>> {
        if self.ended {
            return None;
        }
        if !self.sent_any {
            self.sent_any = true;
            let current = Arc::clone(&self.own.borrow_and_update());
            self.follow(&current).await;
            if current.state.is_terminal() || current.sequence > self.after_sequence {
                return Some(Ok(self.show(&current)));
            }
        }
        let end = self.wait().await;
        let current = Arc::clone(&self.own.borrow_and_update());
        self.follow(&current).await;
        match end {
            Err(why) if !current.state.is_terminal() => {
                self.ended = true;
                Some(Err(why))
            }
            Ok(()) | Err(_) => Some(Ok(self.show(&current))),
        }
    }

    /// Until there is something to say, or a reason to end.
    async fn wait(&mut self) -> Result<(), Error> {
        let drain = self.engine.drain().clone();
        let leader_moved = async {
            match &mut self.leader {
                // A closed channel has shown its end; the own channel tells the rest.
                Some(leader) => match leader.changed().await {
                    Ok(()) => {}
                    Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // A channel is closed after its last snapshot, or when what it shows is gone.
            moved = self.own.changed() => moved.map_err(|_| Error::GenerationNotFound),
            () = drain.closing() => Err(Error::Draining),
            () = leader_moved => Ok(()),
            () = time::sleep(REPEAT) => Ok(()),
        }
    }

    /// Watches the generation whose job it shares, also if that is driven elsewhere.
    async fn follow(&mut self, current: &Generation) {
        let watched = self.leader.as_ref().map(|leader| leader.borrow().id);
        if watched != current.leader {
            self.leader = match current.leader {
                Some(leader) => self.engine.watch_leader(leader).await,
                None => None,
            };
        }
    }

    fn show(&mut self, current: &Arc<Generation>) -> View {
        self.ended = current.state.is_terminal();
        self.engine.view(Arc::clone(current))
    }
}
