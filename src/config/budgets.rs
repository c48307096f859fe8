//! `[[budgets]]`: limits on what may be spent.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{Problem, parse, resolve::Judge};
use crate::domain::{
    budget::{Budget, Period, Scope},
    money::MicroUsd,
    names::{SessionId, TenantId},
};

const KEYS: [&str; 7] = ["name", "limit", "period", "tenant", "session", "label", "allow_unpriced"];
const NAME: &str = "1 to 63 of a-z 0-9 and -, such as film-team";
const LIMIT: &str = "an amount in US dollars with at most six decimals, as a text such as \"25\" or \"0.50\"";
const PERIOD: &str = "\"day\", \"month\" (both of the calendar, in UTC) or \"total\"";
const TENANT: &str = "the name of a tenant such as \"acme\", or \"*\" for each";
const SESSION: &str = "the id of a session, or \"*\" for each";
const LABEL: &str = "\"key=value\", or \"key\" for each value of that label";
const SCOPE: &str =
    "set tenant = \"*\" for each tenant, tenant = \"name\" for one, session = \"*\", or label = \"key\"";

impl Judge {
    /// All of them, in the order of the file.
    pub(super) fn budgets(&mut self, given: Option<&Vec<Value>>) -> Vec<Budget> {
        let mut names = BTreeSet::new();
        let mut budgets = Vec::new();
        for (index, value) in given.into_iter().flatten().enumerate() {
            let at = format!("budgets[{index}]");
            let Some(table) = value.as_table() else {
                self.wrong(at, "is no table", "write it as [[budgets]]");
                continue;
            };
            let Some(budget) = self.budget(&at, table) else { continue };
            if names.insert(budget.name.clone()) {
                budgets.push(budget);
            } else {
                self.wrong(format!("{at}.name"), &format!("{} is there twice", budget.name), "give each its own name");
            }
        }
        budgets
    }

    fn budget(&mut self, at: &str, table: &Table) -> Option<Budget> {
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            self.wrong(format!("{at}.{key}"), "is no setting of a budget", &format!("allowed: {}", KEYS.join(", ")));
        }
        let is_name = |text: &str| parse::is_word(text).then(|| text.to_owned());
        let period = |text: &str| match text {
            "day" => Some(Period::Day),
            "month" => Some(Period::Month),
            "total" => Some(Period::Total),
            _ => None,
        };
        let name = self.required(at, table, "name", NAME, is_name);
        let limit = self.required(at, table, "limit", LIMIT, MicroUsd::from_decimal);
        let period = self.required(at, table, "period", PERIOD, period);
        let tenant = self.optional(at, table, "tenant", TENANT, |text| each(text, TenantId::from_id));
        let session = self.optional(at, table, "session", SESSION, |text| each(text, SessionId::from_id));
        let label = self.optional(at, table, "label", LABEL, label);
        let scope = match (session?, label?) {
            (Some(_), Some(_)) => {
                self.wrong(format!("{at}.label"), "is set beside session", "make a budget of each");
                return None;
            }
            (Some(session), None) => Scope::Session(session),
            (None, Some((key, value))) => Scope::Label(key, value),
            (None, None) if table.contains_key("tenant") => Scope::Tenant,
            (None, None) => {
                self.wrong(at.to_owned(), "says not whom it limits", SCOPE);
                return None;
            }
        };
        let allow_unpriced = match table.get("allow_unpriced") {
            None => false,
            Some(Value::Boolean(allow)) => *allow,
            Some(_) => {
                self.wrong(format!("{at}.allow_unpriced"), "is not true or false", "write true or false");
                return None;
            }
        };
        let tenant = tenant?.flatten();
        Some(Budget { name: name?, limit: limit?, period: period?, tenant, scope, allow_unpriced })
    }

    fn required<T>(
        &mut self,
        at: &str,
        table: &Table,
        key: &str,
        shape: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if !table.contains_key(key) {
            self.wrong(format!("{at}.{key}"), "is not set", &format!("set it to {shape}"));
            return None;
        }
        self.optional(at, table, key, shape, read)?
    }

    /// Nothing at all for a value of another shape.
    fn optional<T>(
        &mut self,
        at: &str,
        table: &Table,
        key: &str,
        shape: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        let Some(value) = table.get(key) else { return Some(None) };
        let read = value.as_str().and_then(read);
        if read.is_none() {
            self.wrong(format!("{at}.{key}"), &format!("{value} is not {shape}"), &format!("set it to {shape}"));
        }
        read.map(Some)
    }

    fn wrong(&mut self, setting: String, message: &str, fix: &str) {
        self.problems.push(Problem { setting, message: message.to_owned(), fix: fix.to_owned() });
    }
}

/// One, or each: `*`.
fn each<T, E>(text: &str, one: impl Fn(String) -> Result<T, E>) -> Option<Option<T>> {
    if text == "*" { Some(None) } else { one(text.to_owned()).ok().map(Some) }
}

fn label(text: &str) -> Option<(String, Option<String>)> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
    let is_key = (1..=63).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b));
    is_key.then(|| (key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Settings, Surroundings};

    fn resolve(text: &str) -> Result<Vec<String>, Vec<String>> {
        let settings: Settings = toml::from_str(text).unwrap();
        let surroundings =
            Surroundings { home: Some("/home/x".into()), data_home: Some("/d".into()), ..Default::default() };
        let shown = |config: Config| config.budgets.iter().map(|b| format!("{} {} {b}", b.name, b.limit)).collect();
        let problem = |problems: Vec<super::Problem>| problems.into_iter().map(|problem| problem.setting).collect();
        Config::resolve_in(settings, &surroundings).map(shown).map_err(problem)
    }

    #[test]
    fn budgets_say_whom_they_limit() {
        let given = r#"
            [[budgets]]
            name = "all"
            limit = "25"
            period = "month"
            tenant = "*"
            [[budgets]]
            name = "team"
            limit = "0.50"
            period = "day"
            label = "team=film"
            tenant = "acme"
            [[budgets]]
            name = "talk"
            limit = "1"
            period = "total"
            session = "*"
            allow_unpriced = true
        "#;
        let expected = [
            "all $25.000000 each tenant",
            "team $0.500000 label team=film of tenant acme",
            "talk $1.000000 each session",
        ];
        assert_eq!(resolve(given).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_with_a_budget_is_told_by_its_key() {
        let check = |changed: &str, expected: &[&str]| {
            let text = format!("[[budgets]]\n{changed}");
            assert_eq!(resolve(&text).unwrap_err(), expected, "{changed}");
        };
        let good = "name = 'a'\nlimit = '1'\nperiod = 'day'\n";
        check("tenant = '*'", &["budgets[0].name", "budgets[0].limit", "budgets[0].period"]);
        check(good, &["budgets[0]"]);
        check(&format!("{good}tenant = 'a b'"), &["budgets[0].tenant"]);
        check(&format!("{good}session = '*'\nlabel = 'a'"), &["budgets[0].label"]);
        check(&format!("{good}label = 'A'"), &["budgets[0].label"]);
        check(&format!("{good}tenant = '*'\nsize = 1"), &["budgets[0].size"]);
        check("name = 'a'\nlimit = 25\nperiod = 'week'\ntenant = '*'", &["budgets[0].limit", "budgets[0].period"]);
        check(&format!("{good}tenant = '*'\n[[budgets]]\n{good}tenant = '*'"), &["budgets[1].name"]);
    }
}
