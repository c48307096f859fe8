use super::*;

/// What is said of the documented queue vendor after a change.
fn slip(change: impl Fn(&mut toml::Table)) -> String {
    let mut file = documented("courier");
    change(file["providers"]["courier"].as_table_mut().unwrap());
    let base = Url::parse("https://h.example").unwrap();
    match build("courier", &file, &base) {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    }
}

fn set(path: &str, value: &str) -> String {
    let value: toml::Table = toml::from_str(&format!("it = {value}")).unwrap();
    slip(|table| {
        let mut keys: Vec<&str> = path.split('.').collect();
        let last = keys.pop().unwrap();
        let table = keys.iter().fold(table, |table, key| {
            let inner = table.entry(*key).or_insert_with(|| toml::Table::new().into());
            inner.as_table_mut().unwrap()
        });
        table.insert(last.to_owned(), value["it"].clone());
    })
}

#[test]
fn the_documented_vendors_have_no_slip() {
    assert_eq!(slip(|_| {}), "");
    let base = Url::parse("http://127.0.0.1:8000").unwrap();
    assert_eq!(provider("python", &base).models()[0].name, "fast");
    assert!(!provider("python", &base).serves_undescribed() && provider("courier", &base).serves_undescribed());
}

#[test]
fn a_vendor_without_submit_is_not_configured() {
    let mut file = documented("python");
    file["providers"]["python"].as_table_mut().unwrap().remove("submit");
    assert!(build("python", &file, &Url::parse("https://h.example").unwrap()).unwrap().is_none());
}

#[test]
fn every_slip_is_told_with_its_key() {
    let check = |path: &str, value: &str, expected: &[&str]| {
        let said = set(path, value);
        for words in expected {
            assert!(said.contains(words), "{path} = {value}: {said}");
        }
    };
    check("submit.pth", "'/x'", &["submit", "unknown field `pth`", "`path`"]);
    check("submit.path", "'jobs'", &["submit.path", "begins with `/`"]);
    check("submit.path", "'/jobs/{id}'", &["submit.path", "{id}", "{model}"]);
    check("submit.path", "5", &["submit.path", "invalid type"]);
    check("submit.path", "'/jobs/{job}'", &["submit: cannot hold {job}"]);
    check("submit.body", "{ a = ['{seed}'] }", &["submit.body", "{seed}"]);
    check("submit.body", "{}", &["list.mark", "{mark}"]);
    check("submit.job", "'id'", &["submit.job", "begins with `/`"]);
    check("submit.encoding", "'xml'", &["submit.encoding", "unknown variant", "`multipart`"]);
    check("submit.inputs", "'file'", &["submit.inputs", "`base64`"]);
    check("submit.method", "'post'", &["submit.method", "`POST`"]);
    check("submit.idempotency_header", "'a b'", &["submit.idempotency_header", "header"]);
    check("poll.path", "'/jobs'", &["poll", "{job}"]);
    check("poll.path", "'/jobs/{job}/{mark}'", &["poll", "{mark}"]);
    check("cancel.path", "'/stop'", &["cancel", "{job}"]);
    check("list.items", "'jobs'", &["list.items"]);
    check("list.path", "'/jobs/{job}'", &["list.path", "{job}"]);
    check("status.succeeded", "[]", &["status", "succeeded"]);
    check("status.failed", "'error'", &["status.failed"]);
    check("outputs.at", "5", &["outputs.at", "a list of places"]);
    check("outputs.path", "'/x'", &["outputs.path", "{job}"]);
    check("outputs.path", "'/x/{job}'", &["outputs", "exactly one"]);
    check("outputs.as", "'body'", &["outputs", "exactly one"]);
    check("progress.scale", "0", &["progress.scale"]);
    check("progress.percent", "'done'", &["progress.percent"]);
    check("errors.failed_status", "[404]", &["errors.failed_status", "500"]);
    check("errors.charged", "'maybe'", &["errors.charged", "unknown variant"]);
    check("auth", "{ header = 'X', query = 'key' }", &["auth", "not both"]);
    check("auth.header", "'X Y'", &["auth.header"]);
    check("auth.realm", "'x'", &["auth", "unknown field `realm`"]);
    check("headers", "{ 'a b' = 'c' }", &["headers", "a b"]);
    check("usage.cost", "'/x'", &["usage", "unknown field `cost`", "`charged_usd`"]);
}

#[test]
fn parts_that_need_each_other_are_told() {
    let without = |key: &'static str| slip(|table| drop(table.remove(key)));
    assert!(without("poll").contains("poll: is needed"), "{}", without("poll"));
    assert!(without("status").contains("status: is needed"));
    assert!(without("outputs").contains("outputs: needs exactly one"));
    let no_job = slip(|table| drop(table["submit"].as_table_mut().unwrap().remove("job")));
    assert!(no_job.contains("poll: needs submit.job"), "{no_job}");
}

#[test]
fn a_slip_shows_no_value_that_may_be_a_secret() {
    let said = set("headers", "{ Authorization = { token = 'very-secret' } }");
    assert!(said.contains("headers.Authorization") && !said.contains("very-secret"), "{said}");
    let said = set("submit.encoding", "'very-secret'");
    assert!(!said.contains("\"very-secret\""), "{said}");
}
