//! Every call but orders and uploads.

use filmgate::pb::v1::{
    CancelGenerationRequest, DeleteArtifactRequest, DeleteGenerationRequest, DeleteSessionRequest,
    DownloadArtifactRequest, GetArtifactRequest, GetGenerationRequest, GetModelRequest, GetSessionHistoryRequest,
    GetSessionRequest, ListArtifactsRequest, ListGenerationEventsRequest, ListGenerationsRequest, ListModelsRequest,
    ListProvidersRequest, ListSessionsRequest, ResolveGenerationRequest, WatchGenerationRequest,
};
use tonic::{Code, Request};

use super::{NO_NAMES, unharmed};
use crate::support::{
    refusals::{invalid, not_found, refusal},
    server::{Setup, video},
};

const UNKNOWN_GENERATION: &str = "generations/0197f0a0-0000-7000-8000-000000000000";

#[tokio::test]
async fn what_is_no_name_is_refused_and_what_nobody_has_is_not_found() {
    let setup = Setup::sample();
    let server = setup.start().await;
    let (mut generations, mut sessions) = (server.generations().await, server.sessions().await);
    let (mut artifacts, mut models) = (server.artifacts().await, server.models().await);
    let huge = format!("generations/{}", "x".repeat(1 << 20));
    let names = NO_NAMES.into_iter().chain([huge.as_str()]).map(|name| (name, None));
    let unknown = [
        (UNKNOWN_GENERATION, Some("GENERATION")),
        ("sessions/nobody", Some("SESSION")),
        ("artifacts/nobody", Some("ARTIFACT")),
        ("sample/nothing", Some("MODEL")),
    ];
    for (text, of) in names.chain(unknown) {
        let name = || text.to_owned();
        let expect = |kind: &str| match of {
            Some(of) if of == kind => not_found(&format!("{kind}_NOT_FOUND")),
            _ => invalid(&["name"]),
        };
        let mut about: String = text.chars().take(60).collect();
        macro_rules! check {
            ($($client:ident.$call:ident($request:expr) => $kind:literal),* $(,)?) => {
                $(
                    let answer = $client.$call($request).await;
                    about.push_str(concat!(" ", stringify!($call)));
                    assert_eq!(refusal(answer.map(|_| tonic::Response::new(())), &about), expect($kind), "{about}");
                )*
            };
        }
        check!(
            generations.get_generation(GetGenerationRequest { name: name() }) => "GENERATION",
            generations.watch_generation(WatchGenerationRequest { name: name(), after_sequence: 0 }) => "GENERATION",
            generations.cancel_generation(CancelGenerationRequest { name: name() }) => "GENERATION",
            generations.resolve_generation(ResolveGenerationRequest { name: name(), resolution: 1 }) => "GENERATION",
            generations.delete_generation(DeleteGenerationRequest { name: name() }) => "GENERATION",
            generations.list_generation_events(ListGenerationEventsRequest { name: name(), ..Default::default() }) => "GENERATION",
            sessions.get_session(GetSessionRequest { name: name() }) => "SESSION",
            sessions.delete_session(DeleteSessionRequest { name: name() }) => "SESSION",
            sessions.get_session_history(GetSessionHistoryRequest { name: name(), ..Default::default() }) => "SESSION",
            artifacts.get_artifact(GetArtifactRequest { name: name() }) => "ARTIFACT",
            artifacts.delete_artifact(DeleteArtifactRequest { name: name() }) => "ARTIFACT",
            artifacts.download_artifact(DownloadArtifactRequest { name: name(), ..Default::default() }) => "ARTIFACT",
        );
        // A model's name has no prefix, so more texts are names of models that nobody has.
        let model = refusal(models.get_model(GetModelRequest { name: name() }).await, &about);
        assert!([invalid(&["name"]), not_found("MODEL_NOT_FOUND")].contains(&model), "{about}: {model:?}");
    }
    unharmed(&server, &setup).await;
}

#[tokio::test]
#[expect(clippy::needless_update, reason = "the macro does not know which messages have more fields")]
async fn wrong_pages_and_filters_are_named_together() {
    let setup = Setup::sample();
    let server = setup.start().await;
    let (mut generations, mut sessions) = (server.generations().await, server.sessions().await);
    let (mut artifacts, mut models) = (server.artifacts().await, server.models().await);
    let page = models.list_models(ListModelsRequest { page_size: 1, ..Default::default() }).await.unwrap().into_inner();
    assert!(!page.next_page_token.is_empty(), "there are several models");
    let tokens = [page.next_page_token, "x".to_owned(), "\u{0}".to_owned(), "A".repeat(100_000), "../..".to_owned()];
    for token in tokens {
        let token = || token.clone();
        macro_rules! check {
            ($($client:ident.$call:ident($request:ident { $($field:ident: $value:expr),* }) => $fields:expr),* $(,)?) => {
                $(
                    let request = $request { page_size: -1, page_token: token(), $($field: $value,)* ..Default::default() };
                    let refused = refusal($client.$call(request).await, &stringify!($call));
                    assert_eq!(refused, invalid(&$fields), "{}", stringify!($call));
                )*
            };
        }
        check!(
            generations.list_generations(ListGenerationsRequest { states: vec![0, 1, 99], session: "x".to_owned(), kind: 77 })
                => ["states[0]", "states[2]", "session", "kind", "page_size", "page_token"],
            generations.list_generation_events(ListGenerationEventsRequest { name: UNKNOWN_GENERATION.to_owned() })
                => ["page_size", "page_token"],
            sessions.list_sessions(ListSessionsRequest {}) => ["page_size", "page_token"],
            sessions.get_session_history(GetSessionHistoryRequest { name: "sessions/a".to_owned() })
                => ["page_size", "page_token"],
            artifacts.list_artifacts(ListArtifactsRequest { kind: -1, generation: "artifacts/x".to_owned() })
                => ["kind", "generation", "page_size", "page_token"],
            models.list_providers(ListProvidersRequest {}) => ["page_size", "page_token"],
        );
        let request = ListModelsRequest {
            page_size: -1,
            page_token: token(),
            kind: 77,
            provider: "A B".to_owned(),
            ..ListModelsRequest::default()
        };
        let refused = refusal(models.list_models(request).await, &"list_models");
        assert!(["kind", "provider", "page_size"].iter().all(|field| refused.fields.contains(&(*field).to_owned())));
    }
    unharmed(&server, &setup).await;
}

#[tokio::test]
async fn decisions_sequences_offsets_and_tenants_are_checked() {
    let server = Setup::sample().start().await;
    let made = server.generate(video("a cat")).await.unwrap();
    let (mut generations, mut artifacts) = (server.generations().await, server.artifacts().await);
    for resolution in [0, -1, 3, i32::MAX] {
        let request = ResolveGenerationRequest { name: "x".to_owned(), resolution };
        let refused = refusal(generations.resolve_generation(request).await, &resolution);
        assert_eq!(refused, invalid(&["name", "resolution"]));
    }
    let request = WatchGenerationRequest { name: "x".to_owned(), after_sequence: -1 };
    assert_eq!(refusal(generations.watch_generation(request).await, &"watch"), invalid(&["name", "after_sequence"]));
    let state = [
        refusal(generations.cancel_generation(CancelGenerationRequest { name: made.name.clone() }).await, &"cancel"),
        refusal(
            generations.resolve_generation(ResolveGenerationRequest { name: made.name.clone(), resolution: 1 }).await,
            &"resolve",
        ),
    ];
    assert_eq!(state.each_ref().map(|refused| refused.code), [Code::FailedPrecondition; 2]);
    assert_eq!(state.map(|refused| refused.reason), ["GENERATION_FINISHED", "GENERATION_NOT_UNRESOLVED"]);

    let artifact = &made.artifacts[0];
    for (read_offset, read_limit, fields) in [
        (artifact.size_bytes + 1, 0, &["read_offset"][..]),
        (i64::MAX, i64::MAX, &["read_offset"]),
        (i64::MIN, i64::MIN, &["read_offset", "read_limit"]),
        (0, -1, &["read_limit"]),
    ] {
        let request = DownloadArtifactRequest { name: artifact.name.clone(), read_offset, read_limit };
        assert_eq!(refusal(artifacts.download_artifact(request).await, &read_offset), invalid(fields));
    }

    for tenant in ["", "a b", "../x", &"x".repeat(65)] {
        let mut request = Request::new(ListSessionsRequest::default());
        request.metadata_mut().insert("x-filmgate-tenant", tenant.parse().unwrap());
        let refused = refusal(server.sessions().await.list_sessions(request).await, &tenant);
        assert_eq!(refused, invalid(&["x-filmgate-tenant"]));
    }
}
