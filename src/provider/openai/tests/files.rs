use super::*;
use crate::{
    domain::{names::SubmitKey, order::InputRole},
    provider::{
        error::{Effect, ErrorKind},
        port::{InputFile, OrderInput, Provider, RemoteOutput},
    },
};
use futures_util::TryStreamExt;

const CLIP: &[u8] = b"the bytes of a clip";

/// What a server's `/content` answers, and its bytes as the adapter opens them.
async fn opened(content: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Result<Vec<u8>, ErrorKind>, Vec<Asked>) {
    let server = Server::start(move |asked| match asked.line.as_str() {
        "GET /file.mp4" => Reply::new(200, CLIP),
        line if line.ends_with("/content") => content(asked),
        _ => {
            let mut job = video("completed");
            job["video_url"] = json!(format!("http://{}/file.mp4", asked.host));
            Reply::json(200, &job)
        }
    })
    .await;
    let openai = openai(&server.base);
    let output = RemoteOutput::Link(openai.address(&["videos", JOB, "content"]));
    let bytes = match openai.open(&output, Some(&ticket())).await {
        Ok(source) => {
            source.stream.try_collect::<Vec<_>>().await.map(|chunks| chunks.concat()).map_err(|error| error.kind)
        }
        Err(error) => Err(error.kind),
    };
    (bytes, server.asked())
}

#[tokio::test]
async fn a_videos_content_comes_however_its_server_hands_it_out() {
    let whole = opened(|_| Reply::new(200, CLIP)).await;
    let by_redirect =
        opened(|asked| Reply::new(307, "").with("location", format!("http://{}/file.mp4", asked.host))).await;
    let by_json = opened(|asked| Reply::json(200, &json!({"url": format!("http://{}/file.mp4", asked.host)}))).await;
    let nested = opened(|asked| {
        Reply::json(200, &json!({"code": 0, "data": {"video": {"url": format!("http://{}/file.mp4", asked.host)}}}))
    })
    .await;
    let of_the_job = opened(|_| Reply::json(404, &json!({"detail": "Not Found"}))).await;
    for (bytes, asked) in [whole, by_redirect, by_json, nested, of_the_job] {
        assert_eq!(bytes.as_deref(), Ok(CLIP));
        assert_eq!(asked[0].line, format!("GET /v1/videos/{JOB}/content"));
        assert_eq!(asked[0].authorization.as_deref(), Some(&*format!("Bearer {KEY}")));
    }
}

#[tokio::test]
async fn json_that_names_no_file_is_no_file() {
    let (bytes, _) = opened(|_| Reply::json(200, &json!({"status": "processing"}))).await;
    assert_eq!(bytes, Err(ErrorKind::Protocol));
    let (bytes, _) = opened(|_| Reply::new(200, "{ not json")).await;
    assert_eq!(bytes, Err(ErrorKind::Protocol));
    let (bytes, _) = opened(|_| Reply::json(200, &json!({"url": "http://10.0.0.1/file.mp4"}))).await;
    assert_eq!(bytes, Err(ErrorKind::Protocol), "a link into a private network");
}

#[tokio::test]
async fn an_input_by_address_is_fetched_without_the_key_and_never_from_our_own_network() {
    let server = Server::always(Reply::json(200, &video("queued"))).await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "sora-2");
    // The API's own host is no exception: a caller must not read with our key what lies there.
    order.inputs =
        vec![OrderInput { role: InputRole::FirstFrame, file: InputFile::Url(server.at("/v1/files/x/content")) }];
    let error = openai.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None));
    assert_eq!(error.field.as_deref(), Some("inputs[0]"));
    assert_eq!(server.lines(), Vec::<String>::new());
}
