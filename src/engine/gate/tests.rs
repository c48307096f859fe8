use futures_util::FutureExt;

use super::*;

fn gate(n_places: usize) -> Arc<Gate> {
    let limit = Limit { concurrency: Some(1), rate: None };
    Arc::new(Gate::new(n_places, [("narrow".to_owned(), limit)].into(), Arc::default()))
}

fn model(name: &str) -> ModelName {
    format!("fal/{name}").parse().unwrap()
}

#[tokio::test]
async fn the_queue_moves_up_as_places_are_freed() {
    let (gate, wide) = (gate(1), model("wide"));
    let [first, second, third] = [(); 3].map(|()| GenerationId::fresh());
    let slot = gate.enter(first, &wide).await;
    let mut waits_second = Box::pin(gate.enter(second, &wide));
    let mut waits_third = Box::pin(gate.enter(third, &wide));
    assert!((&mut waits_second).now_or_never().is_none() && (&mut waits_third).now_or_never().is_none());
    assert_eq!((gate.position(first), gate.position(second), gate.position(third)), (None, Some(1), Some(2)));
    drop(slot);
    let _slot = waits_second.await;
    assert_eq!((gate.position(second), gate.position(third)), (None, Some(1)));
    assert_eq!((gate.n_running(), gate.n_queued()), (1, 1));
    drop(waits_third);
    assert_eq!(gate.n_queued(), 0);
}

#[tokio::test]
async fn who_comes_back_goes_before_who_came_later() {
    let (gate, wide) = (gate(1), model("wide"));
    let [old, new] = [(); 2].map(|()| GenerationId::fresh());
    let slot = gate.enter(GenerationId::fresh(), &wide).await;
    let mut waits_new = Box::pin(gate.enter(new, &wide));
    assert!((&mut waits_new).now_or_never().is_none());
    let mut waits_old = Box::pin(gate.enter(old, &wide));
    assert!((&mut waits_old).now_or_never().is_none());
    assert_eq!((gate.position(old), gate.position(new)), (Some(1), Some(2)));
    drop(slot);
    assert!((&mut waits_new).now_or_never().is_none());
    drop(waits_old.await);
    waits_new.await;
}

#[tokio::test]
async fn a_model_at_its_own_limit_keeps_no_other_waiting() {
    let (gate, wide, narrow) = (gate(3), model("wide"), model("narrow"));
    let slot = gate.enter(GenerationId::fresh(), &narrow).await;
    let mut waits = Box::pin(gate.enter(GenerationId::fresh(), &narrow));
    assert!((&mut waits).now_or_never().is_none());
    assert!(!gate.is_free(&narrow) && gate.is_free(&wide));
    let _other = gate.enter(GenerationId::fresh(), &wide).await;
    assert_eq!((gate.n_places_of(&narrow), gate.n_places_of(&wide), gate.n_running()), (1, 3, 2));
    drop(slot);
    waits.await;
}

#[tokio::test]
async fn a_place_on_its_way_to_who_left_goes_to_the_next() {
    let (gate, wide) = (gate(1), model("wide"));
    let slot = gate.enter(GenerationId::fresh(), &wide).await;
    let mut leaves = Box::pin(gate.enter(GenerationId::fresh(), &wide));
    let mut stays = Box::pin(gate.enter(GenerationId::fresh(), &wide));
    assert!((&mut leaves).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
    drop(slot);
    drop(leaves);
    stays.await;
    assert_eq!((gate.n_running(), gate.n_queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_was_held_back_by_the_store_asks_again_one_at_a_time() {
    let (gate, wide) = (gate(3), model("wide"));
    drop(gate.enter(GenerationId::fresh(), &wide).await);
    gate.hold_back(Bound::Provider, &wide, Some(Duration::from_secs(20)));
    assert!(!gate.is_free(&wide));
    let began = Instant::now();
    let mut first = gate.enter(GenerationId::fresh(), &wide).await;
    assert_eq!(began.elapsed().as_secs(), 20);
    let mut second = Box::pin(gate.enter(GenerationId::fresh(), &wide));
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(gate.n_queued(), 1);
    first.let_others_ask();
    second.await;
}

#[test]
fn a_job_already_at_the_provider_takes_a_place_only_if_one_is_free() {
    let gate = gate(1);
    let adopted = gate.adopt(&model("wide"));
    assert!(adopted.is_some() && gate.adopt(&model("wide")).is_none());
}
