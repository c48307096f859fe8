//! Every list over the wire: order, filters, pages, and whose rows they are.

use std::collections::BTreeSet;

use filmgate::pb::v1::{
    CreateSessionRequest, GenerateVideoRequest, GetSessionHistoryRequest, Kind, ListArtifactsRequest,
    ListGenerationEventsRequest, ListGenerationsRequest, ListModelsRequest, ListProvidersRequest, ListSessionsRequest,
    State,
};
use tonic::{Request, Status};

use crate::support::{
    refusals::{invalid, not_found, refusal, refused},
    server::{Server, Setup, is_terminal, video},
};

/// All rows of a list, asked for in pages of `page_size`; no page may be larger and only the last one may end the list.
async fn pages<T>(page_size: i32, mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), Status>) -> Vec<T> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (rows, next) = page(token.clone()).await.unwrap();
        assert!(rows.len() <= usize::try_from(page_size).unwrap() && (!rows.is_empty() || all.is_empty()));
        all.extend(rows);
        if next.is_empty() {
            return all;
        }
        assert_ne!(next, token, "a list that never ends");
        token = next;
    }
}

fn of_tenant<T>(tenant: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-filmgate-tenant", tenant.parse().unwrap());
    request
}

async fn generations(server: &Server, filter: ListGenerationsRequest, page_size: i32) -> Vec<String> {
    let mut client = server.generations().await;
    pages(page_size, async |page_token| {
        let answer =
            client.list_generations(ListGenerationsRequest { page_size, page_token, ..filter.clone() }).await?;
        let page = answer.into_inner();
        assert!(page.generations.iter().all(|row| row.brief.is_empty() && row.provider_logs.is_empty()));
        Ok((page.generations.into_iter().map(|row| row.name).collect(), page.next_page_token))
    })
    .await
}

#[tokio::test]
async fn generations_come_newest_first_through_filters_and_pages() {
    let server = Setup::sample().start().await;
    let mut names = Vec::new();
    for n in 0..7 {
        let session = format!("sessions/s{}", n % 2);
        let made = server.generate(GenerateVideoRequest { session, ..video(&format!("number {n}")) }).await.unwrap();
        names.push(made.name);
    }
    names.reverse();
    let all = ListGenerationsRequest::default;
    for page_size in [1, 2, 3, 7, 200] {
        assert_eq!(generations(&server, all(), page_size).await, names, "pages of {page_size}");
    }
    let of_session: Vec<_> = names.iter().step_by(2).cloned().collect();
    let filter = ListGenerationsRequest { session: "sessions/s0".to_owned(), ..all() };
    assert_eq!(generations(&server, filter, 2).await, of_session);
    let states = |states: &[State]| ListGenerationsRequest {
        states: states.iter().map(|state| (*state).into()).collect(),
        ..ListGenerationsRequest::default()
    };
    assert_eq!(generations(&server, states(&[State::Succeeded, State::Failed]), 3).await, names);
    assert!(generations(&server, states(&[State::Queued, State::Running]), 3).await.is_empty());
    let kind = |kind: Kind| ListGenerationsRequest { kind: kind.into(), ..ListGenerationsRequest::default() };
    assert_eq!(generations(&server, kind(Kind::Video), 3).await.len(), 7);
    assert!(generations(&server, kind(Kind::Music), 3).await.is_empty());

    // A page begun before goes on right after its last row, whatever came since.
    let mut client = server.generations().await;
    let first = client.list_generations(ListGenerationsRequest { page_size: 3, ..all() }).await.unwrap().into_inner();
    server.generate(video("a late one")).await.unwrap();
    let request = ListGenerationsRequest { page_size: 200, page_token: first.next_page_token.clone(), ..all() };
    let rest = client.list_generations(request).await.unwrap().into_inner().generations;
    assert_eq!(rest.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), names[3..]);

    let other = ListGenerationsRequest { page_token: first.next_page_token.clone(), ..kind(Kind::Video) };
    assert_eq!(refusal(client.list_generations(other).await, &"other filters"), invalid(&["page_token"]));
    let request = ListSessionsRequest { page_token: first.next_page_token, ..ListSessionsRequest::default() };
    let other = server.sessions().await.list_sessions(request).await;
    assert_eq!(refusal(other, &"another list"), invalid(&["page_token"]));
}

#[tokio::test]
async fn artifacts_sessions_histories_and_events_are_paged_in_their_order() {
    let server = Setup::sample().start().await;
    let mut made = Vec::new();
    for n in 0..5 {
        let session = "sessions/talk".to_owned();
        made.push(server.generate(GenerateVideoRequest { session, ..video(&format!("{n}")) }).await.unwrap());
    }
    let artifact = |kind: Kind, generation: &str| ListArtifactsRequest {
        kind: kind.into(),
        generation: generation.to_owned(),
        ..ListArtifactsRequest::default()
    };
    let mut artifacts = server.artifacts().await;
    let mut listed = async |filter: ListArtifactsRequest| {
        pages(2, async |page_token| {
            let request = ListArtifactsRequest { page_size: 2, page_token, ..filter.clone() };
            let page = artifacts.list_artifacts(request).await?.into_inner();
            Ok((page.artifacts.into_iter().map(|row| row.name).collect(), page.next_page_token))
        })
        .await
    };
    let newest_first: Vec<_> = made.iter().rev().map(|made| made.artifacts[0].name.clone()).collect();
    assert_eq!(listed(artifact(Kind::Unspecified, "")).await, newest_first);
    assert_eq!(listed(artifact(Kind::Video, &made[1].name)).await, [made[1].artifacts[0].name.clone()]);
    assert!(listed(artifact(Kind::Image, "")).await.is_empty());

    let mut sessions = server.sessions().await;
    let history = pages(4, async |page_token| {
        let request = GetSessionHistoryRequest { name: "sessions/talk".to_owned(), page_size: 4, page_token };
        let page = sessions.get_session_history(request).await?.into_inner();
        assert_eq!(page.session.unwrap().n_messages, 15);
        Ok((page.messages, page.next_page_token))
    })
    .await;
    let prompts: Vec<_> = history.iter().step_by(3).map(|message| message.text.as_str()).collect();
    assert_eq!((history.len(), prompts), (15, vec!["0", "1", "2", "3", "4"]));

    let mut created = vec!["sessions/talk".to_owned()];
    for _ in 0..4 {
        let answer = sessions.create_session(CreateSessionRequest {}).await.unwrap();
        created.push(answer.into_inner().session.unwrap().name);
    }
    created.reverse();
    let listed = pages(2, async |page_token| {
        let page = sessions.list_sessions(ListSessionsRequest { page_size: 2, page_token }).await?.into_inner();
        Ok((page.sessions.into_iter().map(|row| row.name).collect(), page.next_page_token))
    });
    assert_eq!(listed.await, created);

    let mut client = server.generations().await;
    let events = pages(2, async |page_token| {
        let request = ListGenerationEventsRequest { name: made[0].name.clone(), page_size: 2, page_token };
        let page = client.list_generation_events(request).await?.into_inner();
        Ok((page.events, page.next_page_token))
    })
    .await;
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!((events[0].r#type.as_str(), events.last().unwrap().state()), ("accepted", State::Succeeded));
}

#[tokio::test]
async fn models_and_providers_are_paged_by_name() {
    let server = Setup::sample().start().await;
    let mut client = server.models().await;
    let mut models = async |page_size: i32, provider: &str| {
        pages(page_size, async |page_token| {
            let provider = provider.to_owned();
            let request = ListModelsRequest { page_size, page_token, provider, ..ListModelsRequest::default() };
            let page = client.list_models(request).await?.into_inner();
            Ok((page.models.into_iter().map(|row| row.name).collect::<Vec<_>>(), page.next_page_token))
        })
        .await
    };
    let all = models(200, "").await;
    assert!(all.is_sorted() && all.len() > 10, "{all:?}");
    assert_eq!(models(3, "").await, all);
    let of_sample: Vec<_> = all.iter().filter(|name| name.starts_with("sample/")).cloned().collect();
    assert_eq!(models(1, "sample").await, of_sample);
    assert!(models(1, "nobody").await.is_empty());

    let providers = pages(1, async |page_token| {
        let page = client.list_providers(ListProvidersRequest { page_size: 1, page_token }).await?.into_inner();
        Ok((page.providers, page.next_page_token))
    })
    .await;
    let names: Vec<_> = providers.iter().map(|row| row.name.as_str()).collect();
    assert!(names.is_sorted() && names.contains(&"replicate") && names.contains(&"fal"), "{names:?}");
    for row in &providers {
        // Without any key only the sample can be used; every other says what to set.
        assert_eq!(row.configured, row.name == "sample", "{row:?}");
        assert_eq!(row.how_to_configure.is_empty(), row.configured, "{row:?}");
    }
}

#[tokio::test]
#[expect(clippy::needless_update, reason = "the macro does not know which messages have more fields")]
async fn tenants_see_nothing_of_each_other() {
    let server = Setup::sample().start().await;
    let order = || GenerateVideoRequest {
        session: "sessions/same".to_owned(),
        request_id: "same".to_owned(),
        ..video("the same prompt")
    };
    let mut client = server.generations().await;
    let mut names = Vec::new();
    for tenant in ["one", "two"] {
        let mut stream = client.generate_video(of_tenant(tenant, order())).await.unwrap().into_inner();
        let mut last = None;
        while let Some(message) = stream.message().await.unwrap() {
            assert!(!message.replayed, "{tenant} was given another's generation");
            last = message.generation;
        }
        let last = last.filter(is_terminal).unwrap();
        assert!(!last.cached && !last.coalesced, "{tenant} was given another's result");
        names.push(last.name);
    }
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 2);
    for (tenant, own, foreign) in [("one", &names[0], &names[1]), ("two", &names[1], &names[0])] {
        let list = client.list_generations(of_tenant(tenant, ListGenerationsRequest::default())).await.unwrap();
        let seen: Vec<_> = list.into_inner().generations.into_iter().map(|row| row.name).collect();
        assert_eq!(seen, std::slice::from_ref(own));
        let mut artifacts = server.artifacts().await;
        let list = artifacts.list_artifacts(of_tenant(tenant, ListArtifactsRequest::default())).await.unwrap();
        assert!(list.into_inner().artifacts.iter().all(|row| row.generation == *own));
        let mut sessions = server.sessions().await;
        let list = sessions.list_sessions(of_tenant(tenant, ListSessionsRequest::default())).await.unwrap();
        assert_eq!(list.into_inner().sessions[0].n_messages, 3);
        macro_rules! hidden {
            ($($call:ident($message:ident)),*) => {
                $(
                    let message = filmgate::pb::v1::$message { name: foreign.clone(), ..Default::default() };
                    let answer = client.$call(of_tenant(tenant, message)).await.map(drop);
                    assert_eq!(refused(&answer.unwrap_err()), not_found("GENERATION_NOT_FOUND"), stringify!($call));
                )*
            };
        }
        hidden!(
            get_generation(GetGenerationRequest),
            watch_generation(WatchGenerationRequest),
            cancel_generation(CancelGenerationRequest),
            delete_generation(DeleteGenerationRequest),
            list_generation_events(ListGenerationEventsRequest)
        );
    }
    assert!(generations(&server, ListGenerationsRequest::default(), 10).await.is_empty());
}
