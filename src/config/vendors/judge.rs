//! From the vendors' settings as written to valid ones.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Given, Table, VendorConfig, VendorSettings, known};
use crate::{
    config::{
        Problem, Text, parse,
        resolve::{COUNT, Judge, TIME, URL},
    },
    provider::vendor::{Setting, Shape, Value, Values, Vendor, is_free},
};

impl Judge {
    /// Every vendor in the order of the registry, then the further instances by name.
    pub(in crate::config) fn vendors(&mut self, settings: &VendorSettings) -> Vec<VendorConfig> {
        let none = Table::new();
        let mut judged = Vec::new();
        for vendor in known().filter(|vendor| !vendor.is_template) {
            let table = settings.vendors.get(vendor.id).unwrap_or(&none);
            judged.push(self.vendor(vendor.id, vendor.id.to_owned(), vendor, table));
        }
        for (name, instance) in &settings.instances {
            let path = format!("providers.{name}");
            if !is_free(name) || known().any(|vendor| vendor.id == name) {
                self.problems.push(Problem {
                    setting: path.clone(),
                    message: "must be a name of 1 to 32 of a-z 0-9 - that no provider has".to_owned(),
                    fix: "choose another name".to_owned(),
                });
            }
            judged.push(self.vendor(name, path, instance.vendor, &instance.table));
        }
        judged
    }

    fn vendor(&mut self, id: &str, path: String, vendor: &'static Vendor, table: &Table) -> VendorConfig {
        let mut values = Values::default();
        for setting in vendor.all_settings() {
            let default = || setting.default.map(|text| Given::Text(text.into()));
            let given = table.get(setting.key).filter(|given| given.is_given()).cloned().or_else(default);
            let value =
                given.and_then(|given| self.vendor_value(&format!("{path}.{}", setting.key), vendor, setting, given));
            if let Some(value) = value {
                values.insert(setting.key, value);
            }
        }
        VendorConfig { id: id.to_owned(), table: path, vendor, values }
    }

    fn vendor_value(&mut self, key: &str, vendor: &Vendor, setting: Setting, given: Given) -> Option<Value> {
        let text = match given {
            Given::Nested(value) => return Some(Value::Nested(value)),
            Given::Secret(secret) => return self.vendor_secret(key, vendor, setting.shape, secret),
            Given::Text(text) => Some(Text(text.0)),
        };
        match setting.shape {
            Shape::Url => self.value(key, &text, URL, parse::base_url).map(Value::Url),
            Shape::Count => self.value(key, &text, COUNT, parse::count).map(Value::Count),
            Shape::Time => self.value(key, &text, TIME, parse::duration).map(Value::Time),
            Shape::Flag => self.value(key, &text, "true or false", |text| text.parse().ok()).map(Value::Flag),
            Shape::Form(shape, fits) => {
                self.value(key, &text, shape, |text| fits(text).then(|| Value::Text(text.to_owned())))
            }
            // As the settings of all have them: a path or a text may begin with a blank.
            Shape::Text | Shape::Path => text.map(|text| Value::Text(text.0)),
            // Never written as a text.
            Shape::Secret | Shape::Secrets | Shape::WebhookSecret | Shape::Credentials | Shape::Nested => None,
        }
    }

    fn vendor_secret(&mut self, key: &str, vendor: &Vendor, shape: Shape, secret: SecretString) -> Option<Value> {
        if matches!(shape, Shape::WebhookSecret) {
            return self.webhook_secret(key, vendor, secret);
        }
        if matches!(shape, Shape::Credentials) {
            return Some(Value::Secret(secret));
        }
        if !matches!(shape, Shape::Secrets) {
            return self.secret(key, Some(&secret)).then_some(Value::Secret(secret));
        }
        let words = secret.expose_secret().split(',').map(str::trim).filter(|word| !word.is_empty());
        let secrets: Vec<SecretString> = words.map(SecretString::from).collect();
        // A lone comma is no key; the whole text then says so.
        let fit = if secrets.is_empty() { vec![SecretString::default()] } else { secrets };
        let all_fit = fit.iter().all(parse::is_key);
        if !all_fit {
            self.secret(key, fit.iter().find(|secret| !parse::is_key(secret)));
        }
        all_fit.then_some(Value::Secrets(fit))
    }

    fn webhook_secret(&mut self, key: &str, vendor: &Vendor, secret: SecretString) -> Option<Value> {
        let base64 = secret.expose_secret().strip_prefix("whsec_");
        let is_one = base64.and_then(|text| BASE64.decode(text).ok()).is_some_and(|bytes| !bytes.is_empty());
        if !is_one {
            let fix = format!("copy it again, or unset it so that {} is asked for it", vendor.title);
            let problem = self.problem(key, "must be whsec_ followed by base64 (value not shown)".to_owned(), &fix);
            self.problems.push(problem);
        }
        is_one.then_some(Value::Secret(secret))
    }

    /// Vendors that call https addresses only are not asked to call any other.
    pub(in crate::config) fn unreachable_by(&self, vendor: &VendorConfig, public_url: Option<&Url>) -> Option<Problem> {
        let base = vendor.values.url("base_url")?;
        let may_call = vendor.vendor.calls_https_only && vendor.has_key();
        let unreachable = may_call && public_url?.scheme() == "http" && base.scheme() == "https";
        let title = vendor.vendor.title;
        unreachable.then(|| {
            let message =
                format!("is no https address, so {title} is not asked to call back; its jobs are polled only");
            self.problem("public_url", message, "put a TLS proxy in front and set its https address")
        })
    }
}

impl VendorConfig {
    /// Whether one of its keys is set.
    pub fn has_key(&self) -> bool {
        let mut keys = self.vendor.settings.iter().filter(|setting| setting.shape.is_key());
        keys.any(|key| self.values.get(key.key).is_some())
    }
}
