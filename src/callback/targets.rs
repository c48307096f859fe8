use std::collections::BTreeMap;

use secrecy::SecretString;
use url::Url;

use crate::{
    config::{CallbackConfig, CallbackTarget},
    domain::names::TenantId,
    outbound::Fence,
};

/// Whose generations are reported where, and with which signature.
#[derive(Debug, Default)]
pub struct Targets {
    fence: Fence,
    default: CallbackTarget,
    tenants: BTreeMap<String, CallbackTarget>,
}

/// There is no secret to sign a tenant's callbacks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no secret to sign callbacks with")]
pub struct Unsigned;

impl Targets {
    /// As the settings say.
    pub fn new(config: &CallbackConfig) -> Self {
        Self { fence: config.fence.clone(), default: config.default.clone(), tenants: config.tenants.clone() }
    }

    /// Where a new generation of the tenant is reported: where its request says, else where the settings do.
    ///
    /// # Errors
    /// The request names an address, and nothing could be signed for it.
    pub fn address(&self, tenant: &TenantId, asked: Option<Url>) -> Result<Option<Url>, Unsigned> {
        if asked.is_some() && self.secrets(tenant).is_empty() {
            return Err(Unsigned);
        }
        let own = self.tenants.get(tenant.id()).and_then(|target| target.url.as_ref());
        Ok(asked.or_else(|| own.or(self.default.url.as_ref()).cloned()))
    }

    /// What the tenant's callbacks are signed with, each as `whsec_…`.
    pub fn secrets(&self, tenant: &TenantId) -> &[SecretString] {
        let own = self.tenants.get(tenant.id()).map(|target| &target.secrets).filter(|secrets| !secrets.is_empty());
        own.unwrap_or(&self.default.secrets)
    }

    /// Where callbacks may lead.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn target(url: Option<&str>, secret: Option<&str>) -> CallbackTarget {
        CallbackTarget {
            url: url.map(|url| url.parse().unwrap()),
            secrets: secret.map(SecretString::from).into_iter().collect(),
        }
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::from_id(name).unwrap()
    }

    #[test]
    fn the_request_says_where_then_the_tenants_table_then_the_default() {
        let targets = Targets {
            default: target(Some("https://default.example/"), None),
            tenants: [
                ("acme".to_owned(), target(Some("https://acme.example/"), Some("own"))),
                ("signs".to_owned(), target(None, Some("own"))),
            ]
            .into(),
            ..Targets::default()
        };
        let asked = || Some("https://asked.example/".parse().unwrap());
        let address = |name: &str, asked| {
            targets.address(&tenant(name), asked).map(|url| url.map(|url| url.host_str().unwrap().to_owned()))
        };
        let at = |host: &str| Ok(Some(host.to_owned()));
        assert_eq!(address("acme", asked()), at("asked.example"));
        assert_eq!(address("acme", None), at("acme.example"));
        assert_eq!(address("signs", None), at("default.example"));
        assert_eq!(address("other", asked()), Err(Unsigned));
        assert_eq!(Targets::default().address(&tenant("other"), None), Ok(None));
    }

    #[test]
    fn a_tenant_signs_with_its_own_secret_else_the_default() {
        let targets = Targets {
            default: target(None, Some("default")),
            tenants: [("acme".to_owned(), target(None, Some("own"))), ("plain".to_owned(), target(None, None))].into(),
            ..Targets::default()
        };
        let secret = |name: &str| targets.secrets(&tenant(name))[0].expose_secret().to_owned();
        assert_eq!([secret("acme"), secret("plain"), secret("other")], ["own", "default", "default"]);
    }
}
