//! Below the contract: HTTP/1.1 and HTTP/2 on one port, and peers that do not behave.

use std::net::SocketAddr;

use filmgate::pb::v1::{GetGenerationRequest, ListModelsRequest, State, WatchGenerationRequest};
use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode, Version, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    simulator::Simulator,
    support::server::{SOON, Setup, video},
};

fn clients() -> [(Version, Client); 2] {
    [
        (Version::HTTP_11, Client::builder().http1_only().build().unwrap()),
        (Version::HTTP_2, Client::builder().http2_prior_knowledge().build().unwrap()),
    ]
}

#[tokio::test]
async fn both_versions_of_http_are_answered_on_one_port() {
    let server = Setup::sample().start().await;
    let url = |path: &str| format!("http://{}{path}", server.addr());
    for (version, client) in clients() {
        let live = client.get(url("/livez")).send().await.unwrap();
        assert_eq!((live.version(), live.status()), (version, StatusCode::OK));
        for path in ["/", "/nothing", "/artifacts", "/artifacts/", "/../etc/passwd", "/%00", "//", "/livez/x"] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let answer = client.request(method.clone(), url(path)).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
                let body: Value = answer.json().await.unwrap();
                assert!(body["error"]["code"].is_string(), "{method} {path}: {body}");
            }
        }
        // A call of gRPC by a program that does not speak it.
        let call = url("/filmgate.v1.ModelService/ListModels");
        for content_type in ["application/json", "text/plain", "application/x-protobuf"] {
            let answer = client.post(&call).header(CONTENT_TYPE, content_type).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{content_type}");
        }
        // One of the browsers' dialect without a message, and one in a form of it that is not served.
        let web = client.post(&call).header(CONTENT_TYPE, "application/grpc-web+proto").send().await.unwrap();
        assert_eq!(web.headers()["grpc-status"], "3", "{web:?}");
        let json = client.post(&call).header(CONTENT_TYPE, "application/grpc-web+json").send().await.unwrap();
        assert!(json.status().is_client_error(), "{json:?}");
        // And one that says it does, of a method that is not there, and with bytes that are no frame.
        let unknown = client.post(url("/filmgate.v1.ModelService/Nothing")).header(CONTENT_TYPE, "application/grpc");
        let answer = unknown.send().await.unwrap();
        assert_eq!((answer.status(), answer.headers()["grpc-status"].as_bytes()), (StatusCode::OK, &b"12"[..]));
        let rubbish = client.post(&call).header(CONTENT_TYPE, "application/grpc").body("not a frame").send().await;
        let answer = rubbish.unwrap();
        assert_eq!((answer.status(), answer.headers()["grpc-status"].as_bytes()), (StatusCode::OK, &b"3"[..]));
    }
}

/// What the server says to these bytes, until it hangs up.
async fn said_to(addr: SocketAddr, bytes: &[u8], half_close: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if half_close {
        stream.shutdown().await.unwrap();
    }
    let mut said = Vec::new();
    // A reset is as good an answer to rubbish as any.
    let _ = timeout(SOON, stream.read_to_end(&mut said)).await.expect("the server hangs up");
    said
}

#[tokio::test]
async fn half_closed_sockets_and_rubbish_cost_nothing() {
    let server = Setup::sample().start().await;
    let addr = server.addr();
    // A peer that has nothing more to say may still listen.
    let said = said_to(addr, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", true).await;
    assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&said));
    for rubbish in [
        &b""[..],
        b"\0",
        b"\r\n\r\n",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nno",
    ] {
        said_to(addr, rubbish, true).await;
    }
    let mut header = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
    header.resize(2 << 20, b'a');
    said_to(addr, &header, true).await;
    let answer = reqwest::get(format!("http://{addr}/readyz")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn two_thousand_streams_share_one_connection() {
    /// One less than the server's limit for a connection: a call more would wait for the end of a stream.
    const N_WATCHES: usize = 1999;
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = server.order(video("watched by many")).await.unwrap();
    let client = server.generations().await;
    let watches = (0..N_WATCHES).map(|_| {
        let mut client = client.clone();
        let request = WatchGenerationRequest { name: order.name.clone(), after_sequence: 0 };
        async move {
            let mut stream = client.watch_generation(request).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
            stream
        }
    });
    let watches = timeout(SOON, join_all(watches)).await.expect("all are open at once");
    // Beside them on the same connection, and on another.
    let request = GetGenerationRequest { name: order.name.clone() };
    let call = timeout(SOON, client.clone().get_generation(request)).await.expect("the last place is free").unwrap();
    assert_eq!(call.into_inner().generation.unwrap().name, order.name);
    let call = server.models().await.list_models(ListModelsRequest::default()).await.unwrap();
    assert!(!call.into_inner().models.is_empty());
    simulator.control("release", serde_json::json!({})).await;
    let ends = watches.into_iter().map(|mut stream| async move {
        let mut last = None;
        while let Some(message) = stream.message().await.unwrap() {
            last = message.generation;
        }
        last.unwrap().state()
    });
    let ends = timeout(SOON, join_all(ends)).await.expect("all end");
    assert!(ends.iter().all(|state| *state == State::Succeeded));
}
