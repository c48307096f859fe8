//! Who watches what: one channel a generation, however many watch it. Only the latest snapshot is kept, so a slow watcher costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time};

use super::{Engine, error::Error, view::View};
use crate::{
    domain::{generation::Generation, names::GenerationId},
    telemetry::Watching,
};

/// A silent stream repeats its snapshot after this, so that idle proxies stay open.
const REPEAT: Duration = Duration::from_secs(15);

/// How many ended generations are remembered: news of one may arrive in the wrong order, and must not bring an old state back.
const N_REMEMBERED: usize = 1024;

/// The latest snapshot of every unfinished generation driven or watched here, and of those that ended last.
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

    /// A deleted generation is shown to nobody new.
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
    /// same again after 15 s of silence, last the terminal one, then nothing. `Err(Draining)` while the server shuts down.
    pub async fn next(&mut self) -> Option<Result<View, Error>> {
        if self.ended {
            return None;
        }
        if !self.sent_any {
            self.sent_any = true;
            let current = Arc::clone(&self.own.borrow_and_update());
            self.follow(&current);
            if current.state.is_terminal() || current.sequence > self.after_sequence {
                return Some(Ok(self.show(&current)));
            }
        }
        let drained = self.wait().await;
        let current = Arc::clone(&self.own.borrow_and_update());
        self.follow(&current);
        if drained && !current.state.is_terminal() {
            self.ended = true;
            return Some(Err(Error::Draining));
        }
        Some(Ok(self.show(&current)))
    }

    /// Until there is something to say; true if that is the shutdown.
    async fn wait(&mut self) -> bool {
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
        let own_moved = async {
            if self.own.changed().await.is_err() && !self.own.borrow().state.is_terminal() {
                // Nobody drives it here any more; the repetition and the shutdown still end the wait.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = own_moved => false,
            () = drain.closing() => true,
            () = leader_moved => false,
            () = time::sleep(REPEAT) => false,
        }
    }

    fn follow(&mut self, current: &Generation) {
        let watched = self.leader.as_ref().map(|leader| leader.borrow().id);
        if watched != current.leader {
            let hub = self.engine.hub();
            self.leader = current.leader.and_then(|leader| hub.join(leader));
        }
    }

    fn show(&mut self, current: &Arc<Generation>) -> View {
        self.ended = current.state.is_terminal();
        self.engine.view(Arc::clone(current))
    }
}
