//! Links that work without a header, for a while: of the bucket, or of the server where artifacts are in its folder.

use std::time::Duration;

use filmgate::pb::v1::{Artifact, CreateArtifactLinkRequest, CreateArtifactLinkResponse, artifact_service_client};
use prost_types::Duration as Ttl;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE, RANGE},
};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tonic::{Request, Status};

use super::with_video;
use crate::support::{
    objects::{ObjectServer, SECRET, TOKEN},
    refusals::{invalid, not_found, refusal},
    server::{SOON, Server, Setup, video},
};

const TENANT: &str = "acme";
/// Everything, also of dependencies, which are quiet unless spoken of.
const LOUD: &str =
    "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace,reqwest=trace,rustls=trace,object_store=trace";

/// Checks that neither a link nor what signs it was written down.
fn assert_discreet(server: &Server, link: &str) {
    let log = server.setup().log();
    assert!(log.contains("CreateArtifactLink"), "the log was meant to be loud");
    let (_, signature) =
        link.to_lowercase().split_once("signature=").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    for secret in [&signature, SECRET, TOKEN] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

fn of_tenant<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-filmgate-tenant", TENANT.parse().unwrap());
    request
}

async fn client(server: &Server) -> artifact_service_client::ArtifactServiceClient<tonic::transport::Channel> {
    server.artifacts().await
}

/// Made by another tenant than those who name none.
async fn made(server: &Server) -> Artifact {
    let mut stream = server.generations().await.generate_video(of_tenant(video("a fox"))).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.unwrap().unwrap() {
        last = message.generation;
    }
    last.unwrap().artifacts.remove(0)
}

async fn link(
    server: &Server,
    name: &str,
    ttl: Option<i64>,
    file_name: &str,
) -> Result<CreateArtifactLinkResponse, Status> {
    let ttl = ttl.map(|seconds| Ttl { seconds, nanos: 0 });
    let request = CreateArtifactLinkRequest { name: name.to_owned(), ttl, file_name: file_name.to_owned() };
    Ok(client(server).await.create_artifact_link(of_tenant(request)).await?.into_inner())
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> &str {
    response.headers()[name].to_str().unwrap()
}

/// Seconds from now to the end of a link.
fn seconds_left(link: &CreateArtifactLinkResponse) -> i64 {
    link.expire_time.unwrap().seconds - jiff::Timestamp::now().as_second()
}

async fn refused(url: &str) -> (StatusCode, String) {
    let answer = reqwest::get(url).await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_link_of_the_server_gives_one_artifact_without_a_header_until_its_end() {
    let server = Setup::sample().with("FILMGATE_LOG", LOUD).start().await;
    let artifact = made(&server).await;
    let plain = format!("http://{}{}", server.addr(), artifact.http_path);
    assert_eq!(reqwest::get(&plain).await.unwrap().status(), StatusCode::NOT_FOUND, "it is of another tenant");

    let given = link(&server, &artifact.name, None, "").await.unwrap();
    assert!(given.url.starts_with(&format!("{plain}?")), "{}", given.url);
    assert!((3590..=3600).contains(&seconds_left(&given)), "{given:?}");
    let part = reqwest::Client::new().get(&given.url).header(RANGE, "bytes=0-3").send().await.unwrap();
    assert_eq!((part.status(), header(&part, CONTENT_TYPE)), (StatusCode::PARTIAL_CONTENT, "video/mp4"));
    assert!(header(&part, CONTENT_DISPOSITION).starts_with("inline; "));
    let head = reqwest::Client::new().head(&given.url).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let named = link(&server, &artifact.name, Some(604_800), "Füchse.mp4").await.unwrap();
    let whole = reqwest::get(&named.url).await.unwrap();
    let expected = "attachment; filename=\"F_chse.mp4\"; filename*=UTF-8''F%C3%BCchse%2Emp4";
    assert_eq!(header(&whole, CONTENT_DISPOSITION), expected);
    assert_eq!(whole.bytes().await.unwrap().len() as i64, artifact.size_bytes);

    let forbidden = |code: &str| (StatusCode::FORBIDDEN, code.to_owned());
    for (was, is) in [("tenant=acme", "tenant=default"), ("expires=1", "expires=2"), ("&signature=", "&signatur=")] {
        assert_eq!(refused(&given.url.replace(was, is)).await, forbidden("LINK_INVALID"), "{was}");
    }
    let short = link(&server, &artifact.name, Some(1), "").await.unwrap();
    while reqwest::get(&short.url).await.unwrap().status().is_success() {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(refused(&short.url).await, forbidden("LINK_EXPIRED"));

    // The key is in the data folder: a link outlives the process, not the address.
    let server = server.kill().start().await;
    let moved = given.url.replace(plain.split("/artifacts").next().unwrap(), &format!("http://{}", server.addr()));
    assert_eq!(reqwest::get(&moved).await.unwrap().status(), StatusCode::OK);
    let delete = filmgate::pb::v1::DeleteArtifactRequest { name: artifact.name.clone() };
    client(&server).await.delete_artifact(of_tenant(delete)).await.unwrap();
    assert_eq!(refused(&moved).await, (StatusCode::NOT_FOUND, "ARTIFACT_NOT_FOUND".to_owned()));
    assert_discreet(&server, &given.url);
}

#[tokio::test]
async fn replicas_with_one_key_know_each_others_links_which_begin_with_the_public_address() {
    let setup = |key: &str| {
        Setup::sample().with("FILMGATE_LINK_KEY", key).with("FILMGATE_PUBLIC_URL", "https://films.example/made/")
    };
    let (ours, other) = ("a-key-of-all-replicas-0123456789abc", "another-key-of-others-0123456789abc");
    let server = setup(ours).start().await;
    let artifact = made(&server).await;
    let url = link(&server, &artifact.name, None, "").await.unwrap().url;
    let rest = url.strip_prefix("https://films.example/made").unwrap_or_else(|| panic!("{url}"));
    for (key, status) in [(ours, StatusCode::NOT_FOUND), (other, StatusCode::FORBIDDEN)] {
        // It has no such artifact, which it would say only to a link that it believes.
        let replica = setup(key).start().await;
        let answer = reqwest::get(format!("http://{}{rest}", replica.addr())).await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn a_link_of_the_bucket_is_signed_as_the_bucket_demands() {
    for objects in [ObjectServer::start().await, ObjectServer::start_below_a_path().await] {
        let server = objects.keeps(Setup::sample()).with("FILMGATE_LOG", LOUD).start().await;
        let artifact = made(&server).await;
        let given = link(&server, &artifact.name, Some(60), "Füchse.mp4").await.unwrap();
        assert!(given.url.starts_with(&format!("{}/films/made/here/", objects.endpoint())), "{}", given.url);
        assert!((50..=60).contains(&seconds_left(&given)), "{given:?}");
        let whole = reqwest::get(&given.url).await.unwrap();
        assert_eq!((whole.status(), header(&whole, CONTENT_TYPE)), (StatusCode::OK, "video/mp4"));
        assert!(header(&whole, CONTENT_DISPOSITION).starts_with("attachment; "));
        assert_eq!(whole.bytes().await.unwrap().len() as i64, artifact.size_bytes);
        let part = reqwest::Client::new().get(&given.url).header(RANGE, "bytes=0-3").send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);

        let changed = given.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600");
        assert_eq!(reqwest::get(changed).await.unwrap().status(), StatusCode::FORBIDDEN);
        let short = link(&server, &artifact.name, Some(1), "").await.unwrap();
        while reqwest::get(&short.url).await.unwrap().status().is_success() {
            sleep(Duration::from_millis(50)).await;
        }
        assert_discreet(&server, &given.url);
    }
}

#[tokio::test]
async fn a_wrong_wish_for_a_link_is_refused_with_its_fields() {
    let (server, made) = with_video(&ObjectServer::start().await).await;
    let artifact = &made.artifacts[0].name;
    let mut artifacts = client(&server).await;
    let mut asked = async |name: &str, ttl: Option<Ttl>, file_name: &str| {
        let request = CreateArtifactLinkRequest { name: name.to_owned(), ttl, file_name: file_name.to_owned() };
        refusal(artifacts.create_artifact_link(request.clone()).await, &request)
    };
    let seconds = |seconds| Some(Ttl { seconds, nanos: 0 });
    assert_eq!(asked("generations/x", seconds(0), "a/b").await, invalid(&["name", "ttl", "file_name"]));
    assert_eq!(asked(artifact, seconds(604_801), "").await, invalid(&["ttl"]));
    assert_eq!(asked(artifact, seconds(-1), "").await, invalid(&["ttl"]));
    assert_eq!(asked(artifact, None, "a\nb").await, invalid(&["file_name"]));
    assert_eq!(asked("artifacts/nobody", None, "").await, not_found("ARTIFACT_NOT_FOUND"));
    // Nobody gets a link to what is not theirs.
    let of_other = link(&server, artifact, None, "").await.map(tonic::Response::new);
    assert_eq!(refusal(of_other, &"another tenant"), not_found("ARTIFACT_NOT_FOUND"));
}

#[tokio::test]
async fn the_command_line_makes_links() {
    let server = Setup::sample().start().await;
    let artifact = made(&server).await;
    let mut command = server.setup().command();
    let addr = server.addr().to_string();
    command.args(["link", &artifact.name, "--ttl", "10m", "--server", &addr, "--tenant", TENANT]);
    let output = tokio::process::Command::from(command).output().await.unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    assert_eq!(reqwest::get(url.trim()).await.unwrap().status(), StatusCode::OK, "{url}");
}
