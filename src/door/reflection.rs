//! Server reflection, so that generic clients can list and describe everything.

use tonic::service::RoutesBuilder;
use tonic_reflection::server::{Builder, Error};

use crate::pb::DESCRIPTOR_SET;

/// Adds both versions of the service. The descriptors are passed on as bytes, so that custom options survive.
///
/// # Errors
/// The embedded descriptors cannot be read: a defect of the build.
pub(super) fn add_to(routes: &mut RoutesBuilder) -> Result<(), Error> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Error details travel as `Any`; clients need their types to show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    use super::*;

    async fn ask(question: MessageRequest) -> MessageResponse {
        let mut routes = tonic::service::Routes::builder();
        add_to(&mut routes).unwrap();
        let mut client = ServerReflectionClient::new(routes.routes());
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap().message_response.unwrap()
    }

    #[tokio::test]
    async fn every_service_is_listed() {
        let answer = ask(MessageRequest::ListServices(String::new())).await;
        let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
        let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "filmgate.v1.ArtifactService",
                "filmgate.v1.BudgetService",
                "filmgate.v1.ChatService",
                "filmgate.v1.GenerationService",
                "filmgate.v1.ModelService",
                "filmgate.v1.SessionService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
            ]
        );
    }

    #[tokio::test]
    async fn messages_and_error_details_are_described() {
        for symbol in ["filmgate.v1.Generation", "filmgate.v1.ErrorReason", "google.rpc.BadRequest"] {
            let answer = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
            assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{symbol}: {answer:?}");
        }
    }
}
