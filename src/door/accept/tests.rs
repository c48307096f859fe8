use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use prost_types::{Duration as WireDuration, Struct, Value, value::Kind as Val};
use v1::input::Source;

use super::*;
use crate::{
    config::{CallbackConfig, CallbackTarget},
    domain::{
        card::ModelCard,
        catalog::ProviderEntry,
        names::{ProviderId, TenantId},
        order::{InputRole, OptionName, OptionValue},
        route::{Route, Strategy},
    },
    engine::request::AskedSource,
    outbound::Fence,
};

const STILL: &[u8] = include_bytes!("../../../tests/fixtures/media/still.jpg");

fn card(toml: &str) -> Arc<ModelCard> {
    Arc::new(toml::from_str(toml).unwrap())
}

/// `replicate/veo` with a narrow card, models without a card at `replicate`, `fal` without credentials, and the route `fast`.
pub(super) fn catalog() -> Catalog {
    let veo = card(
        r#"
        name = "veo"
        kind = "video"
        provider_options = ["enhance"]
        [prompt]
        max = 20
        [options.duration]
        one_of = [4, 6]
        [options.seed]
        [inputs.first_frame]
        field = "image"
        "#,
    );
    let flux = card(
        r#"
        name = "flux"
        kind = "image"
        options = { resolution = {}, quality = {}, strength = {}, background = {}, format = {} }
        "#,
    );
    let say = card("name = 'say'\nkind = 'speech'");
    let entry = |cards, missing: Option<&str>, open| ProviderEntry {
        cards,
        missing: missing.map(str::to_owned),
        open,
        ..ProviderEntry::default()
    };
    let id = |id| ProviderId::from_id(id).unwrap();
    Catalog {
        providers: [
            (id("replicate"), entry(vec![veo, flux, say], None, true)),
            (id("fal"), entry(Vec::new(), Some("set FAL_KEY"), true)),
        ]
        .into(),
        routes: [(
            RouteName::from_id("fast").unwrap(),
            Route::new(Strategy::Ordered, vec!["replicate/veo".parse().unwrap()]),
        )]
        .into(),
        defaults: [
            (Kind::Video, "replicate/any/model".parse().unwrap()),
            (Kind::Music, "replicate/any/model".parse().unwrap()),
        ]
        .into(),
        ..Catalog::default()
    }
}

pub(super) fn caller() -> Caller {
    let trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    Caller { tenant: TenantId::from_id("acme").unwrap(), source: "test".to_owned(), trace }
}

fn request() -> v1::GenerateVideoRequest {
    v1::GenerateVideoRequest { prompt: " a cat\n".to_owned(), ..Default::default() }
}

fn accept(request: v1::GenerateVideoRequest) -> Result<Request, Refusal> {
    order(request, caller(), &[], &catalog(), &Targets::default())
}

/// The fields refused, in order.
fn refused(request: v1::GenerateVideoRequest) -> Vec<String> {
    match accept(request) {
        Err(Refusal::Invalid(violations)) => {
            for violation in &violations {
                assert!(!violation.description.is_empty(), "{violation:?}");
            }
            violations.into_iter().map(|violation| violation.field).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn with(change: impl FnOnce(&mut v1::GenerateVideoRequest)) -> v1::GenerateVideoRequest {
    let mut request = request();
    change(&mut request);
    request
}

fn with_options(change: impl FnOnce(&mut v1::VideoOptions)) -> v1::GenerateVideoRequest {
    with(|request| change(request.options.get_or_insert_default()))
}

fn with_struct(key: &str, kind: Option<Val>) -> v1::GenerateVideoRequest {
    let fields = [(key.to_owned(), Value { kind })].into();
    with_options(|options| options.provider_options = Some(Struct { fields }))
}

fn with_input(source: Option<Source>) -> v1::GenerateVideoRequest {
    let input = v1::Input { role: v1::InputRole::FirstFrame.into(), source };
    with(|request| {
        request.model = "replicate/veo".to_owned();
        request.inputs = vec![input];
    })
}

fn seconds(seconds: i64) -> Option<WireDuration> {
    Some(WireDuration { seconds, nanos: 0 })
}

#[test]
fn a_bare_prompt_is_a_request_to_the_default_model() {
    let accepted = accept(request()).unwrap();
    assert_eq!((accepted.prompt.as_str(), accepted.tenant.id(), accepted.source.as_str()), ("a cat", "acme", "test"));
    assert_eq!(accepted.candidates[0].model.to_string(), "replicate/any/model");
    assert!(accepted.request_id.is_none() && accepted.session.is_none() && accepted.max_duration.is_none());
    assert!(accepted.trace.is_some());
}

fn full() -> v1::GenerateVideoRequest {
    let fields = [("enhance".to_owned(), Value { kind: Some(Val::NumberValue(3.0)) })].into();
    let options = v1::VideoOptions {
        duration: seconds(6),
        seed: Some((1 << 53) - 1),
        provider_options: Some(Struct { fields }),
        ..Default::default()
    };
    let source = Some(Source::Artifact("artifacts/a".to_owned()));
    v1::GenerateVideoRequest {
        session: "sessions/s-1".to_owned(),
        quality: v1::Quality::Fast.into(),
        options: Some(options),
        inputs: vec![v1::Input { role: v1::InputRole::FirstFrame.into(), source }],
        request_id: "key 1".to_owned(),
        mode: v1::Mode::Strict.into(),
        cache: v1::CachePolicy::Refresh.into(),
        max_duration: Some(WireDuration { seconds: 1, nanos: 500_000_000 }),
        labels: [("team.a_b-1".to_owned(), "ä".repeat(256))].into(),
        fallback_on_refusal: true,
        ..request()
    }
}

#[test]
fn a_full_request_arrives_with_every_field() {
    let accepted = accept(full()).unwrap();
    let candidate = &accepted.candidates[0];
    assert_eq!(candidate.model.to_string(), "replicate/veo");
    assert_eq!(candidate.options[&OptionName::Duration], OptionValue::Int(6));
    assert_eq!(candidate.options[&OptionName::Seed], OptionValue::Int((1 << 53) - 1));
    // Whole, although the wire has floats only.
    assert_eq!(serde_json::to_string(&candidate.provider_options).unwrap(), r#"{"enhance":3}"#);
    assert_eq!(accepted.session.unwrap().id(), "s-1");
    assert_eq!(accepted.inputs[0].role, InputRole::FirstFrame);
    let (id, sent) = accepted.request_id.unwrap();
    assert_eq!((id.id(), sent[0].0.as_str()), ("key 1", "prompt"));
    assert_eq!(accepted.cache, CachePolicy::Refresh);
    assert_eq!(accepted.max_duration, Some(Duration::from_millis(1500)));
    assert!(accepted.fallback_on_refusal && accepted.labels.len() == 1);
}

proptest! {
    #[test]
    fn a_damaged_request_is_refused_with_reasons_or_valid(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = full().encode_to_vec();
        for (index, byte) in damage {
            *index.get_mut(&mut bytes) = byte;
        }
        let Ok(request) = v1::GenerateVideoRequest::decode(bytes.as_slice()) else { return Ok(()) };
        match accept(request) {
            Ok(accepted) => {
                prop_assert!(!accepted.candidates.is_empty() && !accepted.prompt.is_empty());
            }
            Err(Refusal::Invalid(violations)) => prop_assert!(!violations.is_empty()),
            Err(Refusal::NotConfigured { .. }) => {}
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
}

#[test]
fn each_wrong_field_is_named() {
    let label = |key: &str, value: &str| with(|r| drop(r.labels.insert(key.to_owned(), value.to_owned())));
    let cases: Vec<(&str, v1::GenerateVideoRequest)> = vec![
        ("prompt", with(|r| r.prompt = " \u{a0}\n".to_owned())),
        ("prompt", with(|r| r.prompt = "x".repeat(MAX_PROMPT + 1))),
        ("session", with(|r| r.session = "sessions/../../etc/x".to_owned())),
        ("session", with(|r| r.session = "abc".to_owned())),
        ("model", with(|r| r.model = "nonsense".to_owned())),
        ("model", with(|r| r.model = "nobody/model".to_owned())),
        ("route", with(|r| r.route = "no such".to_owned())),
        ("route", with(|r| r.route = "slow".to_owned())),
        ("quality", with(|r| r.quality = v1::Quality::Quality.into())),
        ("quality", with(|r| r.quality = 9)),
        ("request_id", with(|r| r.request_id = "ä".to_owned())),
        ("request_id", with(|r| r.request_id = "x".repeat(129))),
        ("mode", with(|r| r.mode = -1)),
        ("cache", with(|r| r.cache = 77)),
        ("quote", with(|r| r.quote = "quotes/1".to_owned())),
        ("callback_url", with(|r| r.callback_url = "no address".to_owned())),
        ("callback_url", with(|r| r.callback_url = "http://example.com/".to_owned())),
        ("callback_url", with(|r| r.callback_url = "https://example.com/a\r\nb".to_owned())),
        ("callback_url", with(|r| r.callback_url = "https://127.0.0.1/".to_owned())),
        ("callback_url", with(|r| r.callback_url = "https://user:word@example.com/".to_owned())),
        ("callback_url", with(|r| r.callback_url = "https://example.com/#end".to_owned())),
        ("callback_url", with(|r| r.callback_url = format!("https://example.com/{}", "x".repeat(2029)))),
        ("max_duration", with(|r| r.max_duration = seconds(0))),
        ("max_duration", with(|r| r.max_duration = seconds(24 * 3600 + 1))),
        ("max_duration", with(|r| r.max_duration = seconds(-5))),
        ("max_duration", with(|r| r.max_duration = Some(WireDuration { seconds: 5, nanos: -1 }))),
        ("max_duration", with(|r| r.max_duration = Some(WireDuration { seconds: 5, nanos: 1_000_000_000 }))),
        ("labels[\"\"]", label("", "x")),
        ("labels[\"Team\"]", label("Team", "x")),
        ("labels[\"a\\n\"]", label("a\n", "x")),
        ("labels[\"a\"]", label("a", &"x".repeat(257))),
        ("labels", with(|r| r.labels = (0..33).map(|n| (n.to_string(), String::new())).collect())),
        ("fallback_on_refusal", with(|r| r.fallback_on_refusal = true)),
    ];
    for (field, request) in cases {
        assert_eq!(refused(request), [field]);
    }
}

#[test]
fn a_kind_is_ordered_with_its_own_options() {
    let image = v1::GenerateImageRequest {
        prompt: "a fox".to_owned(),
        model: "replicate/flux".to_owned(),
        options: Some(v1::ImageOptions {
            quality: "ultra".to_owned(),
            strength: Some(0.5),
            background: "auto".to_owned(),
            format: "webp".to_owned(),
            resolution: "2K".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let accepted = order(image, caller(), &[], &catalog(), &Targets::default()).unwrap();
    assert_eq!(accepted.kind, Kind::Image);
    let options: Vec<String> = accepted.candidates[0].options.values().map(ToString::to_string).collect();
    assert_eq!(options, ["2K", "ultra", "0.5", "auto", "webp"]);
}

#[test]
fn each_wrong_option_of_the_other_kinds_is_named() {
    fn check<R: Ordering>(request: R, expected: &[&str]) {
        let Err(Refusal::Invalid(violations)) = order(request, caller(), &[], &catalog(), &Targets::default()) else {
            panic!("accepted")
        };
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        let expected: Vec<String> = expected.iter().map(|option| format!("options.{option}")).collect();
        assert_eq!(fields, expected);
    }
    let (prompt, word) = ("a fox".to_owned(), || "x".repeat(129));
    let options = v1::ImageOptions {
        resolution: "3K".to_owned(),
        quality: "best".to_owned(),
        style: word(),
        strength: Some(1.1),
        background: "blue".to_owned(),
        format: "bmp".to_owned(),
        ..Default::default()
    };
    let model = "replicate/flux".to_owned();
    let image =
        v1::GenerateImageRequest { prompt: prompt.clone(), model, options: Some(options), ..Default::default() };
    check(image, &["resolution", "quality", "style", "strength", "background", "format"]);
    let options = v1::SpeechOptions {
        voice: word(),
        language: "english".repeat(2),
        speed: Some(0.2),
        format: "midi".to_owned(),
        instructions: "x".repeat(4097),
        ..Default::default()
    };
    let model = "replicate/say".to_owned();
    let speech =
        v1::GenerateSpeechRequest { prompt: prompt.clone(), model, options: Some(options), ..Default::default() };
    check(speech, &["voice", "language", "speed", "format", "instructions"]);
    let options = v1::MusicOptions {
        duration: seconds(0),
        lyrics: "x".repeat(MAX_PROMPT + 1),
        format: "MP3".to_owned(),
        samples: Some(17),
        ..Default::default()
    };
    let music = v1::GenerateMusicRequest { prompt, options: Some(options), ..Default::default() };
    check(music, &["duration", "lyrics", "format", "samples"]);
    let video = v1::VideoOptions {
        resolution: "1081p".to_owned(),
        motion: Some(f64::NAN),
        camera: "x".repeat(65),
        style: "x".repeat(65),
        ..Default::default()
    };
    check(with_options(|options| *options = video), &["resolution", "motion", "camera", "style"]);
}

#[test]
fn a_callback_needs_a_secret_once_the_rest_is_right() {
    let asked = with(|r| r.callback_url = format!("https://example.com/{}", "x".repeat(2028)));
    assert!(matches!(accept(asked.clone()), Err(Refusal::CallbackNotConfigured)));
    assert_eq!(refused(v1::GenerateVideoRequest { mode: -1, ..asked.clone() }), ["mode"]);
    let default = CallbackTarget { url: None, secrets: vec!["whsec_x".into()] };
    let config = CallbackConfig {
        fence: Fence::default(),
        default,
        tenants: BTreeMap::new(),
        retry_base: Duration::from_secs(5),
    };
    let accepted = order(asked.clone(), caller(), &[], &catalog(), &Targets::new(&config)).unwrap();
    assert_eq!(accepted.callback_url.unwrap().as_str(), asked.callback_url);
}

#[test]
fn each_wrong_option_is_named() {
    let cases: Vec<(&str, v1::GenerateVideoRequest)> = vec![
        ("duration", with_options(|o| o.duration = seconds(0))),
        ("duration", with_options(|o| o.duration = seconds(3601))),
        ("duration", with_options(|o| o.duration = Some(WireDuration { seconds: i64::MIN, nanos: i32::MIN }))),
        ("duration", with_options(|o| o.duration = Some(WireDuration { seconds: 1, nanos: i32::MAX }))),
        ("fps", with_options(|o| o.fps = Some(0))),
        ("fps", with_options(|o| o.fps = Some(241))),
        ("width", with_options(|o| o.width = Some(15))),
        ("height", with_options(|o| o.height = Some(8193))),
        ("aspect_ratio", with_options(|o| o.aspect_ratio = "wide".to_owned())),
        ("aspect_ratio", with_options(|o| o.aspect_ratio = "16:0".to_owned())),
        ("aspect_ratio", with_options(|o| o.aspect_ratio = "16:9:1".to_owned())),
        ("aspect_ratio", with_options(|o| o.aspect_ratio = "1e9:inf".to_owned())),
        ("steps", with_options(|o| o.steps = Some(1001))),
        ("samples", with_options(|o| o.samples = Some(17))),
        ("guidance", with_options(|o| o.guidance = Some(f64::NAN))),
        ("guidance", with_options(|o| o.guidance = Some(f64::INFINITY))),
        ("guidance", with_options(|o| o.guidance = Some(-0.1))),
        ("seed", with_options(|o| o.seed = Some(-1))),
        ("seed", with_options(|o| o.seed = Some(1 << 53))),
        ("negative_prompt", with_options(|o| o.negative_prompt = "x".repeat(MAX_PROMPT + 1))),
        ("provider_options.a", with_struct("a", Some(Val::NumberValue(f64::NAN)))),
        ("provider_options.a", with_struct("a", Some(Val::NumberValue(f64::NEG_INFINITY)))),
        ("provider_options.a", with_struct("a", None)),
        ("provider_options", with_struct("a", Some(Val::StringValue("x".repeat(64 << 10))))),
    ];
    for (option, request) in cases {
        assert_eq!(refused(request), [format!("options.{option}")]);
    }
}

#[test]
fn a_nested_wrong_number_is_named_with_its_path() {
    let list = prost_types::ListValue {
        values: vec![Value { kind: Some(Val::BoolValue(true)) }, Value { kind: Some(Val::NumberValue(f64::NAN)) }],
    };
    let inner = Struct { fields: [("b".to_owned(), Value { kind: Some(Val::ListValue(list)) })].into() };
    assert_eq!(refused(with_struct("a", Some(Val::StructValue(inner)))), ["options.provider_options.a.b[1]"]);
}

#[test]
fn the_edges_of_every_range_are_accepted() {
    let edges = [(1, 240, 16, 8192, 1, 16, 0.0, 0), (3600, 1, 8192, 16, 1000, 1, 100.0, (1 << 53) - 1)];
    for (playing, fps, width, height, steps, samples, guidance, seed) in edges {
        let mut request = with_options(|options| {
            *options = v1::VideoOptions {
                duration: seconds(playing),
                fps: Some(fps),
                width: Some(width),
                height: Some(height),
                aspect_ratio: "2.39:1".to_owned(),
                steps: Some(steps),
                samples: Some(samples),
                guidance: Some(guidance),
                seed: Some(seed),
                negative_prompt: "ä".repeat(MAX_PROMPT),
                audio: Some(true),
                provider_options: None,
                ..v1::VideoOptions::default()
            }
        });
        request.model = "replicate/veo".to_owned();
        request.mode = v1::Mode::Adapt.into();
        let candidate = &accept(request).unwrap().candidates[0];
        // The card honours the seed and has a nearest duration; all but the seed are reported.
        assert!(candidate.options.contains_key(&OptionName::Duration));
        assert_eq!(candidate.options[&OptionName::Seed], OptionValue::Int(seed));
        assert_eq!(candidate.adjustments.len(), 10);
    }
}

#[test]
fn each_wrong_input_is_named() {
    let uri = |uri: &str| with_input(Some(Source::Uri(uri.to_owned())));
    for (field, request) in [
        ("inputs[0]", with_input(None)),
        ("inputs[0].artifact", with_input(Some(Source::Artifact("artifacts/a/b".to_owned())))),
        ("inputs[0].uri", uri("")),
        ("inputs[0].uri", uri("/etc/passwd")),
        ("inputs[0].uri", uri("http://example.com/a.png")),
        ("inputs[0].uri", uri("https://169.254.169.254/latest")),
        ("inputs[0].uri", uri("https://u:p@example.com/")),
        ("inputs[0].uri", uri("data:;base64,???")),
        ("inputs[0].uri", uri(&format!("https://example.com/{}", "x".repeat(8192)))),
        ("inputs[0].data", with_input(Some(Source::Data(Default::default())))),
        ("inputs[0].data", with_input(Some(Source::Data(vec![0; (3 << 20) + 1].into())))),
    ] {
        assert_eq!(refused(request), [field]);
    }
    let many = with(|r| r.inputs = vec![v1::Input { role: 1, source: None }; 65]);
    assert_eq!(refused(many), ["inputs"]);
    let roles = with(|r| r.inputs = [0, 9].map(|role| v1::Input { role, source: None }).into());
    assert_eq!(refused(roles), ["inputs[0].role", "inputs[0]", "inputs[1].role", "inputs[1]"]);
}

#[test]
fn inputs_arrive_as_what_they_are() {
    let source = |source| accept(with_input(Some(source))).unwrap().inputs.remove(0).source;
    assert!(matches!(source(Source::Uri("https://example.com/a".to_owned())), AskedSource::Url(_)));
    assert!(matches!(source(Source::Data("abc".into())), AskedSource::Bytes(bytes) if bytes == "abc"));
    let uri = "data:image/png;base64,YWJj".to_owned();
    assert!(matches!(source(Source::Uri(uri)), AskedSource::Bytes(bytes) if bytes == "abc"));
    assert!(matches!(source(Source::Artifact("artifacts/a".to_owned())), AskedSource::Artifact(_)));
    let bare = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, STILL);
    assert!(matches!(source(Source::Uri(bare)), AskedSource::Bytes(bytes) if bytes == STILL));
}

#[test]
fn everything_wrong_is_told_at_once_with_what_the_card_says() {
    let request = with(|r| {
        r.model = "replicate/veo".to_owned();
        r.prompt = "longer than the card allows".to_owned();
        r.session = "x".to_owned();
        r.cache = 9;
        r.quote = "q".to_owned();
        r.options =
            Some(v1::VideoOptions { duration: seconds(5), fps: Some(0), steps: Some(20), ..Default::default() });
        r.labels = [("BAD".to_owned(), String::new())].into();
    });
    let card = ["prompt", "options.duration", "options.steps"];
    let own = ["session", "cache", "options.fps", "labels[\"BAD\"]", "quote"];
    assert_eq!(refused(request), [own.as_slice(), &card].concat());
}

#[test]
fn a_field_is_not_blamed_twice() {
    let request = with(|r| {
        r.model = "replicate/veo".to_owned();
        r.prompt = " ".to_owned();
        r.inputs = [(77, None), (2, Some(Source::Artifact("artifacts/a".to_owned())))]
            .map(|(role, source)| v1::Input { role, source })
            .into();
    });
    // Whether a prompt may be blank is the card's word. It takes no last frame either, but cannot say so of the right index.
    assert_eq!(refused(request), ["prompt", "inputs[0].role", "inputs[0]"]);
}

#[test]
fn at_most_one_of_model_route_and_quality_is_set() {
    let all = with(|r| {
        r.model = "replicate/veo".to_owned();
        r.route = "fast".to_owned();
        r.quality = 1;
    });
    assert_eq!(refused(all), ["route", "quality"]);
}

#[test]
fn an_unknown_enum_number_is_refused_with_the_allowed_values() {
    let Err(Refusal::Invalid(violations)) = accept(with(|r| r.mode = 5)) else { panic!("accepted") };
    assert_eq!(violations[0].description, "has no value 5; allowed: MODE_STRICT, MODE_ADAPT");
}

#[test]
fn a_provider_without_credentials_is_named_unless_fields_are_wrong_too() {
    let request = with(|r| r.model = "fal/x".to_owned());
    assert!(matches!(accept(request.clone()), Err(Refusal::NotConfigured { how, .. }) if how == "set FAL_KEY"));
    assert_eq!(refused(v1::GenerateVideoRequest { quote: "q".to_owned(), ..request }), ["quote"]);
}

#[test]
fn filters_take_names_or_nothing() {
    assert_eq!(kind_filter(0).unwrap(), None);
    assert_eq!(kind_filter(4).unwrap(), Some(Kind::Music));
    assert!(kind_filter(5).is_err());
    assert!(filter::<crate::domain::names::SessionId>("", "session").unwrap().is_none());
    assert!(filter::<crate::domain::names::SessionId>("x", "session").is_err());
}
