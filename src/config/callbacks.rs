//! Who is called back about the end of generations: `callbacks.*`, and `[callbacks.tenants.NAME]` of the file.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{
    Problem, Text, parse,
    resolve::Judge,
    settings::{first_given, is_given_secret, secret, secret_in_file},
};
use crate::outbound::Fence;

/// Most secrets in use at once: the old, the new, and some patience.
const MAX_SECRETS: usize = 4;
const SECRET: &str = "whsec_ and the base64 of 24 to 64 bytes, or up to 4 of these with blanks between";
const MAKE_SECRET: &str = "make one with: echo whsec_$(openssl rand -base64 32)";

/// Who is called back.
#[derive(Debug, Clone)]
pub struct CallbackConfig {
    /// Where callbacks may lead.
    pub fence: Fence,
    /// For tenants that are not named.
    pub default: CallbackTarget,
    /// By tenant; what one does not say, the default says.
    pub tenants: BTreeMap<String, CallbackTarget>,
    /// Wait before a callback is first repeated, above zero.
    pub retry_base: Duration,
}

/// What is said about one tenant's callbacks, or everybody's.
#[derive(Debug, Clone, Default)]
pub struct CallbackTarget {
    /// Where requests are reported that name no address; the fence admits it.
    pub url: Option<Url>,
    /// What they are signed with, each as `whsec_…`.
    pub secrets: Vec<SecretString>,
}

#[expect(missing_docs, reason = "the doc comment of each field is its help text")]
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbackSettings {
    /// Where the end of generations is reported whose request names no `callback_url`
    #[arg(
        id = "callbacks.url",
        long = "callbacks-url",
        env = "FILMGATE_CALLBACK_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub url: Option<Text>,
    /// Secret that callbacks are signed with, `whsec_` and base64 of 24 to 64 bytes; several with blanks between while it is changed; without it none are sent
    #[arg(
        id = "callbacks.secret",
        long = "callbacks-secret",
        env = "FILMGATE_CALLBACK_SECRET",
        value_name = "SECRET",
        hide_env_values = true,
        value_parser = secret
    )]
    #[serde(deserialize_with = "secret_in_file")]
    pub secret: Option<SecretString>,
    /// Hosts, IP addresses and networks (`10.0.0.0/8`) with commas between that callbacks may go to though they are private, and by plain http
    #[arg(
        id = "callbacks.allow",
        long = "callbacks-allow",
        env = "FILMGATE_CALLBACK_ALLOW",
        value_name = "HOST,...",
        hide_env_values = true
    )]
    pub allow: Option<Text>,
    /// Wait before a callback is first repeated; the later waits are 60, 360, 1440, 3600 and 7200 times as long, until a day has passed (default 5s)
    #[arg(
        id = "callbacks.retry_base",
        long = "callbacks-retry-base",
        env = "FILMGATE_CALLBACK_RETRY_BASE",
        value_name = "TIME",
        hide_env_values = true
    )]
    pub retry_base: Option<Text>,
    #[arg(skip)]
    pub tenants: Option<BTreeMap<String, TenantCallbackSettings>>,
}

/// One table `[callbacks.tenants.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantCallbackSettings {
    url: Option<Text>,
    #[serde(deserialize_with = "secret_in_file")]
    secret: Option<SecretString>,
}

impl CallbackSettings {
    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            url: first_given(self.url, lower.url, Text::is_given),
            secret: first_given(self.secret, lower.secret, is_given_secret),
            allow: first_given(self.allow, lower.allow, Text::is_given),
            retry_base: first_given(self.retry_base, lower.retry_base, Text::is_given),
            tenants: self.tenants.or(lower.tenants),
        }
    }
}

impl Judge {
    /// `None` only if there is a problem.
    pub(super) fn callbacks(&mut self, settings: &CallbackSettings) -> Option<CallbackConfig> {
        let retry_base = self.time("callbacks.retry_base", &settings.retry_base);
        let places = |text: &str| Fence::allowing(text.split(',').map(str::trim).filter(|place| !place.is_empty()));
        let shape = "names of hosts, IP addresses or networks with commas between, such as hooks.internal,10.0.0.0/8";
        let fence = match &settings.allow {
            None => Fence::default(),
            allow @ Some(_) => self.value("callbacks.allow", allow, shape, places)?,
        };
        let default = self.callback_target("callbacks", settings.url.as_ref(), settings.secret.as_ref(), &fence);
        let mut tenants = BTreeMap::new();
        for (name, tenant) in settings.tenants.iter().flatten() {
            let key = format!("callbacks.tenants.{name}");
            if !parse::is_token(name) {
                let problem = Problem {
                    setting: key,
                    message: "is no tenant, which is 1 to 64 of A-Z a-z 0-9 _ -".to_owned(),
                    fix: "correct its name".to_owned(),
                };
                self.problems.push(problem);
                continue;
            }
            let target = self.callback_target(&key, tenant.url.as_ref(), tenant.secret.as_ref(), &fence);
            tenants.insert(name.clone(), target);
        }
        self.check_signed("callbacks", &default, &default);
        for (name, target) in &tenants {
            self.check_signed(&format!("callbacks.tenants.{name}"), target, &default);
        }
        Some(CallbackConfig { fence, default, tenants, retry_base: retry_base? })
    }

    fn callback_target(
        &mut self,
        table: &str,
        url: Option<&Text>,
        secret: Option<&SecretString>,
        fence: &Fence,
    ) -> CallbackTarget {
        let url = url.filter(|url| url.is_given()).and_then(|text| {
            let url = Url::parse(text.0.trim()).map_err(|_| "is no address such as https://host/path");
            let url = url.and_then(|url| fence.check(&url).map(|()| url));
            if let Err(why) = &url {
                // The address is not shown: its path may be what protects it.
                let fix = "correct it, or allow its host with FILMGATE_CALLBACK_ALLOW";
                let problem = self.problem(&format!("{table}.url"), (*why).to_owned(), fix);
                self.problems.push(problem);
            }
            url.ok()
        });
        let secrets = secret.filter(|secret| is_given_secret(secret)).and_then(|text| {
            let secrets = parse_secrets(text.expose_secret());
            if secrets.is_none() {
                let message = format!("must be {SECRET} (value not shown)");
                let problem = self.problem(&format!("{table}.secret"), message, MAKE_SECRET);
                self.problems.push(problem);
            }
            secrets
        });
        CallbackTarget { url, secrets: secrets.unwrap_or_default() }
    }

    /// An address without a secret would be called by nobody, and an unsigned call is worth nothing.
    fn check_signed(&mut self, table: &str, target: &CallbackTarget, default: &CallbackTarget) {
        let key = format!("{table}.secret");
        let is_known = self.problems.iter().any(|problem| problem.setting.starts_with(&key));
        if target.url.is_some() && target.secrets.is_empty() && default.secrets.is_empty() && !is_known {
            let problem =
                self.problem(&key, format!("is not set, but {table}.url is: callbacks are signed"), MAKE_SECRET);
            self.problems.push(problem);
        }
    }
}

fn parse_secrets(text: &str) -> Option<Vec<SecretString>> {
    let is_secret = |word: &str| {
        let bytes = word.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
        bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len()))
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let fits = words.len() <= MAX_SECRETS && words.iter().all(|word| is_secret(word));
    fits.then(|| words.into_iter().map(SecretString::from).collect())
}
