use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{MIDJOURNEY, Midjourney, midjourney, order};
use crate::domain::names::SubmitKey;
use crate::provider::{
    contract, id_of,
    port::{CancelOutcome, Found, Progress, Provider, RemoteOutput, Status, Ticket},
    tests::server::{Asked, Reply, Server},
};

/// What becomes of the submit of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    /// Taken, and the answer is lost.
    Unheard,
    /// Neither taken nor answered.
    Lost,
    QueueFull,
    Refused,
}

/// A proxy whose grid is done, and what it was asked to do with it.
#[derive(Debug)]
struct World {
    fates: BTreeMap<u64, Fate>,
    /// State and number of each step that was taken.
    steps: Vec<(String, u64)>,
    n_submits: BTreeMap<u64, usize>,
    fails: bool,
    lists: bool,
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let grid = json!({ "id": "g", "status": "SUCCESS", "progress": "100%", "imageUrl": "https://h.example/grid.png", "state": "x" });
        match asked.line.as_str() {
            "POST /v1/submit/imagine" => Reply::json(200, &json!({ "code": 1, "result": "g" })),
            "POST /v1/submit/change" => self.take(&asked.json()),
            "GET /v1/task/g/fetch" => Reply::json(200, &grid),
            "GET /v1/task/list" => {
                let steps = self.steps.iter().map(|(state, index)| self.step(state, *index));
                let steps = steps.filter(|_| self.lists);
                Reply::json(200, &steps.chain([grid.clone()]).collect())
            }
            line => {
                let id = line.split('/').nth(3).unwrap();
                let (state, index) = self.steps.iter().find(|(_, index)| format!("u{index}") == id).unwrap();
                Reply::json(200, &self.step(state, *index))
            }
        }
    }

    fn step(&self, state: &str, index: u64) -> Value {
        let status = if self.fails { "FAILURE" } else { "SUCCESS" };
        json!({ "id": format!("u{index}"), "state": state, "status": status, "progress": "100%", "imageUrl": format!("https://h.example/{index}.png") })
    }

    fn take(&mut self, body: &Value) -> Reply {
        let index = body["index"].as_u64().unwrap();
        assert_eq!((&body["taskId"], &body["action"]), (&json!("g"), &json!("UPSCALE")));
        *self.n_submits.entry(index).or_default() += 1;
        let fate = self.fates.remove(&index).unwrap_or(Fate::Taken);
        if matches!(fate, Fate::Taken | Fate::Unheard) {
            self.steps.push((body["state"].as_str().unwrap().to_owned(), index));
        }
        match fate {
            Fate::Taken => Reply::json(200, &json!({ "code": 1, "result": format!("u{index}") })),
            Fate::Unheard | Fate::Lost => Reply::new(500, ""),
            Fate::QueueFull => Reply::json(200, &json!({ "code": 23, "description": "full", "result": null })),
            Fate::Refused => Reply::json(200, &json!({ "code": 4, "description": "no", "result": null })),
        }
    }
}

struct Stage {
    world: Arc<Mutex<World>>,
    server: Server,
    midjourney: Midjourney,
    ticket: Ticket,
}

impl Stage {
    async fn set(fates: &[(u64, Fate)]) -> Self {
        let world = World {
            fates: fates.iter().copied().collect(),
            steps: Vec::new(),
            n_submits: BTreeMap::new(),
            fails: false,
            lists: true,
        };
        let world = Arc::new(Mutex::new(world));
        let answering = Arc::clone(&world);
        let server = Server::start(move |asked| answering.lock().unwrap().answer(asked)).await;
        let midjourney = midjourney(&server.base);
        let ticket = contract::accepted(&midjourney, &order(&midjourney, "imagine")).await;
        Self { world, server, midjourney, ticket }
    }

    async fn poll(&self) -> Progress {
        self.midjourney.poll(&self.ticket).await.unwrap()
    }

    /// Another process goes on with the same ticket.
    fn restart(&mut self) {
        self.midjourney = midjourney(&self.server.base);
    }

    fn n_submits(&self) -> Vec<usize> {
        self.world.lock().unwrap().n_submits.values().copied().collect()
    }

    async fn files(&self) -> Vec<String> {
        let progress = self.poll().await;
        let Status::Done(outputs) = progress.status else { panic!("{progress:?} is not done") };
        assert_eq!(progress.usage.outputs, u32::try_from(outputs.len()).ok());
        let file = |output: &RemoteOutput| match output {
            RemoteOutput::Link(url) => url.path().to_owned(),
            RemoteOutput::Inline(_) => panic!("a file within"),
        };
        outputs.iter().map(file).collect()
    }
}

const ALL: [&str; 4] = ["/1.png", "/2.png", "/3.png", "/4.png"];

#[tokio::test]
async fn each_picture_of_a_grid_is_ordered_once_whoever_asks() {
    let mut stage = Stage::set(&[]).await;
    let progress = stage.poll().await;
    assert!(matches!(progress.status, Status::Running));
    assert_eq!(progress.percent, Some(80));
    assert_eq!(stage.files().await, ALL);
    stage.restart();
    assert_eq!(stage.files().await, ALL);
    assert_eq!(stage.files().await, ALL);
    assert_eq!(stage.n_submits(), [1, 1, 1, 1]);
    assert_eq!(stage.midjourney.id(), &id_of(MIDJOURNEY).unwrap());
}

#[tokio::test]
async fn a_step_whose_answer_was_lost_is_found_by_its_mark_and_not_ordered_again() {
    let mut stage = Stage::set(&[(2, Fate::Unheard)]).await;
    stage.poll().await;
    stage.restart();
    assert_eq!(stage.files().await, ALL);
    assert_eq!(stage.n_submits(), [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_step_that_is_lost_for_good_is_given_up_and_the_others_stand() {
    let stage = Stage::set(&[(3, Fate::Lost)]).await;
    stage.poll().await;
    assert!(matches!(stage.poll().await.status, Status::Running), "it may still show itself");
    a_minute_passes().await;
    assert_eq!(stage.files().await, ["/1.png", "/2.png", "/4.png"]);
    assert_eq!(stage.n_submits(), [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_step_that_was_certainly_not_taken_is_ordered_again() {
    let stage = Stage::set(&[(1, Fate::QueueFull)]).await;
    stage.poll().await;
    assert!(matches!(stage.poll().await.status, Status::Running));
    assert_eq!(stage.files().await, ALL);
    assert_eq!(stage.n_submits(), [2, 1, 1, 1]);
}

#[tokio::test]
async fn the_grid_stands_for_pictures_that_cannot_be_had() {
    let refused = [1, 2, 3, 4].map(|index| (index, Fate::Refused));
    assert_eq!(Stage::set(&refused).await.files().await, ["/grid.png"]);
    let stage = Stage::set(&[]).await;
    stage.world.lock().unwrap().fails = true;
    stage.poll().await;
    assert_eq!(stage.files().await, ["/grid.png"]);
}

/// Long enough for what was lost to have shown itself.
async fn a_minute_passes() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_step_that_no_list_shows_is_never_ordered_by_a_process_that_did_not_see_the_grid_begin() {
    let mut stage = Stage::set(&[]).await;
    stage.world.lock().unwrap().lists = false;
    stage.poll().await;
    stage.restart();
    for _ in 0..3 {
        assert!(matches!(stage.poll().await.status, Status::Running), "it may still show itself");
    }
    a_minute_passes().await;
    assert_eq!(stage.files().await, ["/grid.png"]);
    assert_eq!(stage.n_submits(), [1, 1, 1, 1]);
    // It shows itself after all: the pictures are there for whoever asks again.
    stage.world.lock().unwrap().lists = true;
    assert_eq!(stage.files().await, ALL);
    assert_eq!(stage.n_submits(), [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_process_that_looked_away_for_long_orders_no_step() {
    let stage = Stage::set(&[]).await;
    a_minute_passes().await;
    stage.poll().await;
    a_minute_passes().await;
    assert_eq!(stage.files().await, ["/grid.png"]);
    assert!(stage.n_submits().is_empty());
}

#[tokio::test]
async fn an_order_that_is_to_stop_gets_no_further_step() {
    let stage = Stage::set(&[]).await;
    assert_eq!(stage.midjourney.cancel(&stage.ticket).await.unwrap(), CancelOutcome::TooLate);
    assert_eq!(stage.files().await, ["/grid.png"]);
    assert!(stage.n_submits().is_empty());
}

#[tokio::test]
async fn a_relay_without_a_list_makes_the_pictures_all_the_same() {
    for list in [Reply::new(200, "<!doctype html><html></html>"), Reply::json(404, &json!({}))] {
        let server = Server::start(move |asked| match asked.line.as_str() {
            "POST /v1/submit/imagine" => Reply::json(200, &json!({ "code": 1, "result": "g" })),
            "POST /v1/submit/change" => {
                Reply::json(200, &json!({ "code": 1, "result": format!("u{}", asked.json()["index"]) }))
            }
            "GET /v1/task/list" => list.clone(),
            line => {
                let id = line.split('/').nth(3).unwrap();
                let link = format!("https://h.example/{id}.png");
                Reply::json(200, &json!({ "id": id, "status": "SUCCESS", "imageUrl": link }))
            }
        })
        .await;
        let midjourney = midjourney(&server.base);
        let order = order(&midjourney, "imagine");
        let ticket = contract::accepted(&midjourney, &order).await;
        midjourney.poll(&ticket).await.unwrap();
        let Status::Done(outputs) = midjourney.poll(&ticket).await.unwrap().status else { panic!("not done") };
        assert_eq!(outputs.len(), 4);
        let found = midjourney.find(&order, &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
        assert!(matches!(found, Found::Unsupported));
    }
}

#[tokio::test]
async fn a_task_that_asks_is_told_yes_once() {
    let server = Server::start(|asked| match asked.line.as_str() {
        "POST /v1/submit/modal" => Reply::json(200, &json!({ "code": 1, "result": "g" })),
        _ => Reply::json(200, &json!({ "id": "g", "status": "MODAL", "prompt": "a fox" })),
    })
    .await;
    let midjourney = midjourney(&server.base);
    let ticket = Ticket { account: "open".to_owned(), job: "g".to_owned(), data: Value::Null };
    for _ in 0..3 {
        assert!(matches!(midjourney.poll(&ticket).await.unwrap().status, Status::Waiting));
    }
    let told: Vec<_> = server.asked().into_iter().filter(|asked| asked.line.starts_with("POST")).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json(), json!({ "taskId": "g", "prompt": "a fox" }));
}
