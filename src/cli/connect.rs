//! The connection of a command: to a server named by `--server`, to the one that owns the data folder, or to one started for this command.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    exit::Exit,
    failure::Failure,
    host::{Home, Owner},
};
use crate::{
    app::Running,
    pb::v1::{
        artifact_service_client::ArtifactServiceClient, budget_service_client::BudgetServiceClient,
        chat_service_client::ChatServiceClient, generation_service_client::GenerationServiceClient,
        model_service_client::ModelServiceClient, session_service_client::SessionServiceClient,
    },
};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an owner of the data folder that does not answer to free it.
const HANDOVER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for the answer to a call that is not a stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

type Calls = InterceptedService<Channel, Tenant>;

/// Clients of every service, on one channel.
#[derive(Debug)]
pub(super) struct Connection {
    channel: Channel,
    tenant: Tenant,
    /// The server of this command alone; ends with it.
    running: Option<Box<Running>>,
    /// Where to look for the owner of the data folder; none for a server that was named.
    home: Option<Home>,
}

/// Says in every call whose data it is about.
#[derive(Debug, Clone)]
pub(super) struct Tenant(Option<MetadataValue<Ascii>>);

impl Connection {
    /// Connects to `address`: `HOST:PORT`, or a URL with `http` or `https`.
    pub(super) async fn to(address: &str, tenant: Tenant) -> Result<Self, Failure> {
        let channel = endpoint(address)?.connect().await.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("cannot connect to {address}: {}", cause(&error)))
                .with_next_step("is `filmgate serve` running there? Without --server a command needs no server")
        })?;
        Ok(Self { channel, tenant, running: None, home: None })
    }

    /// Connects to the server of the data folder: whoever owns it, or one of this command, which ends in [`Self::close`].
    pub(super) async fn home(home: Home, tenant: Tenant) -> Result<Self, Failure> {
        let deadline = Instant::now() + HANDOVER;
        loop {
            match Self::with(home.owner().await?, tenant.clone()).await {
                Ok(connection) => return Ok(Self { home: Some(home), ..connection }),
                Err(failure) if Instant::now() >= deadline => return Err(failure),
                // The owner is ending: its port is closed, its folder not free yet.
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Goes to whoever owns the data folder now, if the owner that we used has gone. What is still wrong shows in the next call.
    pub(super) async fn renew(&mut self) {
        if let (None, Some(home)) = (&self.running, &self.home)
            && let Ok(owner) = home.owner().await
            && let Ok(found) = Self::with(owner, self.tenant.clone()).await
        {
            *self = Self { home: self.home.take(), ..found };
        }
    }

    async fn with(owner: Owner, tenant: Tenant) -> Result<Self, Failure> {
        let running = match owner {
            Owner::Other(addr) => return Self::to(&dial_address(addr), tenant).await,
            Owner::Us(running) => running,
        };
        match Self::to(&running.addr().to_string(), tenant).await {
            Ok(connection) => Ok(Self { running: Some(running), ..connection }),
            Err(failure) => {
                running.stop().await;
                Err(failure)
            }
        }
    }

    /// Ends the server of this command, if there is one. Its unfinished generations are stored and go on with the next command.
    pub(super) async fn close(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
    }

    pub(super) fn generations(&self) -> GenerationServiceClient<Calls> {
        GenerationServiceClient::with_interceptor(self.channel.clone(), self.tenant.clone())
    }

    pub(super) fn artifacts(&self) -> ArtifactServiceClient<Calls> {
        ArtifactServiceClient::with_interceptor(self.channel.clone(), self.tenant.clone())
    }

    pub(super) fn sessions(&self) -> SessionServiceClient<Calls> {
        SessionServiceClient::with_interceptor(self.channel.clone(), self.tenant.clone())
    }

    pub(super) fn chats(&self) -> ChatServiceClient<Calls> {
        ChatServiceClient::with_interceptor(self.channel.clone(), self.tenant.clone())
    }

    pub(super) fn budgets(&self) -> BudgetServiceClient<Calls> {
        BudgetServiceClient::with_interceptor(self.channel.clone(), self.tenant.clone())
    }

    pub(super) fn models(&self) -> ModelServiceClient<Calls> {
        ModelServiceClient::with_interceptor(self.channel.clone(), self.tenant.clone())
    }
}

impl Tenant {
    /// The tenant of `--tenant`; none leaves it to the server.
    pub(super) fn new(tenant: Option<&str>) -> Result<Self, Failure> {
        let value = tenant.map(str::parse).transpose();
        value.map(Self).map_err(|_| Failure::usage("--tenant: only printable ASCII characters are allowed"))
    }
}

impl Interceptor for Tenant {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(tenant) = &self.0 {
            request.metadata_mut().insert("x-filmgate-tenant", tenant.clone());
        }
        Ok(request)
    }
}

/// A call that is no stream, with its longest wait.
pub(super) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// The address to dial for a server that listens on `addr`: one that listens everywhere is reached over the loopback.
pub(super) fn dial_address(addr: SocketAddr) -> String {
    let mut addr = addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    addr.to_string()
}

fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("--server {address:?}: {error}; expected HOST:PORT or a URL with http or https"))
    };
    let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let secure = uri.starts_with("https://");
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|error| wrong(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // Large downloads over long distances need windows that grow.
        .http2_adaptive_window(true)
        .user_agent(concat!("filmgate-cli/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| wrong(&error))?;
    if !secure {
        return Ok(endpoint);
    }
    endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(|error| wrong(&error))
}

/// The innermost words of an error: "connection refused" tells more than "transport error".
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_over_the_loopback() {
        for (listens, dialled) in [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("192.0.2.1:7", "192.0.2.1:7")]
        {
            assert_eq!(dial_address(listens.parse().unwrap()), dialled);
        }
    }

    #[test]
    fn an_address_may_be_a_host_and_port_or_a_url() {
        for address in ["localhost:50051", "127.0.0.1:50051", "http://filmgate:1", "https://filmgate.example"] {
            assert!(endpoint(address).is_ok(), "{address}");
        }
        assert_eq!(endpoint("not an address").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_tenant_must_fit_into_metadata() {
        assert!(Tenant::new(Some("team-a")).is_ok());
        assert_eq!(Tenant::new(Some("line\nbreak")).unwrap_err().exit, Exit::Usage);
    }
}
