//! `filmgate sessions` and `filmgate history`.

use super::{
    ClientCommand, Context, connect::call, exit::Exit, failure::Failure, names::Collection, pages::collect, text,
};
use crate::pb::v1::{GetSessionHistoryRequest, ListSessionsRequest};

/// Arguments of `filmgate sessions`.
#[derive(Debug, clap::Args)]
pub(super) struct Sessions {
    /// Most rows shown.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
}

/// Arguments of `filmgate history`.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// The session.
    #[arg(value_name = "SESSION")]
    session: String,
    /// Most messages shown.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    limit: usize,
}

impl ClientCommand for Sessions {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let connection = &context.connection;
        let rows = collect(self.limit, async |page| {
            let request = ListSessionsRequest { page_size: page.size, page_token: page.token };
            let response = connection.sessions().list_sessions(call(request)).await?.into_inner();
            Ok((response.sessions, response.next_page_token))
        });
        context.terminal.rows(&rows.await?, ["NAME", "MESSAGES", "CREATED", "UPDATED"], |session| {
            let [created, updated] = [&session.create_time, &session.update_time].map(|time| text::time(time.as_ref()));
            [session.name.clone(), session.n_messages.to_string(), created, updated]
        })?;
        Ok(Exit::Ok)
    }
}

impl ClientCommand for History {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let name = Collection::Sessions.name(&self.session)?;
        let connection = &context.connection;
        let rows = collect(self.limit, async |page| {
            let request = GetSessionHistoryRequest { name: name.clone(), page_size: page.size, page_token: page.token };
            let response = connection.sessions().get_session_history(call(request)).await?.into_inner();
            Ok((response.messages, response.next_page_token))
        });
        context.terminal.rows(&rows.await?, ["TIME", "WHO", "TEXT", "FOR"], |message| {
            let who = text::word(message.role().as_str_name(), "ROLE_");
            let said = text::short(&message.text, 100);
            [
                text::time(message.create_time.as_ref()),
                who,
                said,
                [message.generation.as_str(), message.chat.as_str()].concat(),
            ]
        })?;
        Ok(Exit::Ok)
    }
}
