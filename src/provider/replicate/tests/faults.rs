use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use super::{
    order, replicate, replicate_with,
    server::{Reply, Server},
    ticket,
};
use crate::{
    domain::names::{ProviderId, SubmitKey},
    provider::{
        error::{Effect, ErrorKind},
        http::{Http, outcome::Call},
        port::Provider,
    },
};

const SHORT: Duration = Duration::from_millis(100);

/// What a broken server does with a request that it has read.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Says nothing.
    Hang,
    /// Closes the connection.
    Drop,
    /// Sends a part of its answer and closes the connection.
    Truncate,
    /// Sends a part of its answer and then nothing.
    Stall,
}

/// Serves one connection with `fault`; the connection lives until the test ends.
async fn broken(fault: Fault) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            let part = b"HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n{\"id\":";
            match fault {
                Fault::Hang => kept.push(stream),
                Fault::Drop => drop(stream),
                Fault::Truncate => stream.write_all(part).await.unwrap(),
                Fault::Stall => {
                    stream.write_all(part).await.unwrap();
                    kept.push(stream);
                }
            }
        }
    });
    base
}

/// Reads until the body has begun, which is enough: our requests are small and come at once.
async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_may_have_begun() {
    for (fault, kind) in [
        (Fault::Hang, ErrorKind::Timeout),
        (Fault::Drop, ErrorKind::Transport),
        (Fault::Truncate, ErrorKind::Transport),
        (Fault::Stall, ErrorKind::Timeout),
    ] {
        let replicate = replicate_with(&broken(fault).await, SHORT, SHORT);
        let error = replicate.submit(&order(&replicate, "minimax/video-01"), &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, Effect::Maybe), "{fault:?}");
        let error = replicate.poll(&ticket()).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (kind, Effect::None), "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_over_the_cap_is_not_read_to_its_end() {
    let id = ProviderId::from_id("v").unwrap();
    let http = Http::new(&id, Duration::from_secs(30)).unwrap();
    let ask = async |status, call| {
        let server = Server::always(Reply::new(status, "12345")).await;
        http.exchange(call, http.client().get(server.base), 4).await
    };
    let error = ask(200, Call::Submit).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Protocol, Effect::Maybe));
    // What an error status explains may be cut; the status counts.
    assert_eq!(ask(500, Call::Job).await.unwrap().body, "1234");
}

#[tokio::test]
async fn an_order_that_found_no_server_has_not_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let replicate = replicate(&base);
    let error = replicate.submit(&order(&replicate, "minimax/video-01"), &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Transport, Effect::None));
}
