//! Real sockets on port 0.

mod gone;

use std::net::SocketAddr;

use axum::{Router, routing::get};
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use super::*;
use crate::{
    config::{CorsConfig, DrainConfig},
    door::dispatch::dispatch,
    lifecycle::{Exit, Shutdown, Signal},
    telemetry::Metrics,
};

/// Longer than any step here takes; reaching it fails a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than any socket takes ahead.
const LARGE: usize = 64 << 20;

struct House {
    address: SocketAddr,
    /// One permit for each call of `/never` that has come.
    arrived: Arc<Semaphore>,
    stop: oneshot::Sender<()>,
    exit: oneshot::Receiver<Exit>,
}

/// A house with one listener whose doors close at once when it is stopped.
async fn house(limits: Limits) -> House {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::new(Semaphore::new(0));
    let call_arrived = Arc::clone(&arrived);
    let http = Router::new().route("/livez", get(async || "alive"));
    let http = http.route("/large", get(async || vec![0_u8; LARGE])).route(
        "/never",
        get(async move || {
            call_arrived.add_permits(1);
            std::future::pending::<()>().await;
        }),
    );
    let app = dispatch(Router::new().fallback(async || "grpc"), http, &CorsConfig::Off, &Metrics::new());

    let shutdown = Shutdown::new(DrainConfig { delay: Duration::ZERO, deadline: PATIENCE });
    let (tasks, drain) = (shutdown.tasks(), shutdown.drain());
    let door = tasks.clone();
    tasks.spawn("listener", CONNECTION, async move { serve(listener, app, drain, &door, limits).await });

    let (stop, stopped) = oneshot::channel();
    let (told, exit) = oneshot::channel();
    let signals = stream::once(async move {
        stopped.await.unwrap();
        Signal::Terminate
    });
    #[expect(clippy::disallowed_methods, reason = "the test itself conducts the end")]
    tokio::spawn(async move {
        let signals = Box::pin(signals.chain(stream::pending()));
        told.send(shutdown.run(signals, async {}).await).unwrap();
    });
    House { address, arrived, stop, exit }
}

impl House {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn stop(self) -> Exit {
        self.stop.send(()).unwrap();
        time::timeout(PATIENCE / 2, self.exit).await.expect("the end is bounded").unwrap()
    }
}

fn h2() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap()
}

fn h1() -> reqwest::Client {
    reqwest::Client::builder().http1_only().no_proxy().build().unwrap()
}

#[tokio::test]
async fn both_protocols_are_served_and_unknown_paths_stay_not_found() {
    let house = house(Limits::default()).await;
    for (client, version) in [(h1(), http::Version::HTTP_11), (h2(), http::Version::HTTP_2)] {
        let found = client.get(house.url("/livez")).send().await.unwrap();
        assert_eq!((found.status().as_u16(), found.version()), (200, version));
        let unknown = client.get(house.url("/unknown")).send().await.unwrap();
        assert_eq!(unknown.status().as_u16(), 404, "{version:?}");
        let grpc = client.post(house.url("/a.B/C")).header("content-type", "application/grpc").send().await.unwrap();
        assert_eq!(grpc.text().await.unwrap(), "grpc");
    }
    assert_eq!(house.stop().await, Exit::Clean);
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let house = house(Limits { close_within: PATIENCE, ..Limits::default() }).await;
    let (h1, h2) = (h1(), h2());
    for client in [&h1, &h2] {
        client.get(house.url("/livez")).send().await.unwrap().text().await.unwrap();
    }
    let silent = TcpStream::connect(house.address).await.unwrap();
    let address = house.address;
    assert_eq!(house.stop().await, Exit::Clean);
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    drop(silent);
}

#[tokio::test]
async fn a_call_without_end_is_cut_within_the_bound() {
    let house = house(Limits { close_within: Duration::from_millis(50), ..Limits::default() }).await;
    let stuck = [h1(), h2()].map(|client| client.get(house.url("/never")).send());
    let arrived = Arc::clone(&house.arrived);
    let (answers, exit) = tokio::join!(futures_util::future::join_all(stuck), async {
        let _both = arrived.acquire_many(2).await.unwrap();
        house.stop().await
    });
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(exit, Exit::Clean);
}

#[tokio::test]
async fn a_peer_that_never_says_what_it_speaks_is_dropped() {
    let house = house(Limits { header_read_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    for start in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost:"] {
        let mut peer = TcpStream::connect(house.address).await.unwrap();
        peer.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Bytes left unread make the operating system answer with a reset, which is an end as good as any.
        let _ = time::timeout(PATIENCE, peer.read_to_end(&mut rest)).await.expect("the peer is dropped");
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{start:?}");
    }
    assert_eq!(house.stop().await, Exit::Clean);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_dropped_and_one_that_pauses_is_not() {
    for (write_timeout, is_whole) in [(Duration::from_millis(50), false), (PATIENCE, true)] {
        let house = house(Limits { write_timeout, ..Limits::default() }).await;
        let mut peer = TcpStream::connect(house.address).await.unwrap();
        peer.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        time::sleep(Duration::from_millis(300)).await;
        let mut said = Vec::new();
        // What was sent before may be followed by a reset.
        let _ = time::timeout(PATIENCE, peer.read_to_end(&mut said)).await.expect("the answer ends");
        assert_eq!(said.len() > LARGE, is_whole);
        assert_eq!(house.stop().await, Exit::Clean);
    }
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_for_a_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor { listener, free: Arc::new(Semaphore::new(1)) };
    let _peers = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    let (_, place) = acceptor.accept().await;
    assert!(time::timeout(Duration::from_millis(50), acceptor.accept()).await.is_err());
    drop(place);
    let (_, _place) = time::timeout(PATIENCE, acceptor.accept()).await.expect("the second peer is taken now");
}

#[test]
fn accept_errors_that_last_are_waited_out_longer_and_longer() {
    let full = || io::Error::from_raw_os_error(24);
    let pauses = [0, 1, 2, 9, 1000].map(|n_failures| pause_after(&full(), n_failures).as_millis());
    assert_eq!(pauses, [50, 100, 200, 1000, 1000]);
    assert!(pause_after(&io::ErrorKind::ConnectionAborted.into(), 5).is_zero());
}
