//! What tests ask of a server in one call each.

use filmgate::pb::v1::{
    Artifact, CancelGenerationRequest, DeleteGenerationRequest, Generation, GenerationEvent,
    ListGenerationEventsRequest, ListGenerationsRequest, Resolution, ResolveGenerationRequest, State,
};
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic_types::StatusExt;

use super::server::Server;

impl Server {
    pub(crate) async fn cancel(&self, name: &str) -> Result<Generation, Status> {
        let request = CancelGenerationRequest { name: name.to_owned() };
        Ok(self.generations().await.cancel_generation(request).await?.into_inner().generation.unwrap())
    }

    pub(crate) async fn resolve(&self, name: &str, resolution: Resolution) -> Result<Generation, Status> {
        let request = ResolveGenerationRequest { name: name.to_owned(), resolution: resolution.into() };
        Ok(self.generations().await.resolve_generation(request).await?.into_inner().generation.unwrap())
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), Status> {
        let request = DeleteGenerationRequest { name: name.to_owned() };
        self.generations().await.delete_generation(request).await.map(drop)
    }

    /// The whole history, page by page.
    pub(crate) async fn events(&self, name: &str) -> Vec<GenerationEvent> {
        let mut client = self.generations().await;
        let mut request = ListGenerationEventsRequest { name: name.to_owned(), page_size: 3, ..Default::default() };
        let mut events = Vec::new();
        loop {
            let page = client.list_generation_events(request.clone()).await.unwrap().into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return events;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The words of the history.
    pub(crate) async fn history(&self, name: &str) -> Vec<String> {
        self.events(name).await.into_iter().map(|event| event.r#type).collect()
    }

    /// The names of all generations, of which there are few.
    pub(crate) async fn names(&self) -> Vec<String> {
        let request = ListGenerationsRequest { page_size: 200, ..ListGenerationsRequest::default() };
        let page = self.generations().await.list_generations(request).await.unwrap().into_inner();
        assert!(page.next_page_token.is_empty());
        page.generations.into_iter().map(|generation| generation.name).collect()
    }

    /// The SHA-256 of an artifact's bytes as they are served.
    pub(crate) async fn sha256_of(&self, artifact: &Artifact) -> String {
        let answer = reqwest::get(format!("http://{}{}", self.addr(), artifact.http_path)).await.unwrap();
        hex::encode(Sha256::digest(answer.error_for_status().unwrap().bytes().await.unwrap()))
    }

    /// Waits until what became of it is unknown.
    pub(crate) async fn unresolved(&self, name: &str) -> Generation {
        self.until(name, |generation| generation.state() == State::Unresolved).await
    }
}

/// The reason word of a refused call.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
