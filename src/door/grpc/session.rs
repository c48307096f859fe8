//! `SessionService`, straight on the store: conversations have no life of their own.

use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::{Door, call, caller, span};
use crate::{
    domain::names::{SessionId, TenantId},
    door::{
        accept,
        pages::Wanted,
        present,
        refusal::{Refusal, Resource},
    },
    pb::v1::{self, session_service_server::SessionService},
};

#[tonic::async_trait]
impl SessionService for Door {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        call(span("CreateSession", &request), async {
            let caller = caller(&request)?;
            let store = self.engine.store();
            let session = store.create_session(&caller.tenant, &SessionId::fresh(), Timestamp::now()).await?;
            Ok(v1::CreateSessionResponse { session: Some(present::session(&session)) })
        })
        .await
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        call(span("GetSession", &request), async {
            let caller = caller(&request)?;
            let id = accept::name(&request.get_ref().name, "name")?;
            let session = self.existing(&caller.tenant, &id).await?;
            Ok(v1::GetSessionResponse { session: Some(session) })
        })
        .await
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        call(span("ListSessions", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let ((), wanted) =
                Wanted::<(Timestamp, SessionId)>::read("ListSessions", Ok(()), request.page_size, &request.page_token)?;
            let rows = self.engine.store().sessions(&caller.tenant, wanted.query()).await?;
            let (sessions, next_page_token) =
                wanted.cut(&rows, |session| (session.created_at, session.id.clone()), present::session);
            Ok(v1::ListSessionsResponse { sessions, next_page_token })
        })
        .await
    }

    async fn delete_session(
        &self,
        request: Request<v1::DeleteSessionRequest>,
    ) -> Result<Response<v1::DeleteSessionResponse>, Status> {
        call(span("DeleteSession", &request), async {
            let caller = caller(&request)?;
            let id: SessionId = accept::name(&request.get_ref().name, "name")?;
            if self.engine.store().delete_session(&caller.tenant, &id).await? {
                return Ok(v1::DeleteSessionResponse {});
            }
            Err(unknown(&id))
        })
        .await
    }

    async fn get_session_history(
        &self,
        request: Request<v1::GetSessionHistoryRequest>,
    ) -> Result<Response<v1::GetSessionHistoryResponse>, Status> {
        call(span("GetSessionHistory", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let name = accept::name::<SessionId>(&request.name, "name");
            let (id, wanted) = Wanted::<u64>::read("GetSessionHistory", name, request.page_size, &request.page_token)?;
            let session = self.existing(&caller.tenant, &id).await?;
            let rows = self.engine.store().messages(&caller.tenant, &id, wanted.query()).await?;
            let (messages, next_page_token) =
                wanted.cut(&rows, |(number, _)| *number, |(_, message)| present::message(message));
            Ok(v1::GetSessionHistoryResponse { session: Some(session), messages, next_page_token })
        })
        .await
    }
}

impl Door {
    async fn existing(&self, tenant: &TenantId, id: &SessionId) -> Result<v1::Session, Refusal> {
        let session = self.engine.store().session(tenant, id).await?;
        session.map(|session| present::session(&session)).ok_or_else(|| unknown(id))
    }
}

fn unknown(id: &SessionId) -> Refusal {
    Refusal::NotFound(Resource::Session, id.to_string())
}
