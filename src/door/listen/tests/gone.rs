//! A peer that has gone in the middle of its call, and one that only has nothing more to say.

use super::*;

/// A server with one call, `/slow`: it tells that it began, answers when it is let, and tells when it is dropped before.
struct Slow {
    address: SocketAddr,
    events: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
    _shutdown: Shutdown,
}

/// Adds a permit when it is dropped.
struct OnDrop(Arc<Semaphore>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

async fn slow() -> Slow {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let [events, dropped, go_on] = [(); 3].map(|()| Arc::new(Semaphore::new(0)));
    let (began, gone, let_go) = (Arc::clone(&events), Arc::clone(&dropped), Arc::clone(&go_on));
    let app = Router::new().route(
        "/slow",
        get(async move || {
            let _guard = OnDrop(gone);
            began.add_permits(1);
            let_go.acquire().await.unwrap().forget();
            "at last"
        }),
    );
    let shutdown = Shutdown::new(DrainConfig { delay: Duration::ZERO, deadline: PATIENCE });
    let (tasks, drain) = (shutdown.tasks(), shutdown.drain());
    let door = tasks.clone();
    tasks.spawn("listener", CONNECTION, async move { serve(listener, app, drain, &door, Limits::default()).await });
    Slow { address, events, dropped, go_on, _shutdown: shutdown }
}

impl Slow {
    /// A peer whose call has begun.
    async fn call(&self, version: &str) -> TcpStream {
        let mut peer = TcpStream::connect(self.address).await.unwrap();
        let call = format!("GET /slow HTTP/{version}\r\nhost: x\r\n\r\n");
        peer.write_all(call.as_bytes()).await.unwrap();
        happened(&self.events).await;
        peer
    }
}

async fn happened(event: &Semaphore) {
    time::timeout(PATIENCE, event.acquire()).await.expect("it happens").unwrap().forget();
}

async fn read_until(peer: &mut TcpStream, mark: &str) -> String {
    let mut read = Vec::new();
    let until = async {
        while !String::from_utf8_lossy(&read).contains(mark) {
            assert_ne!(peer.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
    };
    time::timeout(PATIENCE, until).await.expect("it comes");
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn the_call_of_a_peer_that_has_gone_is_dropped() {
    let server = slow().await;
    drop(server.call("1.1").await);
    happened(&server.dropped).await;
}

#[tokio::test]
async fn a_peer_with_nothing_more_to_say_gets_its_answer() {
    let server = slow().await;
    let mut peer = server.call("1.1").await;
    peer.shutdown().await.unwrap();
    let asked = read_until(&mut peer, "\r\n\r\n").await;
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    server.go_on.add_permits(1);
    let answer = read_until(&mut peer, "at last").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_quick_answer_and_an_old_peer_come_without_a_question() {
    let server = slow().await;
    for version in ["1.1", "1.0"] {
        let mut peer = server.call(version).await;
        peer.shutdown().await.unwrap();
        server.go_on.add_permits(1);
        assert!(read_until(&mut peer, "at last").await.starts_with(&format!("HTTP/{version} 200")));
    }
}
