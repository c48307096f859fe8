//! What follows from the ends of generations: closing messages, artifacts, callbacks and what the cache remembers.
//!
//! Collected first and written in one order for all, so that transactions which end many generations do not wait for each other in a circle.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Result, artifacts, callbacks, retention, sessions,
    statements::{Statement, values},
    work::Work,
};
use crate::{
    domain::{
        artifact::Artifact,
        generation::Generation,
        names::{SessionId, TenantId},
        session::{Message, closing_message},
    },
    store::{rules, sql},
};

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Ends {
    messages: BTreeMap<(TenantId, SessionId), Vec<Message>>,
    artifacts: Vec<(TenantId, Artifact)>,
    /// By tenant, digest and scope; who ended last is remembered.
    cached: BTreeMap<(TenantId, String, String), String>,
    callbacks: Vec<Generation>,
    /// Those that started from artifacts.
    started_from: Vec<String>,
}

impl Ends {
    /// Adds what follows from the end of a generation.
    pub(super) fn add(&mut self, generation: &Generation, now: Timestamp) {
        let tenant = &generation.tenant;
        if generation.callback_url.is_some() {
            self.callbacks.push(generation.clone());
        }
        if generation.input_artifacts().next().is_some() {
            self.started_from.push(generation.id.id());
        }
        if let Some(message) = closing_message(generation, now) {
            self.messages.entry((tenant.clone(), generation.session.clone())).or_default().push(message);
        }
        self.artifacts.extend(generation.artifacts.iter().map(|artifact| (tenant.clone(), artifact.clone())));
        if let Some((digests, scopes)) = rules::remembered(generation) {
            for (digest, scope) in
                digests.into_iter().flat_map(|digest| scopes.iter().map(move |scope| (digest, scope)))
            {
                self.cached.insert((tenant.clone(), digest.to_owned(), (*scope).to_owned()), generation.id.id());
            }
        }
    }

    /// Writes all of it.
    pub(super) fn write(self, work: &mut Work, now: Timestamp) -> Result<()> {
        for ((tenant, session), messages) in &self.messages {
            sessions::append(work, tenant, session, messages, now)?;
        }
        for (tenant, artifact) in &self.artifacts {
            artifacts::insert(work, tenant, artifact)?;
        }
        for generation in &self.callbacks {
            callbacks::put(work, generation, now);
        }
        for generation in &self.started_from {
            retention::release_inputs(work, generation);
        }
        for ((tenant, digest, scope), generation) in self.cached {
            work.write(Statement::shared(sql::cached::PUT, values![tenant.id(), digest, scope, generation]));
        }
        Ok(())
    }
}
