//! `GenerationService`.

use tonic::{Request, Response, Status};

use super::{
    Door, about_generation, call, caller,
    snapshots::{Answers, answers},
    span,
};
use crate::{
    domain::{
        generation::State,
        life::Resolution,
        names::{GenerationId, SessionId},
    },
    door::{
        accept::{self, Ordering},
        order::order,
        pages::Wanted,
        present::{self, Detail},
        refusal::{Refusal, both},
    },
    pb::v1::{self, generation_service_server::GenerationService},
    store::port::GenerationFilter,
};

#[tonic::async_trait]
impl GenerationService for Door {
    type GenerateVideoStream = Answers<v1::GenerateVideoResponse>;
    type GenerateImageStream = Answers<v1::GenerateImageResponse>;
    type GenerateSpeechStream = Answers<v1::GenerateSpeechResponse>;
    type GenerateMusicStream = Answers<v1::GenerateMusicResponse>;
    type WatchGenerationStream = Answers<v1::WatchGenerationResponse>;

    async fn estimate_cost(
        &self,
        request: Request<v1::EstimateCostRequest>,
    ) -> Result<Response<v1::EstimateCostResponse>, Status> {
        call(span("EstimateCost", &request), async {
            let caller = caller(&request)?;
            let catalog = self.engine.catalog();
            let mut asked = accept::estimates(request.into_inner(), &caller, catalog, &self.targets)?;
            let mut quotes = Vec::new();
            if let Some(ttl) = asked.quote_ttl {
                for request in asked.orders.iter_mut().filter_map(|order| order.request.take()) {
                    quotes.push(self.engine.issue_quote(request, ttl).await?);
                }
            }
            Ok(present::estimates(catalog, &asked.orders, &quotes))
        })
        .await
    }

    async fn generate_video(
        &self,
        request: Request<v1::GenerateVideoRequest>,
    ) -> Result<Response<Self::GenerateVideoStream>, Status> {
        self.generate("GenerateVideo", request, |generation, replayed| v1::GenerateVideoResponse {
            generation: Some(generation),
            replayed,
        })
        .await
    }

    async fn generate_image(
        &self,
        request: Request<v1::GenerateImageRequest>,
    ) -> Result<Response<Self::GenerateImageStream>, Status> {
        self.generate("GenerateImage", request, |generation, replayed| v1::GenerateImageResponse {
            generation: Some(generation),
            replayed,
        })
        .await
    }

    async fn generate_speech(
        &self,
        request: Request<v1::GenerateSpeechRequest>,
    ) -> Result<Response<Self::GenerateSpeechStream>, Status> {
        self.generate("GenerateSpeech", request, |generation, replayed| v1::GenerateSpeechResponse {
            generation: Some(generation),
            replayed,
        })
        .await
    }

    async fn generate_music(
        &self,
        request: Request<v1::GenerateMusicRequest>,
    ) -> Result<Response<Self::GenerateMusicStream>, Status> {
        self.generate("GenerateMusic", request, |generation, replayed| v1::GenerateMusicResponse {
            generation: Some(generation),
            replayed,
        })
        .await
    }

    async fn watch_generation(
        &self,
        request: Request<v1::WatchGenerationRequest>,
    ) -> Result<Response<Self::WatchGenerationStream>, Status> {
        call(span("WatchGeneration", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let after = u64::try_from(request.after_sequence)
                .map_err(|_| Refusal::field("after_sequence", "must not be negative"));
            let (id, after) = both(named(&request.name), after)?;
            let watch = self.engine.watch(&caller.tenant, id, after).await.map_err(Refusal::about(&id))?;
            Ok(answers(watch, |generation| v1::WatchGenerationResponse { generation: Some(generation) }))
        })
        .await
    }

    async fn get_generation(
        &self,
        request: Request<v1::GetGenerationRequest>,
    ) -> Result<Response<v1::GetGenerationResponse>, Status> {
        call(span("GetGeneration", &request), async {
            let caller = caller(&request)?;
            let id = named(&request.get_ref().name)?;
            let view = self.engine.get(&caller.tenant, id).await.map_err(Refusal::about(&id))?;
            let callback = self.engine.callback(&view.generation).await?;
            Ok(v1::GetGenerationResponse {
                generation: Some(present::generation(&view, Detail::Full)),
                callback: callback.map(|callback| present::callback(&view.generation, &callback)),
            })
        })
        .await
    }

    async fn list_generations(
        &self,
        request: Request<v1::ListGenerationsRequest>,
    ) -> Result<Response<v1::ListGenerationsResponse>, Status> {
        call(span("ListGenerations", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let filters = both(states(&request.states), accept::filter::<SessionId>(&request.session, "session"));
            let filters = both(filters, accept::kind_filter(request.kind));
            let (((states, session), kind), wanted) =
                Wanted::<GenerationId>::read("ListGenerations", filters, request.page_size, &request.page_token)?;
            let filter = GenerationFilter { states, session, kind, ..GenerationFilter::default() };
            let views = self.engine.list(&caller.tenant, &filter, wanted.query()).await?;
            let (generations, next_page_token) =
                wanted.cut(&views, |view| view.generation.id, |view| present::generation(view, Detail::Row));
            Ok(v1::ListGenerationsResponse { generations, next_page_token })
        })
        .await
    }

    async fn cancel_generation(
        &self,
        request: Request<v1::CancelGenerationRequest>,
    ) -> Result<Response<v1::CancelGenerationResponse>, Status> {
        call(span("CancelGeneration", &request), async {
            let caller = caller(&request)?;
            let id = named(&request.get_ref().name)?;
            let view = self.engine.cancel(&caller.tenant, id).await.map_err(Refusal::about(&id))?;
            Ok(v1::CancelGenerationResponse { generation: Some(present::generation(&view, Detail::Full)) })
        })
        .await
    }

    async fn resolve_generation(
        &self,
        request: Request<v1::ResolveGenerationRequest>,
    ) -> Result<Response<v1::ResolveGenerationResponse>, Status> {
        call(span("ResolveGeneration", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let (id, resolution) = both(named(&request.name), resolution(request.resolution))?;
            let view = self.engine.resolve(&caller.tenant, id, resolution).await.map_err(Refusal::about(&id))?;
            Ok(v1::ResolveGenerationResponse { generation: Some(present::generation(&view, Detail::Full)) })
        })
        .await
    }

    async fn delete_generation(
        &self,
        request: Request<v1::DeleteGenerationRequest>,
    ) -> Result<Response<v1::DeleteGenerationResponse>, Status> {
        call(span("DeleteGeneration", &request), async {
            let caller = caller(&request)?;
            let id = named(&request.get_ref().name)?;
            self.engine.delete(&caller.tenant, id).await.map_err(Refusal::about(&id))?;
            Ok(v1::DeleteGenerationResponse {})
        })
        .await
    }

    async fn list_generation_events(
        &self,
        request: Request<v1::ListGenerationEventsRequest>,
    ) -> Result<Response<v1::ListGenerationEventsResponse>, Status> {
        call(span("ListGenerationEvents", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let name = named(&request.name);
            let (id, wanted) =
                Wanted::<u64>::read("ListGenerationEvents", name, request.page_size, &request.page_token)?;
            let history = self.engine.history(&caller.tenant, id, wanted.query()).await.map_err(Refusal::about(&id))?;
            let (events, next_page_token) = wanted.cut(&history, |event| event.number, present::event);
            Ok(v1::ListGenerationEventsResponse { events, next_page_token })
        })
        .await
    }

    async fn redeliver_callback(
        &self,
        request: Request<v1::RedeliverCallbackRequest>,
    ) -> Result<Response<v1::RedeliverCallbackResponse>, Status> {
        call(span("RedeliverCallback", &request), async {
            let caller = caller(&request)?;
            let id = named(&request.get_ref().name)?;
            let redelivered = self.engine.redeliver_callback(&caller.tenant, id).await;
            let (generation, callback) = redelivered.map_err(Refusal::about(&id))?;
            Ok(v1::RedeliverCallbackResponse { callback: Some(present::callback(&generation, &callback)) })
        })
        .await
    }
}

impl Door {
    /// Orders and watches, whatever the kind; `answer` makes its message from a snapshot and whether the request id was known.
    async fn generate<R: Ordering, M: Send + 'static>(
        &self,
        rpc: &'static str,
        request: Request<R>,
        answer: fn(v1::Generation, bool) -> M,
    ) -> Result<Response<Answers<M>>, Status> {
        let span = span(rpc, &request);
        // Boxed, for it holds the request in several forms.
        let work = Box::pin(async {
            let caller = caller(&request)?;
            let admitted = order(&self.engine, &self.targets, caller, request.into_inner()).await?;
            let id = admitted.view.generation.id;
            about_generation(&id);
            let watch = self.engine.watch_admitted(&admitted).await.map_err(Refusal::about(&id))?;
            let replayed = admitted.replayed;
            Ok(answers(watch, move |generation| answer(generation, replayed)))
        });
        call(span, work).await
    }
}

fn named(name: &str) -> Result<GenerationId, Refusal> {
    let id = accept::name(name, "name")?;
    about_generation(&id);
    Ok(id)
}

fn resolution(resolution: i32) -> Result<Resolution, Refusal> {
    use v1::Resolution as Wire;
    match Wire::try_from(resolution) {
        Ok(Wire::Failed) => Ok(Resolution::Failed),
        Ok(Wire::Resubmit) => Ok(Resolution::Resubmit),
        Ok(Wire::Unspecified) | Err(_) => {
            let known = [Wire::Failed, Wire::Resubmit].map(|resolution| resolution.as_str_name());
            Err(Refusal::Invalid(vec![accept::unknown("resolution", resolution, &known)]))
        }
    }
}

/// The states of a filter, in the order of the contract and each once, so that a page token fits however they were written.
fn states(states: &[i32]) -> Result<Vec<State>, Refusal> {
    let mut asked = Vec::new();
    let mut violations = Vec::new();
    for (index, number) in states.iter().enumerate() {
        match v1::State::try_from(*number).ok().and_then(state) {
            Some(state) => asked.push(state),
            None => {
                let known: Vec<&str> = (1..=8)
                    .filter_map(|known| v1::State::try_from(known).ok())
                    .map(|known| known.as_str_name())
                    .collect();
                violations.push(accept::unknown(format!("states[{index}]"), *number, &known));
            }
        }
    }
    if !violations.is_empty() {
        return Err(Refusal::Invalid(violations));
    }
    Ok(State::ALL.into_iter().filter(|state| asked.contains(state)).collect())
}

fn state(state: v1::State) -> Option<State> {
    match state {
        v1::State::Unspecified => None,
        v1::State::Queued => Some(State::Queued),
        v1::State::Running => Some(State::Running),
        v1::State::Storing => Some(State::Storing),
        v1::State::Cancelling => Some(State::Cancelling),
        v1::State::Unresolved => Some(State::Unresolved),
        v1::State::Succeeded => Some(State::Succeeded),
        v1::State::Failed => Some(State::Failed),
        v1::State::Cancelled => Some(State::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_a_filter_are_put_in_order_and_wrong_ones_named() {
        assert_eq!(states(&[7, 1, 7]).unwrap(), [State::Queued, State::Failed]);
        assert_eq!(states(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap(), State::ALL);
        let Err(Refusal::Invalid(violations)) = states(&[0, 1, 99]) else { panic!("accepted") };
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["states[0]", "states[2]"]);
        assert!(violations[1].description.contains("STATE_QUEUED"), "{}", violations[1].description);
    }

    #[test]
    fn a_decision_must_be_made() {
        assert_eq!(resolution(2).unwrap(), Resolution::Resubmit);
        for bad in [0, 3, -1] {
            assert!(resolution(bad).is_err());
        }
    }
}
