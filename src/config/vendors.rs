//! The vendors' settings as people write them, derived from the descriptors that the vendors' folders declare: flags and variables,
//! a table `[VENDOR]` of the file, and `[providers.NAME]` for a further instance of an adapter.

use std::{collections::BTreeMap, ffi::OsString, fmt, ops::Range};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use secrecy::SecretString;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

use super::{
    Text,
    settings::{is_given_secret, secret},
};
use crate::provider::vendor::{Setting, Shape, VENDORS, Values, Vendor};

mod judge;

/// A vendor, or a further instance of its adapter, with its settings.
#[derive(Debug, Clone)]
pub struct VendorConfig {
    /// The vendor's id, or the instance's name.
    pub id: String,
    /// Where its settings are in the file: `replicate`, or `providers.NAME`.
    pub table: String,
    /// What it is.
    pub vendor: &'static Vendor,
    /// Its settings, of the right shape.
    pub values: Values,
}

/// What is set of one vendor, by key.
type Table = BTreeMap<&'static str, Given>;

/// The vendors' settings, not judged yet.
#[derive(Debug, Clone, Default)]
pub struct VendorSettings {
    vendors: BTreeMap<&'static str, Table>,
    instances: BTreeMap<String, Instance>,
}

/// One table `[providers.NAME]`.
#[derive(Debug, Clone)]
struct Instance {
    vendor: &'static Vendor,
    table: Table,
}

#[derive(Clone)]
enum Given {
    Text(Text),
    Secret(SecretString),
    Nested(toml::Value),
}

impl Given {
    fn is_given(&self) -> bool {
        match self {
            Self::Text(text) => text.is_given(),
            Self::Secret(secret) => is_given_secret(secret),
            Self::Nested(_) => true,
        }
    }
}

// What is nested may hold keys.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Secret(_) | Self::Nested(_) => f.write_str("set"),
        }
    }
}

/// Every vendor. The tests of settings have one more, so that they prove what holds for any.
pub(super) fn known() -> impl Iterator<Item = &'static Vendor> {
    #[cfg(not(test))]
    let more: [&Vendor; 0] = [];
    #[cfg(test)]
    let more = super::tests::MADE_UP;
    VENDORS.iter().copied().chain(more)
}

/// The vendor and setting of a key such as `replicate.model`.
pub(super) fn setting(key: &str) -> Option<(&'static Vendor, Setting)> {
    let (id, key) = key.split_once('.')?;
    let vendor = known().find(|vendor| vendor.id == id)?;
    Some((vendor, vendor.setting(key)?))
}

/// The settings that have a flag and a variable, each with its key.
fn flags() -> impl Iterator<Item = (String, &'static Vendor, Setting)> {
    let of = |vendor: &'static Vendor| vendor.all_settings().map(move |setting| (vendor, setting));
    let with_flags = known().filter(|vendor| !vendor.is_template).flat_map(of);
    let with_flags = with_flags.filter(|(_, setting)| !matches!(setting.shape, Shape::Nested));
    with_flags.map(|(vendor, setting)| (format!("{}.{}", vendor.id, setting.key), vendor, setting))
}

impl Args for VendorSettings {
    fn augment_args(command: Command) -> Command {
        flags().fold(command, |command, (key, vendor, setting)| {
            let argument = Arg::new(key.clone())
                .long(key.replace(['.', '_'], "-"))
                .value_name(setting.value_name)
                .hide_env_values(true)
                .help(vendor.help(&setting));
            let argument = match vendor.env(&setting).into_iter().next() {
                Some(name) => argument.env(OsString::from(name)),
                None => argument,
            };
            command.arg(if setting.shape.is_secret() { argument.value_parser(secret) } else { argument })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for VendorSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut read = Self::default();
        read.update_from_arg_matches(matches)?;
        Ok(read)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (key, vendor, setting) in flags() {
            let given = if setting.shape.is_secret() {
                matches.get_one::<SecretString>(&key).cloned().map(Given::Secret)
            } else {
                matches.get_one::<String>(&key).cloned().map(|text| Given::Text(Text(text)))
            };
            if let Some(given) = given {
                self.vendors.entry(vendor.id).or_default().insert(setting.key, given);
            }
        }
        Ok(())
    }
}

/// What is wrong in a file, and where.
pub(super) struct Wrong {
    pub(super) place: Option<Range<usize>>,
    pub(super) message: String,
}

impl From<toml::de::Error> for Wrong {
    fn from(error: toml::de::Error) -> Self {
        Self { place: error.span(), message: error.message().to_owned() }
    }
}

impl VendorSettings {
    /// This layer's values, and those of the layer below where this one has none.
    pub(super) fn over(mut self, lower: Self) -> Self {
        for (id, table) in lower.vendors {
            let upper = self.vendors.entry(id).or_default();
            for (key, given) in table {
                if !upper.get(key).is_some_and(Given::is_given) {
                    upper.insert(key, given);
                }
            }
        }
        if self.instances.is_empty() {
            self.instances = lower.instances;
        }
        self
    }

    /// Takes the vendors' tables out of a file's document and leaves the rest.
    pub(super) fn take_from(document: &mut DeTable<'_>) -> Result<Self, Wrong> {
        let mut taken = Self::default();
        let mut rest = DeTable::new();
        for (key, value) in std::mem::take(document) {
            let name: &str = key.get_ref();
            if let Some(vendor) = known().find(|vendor| vendor.id == name && !vendor.is_template) {
                taken.vendors.insert(vendor.id, read_table(vendor, table_of(value)?)?);
            } else if name == "providers" {
                for (name, value) in table_of(value)? {
                    let instance = read_instance(&name, value)?;
                    taken.instances.insert(name.into_inner().into_owned(), instance);
                }
            } else {
                rest.insert(key, value);
            }
        }
        *document = rest;
        Ok(taken)
    }

    /// The names of the tables that [`VendorSettings::take_from`] takes, for messages.
    pub(super) fn names_of_tables() -> String {
        let vendors = known().filter(|vendor| !vendor.is_template).map(|vendor| vendor.id);
        let names: Vec<String> = vendors.chain(["providers"]).map(|id| format!("`{id}`")).collect();
        names.join(", ")
    }
}

fn table_of<'i>(value: Spanned<DeValue<'i>>) -> Result<DeTable<'i>, Wrong> {
    let place = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(table),
        other => {
            let message = format!("invalid type: {}, expected a table", other.type_str());
            Err(Wrong { place: Some(place), message })
        }
    }
}

fn read_instance(name: &Spanned<DeString<'_>>, value: Spanned<DeValue<'_>>) -> Result<Instance, Wrong> {
    let (adapter, table): (DeTable<'_>, DeTable<'_>) =
        table_of(value)?.into_iter().partition(|(key, _)| key.get_ref() == "adapter");
    let wrong = |place, message: &str| {
        let known: Vec<String> = known().map(|vendor| format!("`{}`", vendor.id)).collect();
        Wrong { place: Some(place), message: format!("{message}, expected one of {}", known.join(", ")) }
    };
    let Some((_, adapter)) = adapter.into_iter().next() else {
        return Err(wrong(name.span(), "missing field `adapter`"));
    };
    let place = adapter.span();
    let adapter = String::deserialize(ValueDeserializer::from(adapter))?;
    let Some(vendor) = known().find(|vendor| vendor.id == adapter) else {
        return Err(wrong(place, "unknown adapter"));
    };
    Ok(Instance { vendor, table: read_table(vendor, table)? })
}

fn read_table(vendor: &'static Vendor, table: DeTable<'_>) -> Result<Table, Wrong> {
    let mut read = Table::new();
    for (key, value) in table {
        let Some(setting) = vendor.setting(key.get_ref()) else {
            let known: Vec<String> = vendor.all_settings().map(|setting| format!("`{}`", setting.key)).collect();
            let message = format!("unknown field `{}`, expected one of {}", key.get_ref(), known.join(", "));
            return Err(Wrong { place: Some(key.span()), message });
        };
        read.insert(setting.key, read_value(setting.shape, value)?);
    }
    Ok(read)
}

fn read_value(shape: Shape, value: Spanned<DeValue<'_>>) -> Result<Given, Wrong> {
    let flag = value.get_ref().as_bool();
    let value = ValueDeserializer::from(value);
    Ok(match (shape, flag) {
        (Shape::Nested, _) => Given::Nested(toml::Value::deserialize(value)?),
        (Shape::Flag, Some(flag)) => Given::Text(Text(flag.to_string())),
        _ if shape.is_secret() => Given::Secret(String::deserialize(value)?.into()),
        _ => Given::Text(Text::deserialize(value)?),
    })
}
