//! `GenerateVideo`.

use std::collections::BTreeMap;

use filmgate::pb::v1::{GenerateVideoRequest, Input, VideoOptions, input::Source};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use prost_types::{Duration, ListValue, Struct, Value, value::Kind};
use tonic::Code;

use super::unharmed;
use crate::support::{
    refusals::{invalid, refusal, refused},
    server::{Setup, video},
};

fn with(change: impl FnOnce(&mut GenerateVideoRequest)) -> GenerateVideoRequest {
    let mut request = video("a cat");
    change(&mut request);
    request
}

fn with_options(change: impl FnOnce(&mut VideoOptions)) -> GenerateVideoRequest {
    let mut options = VideoOptions::default();
    change(&mut options);
    GenerateVideoRequest { options: Some(options), ..video("a cat") }
}

fn with_input(role: i32, source: Source) -> GenerateVideoRequest {
    let inputs = vec![Input { role, source: Some(source) }];
    GenerateVideoRequest { inputs, model: "sample/video".to_owned(), ..video("a cat") }
}

fn provider_options(value: Kind) -> GenerateVideoRequest {
    let fields = BTreeMap::from([("x".to_owned(), Value { kind: Some(value) })]);
    with_options(|options| options.provider_options = Some(Struct { fields }))
}

fn wrong_fields() -> Vec<(&'static str, GenerateVideoRequest)> {
    let label = |key: &str, value: &str| with(|r| r.labels = [(key.to_owned(), value.to_owned())].into());
    vec![
        ("prompt", video("")),
        ("prompt", video(" \t\n\u{a0}")),
        ("prompt", video(&"x".repeat(32_001))),
        ("session", with(|r| r.session = "abc".into())),
        ("session", with(|r| r.session = "sessions/".into())),
        ("session", with(|r| r.session = "sessions/../../etc".into())),
        ("session", with(|r| r.session = format!("sessions/{}", "x".repeat(65)))),
        ("session", with(|r| r.session = "sessions/a\u{0}".into())),
        ("model", with(|r| r.model = "minimax".into())),
        ("model", with(|r| r.model = "nobody/nothing".into())),
        ("model", with(|r| r.model = "sample/no-such".into())),
        ("model", with(|r| r.model = "sample/../video".into())),
        ("model", with(|r| r.model = format!("sample/{}", "x".repeat(100_000)))),
        ("route", with(|r| r.route = "no-such".into())),
        ("route", with(|r| r.route = "../x".into())),
        ("quality", with(|r| r.quality = 99)),
        ("quality", with(|r| r.quality = -1)),
        ("mode", with(|r| r.mode = -1)),
        ("cache", with(|r| r.cache = i32::MAX)),
        ("request_id", with(|r| r.request_id = "a\nb".into())),
        ("request_id", with(|r| r.request_id = "x".repeat(129))),
        ("request_id", with(|r| r.request_id = "é".into())),
        ("quote", with(|r| r.quote = "quotes/1".into())),
        ("callback_url", with(|r| r.callback_url = "http://127.0.0.1/".into())),
        ("callback_url", with(|r| r.callback_url = "https://169.254.169.254/latest/meta-data/".into())),
        ("callback_url", with(|r| r.callback_url = "https://[::1]/".into())),
        ("callback_url", with(|r| r.callback_url = "https://localhost/".into())),
        ("callback_url", with(|r| r.callback_url = "file:///etc/passwd".into())),
        ("callback_url", with(|r| r.callback_url = "\u{0}".into())),
        ("callback_url", with(|r| r.callback_url = format!("https://example.com/{}", "x".repeat(100_000)))),
        ("max_duration", with(|r| r.max_duration = Some(Duration { seconds: 0, nanos: 999_999_999 }))),
        ("max_duration", with(|r| r.max_duration = Some(Duration { seconds: 86_400, nanos: 1 }))),
        ("max_duration", with(|r| r.max_duration = Some(Duration { seconds: i64::MIN, nanos: i32::MIN }))),
        ("max_duration", with(|r| r.max_duration = Some(Duration { seconds: i64::MAX, nanos: i32::MAX }))),
        ("labels[\"\"]", label("", "x")),
        ("labels[\"A\"]", label("A", "x")),
        ("labels[\"a\\0\"]", label("a\0", "x")),
        ("labels[\"a\"]", label("a", &"x".repeat(257))),
        ("labels", with(|r| r.labels = (0..33).map(|n| (format!("k{n}"), String::new())).collect())),
        ("fallback_on_refusal", with(|r| r.fallback_on_refusal = true)),
    ]
}

fn wrong_options() -> Vec<(&'static str, GenerateVideoRequest)> {
    let duration = |seconds, nanos| with_options(|o| o.duration = Some(Duration { seconds, nanos }));
    let list = (0..40_000).map(|_| Value { kind: Some(Kind::BoolValue(true)) }).collect();
    vec![
        ("options.duration", duration(0, 0)),
        ("options.duration", duration(-1, 0)),
        ("options.duration", duration(3600, 1)),
        ("options.duration", duration(1, -1)),
        ("options.duration", duration(i64::MAX, 0)),
        ("options.fps", with_options(|o| o.fps = Some(0))),
        ("options.fps", with_options(|o| o.fps = Some(u32::MAX))),
        ("options.width", with_options(|o| o.width = Some(15))),
        ("options.height", with_options(|o| o.height = Some(8193))),
        ("options.aspect_ratio", with_options(|o| o.aspect_ratio = "0:0".into())),
        ("options.aspect_ratio", with_options(|o| o.aspect_ratio = "nan:inf".into())),
        ("options.aspect_ratio", with_options(|o| o.aspect_ratio = "1:".repeat(100_000))),
        ("options.steps", with_options(|o| o.steps = Some(1001))),
        ("options.samples", with_options(|o| o.samples = Some(17))),
        ("options.guidance", with_options(|o| o.guidance = Some(f64::NAN))),
        ("options.guidance", with_options(|o| o.guidance = Some(f64::INFINITY))),
        ("options.guidance", with_options(|o| o.guidance = Some(-0.1))),
        ("options.seed", with_options(|o| o.seed = Some(-1))),
        ("options.seed", with_options(|o| o.seed = Some(i64::MAX))),
        ("options.negative_prompt", with_options(|o| o.negative_prompt = "x".repeat(32_001))),
        ("options.provider_options.x", provider_options(Kind::NumberValue(f64::NAN))),
        ("options.provider_options.x", provider_options(Kind::NumberValue(f64::NEG_INFINITY))),
        ("options.provider_options", provider_options(Kind::StringValue("x".repeat(65 << 10)))),
        ("options.provider_options", provider_options(Kind::ListValue(ListValue { values: list }))),
    ]
}

fn wrong_inputs() -> Vec<(&'static str, GenerateVideoRequest)> {
    let uri = |uri: &str| ("inputs[0].uri", with_input(1, Source::Uri(uri.to_owned())));
    let artifact = |name: &str| ("inputs[0].artifact", with_input(1, Source::Artifact(name.to_owned())));
    let many = (0..65).map(|_| Input { role: 1, source: Some(Source::Data(b"x"[..].into())) }).collect();
    vec![
        ("inputs[0].role", with_input(0, Source::Data(b"x"[..].into()))),
        ("inputs[0].role", with_input(77, Source::Data(b"x"[..].into()))),
        ("inputs[0]", with(|r| r.inputs = vec![Input { role: 1, source: None }])),
        ("inputs[0].data", with_input(1, Source::Data(Vec::new().into()))),
        ("inputs[0].data", with_input(1, Source::Data(vec![0; (3 << 20) + 1].into()))),
        ("inputs", with(|r| r.inputs = many)),
        artifact(""),
        artifact("artifacts/../../etc/passwd"),
        artifact("generations/x"),
        uri(""),
        uri("not a url"),
        uri("file:///etc/passwd"),
        uri("http://example.com/a.png"),
        uri("https://localhost/a.png"),
        uri("https://127.0.0.1/"),
        uri("https://169.254.169.254/latest/meta-data"),
        uri("https://[::1]/"),
        uri("https://[::ffff:10.0.0.1]/"),
        uri("https://0x7f000001/"),
        uri("https://user:pass@example.com/"),
        uri(&format!("https://example.com/{}", "a".repeat(9000))),
        uri("data:"),
        uri("data:image/png;base64"),
        uri("data:image/png;base64,!!!"),
        uri("data:image/png;base64,"),
    ]
}

#[tokio::test]
async fn every_wrong_field_of_an_order_is_named() {
    let setup = Setup::sample();
    let server = setup.start().await;
    let mut generations = server.generations().await;
    for (field, request) in wrong_fields().into_iter().chain(wrong_options()).chain(wrong_inputs()) {
        let about: String = format!("{field}: {request:?}").chars().take(300).collect();
        let refusal = refusal(generations.generate_video(request).await, &about);
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, "INVALID_REQUEST"), "{about}");
        assert!(refusal.fields.iter().any(|named| named == field), "{:?} for {about}", refusal.fields);
    }
    unharmed(&server, &setup).await;
}

#[tokio::test]
async fn all_that_is_wrong_with_an_order_is_told_at_once() {
    let server = Setup::sample().start().await;
    let request = GenerateVideoRequest {
        prompt: " ".to_owned(),
        session: "x".to_owned(),
        cache: 9,
        quote: "q".to_owned(),
        inputs: vec![Input { role: 9, source: Some(Source::Uri("http://x/".to_owned())) }],
        options: Some(VideoOptions { fps: Some(0), seed: Some(-1), ..VideoOptions::default() }),
        ..GenerateVideoRequest::default()
    };
    let refusal = refusal(server.generations().await.generate_video(request).await, &"all");
    let expected =
        ["prompt", "session", "cache", "options.fps", "options.seed", "inputs[0].role", "inputs[0].uri", "quote"];
    assert_eq!(refusal, invalid(&expected));
}

#[tokio::test]
async fn a_refusal_of_thousands_of_fields_still_fits_into_the_headers_of_every_client() {
    // What the C core of gRPC takes before it begins to refuse answers.
    const LEAST_LIMIT: usize = 8 << 10;
    let server = Setup::sample().start().await;
    let labels = |key: &str| (0..3000).map(|n| (format!("{key}{n}"), "é".repeat(300))).collect();
    let fields = (0..3000).map(|n| (format!("ключ {n}"), Value { kind: None })).collect();
    let requests = [
        with(|r| r.labels = labels("K")),
        with(|r| r.labels = labels(&"ü".repeat(200))),
        with_options(|o| o.provider_options = Some(Struct { fields })),
    ];
    for request in requests {
        let status = server.generations().await.generate_video(request).await.map(drop).unwrap_err();
        assert!(!refused(&status).fields.is_empty());
        let headers = status.into_http::<()>().headers().clone();
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size < LEAST_LIMIT, "{size} bytes");
    }
}

#[tokio::test]
async fn a_model_whose_provider_has_no_key_says_what_to_set() {
    let server = Setup::sample().start().await;
    let request = with(|request| request.model = "replicate/minimax/video-01".into());
    let status = server.generations().await.generate_video(request).await.map(drop).unwrap_err();
    assert_eq!(refused(&status).reason, "PROVIDER_NOT_CONFIGURED");
    assert!(status.message().contains("REPLICATE_API_TOKEN"), "{status:?}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        3 => "[ -~]{1,20}",
        2 => "\\PC{0,40}",
        1 => proptest::collection::vec(any::<char>(), 0..300).prop_map(String::from_iter),
    ]
}

fn source() -> impl Strategy<Value = Option<Source>> {
    prop_oneof![
        Just(None),
        text().prop_map(|name| Some(Source::Artifact(format!("artifacts/{name}")))),
        text().prop_map(|rest| Some(Source::Uri(format!("https://{rest}")))),
        text().prop_map(|rest| Some(Source::Uri(format!("data:{rest}")))),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Some(Source::Data(bytes.into()))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(None),
        Just(Some(Kind::NullValue(0))),
        any::<f64>().prop_map(|number| Some(Kind::NumberValue(number))),
        any::<bool>().prop_map(|flag| Some(Kind::BoolValue(flag))),
        text().prop_map(|text| Some(Kind::StringValue(text))),
    ];
    let leaf = leaf.prop_map(|kind| Value { kind });
    leaf.prop_recursive(4, 16, 4, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4);
        let fields = proptest::collection::btree_map(text(), inner, 0..4);
        prop_oneof![
            list.prop_map(|values| Value { kind: Some(Kind::ListValue(ListValue { values })) }),
            fields.prop_map(|fields| Value { kind: Some(Kind::StructValue(Struct { fields })) }),
        ]
    })
}

prop_compose! {
    fn options()(
        duration in proptest::option::weighted(0.2, (any::<i64>(), any::<i32>())),
        fps in proptest::option::weighted(0.2, any::<u32>()),
        width in proptest::option::weighted(0.2, any::<u32>()),
        guidance in proptest::option::weighted(0.2, any::<f64>()),
        seed in proptest::option::weighted(0.2, any::<i64>()),
        aspect_ratio in text(),
        negative_prompt in text(),
        audio in any::<Option<bool>>(),
        fields in proptest::option::weighted(0.3, proptest::collection::btree_map(text(), value(), 0..4)),
    ) -> VideoOptions {
        VideoOptions {
            duration: duration.map(|(seconds, nanos)| Duration { seconds, nanos }),
            fps,
            width,
            guidance,
            seed,
            aspect_ratio,
            negative_prompt,
            audio,
            provider_options: fields.map(|fields| Struct { fields }),
            ..VideoOptions::default()
        }
    }
}

prop_compose! {
    fn order()(
        prompt in text(),
        session in prop_oneof![Just(String::new()), text().prop_map(|id| format!("sessions/{id}"))],
        model in prop_oneof![Just(String::new()), Just("sample/video".to_owned()), text()],
        route in prop_oneof![9 => Just(String::new()), 1 => text()],
        numbers in prop_oneof![3 => Just([0; 3]), 1 => any::<[i32; 3]>()],
        options in proptest::option::of(options()),
        inputs in proptest::collection::vec((-1..5_i32, source()), 0..3),
        request_id in text(),
        labels in proptest::collection::btree_map(text(), text(), 0..3),
        flags in any::<[bool; 2]>(),
    ) -> GenerateVideoRequest {
        GenerateVideoRequest {
            prompt,
            session,
            model,
            route,
            quality: numbers[0],
            mode: numbers[1],
            cache: numbers[2],
            options,
            inputs: inputs.into_iter().map(|(role, source)| Input { role, source }).collect(),
            request_id,
            labels,
            fallback_to_sample: flags[0],
            fallback_on_refusal: flags[1],
            ..GenerateVideoRequest::default()
        }
    }
}

#[tokio::test]
async fn any_order_is_accepted_or_refused_in_the_contracts_form() {
    let setup = Setup::sample();
    let server = setup.start().await;
    let mut generations = server.generations().await;
    // Always the same seed, so that a failure comes again.
    let mut runner = TestRunner::deterministic();
    let mut n_accepted = 0;
    for _ in 0..400 {
        let request = order().new_tree(&mut runner).unwrap().current();
        match generations.generate_video(request.clone()).await {
            Ok(mut stream) => {
                let first = stream.get_mut().message().await.unwrap().unwrap().generation.unwrap();
                assert!(first.name.starts_with("generations/"), "{request:?}");
                n_accepted += 1;
            }
            Err(status) => assert!(!refused(&status).reason.is_empty(), "{request:?}"),
        }
    }
    assert!((1..400).contains(&n_accepted), "{n_accepted} of 400 were accepted: the test tells nothing");
    let log = setup.log();
    assert!(!log.contains("panicked") && !log.contains("a defect"), "{log}");
}
