use std::time::Duration;

use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

use super::{
    TOKEN, replicate, replicate_with,
    server::{Reply, Server},
};
use crate::provider::{
    contract,
    error::ErrorKind,
    port::{Provider, RemoteOutput},
    replicate::Replicate,
};

async fn refusal(replicate: &Replicate, link: &str) -> ErrorKind {
    let link = RemoteOutput::Link(Url::parse(link).unwrap());
    replicate.open(&link, None).await.unwrap_err().kind
}

#[tokio::test]
async fn a_link_beside_the_api_is_fetched_with_the_key_and_a_foreign_one_without() {
    let api = Server::always(Reply::new(200, "here")).await;
    let foreign = Server::always(Reply::new(200, "there")).await;
    let replicate = replicate(&api.base);
    // The configured host is exempt from the fence, whatever the port; the key is for the API's own origin.
    for (server, expected) in [(&api, "here"), (&foreign, "there")] {
        let output = RemoteOutput::Link(server.at("/out.mp4?sig=1"));
        assert_eq!(contract::bytes(&replicate, &output).await, expected.as_bytes());
    }
    assert_eq!(api.asked()[0].authorization, Some(format!("Bearer {TOKEN}")));
    assert_eq!(foreign.asked()[0].authorization, None);
}

#[tokio::test]
async fn the_key_does_not_follow_a_redirect_to_another_origin() {
    let foreign = Server::always(Reply::new(200, "there")).await;
    let elsewhere = foreign.at("/b");
    let api = Server::start(move |asked| match asked.line.as_str() {
        "GET /a" => Reply::new(302, "").with("location", "/a2"),
        _ => Reply::new(307, "").with("location", &elsewhere),
    })
    .await;
    let output = RemoteOutput::Link(api.at("/a"));
    assert_eq!(contract::bytes(&replicate(&api.base), &output).await, b"there");
    assert!(api.asked().iter().all(|asked| asked.authorization.is_some()));
    assert_eq!(foreign.asked()[0].authorization, None);
}

#[tokio::test]
async fn redirects_end_and_never_lead_into_a_private_network() {
    let api = Server::start(|asked| match asked.line.as_str() {
        "GET /private" => Reply::new(302, "").with("location", "http://10.0.0.1/x"),
        "GET /local" => Reply::new(302, "").with("location", "http://169.254.169.254/x"),
        "GET /nowhere" => Reply::new(302, ""),
        "GET /file" => Reply::new(302, "").with("location", "file:///etc/passwd"),
        _ => Reply::new(302, "").with("location", "/again"),
    })
    .await;
    let replicate = replicate(&api.base);
    for path in ["/private", "/local", "/nowhere", "/file"] {
        assert_eq!(refusal(&replicate, api.at(path).as_str()).await, ErrorKind::Protocol, "{path}");
    }
    assert_eq!(refusal(&replicate, api.at("/again").as_str()).await, ErrorKind::Protocol);
    assert_eq!(api.lines().iter().filter(|line| *line == "GET /again").count(), 6);
}

#[tokio::test]
async fn links_into_our_own_network_and_plain_ones_are_refused() {
    let replicate = replicate(&Url::parse("https://api.replicate.com/v1").unwrap());
    for link in [
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest",
        "https://localhost/x",
        "http://replicate.delivery/x",
        "file:///etc/passwd",
    ] {
        assert_eq!(refusal(&replicate, link).await, ErrorKind::Protocol, "{link}");
    }
}

#[tokio::test]
async fn a_status_tells_an_expired_link_from_a_busy_host() {
    for (status, kind) in [
        (403, ErrorKind::LinkExpired),
        (404, ErrorKind::LinkExpired),
        (410, ErrorKind::LinkExpired),
        (429, ErrorKind::Overloaded),
        (500, ErrorKind::Overloaded),
        (503, ErrorKind::Overloaded),
        (401, ErrorKind::Unauthenticated),
        (418, ErrorKind::Protocol),
    ] {
        let server = Server::always(Reply::new(status, "x").with("retry-after", 3)).await;
        let link = RemoteOutput::Link(server.at("/x"));
        let error = replicate(&server.base).open(&link, None).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after.map(|wait| wait.as_secs())), (kind, Some(3)), "{status}");
    }
}

#[tokio::test]
async fn the_length_of_an_encoded_body_is_not_the_files() {
    let length = async |reply: Reply| {
        let server = Server::always(reply).await;
        replicate(&server.base).open(&RemoteOutput::Link(server.at("/x")), None).await.unwrap().length
    };
    assert_eq!(length(Reply::new(200, "1234")).await, Some(4));
    assert_eq!(length(Reply::new(200, "1234").with("content-encoding", "br")).await, None);
}

#[tokio::test]
async fn a_download_ends_when_it_is_silent_or_cut_off() {
    for (is_cut, kind) in [(true, ErrorKind::Transport), (false, ErrorKind::Timeout)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
            (!is_cut).then_some(stream)
        });
        let link = RemoteOutput::Link(base.join("/x").unwrap());
        let replicate = replicate_with(&base, Duration::from_secs(30), Duration::from_millis(200));
        let mut source = replicate.open(&link, None).await.unwrap();
        assert_eq!(source.length, Some(10));
        assert_eq!(source.stream.next().await.unwrap().unwrap(), "abc");
        assert_eq!(source.stream.next().await.unwrap().unwrap_err().kind, kind);
        assert!(source.stream.next().await.is_none());
        drop(server.await.unwrap());
    }
}
