//! What comes over a socket, byte by byte: pipelines, ends of one side, floods, and requests that no client of good manners sends.

use std::{net::SocketAddr, time::Duration};

use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, video},
};

/// Starts a connection of HTTP/2: preface and empty SETTINGS.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The whole request `GET /livez` on a stream of its own.
fn get_livez(stream: u32) -> Vec<u8> {
    // GET, http, and a path and an authority that are not remembered.
    frame(HEADERS, 0x5, stream, b"\x82\x86\x04\x06/livez\x01\x01x")
}

/// What the server says until it hangs up.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = timeout(SOON, stream.read_to_end(&mut said)).await.expect("the server hangs up");
    said
}

/// Sends `bytes`, ends this side, and reads everything.
async fn said_to(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8_lossy(&rest(&mut stream).await).into_owned()
}

async fn is_well(server: &Server) {
    let asked = Instant::now();
    let answer =
        timeout(SOON, reqwest::get(format!("http://{}/livez", server.addr()))).await.expect("it answers").unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(asked.elapsed() < Duration::from_secs(5), "others are not held up: {:?}", asked.elapsed());
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_their_order() {
    let server = Setup::sample().start().await;
    let film = server.generate(video("in a pipeline")).await.unwrap();
    let body = r#"{"a": "b"}"#;
    let requests = [
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: n0\r\n\r\n".to_owned(),
        format!("GET {} HTTP/1.1\r\nHost: x\r\nX-Request-Id: n1\r\n\r\n", film.artifacts[0].http_path),
        format!("POST /webhooks/a/b/c HTTP/1.1\r\nHost: x\r\nX-Request-Id: n2\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        "GET /nothing HTTP/1.1\r\nHost: x\r\nX-Request-Id: n3\r\n\r\n".to_owned(),
        "POST /webhooks/a/b/c HTTP/1.1\r\nHost: x\r\nX-Request-Id: n4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "GET /readyz HTTP/1.1\r\nHost: x\r\nX-Request-Id: n5\r\nConnection: close\r\n\r\n".to_owned(),
    ];
    let said = said_to(server.addr(), requests.concat().as_bytes()).await;
    let at: Vec<_> = (0..6).map(|n| said.find(&format!("x-request-id: n{n}\r\n")).expect("each is answered")).collect();
    assert!(at.is_sorted(), "{at:?}");
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 3);
    assert_eq!(said.matches("HTTP/1.1 404 Not Found\r\n").count(), 3);
    assert!(said.ends_with("ready\n"));
}

#[tokio::test]
async fn who_says_no_more_still_hears_the_whole_answer() {
    const BYTES: usize = 20_000_000;
    let simulator = Simulator::start(&[&format!("create:prompt=large:size={BYTES}"), "create:prompt=long:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let large = server.generate(video("large")).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", large.artifacts[0].http_path);
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(rest(&mut stream).await.len() > BYTES);

    // The same of a stream whose end is still to come.
    let order = server.order(video("long")).await.unwrap();
    server.until(&order.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    let name = order.name.as_bytes();
    let length = u8::try_from(name.len()).unwrap();
    let message = [&[0, 0, 0, 0, length + 2, 0x0a, length][..], name].concat();
    let head = format!(
        "POST /filmgate.v1.GenerationService/WatchGeneration HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/grpc-web\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(&[head.as_bytes(), &message].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut first = vec![0; 16];
    timeout(SOON, stream.read_exact(&mut first)).await.expect("the answer begins").unwrap();
    simulator.control("release", serde_json::json!({})).await;
    let said = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
    assert!(said.contains("grpc-status:0"), "{said}");
}

#[tokio::test]
async fn odd_requests_are_answered_or_refused_and_cost_nothing() {
    let server = Setup::sample().start().await;
    let addr = server.addr();
    let host = "Host: x\r\nConnection: close\r\n\r\n";
    for (request, expected) in [
        (format!("GET http://films.example/livez HTTP/1.1\r\n{host}"), "200"),
        (format!("GET /livez?%ff=%zz HTTP/1.1\r\n{host}"), "200"),
        (format!("OPTIONS * HTTP/1.1\r\n{host}"), "404"),
        (format!("CONNECT films.example:443 HTTP/1.1\r\n{host}"), "404"),
        (format!("TRACE /livez HTTP/1.1\r\n{host}"), "405"),
        (format!("BREW /livez HTTP/1.1\r\n{host}"), "405"),
        (format!("GET /artifacts/%ff%fe HTTP/1.1\r\n{host}"), "404"),
        (format!("GET /%c3%28/%00 HTTP/1.1\r\n{host}"), "404"),
        (format!("GET /{} HTTP/1.1\r\n{host}", "x".repeat(60_000)), "404"),
        (format!("GET /{} HTTP/1.1\r\n{host}", "x".repeat(70_000)), "414"),
        (format!("GET /livez HTTP/1.1\r\n{}{host}", "a: b\r\n".repeat(200)), "431"),
        (format!("GET /livez HTTP/1.1\r\nX: {}\r\n{host}", "x".repeat(1 << 20)), "431"),
        ("GET /livez HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost: x\r\n\r\n".to_owned(), "200"),
        ("GET /livez HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: x\r\n\r\n".to_owned(), "200"),
        ("GET /livez HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(), "400"),
        ("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(), "400"),
    ] {
        let said = said_to(addr, request.as_bytes()).await;
        let what = request.chars().take(60).collect::<String>();
        assert_eq!(said.get(9..12), Some(expected), "{what}: {}", said.chars().take(300).collect::<String>());
    }
    for (what, request) in [
        ("path", &b"GET /livez\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"[..]),
        ("name", b"GET /livez HTTP/1.1\r\nHost: x\r\nX\xff: y\r\nConnection: close\r\n\r\n"),
        ("value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: \xff\xc3\x28\r\nUser-Agent: \xff\r\nConnection: close\r\n\r\n"),
        ("body", b"POST /webhooks/a/b/c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\xff\xfe"),
    ] {
        let said = said_to(addr, request).await;
        assert!(["200", "400", "404"].contains(&said.get(9..12).unwrap_or_default()), "{what}: {said}");
    }
    is_well(&server).await;
}

#[tokio::test]
async fn a_refused_upload_is_heard_out_so_that_its_sender_sees_why() {
    const LENGTH: usize = 64 << 20;
    let server = Setup::sample().start().await;
    for head in ["POST /webhooks/a/b/c", "POST /nothing", "PUT /livez"] {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let head = format!("{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // As most clients do, everything is sent before anything is read.
        let body = vec![b'x'; LENGTH];
        timeout(SOON, stream.write_all(&body)).await.expect("it is taken").expect("and not reset");
        let said = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
        assert!(said.starts_with("HTTP/1.1 40") && said.contains("x-request-id: "), "{head}: {said}");
    }
    is_well(&server).await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_holds_nobody_up() {
    const BYTES: usize = 12_000_000;
    let simulator = Simulator::start(&[&format!("create:size={BYTES}")]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let film = server.generate(video("read slowly")).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", film.artifacts[0].http_path);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8192).unwrap();
        let mut stream = socket.connect(server.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        readers.push(stream);
    }
    is_well(&server).await;
    let mut stream = readers.pop().unwrap();
    let mut piece = vec![0; 4096];
    for _ in 0..20 {
        stream.read_exact(&mut piece).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    assert!(rest(&mut stream).await.len() + 20 * piece.len() > BYTES);
    drop(readers);
    is_well(&server).await;
}

/// Sends `flood` until the server ends the connection or `at_most` times; whether it said GOAWAY.
async fn flooded(addr: SocketAddr, at_most: usize, mut flood: impl FnMut(usize) -> Vec<u8>) -> bool {
    let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
    let sent = async {
        writer.write_all(HELLO).await?;
        for n in 0..at_most {
            writer.write_all(&flood(n)).await?;
        }
        writer.shutdown().await
    };
    let heard = async {
        let mut said = Vec::new();
        // A peer that floods may find its connection reset.
        let _ = reader.read_to_end(&mut said).await;
        said
    };
    let (_, said) = timeout(SOON, async { tokio::join!(sent, heard) }).await.expect("the connection ends");
    kinds(&said).contains(&GOAWAY)
}

/// The kinds of the frames in `bytes`.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_one_connection_is_its_own_trouble() {
    let server = Setup::sample().start().await;
    let addr = server.addr();
    let stream = |n: usize| u32::try_from(n).unwrap() * 2 + 1;
    let resets = |n| [get_livez(stream(n)), frame(RST_STREAM, 0, stream(n), &8_u32.to_be_bytes())].concat();
    // A hundred pairs in one packet, so that none is answered before it is taken back.
    let burst = |n: usize| (n * 100..(n + 1) * 100).flat_map(resets).collect();
    let (by_resets, by_settings, by_pings, ()) = tokio::join!(
        flooded(addr, 1000, burst),
        flooded(addr, 20_000, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        flooded(addr, 20_000, |_| frame(PING, 0, 0, &[0; 8])),
        async {
            for _ in 0..20 {
                is_well(&server).await;
            }
        },
    );
    assert!(by_resets, "who takes back what it asks for is sent away");
    // The others cost a frame each way and nothing is kept; that they end without harm is all.
    let _ = (by_settings, by_pings);
    is_well(&server).await;
    assert!(!server.setup().log().contains("panicked"), "{}", server.setup().log());
}
