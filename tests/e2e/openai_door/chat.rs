//! Conversations as no official client lets its user see them: every byte of a stream, readers that stall, and callers that go.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client as Http, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{SOON, Server, Setup, Simulator, base_url, setup};

fn body(prompt: &str, stream: bool) -> Value {
    json!({ "model": "gpt-5.4-mini", "messages": [{ "role": "user", "content": prompt }], "stream": stream })
}

async fn post(server: &Server, body: &Value) -> Response {
    let call = Http::new().post(format!("{}/chat/completions", base_url(server))).json(body).send();
    timeout(SOON, call).await.expect("an answer in time").unwrap()
}

/// A connection that has sent a call.
async fn called(server: &Server, body: &Value) -> TcpStream {
    let mut peer = TcpStream::connect(server.addr()).await.unwrap();
    let body = body.to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length";
    peer.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    peer
}

async fn counted(simulator: &Simulator, name: &str, n: u64) {
    let reached = async {
        while simulator.counted("openai", name).await < n {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, reached).await.unwrap_or_else(|_| panic!("there are no {n} {name}"));
}

#[tokio::test]
async fn a_stream_is_data_alone_and_ends_as_done() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let mut asked = body("one two", true);
    asked["stream_options"] = json!({ "include_usage": true, "include_obfuscation": true });
    let answer = post(&server, &asked).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(header("cache-control"), "no-cache");
    assert!(!header("x-request-id").is_empty());
    let text = answer.text().await.unwrap();
    let pieces = text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("{text}"));
    for piece in pieces.split_terminator("\n\n") {
        let piece: Value = serde_json::from_str(piece.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(piece["object"], "chat.completion.chunk");
        assert!(piece.get("usage").is_some(), "{piece}");
    }
}

#[tokio::test]
async fn the_sample_says_that_it_is_one() {
    let server = Setup::sample().start().await;
    for stream in [false, true] {
        let mut asked = body("hello", stream);
        asked["model"] = json!("sample/chat");
        let answer = post(&server, &asked).await;
        assert_eq!(answer.headers()["x-filmgate-sample"], "true");
        assert!(answer.text().await.unwrap().contains("sample"));
    }
}

#[tokio::test]
async fn whoever_hangs_up_ends_it_at_the_provider() {
    let simulator = Simulator::start(&["chat:prompt=[never]:hang"]);
    let server = setup(&simulator).start().await;
    let mut streaming = called(&server, &body("[words=1000000000]", true)).await;
    streaming.read_u8().await.unwrap();
    drop(streaming);
    counted(&simulator, "chats_hung_up", 1).await;
    for (n, stream) in [(2, false), (3, true)] {
        let waiting = called(&server, &body("[never]", stream)).await;
        counted(&simulator, "chats_received", n).await;
        drop(waiting);
        counted(&simulator, "chats_hung_up", n).await;
    }
}

/// A vendor that talks for as long as anybody listens, and counts the bytes that were taken.
async fn endless() -> (SocketAddr, Arc<AtomicU64>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&sent);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        // Who is answered before asking takes it for rubbish.
        let asked = peer.read(&mut [0; 1 << 10]).await.unwrap();
        assert_ne!(asked, 0, "nothing was asked");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        peer.write_all(head.as_bytes()).await.unwrap();
        let piece = json!({ "choices": [{ "index": 0, "delta": { "content": "word ".repeat(200) } }] });
        let event = format!("data: {piece}\n\n");
        while peer.write_all(event.as_bytes()).await.is_ok() {
            count.fetch_add(event.len() as u64, Ordering::Relaxed);
        }
    });
    (addr, sent, serving)
}

/// The count once it stands still.
async fn standing(count: &AtomicU64) -> u64 {
    let mut last = 0;
    let standstill = async {
        loop {
            sleep(Duration::from_millis(300)).await;
            let now = count.load(Ordering::Relaxed);
            if now > 0 && now == last {
                return now;
            }
            last = now;
        }
    };
    timeout(SOON, standstill).await.expect("it stands still")
}

#[tokio::test]
async fn a_reader_that_stalls_stalls_the_provider() {
    let (vendor, sent, _serving) = endless().await;
    let setup = Setup::sample().with("OPENAI_API_KEY", "sk-x").with("OPENAI_BASE_URL", &format!("http://{vendor}/v1"));
    let server = setup.start().await;
    let mut peer = called(&server, &body("talk", true)).await;
    let mut status = [0; 15];
    peer.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    let before = standing(&sent).await;
    assert!(before < 32 << 20, "{before} bytes were taken for a reader that takes none");
    // It goes on where it was as soon as somebody reads.
    let mut read = vec![0; 1 << 20];
    let more = async {
        while sent.load(Ordering::Relaxed) <= before + (4 << 20) {
            peer.read_exact(&mut read).await.unwrap();
        }
    };
    timeout(SOON, more).await.expect("it goes on");
}

#[tokio::test]
async fn a_half_closed_caller_gets_its_answer() {
    let simulator = Simulator::start(&["chat:slow=1500ms"]);
    let server = setup(&simulator).start().await;
    let mut peer = called(&server, &body("hello", false)).await;
    peer.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(SOON, peer.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    assert!(answer.contains("HTTP/1.1 200 OK") && answer.contains("You said: hello"), "{answer}");
}
