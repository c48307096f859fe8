//! One call of one receiver.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect::Policy,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use tokio::time::timeout;
use tracing::error;

use super::{schedule::Answer, targets::Targets};
use crate::{
    domain::{callback::CallbackError, generation::Generation},
    outbound::{is_fenced, retry_after},
    store::port::DueCallback,
};

/// Longest time of a call, from the look-up of the name to the answer's headers.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of an answer's body, and for how long, only so that the connection can be used again.
const BODY_CAP: usize = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A generation as its caller sees it, in the contract's JSON form.
pub type Render = fn(Arc<Generation>) -> Result<Value, String>;

/// Calls receivers.
#[derive(Debug)]
pub struct Sender {
    targets: Arc<Targets>,
    /// Made when it is first needed: certificates to read and random numbers to collect would be most of a start.
    client: OnceLock<Client>,
    render: Render,
}

impl Sender {
    /// Behind the fence of `targets`, with bodies made by `render`.
    pub fn new(targets: Arc<Targets>, render: Render) -> Self {
        Self { targets, client: OnceLock::new(), render }
    }

    /// Calls the receiver once.
    pub(super) async fn send(&self, due: &DueCallback) -> Answer {
        // The settings may have changed since the address was accepted.
        if self.targets.fence().check(&due.url).is_err() {
            return Answer::None(CallbackError::AddressNotAllowed);
        }
        let (headers, body) = match self.message(&due.generation, Timestamp::now()) {
            Ok(message) => message,
            Err(error) => return Answer::None(error),
        };
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => {
                error!(%error, "no HTTP client could be made");
                return Answer::None(CallbackError::Internal);
            }
        };
        match client.post(due.url.clone()).headers(headers).body(body).send().await {
            Ok(response) => {
                let (status, wish) = (response.status().as_u16(), retry_after(response.headers()));
                // Its end or its delay changes nothing: the status has been said.
                let _ = timeout(BODY_TIMEOUT, drained(response)).await;
                Answer::Status { status, retry_after: wish }
            }
            Err(error) if is_fenced(&error) => Answer::None(CallbackError::AddressNotAllowed),
            Err(error) if error.is_timeout() => Answer::None(CallbackError::Timeout),
            Err(_) => Answer::None(CallbackError::Unreachable),
        }
    }

    fn client(&self) -> reqwest::Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .user_agent(concat!("filmgate/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(self.targets.fence().clone()))
            // A redirect would lead round what was checked.
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        // Another call may have been faster; then this one is dropped.
        Ok(self.client.get_or_init(|| client))
    }

    /// The signed message about an end. Its id is the same for every try, so that a receiver knows it again.
    fn message(&self, generation: &Generation, now: Timestamp) -> Result<(HeaderMap, String), CallbackError> {
        let secrets = self.targets.secrets(&generation.tenant);
        if secrets.is_empty() {
            return Err(CallbackError::NoSecret);
        }
        let defect = |cause: &dyn Error| {
            error!(generation.name = %generation.id, cause = %cause, "a callback could not be made");
            CallbackError::Internal
        };
        let data =
            (self.render)(Arc::new(generation.clone())).map_err(|cause| defect(&*Box::<dyn Error>::from(cause)))?;
        let body = json!({
            "type": format!("generation.{}", generation.state.as_str()),
            "timestamp": generation.ended_at.unwrap_or(now).to_string(),
            "data": data,
        });
        let (id, sent_at, body) = (format!("msg_{}", generation.id.id()), now.as_second(), body.to_string());
        let sign =
            |secret: &secrecy::SecretString| Webhook::new(secret.expose_secret())?.sign(&id, sent_at, body.as_bytes());
        let signatures: Vec<String> =
            secrets.iter().map(sign).collect::<Result<_, _>>().map_err(|cause| defect(&cause))?;
        let value = |text: String| HeaderValue::try_from(text).map_err(|cause| defect(&cause));
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_WEBHOOK_SIGNATURE, value(signatures.join(" "))?);
        headers.insert(HEADER_WEBHOOK_TIMESTAMP, value(sent_at.to_string())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HEADER_WEBHOOK_ID, value(id.clone())?);
        Ok((headers, body))
    }
}

/// Reads the body to its end or the cap.
async fn drained(mut response: Response) {
    let mut n_read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        n_read += chunk.len();
        if n_read > BODY_CAP {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        config::{CallbackConfig, CallbackTarget},
        domain::{callback::Callback, life::tests::drafted},
        outbound::Fence,
    };

    const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

    fn sender(fence: Fence, secrets: &[&str]) -> Sender {
        let secrets = secrets.iter().map(|secret| (*secret).into()).collect();
        let default = CallbackTarget { url: None, secrets };
        let config = CallbackConfig { fence, default, tenants: [].into(), retry_base: TIMEOUT };
        let render: Render = |generation| Ok(json!({ "name": generation.id.to_string() }));
        Sender::new(Arc::new(Targets::new(&config)), render)
    }

    fn due(url: &str) -> DueCallback {
        let url = url.parse().unwrap();
        DueCallback { generation: drafted(1), url, callback: Callback::due(Timestamp::UNIX_EPOCH) }
    }

    #[tokio::test]
    async fn a_public_name_that_leads_into_our_own_network_is_not_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://hooks.example:{}/", listener.local_addr().unwrap().port());
        let leading = |fence: Fence| fence.knowing("hooks.example", IpAddr::V4(Ipv4Addr::LOCALHOST));
        let answer = sender(leading(Fence::default()), &SECRETS).send(&due(&url)).await;
        assert_eq!(answer, Answer::None(CallbackError::AddressNotAllowed));

        // The same, once the network is allowed: now the listener is called, which knows no TLS.
        let allowed = sender(leading(Fence::allowing(["127.0.0.0/8"]).unwrap()), &SECRETS);
        let due = due(&url);
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let (answer, ()) = tokio::join!(allowed.send(&due), hang_up);
        assert_eq!(answer, Answer::None(CallbackError::Unreachable));
    }

    #[tokio::test]
    async fn nothing_is_sent_unsigned() {
        let answer = sender(Fence::allowing(["127.0.0.1"]).unwrap(), &[]).send(&due("http://127.0.0.1:1/")).await;
        assert_eq!(answer, Answer::None(CallbackError::NoSecret));
    }

    #[test]
    fn each_secret_signs_the_same_message() {
        let generation = drafted(1);
        let (headers, body) = sender(Fence::default(), &SECRETS).message(&generation, Timestamp::now()).unwrap();
        assert_eq!(headers[HEADER_WEBHOOK_ID], format!("msg_{}", generation.id.id()));
        for secret in SECRETS {
            Webhook::new(secret).unwrap().verify(body.as_bytes(), &headers).unwrap();
        }
        assert!(Webhook::new("whsec_AAAA").unwrap().verify(body.as_bytes(), &headers).is_err());
    }
}
