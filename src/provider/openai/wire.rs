//! What OpenAI and the servers that speak its language answer, read leniently: a number may come as text, a field under
//! another name, an object one level deeper; an odd type reads as absent.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A video job.
#[derive(Debug, Default)]
pub(super) struct Video {
    /// Its id, however odd.
    pub(super) id: Option<String>,
    /// The status word, in lower case with `_` between words.
    pub(super) status: Option<String>,
    /// 0 to 100.
    pub(super) percent: Option<u8>,
    /// The model's name.
    pub(super) model: Option<String>,
    /// What was ordered.
    pub(super) prompt: Option<String>,
    /// Playing time in seconds.
    pub(super) seconds: Option<f64>,
    /// `WIDTHxHEIGHT`.
    pub(super) size: Option<String>,
    /// Seconds of compute.
    pub(super) compute_seconds: Option<f64>,
    /// When it was made.
    pub(super) created_at: Option<Timestamp>,
    /// Why it failed, if it did.
    pub(super) problem: Option<Problem>,
    /// Where a server outside OpenAI says the file lies.
    pub(super) address: Option<String>,
}

/// What an error says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Problem {
    /// What went wrong, for people.
    pub(super) message: String,
    /// The words for programs: `code` and `type`.
    pub(super) codes: Vec<String>,
    /// The request's field at fault, in the vendor's words.
    pub(super) param: Option<String>,
}

/// A file in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum File {
    /// Base64, perhaps as a data URI.
    Base64(String),
    /// An address, perhaps relative to the API's.
    Address(String),
}

impl Video {
    /// Of an answer that is a video, or that wraps one in `data`.
    pub(super) fn of(answer: &Value) -> Self {
        let empty = Map::new();
        let outer = answer.as_object().unwrap_or(&empty);
        let is_job =
            |fields: &Map<String, Value>| ["status", "id", "task_id"].iter().any(|key| fields.contains_key(*key));
        // A record of its own has an id; the status of a wrapper is the call's.
        let is_named = ["id", "task_id", "video_id"].iter().any(|key| outer.get(*key).and_then(text).is_some());
        let inner = outer.get("data").map(only).and_then(Value::as_object).filter(|_| !is_named);
        let fields = inner.filter(|inner| is_job(inner)).unwrap_or(outer);
        let first = |keys: &[&str]| keys.iter().find_map(|key| text(fields.get(*key)?));
        let usage = |key: &str| fields.get("usage").and_then(|usage| number(usage.get(key)?));
        Self {
            id: first(&["id", "task_id", "video_id"]),
            status: first(&["status", "state", "task_status"]).map(|word| normal(&word)),
            percent: fields.get("progress").and_then(percent),
            model: first(&["model"]),
            prompt: first(&["prompt"]),
            seconds: fields.get("seconds").and_then(number).or_else(|| usage("duration_seconds")),
            size: first(&["size"]),
            compute_seconds: fields.get("inference_time_s").and_then(number),
            created_at: fields.get("created_at").and_then(time),
            problem: Problem::of_job(fields),
            address: address(answer, 3),
        }
    }
}

impl Problem {
    /// Of the body of an error answer: OpenAI's `{"error": {…}}`, and the forms of vLLM, FastAPI and aggregators.
    pub(super) fn of(body: &Value) -> Option<Self> {
        match (&body["error"], &body["detail"]) {
            (Value::Object(error), _) => Some(Self::of_object(error)),
            (Value::String(error), _) => {
                Some(Self { message: error.clone(), ..Self::default() }.coded(body).unwrapped())
            }
            (_, Value::Object(detail)) => Self::of(&Value::Object(detail.clone())),
            (_, Value::String(detail)) => Some(Self { message: detail.clone(), ..Self::default() }.coded(body)),
            (_, Value::Array(list)) => list.first().map(Self::of_field),
            (Value::Null, Value::Null) if body["errors"].is_array() => Self::of(&body["errors"]),
            // Google's servers wrap theirs in a list.
            _ if body.is_array() => body.get(0).filter(|first| first.is_object()).and_then(Self::of),
            _ => {
                let named = body.as_object().filter(|fields| fields.contains_key("message"))?;
                Some(Self::of_object(named))
            }
        }
    }

    fn of_object(error: &Map<String, Value>) -> Self {
        let word = |key: &str| error.get(key).and_then(text);
        let message = match error.get("message") {
            // Some wrap the upstream's own error as text, some as it is.
            Some(nested @ Value::Object(_)) => Self::of(nested).map(|inner| inner.message),
            _ => word("message").or_else(|| word("detail")).or_else(|| word("error")),
        };
        let outer = Self {
            message: message.unwrap_or_default(),
            codes: ["code", "type", "status"].iter().filter_map(|key| word(key)).chain(inner_code(error)).collect(),
            param: word("param"),
        };
        outer.unwrapped()
    }

    /// With what an upstream said in the place of a proxy's words round it: LiteLLM writes
    /// `litellm.BadRequestError: OpenAIException - {"error": {…}}. Received Model Group=…`.
    fn unwrapped(mut self) -> Self {
        let written = self.message.find('{').map(|at| &self.message[at..]);
        let upstream = written.and_then(|text| serde_json::Deserializer::from_str(text).into_iter::<Value>().next());
        let upstream = upstream.and_then(Result::ok).and_then(|body| Self::of(&body));
        if let Some(mut inner) = upstream.filter(|inner| !inner.message.is_empty()) {
            inner.codes.append(&mut self.codes);
            inner.param = inner.param.or(self.param);
            return inner;
        }
        self
    }

    /// One fault of FastAPI's list: `{"loc": ["body", "prompt"], "msg": …, "type": …}`.
    fn of_field(fault: &Value) -> Self {
        let place =
            fault["loc"].as_array().into_iter().flatten().filter_map(Value::as_str).rfind(|part| *part != "body");
        Self {
            message: text(&fault["msg"]).unwrap_or_default(),
            codes: text(&fault["type"]).into_iter().collect(),
            param: place.map(str::to_owned),
        }
    }

    fn of_job(fields: &Map<String, Value>) -> Option<Self> {
        let said = ["error", "fail_reason", "failure_reason", "error_message"];
        said.iter().find_map(|key| match fields.get(*key)? {
            Value::Object(error) if !error.is_empty() => Some(Self::of_object(error)),
            value => text(value).map(|message| Self { message, ..Self::default() }.unwrapped()),
        })
    }

    /// True if it says nothing, as the `error` of a good answer does.
    pub(super) fn is_empty(&self) -> bool {
        let is_good = |code: &String| matches!(code.as_str(), "0" | "200") || normal(code) == "success";
        self.codes.iter().all(is_good) && (self.message.is_empty() || !self.codes.is_empty())
    }

    fn coded(mut self, body: &Value) -> Self {
        self.codes = ["code", "type"].iter().filter_map(|key| text(&body[*key])).collect();
        self
    }
}

/// The files of an image answer, in order.
pub(super) fn files(answer: &Value) -> Vec<File> {
    for found in [&answer["data"], &answer["images"], &answer["data"]["data"], &answer["data"]["images"], answer] {
        let found: Vec<File> = match found {
            Value::Array(items) => items.iter().filter_map(file).collect(),
            one => file(one).into_iter().collect(),
        };
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn file(item: &Value) -> Option<File> {
    let of = |key: &str| item[key].as_str().map(str::trim).filter(|text| !text.is_empty());
    if let Some(base64) = of("b64_json") {
        return Some(File::Base64(base64.to_owned()));
    }
    let address = of("url").or_else(|| item["url"]["url"].as_str()).or_else(|| item.as_str())?;
    Some(match address.starts_with("data:") {
        true => File::Base64(address.to_owned()),
        false => File::Address(address.to_owned()),
    })
}

/// The address of the file that a JSON answer speaks of, at most `depth` objects deep.
pub(super) fn address(answer: &Value, depth: usize) -> Option<String> {
    const KEYS: [&str; 6] = ["video_url", "url", "download_url", "result_url", "output_url", "location"];
    let is_address = |text: &&str| text.starts_with("https://") || text.starts_with("http://") || text.starts_with('/');
    match answer {
        Value::Object(fields) => {
            let named = KEYS.iter().find_map(|key| fields.get(*key)?.as_str().filter(is_address));
            let deeper = ["data", "output", "result", "video", "videos", "metadata", "video_url", "url", "content"];
            let below = || deeper.iter().find_map(|key| address(fields.get(*key)?, depth.checked_sub(1)?));
            named.map(str::to_owned).or_else(below)
        }
        Value::Array(items) => items.iter().find_map(|item| address(item, depth.checked_sub(1)?)),
        _ => None,
    }
}

/// The only item of a list, or what is none.
fn only(value: &Value) -> &Value {
    match value.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        Some(_) | None => value,
    }
}

/// The code within, where Azure says the outer one's reason.
fn inner_code(error: &Map<String, Value>) -> Option<String> {
    ["innererror", "inner_error"].iter().find_map(|key| text(error.get(*key)?.get("code")?))
}

/// A word in lower case, with `_` for whatever is neither letter nor digit.
pub(super) fn normal(word: &str) -> String {
    word.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// A text that says something; a number is one too.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A finite number of zero or more, however it is written.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().trim_end_matches(['s', '%']).trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100 before")]
fn percent(value: &Value) -> Option<u8> {
    let number = number(value)?;
    // A share of one, as some aggregators tell it. A whole 1 is one per cent.
    let number = if number < 1.0 { number * 100.0 } else { number };
    Some(number.clamp(0.0, 100.0) as u8)
}

#[expect(clippy::cast_possible_truncation, reason = "a float-to-integer cast saturates")]
fn time(value: &Value) -> Option<Timestamp> {
    if let Some(at) = value.as_str().and_then(|text| text.parse().ok()) {
        return Some(at);
    }
    let seconds = number(value)?;
    // Of milliseconds there are a thousand times as many.
    let millis = if seconds > 1e11 { seconds } else { seconds * 1000.0 };
    Timestamp::from_millisecond(millis as i64).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_video_is_read_from_every_servers_form() {
        let check = |answer: Value, id: &str, status: &str, percent: Option<u8>| {
            let video = Video::of(&answer);
            assert_eq!((video.id.as_deref(), video.status.as_deref()), (Some(id), Some(status)), "{answer}");
            assert_eq!(video.percent, percent, "{answer}");
        };
        check(json!({"id": "video_1", "status": "in_progress", "progress": 33}), "video_1", "in_progress", Some(33));
        check(json!({"id": 17, "status": "IN PROGRESS", "progress": "33%"}), "17", "in_progress", Some(33));
        check(json!({"task_id": "t", "status": "SUCCESS", "progress": 0.5}), "t", "success", Some(50));
        check(json!({"code": "success", "data": {"task_id": "t", "status": "NOT_START"}}), "t", "not_start", None);
        check(json!({"id": "a", "task_id": "b", "status": "x", "data": {"id": "c"}}), "a", "x", None);
        check(json!({"status": 200, "data": {"task_id": "t", "state": "Succeed"}}), "t", "succeed", None);
        check(json!({"code": 0, "data": [{"id": "t", "status": "queued"}]}), "t", "queued", None);
        assert_eq!(Video::of(&json!([])).id, None);
    }

    #[test]
    fn an_error_is_read_from_every_servers_form() {
        let check = |body: Value, message: &str, codes: &[&str], param: Option<&str>| {
            let problem = Problem::of(&body).unwrap_or_default();
            assert_eq!(problem.message, message, "{body}");
            assert_eq!(problem.codes, codes, "{body}");
            assert_eq!(problem.param.as_deref(), param, "{body}");
        };
        check(json!({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}), "m", &["c", "t"], Some("p"));
        check(json!({"error": {"message": "m", "type": null, "param": null, "code": 400}}), "m", &["400"], None);
        check(
            json!({"object": "error", "message": "m", "type": "BadRequestError", "code": 400}),
            "m",
            &["400", "BadRequestError"],
            None,
        );
        check(json!({"error": "m", "code": "c"}), "m", &["c"], None);
        check(json!({"detail": "m"}), "m", &[], None);
        check(json!({"detail": {"error": "m"}}), "m", &[], None);
        check(
            json!({"detail": [{"loc": ["body", "prompt"], "msg": "m", "type": "missing"}]}),
            "m",
            &["missing"],
            Some("prompt"),
        );
        check(json!({"code": "c", "message": "m", "data": null}), "m", &["c"], None);
        let proxied = r#"litellm.BadRequestError: OpenAIException - {"error":{"code":"c","message":"m","param":"p"}}. Received Model Group=x"#;
        check(
            json!({"error": {"message": proxied, "type": null, "param": null, "code": "400"}}),
            "m",
            &["c", "400"],
            Some("p"),
        );
        check(json!([{"error": {"code": 400, "message": "m", "status": "INVALID"}}]), "m", &["400", "INVALID"], None);
        check(json!({"errors": [{"code": 7, "message": "m"}], "success": false}), "m", &["7"], None);
        check(
            json!({"error": "API error (status 400): {\n \"error\": {\"message\": \"m\", \"code\": \"c\", \"param\": \"p\"}}"}),
            "m",
            &["c"],
            Some("p"),
        );
        check(
            json!({"error": {"code": "400", "message": "m", "inner_error": {"code": "ResponsibleAIPolicyViolation"}}}),
            "m",
            &["400", "ResponsibleAIPolicyViolation"],
            None,
        );
        assert_eq!(Problem::of(&json!({"ok": true})), None);
    }

    #[test]
    fn a_file_is_found_wherever_an_image_answer_has_it() {
        let answer = json!({"data": [
            {"b64_json": "AAAA", "url": null}, {"url": "/v1/images/x/content"}, {"url": "data:image/png;base64,AAAA"},
            {"b64_json": null, "url": null}, null, "https://h.example/a.png", {"b64_json": "", "url": "https://h.example/b.png"},
        ]});
        let found = files(&answer);
        assert_eq!(found.len(), 5);
        assert_eq!(found[1], File::Address("/v1/images/x/content".to_owned()));
        assert_eq!(found[2], File::Base64("data:image/png;base64,AAAA".to_owned()));
    }

    #[test]
    fn one_file_needs_no_list() {
        let found = [
            json!({"data": {"b64_json": "AAAA"}}),
            json!({"data": "AAAA", "b64_json": "AAAA"}),
            json!({"data": {"images": [{"b64_json": "AAAA"}]}}),
            json!([{"b64_json": "AAAA"}]),
        ];
        for answer in found {
            assert!(!files(&answer).is_empty(), "{answer}");
        }
        assert!(files(&json!({"error": {"message": "no"}})).is_empty());
    }

    #[test]
    fn a_time_is_seconds_milliseconds_or_a_date() {
        for value in
            [json!(1_700_000_000), json!("1700000000"), json!(1_700_000_000_000_i64), json!("2023-11-14T22:13:20Z")]
        {
            assert_eq!(time(&value).unwrap().as_second(), 1_700_000_000, "{value}");
        }
        assert_eq!(time(&json!("soon")), None);
    }
}
