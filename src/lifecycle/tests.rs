//! Order, bound and haste, in paused time.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt, stream};
use tokio::sync::mpsc;

use super::*;

const CONFIG: DrainConfig = DrainConfig { delay: Duration::from_secs(5), deadline: Duration::from_secs(30) };
const WAIT: Policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };
const ABORT: Policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::Log };
const VITAL: Policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };

/// What happened, with the seconds since the start.
#[derive(Clone)]
struct Diary {
    start: Instant,
    lines: Arc<Mutex<Vec<(u64, &'static str)>>>,
}

impl Diary {
    fn new() -> Self {
        Self { start: Instant::now(), lines: Arc::default() }
    }

    fn write(&self, line: &'static str) {
        self.lines.lock().unwrap().push((self.start.elapsed().as_secs(), line));
    }

    fn lines(&self) -> Vec<(u64, &'static str)> {
        self.lines.lock().unwrap().clone()
    }
}

#[expect(clippy::unused_async, reason = "it stands for a task")]
async fn panics(text: &str) {
    panic!("{text}");
}

/// A stream that gives this many signals and then none for ever.
fn signals(count: usize) -> impl Stream<Item = Signal> + Unpin {
    stream::iter(vec![Signal::Terminate; count]).chain(stream::pending())
}

#[tokio::test(start_paused = true)]
async fn phases_come_in_order_and_each_waits_for_the_one_before() {
    let (shutdown, diary) = (Shutdown::new(CONFIG), Diary::new());
    let (drain, tasks) = (shutdown.drain(), shutdown.tasks());
    assert!(!drain.is_draining());

    let (door, book) = (drain.clone(), diary.clone());
    tasks.spawn("door", WAIT, async move {
        let _open = door.open_door();
        door.draining().await;
        assert!(door.is_draining());
        book.write("unready");
        door.closing().await;
        book.write("closing");
        time::sleep(Duration::from_secs(3)).await;
        book.write("closed");
    });
    let (worker, book) = (drain.clone(), diary.clone());
    tasks.spawn("worker", WAIT, async move {
        worker.finishing().await;
        book.write("finishing");
        time::sleep(Duration::from_secs(4)).await;
        book.write("finished");
    });

    let exit = shutdown.run(signals(1), async { diary.write("flush") }).await;
    assert_eq!(exit, Exit::Clean);
    let expected = [(0, "unready"), (5, "closing"), (8, "closed"), (8, "finishing"), (12, "finished"), (12, "flush")];
    assert_eq!(diary.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn whatever_hangs_the_end_comes_by_the_deadline() {
    let (shutdown, diary) = (Shutdown::new(CONFIG), Diary::new());
    let tasks = shutdown.tasks();
    let drain = shutdown.drain();
    tasks.spawn("slow reader", WAIT, async move {
        let _open = drain.open_door();
        pending::<()>().await;
    });
    let (worker, book) = (shutdown.drain(), diary.clone());
    tasks.spawn("worker", WAIT, async move {
        worker.finishing().await;
        book.write("finishing");
    });

    let exit = shutdown.run(signals(1), pending()).await;
    assert_eq!(exit, Exit::Overdue(vec!["slow reader"]));
    assert_eq!(diary.lines(), [(16, "finishing")], "closing has half of the 23 seconds between delay and flush");
    assert_eq!(diary.start.elapsed(), CONFIG.deadline);
    tasks.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_it_at_once_in_any_phase() {
    for first_ends_after in [0, 6, 20] {
        let (shutdown, diary) = (Shutdown::new(CONFIG), Diary::new());
        let tasks = shutdown.tasks();
        tasks.spawn("stuck", WAIT, pending::<()>());
        let (send, receive) = mpsc::channel(2);
        tasks.spawn("keyboard", ABORT, {
            let send = send.clone();
            async move {
                send.send(Signal::Interrupt).await.unwrap();
                time::sleep(Duration::from_secs(first_ends_after)).await;
            }
        });
        tasks.spawn("keyboard again", WAIT, async move {
            time::sleep(Duration::from_secs(first_ends_after)).await;
            send.send(Signal::Interrupt).await.unwrap();
        });
        let exit = shutdown.run(tokio_stream::wrappers::ReceiverStream::new(receive), pending()).await;
        assert_eq!(exit, Exit::Hurried);
        assert_eq!(diary.start.elapsed(), Duration::from_secs(first_ends_after));
        tasks.finished().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_a_vital_task_ends_the_process_in_order() {
    let (shutdown, diary) = (Shutdown::new(CONFIG), Diary::new());
    shutdown.tasks().spawn("store", VITAL, async { Err::<(), _>("disk is gone") });
    let exit = shutdown.run(signals(0), async { diary.write("flush") }).await;
    assert_eq!(exit, Exit::Failed("store"));
    assert!(!exit.is_clean());
    assert_eq!(diary.lines(), [(5, "flush")]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_follows_the_policy_of_failure() {
    let shutdown = Shutdown::new(CONFIG);
    let tasks = shutdown.tasks();
    tasks.spawn("minor", WAIT, panics("minor"));
    time::sleep(Duration::from_secs(1)).await;
    assert!(tasks.running().is_empty(), "the task is gone");
    assert!(tasks.failure().now_or_never().is_none(), "and the process goes on");

    tasks.spawn("major", VITAL, panics("major"));
    assert_eq!(shutdown.run(signals(0), async {}).await, Exit::Failed("major"));
}

#[tokio::test(start_paused = true)]
async fn tasks_that_may_stop_anywhere_are_dropped_when_doors_close() {
    let (shutdown, diary) = (Shutdown::new(CONFIG), Diary::new());
    struct Bell(Diary);
    impl Drop for Bell {
        fn drop(&mut self) {
            self.0.write("dropped");
        }
    }
    let bell = Bell(diary.clone());
    shutdown.tasks().spawn("sweeper", ABORT, async move {
        let _bell = bell;
        pending::<()>().await;
    });
    assert_eq!(shutdown.run(signals(1), async {}).await, Exit::Clean);
    assert_eq!(diary.lines(), [(5, "dropped")]);
}

#[tokio::test]
async fn the_operating_systems_signals_arrive() {
    let mut signals = os_signals().unwrap();
    for (flag, expected) in [("-TERM", Signal::Terminate), ("-INT", Signal::Interrupt), ("-TERM", Signal::Terminate)] {
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([flag, &own]).status().unwrap().success());
        assert_eq!(signals.next().await, Some(expected));
    }
}

#[test]
fn failures_are_told_with_their_causes_and_panics_with_their_text() {
    assert_eq!(().failure(), None);
    assert_eq!(Ok::<(), String>(()).failure(), None);
    let error = anyhow::anyhow!("cause").context("effect");
    assert_eq!(Err::<(), _>(error).failure().as_deref(), Some("effect: cause"));
    let panic = std::panic::catch_unwind(|| panic!("text {}", 7)).unwrap_err();
    assert_eq!(tasks::panic_text(panic.as_ref()), "text 7");
}
