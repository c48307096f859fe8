//! `ChatService`: the answer's stream is the call's, without a task or a queue between.

use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status};
use tracing::debug;

use super::{Door, call, caller, snapshots::Answers, span};
use crate::{
    door::{accept, present, refusal::Refusal},
    pb::v1::{self, chat_service_server::ChatService},
};

#[tonic::async_trait]
impl ChatService for Door {
    type ChatStream = Answers<v1::ChatResponse>;

    async fn chat(&self, request: Request<v1::ChatRequest>) -> Result<Response<Self::ChatStream>, Status> {
        call(span("Chat", &request), async {
            let caller = caller(&request)?;
            let request = accept::chat(request.into_inner(), true, caller, self.chat.catalog())?;
            let conversation = self.chat.begin(request).await?;
            let start = present::chat_start(&conversation);
            let said = conversation.events.map(|said| match said {
                Ok(said) => Ok(present::said(said)),
                Err(error) => {
                    let status = Status::from(Refusal::from(error));
                    debug!(code = ?status.code(), "an answer breaks off");
                    Err(status)
                }
            });
            Ok(Box::pin(stream::iter([Ok(start)]).chain(said)) as Answers<_>)
        })
        .await
    }

    async fn optimize_prompt(
        &self,
        request: Request<v1::OptimizePromptRequest>,
    ) -> Result<Response<v1::OptimizePromptResponse>, Status> {
        call(span("OptimizePrompt", &request), async {
            let caller = caller(&request)?;
            let request = accept::prompt(request.into_inner(), caller, self.chat.catalog())?;
            Ok(present::optimized(self.chat.optimize(request).await))
        })
        .await
    }
}
