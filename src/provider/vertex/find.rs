//! Looking for the job of a submit whose answer was lost: the API has no list, but a bucket has one.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    domain::names::SubmitKey,
    provider::{
        error::ProviderError,
        google::veo,
        http::{ANSWER_CAP, outcome::Call},
        port::{Found, Job, Order, Progress, RemoteOutput, Status},
    },
};

use super::{
    Vertex,
    store::{Folder, link},
};

/// A folder with fewer videos than ordered is taken for whole this long after the last one came: the filter took the rest.
const SETTLED: SignedDuration = SignedDuration::from_secs(120);

/// A video in a folder.
struct Object {
    name: String,
    created_at: Option<Timestamp>,
}

impl Vertex {
    /// The job whose folder bears `key`, once it has a video in it; the folder then is its ticket. Nothing can be looked
    /// for where videos come within answers.
    pub(super) async fn job_of(&self, order: &Order, key: SubmitKey) -> Result<Found, ProviderError> {
        let wish = order.provider_options.get("storageUri").and_then(Value::as_str).and_then(Folder::read);
        let Some(folder) = wish.or_else(|| self.folder.clone()) else { return Ok(Found::Unsupported) };
        let folder = folder.of(key);
        let objects = self.objects(&folder).await?;
        let created_at = objects.iter().filter_map(|object| object.created_at).min();
        let job = created_at.map(|created_at| Job {
            ticket: self.ticket(folder.uri(), veo::remembered(order)),
            created_at,
            exact: true,
        });
        Ok(Found::Candidates(job.into_iter().collect()))
    }

    /// How far the job of a folder is.
    pub(super) async fn look_into(&self, folder: &Folder, data: &Value) -> Result<Progress, ProviderError> {
        let objects = self.objects(folder).await?;
        let ordered = data["samples"].as_u64().unwrap_or(1);
        let last = objects.iter().filter_map(|object| object.created_at).max();
        let is_settled = last.is_some_and(|last| Timestamp::now().duration_since(last) >= SETTLED);
        if objects.is_empty() || (objects.len() as u64) < ordered && !is_settled {
            return Ok(Progress::of(Status::Running));
        }
        let name = |object: &Object| format!("gs://{}/{}", folder.bucket, object.name);
        let links: Vec<RemoteOutput> =
            objects.iter().filter_map(|object| link(&self.store, &name(object))).map(RemoteOutput::Link).collect();
        let usage = veo::usage(links.len(), data);
        Ok(Progress { usage, ..Progress::of(Status::Done(links)) })
    }

    /// The videos in a folder by name. One page is enough: an order has four at most.
    async fn objects(&self, folder: &Folder) -> Result<Vec<Object>, ProviderError> {
        let token = self.tokens.get().await?;
        let segments = ["storage", "v1", "b", &folder.bucket, "o"];
        let request = self.request(Method::GET, &self.store, &segments, &token);
        let request = request.query(&[("prefix", &folder.prefix)]);
        let answer = self.exchange(Call::List, request, &token, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::List, &answer, None));
        }
        let page: Value = self.http.json(Call::List, &answer)?;
        let mut objects: Vec<Object> = page["items"].as_array().into_iter().flatten().filter_map(video).collect();
        objects.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(objects)
    }
}

fn video(item: &Value) -> Option<Object> {
    let name = item["name"].as_str()?;
    let is_video =
        item["contentType"].as_str().is_some_and(|kind| kind.starts_with("video/")) || name.ends_with(".mp4");
    let created_at = item["timeCreated"].as_str().and_then(|text| text.parse().ok());
    is_video.then(|| Object { name: name.to_owned(), created_at })
}
