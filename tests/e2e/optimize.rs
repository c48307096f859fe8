//! Better prompts through the real door, written by each simulated vendor's language model.
#![cfg(test)]

use filmgate::pb::v1::{
    Kind, ListProvidersRequest, OptimizePromptRequest, OptimizePromptResponse, ProviderHealth,
    chat_service_client::ChatServiceClient,
};
use serde_json::{Value, json};

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup},
};

/// A vendor with a model that keeps to a schema, and where its name for what was asked stands.
struct Vendor {
    name: &'static str,
    model: &'static str,
    /// The schema in its body.
    schema: &'static str,
    /// The instructions and the data.
    told: [&'static str; 2],
}

const VENDORS: [Vendor; 3] = [
    Vendor {
        name: "openai",
        model: "openai/gpt-5.4-mini",
        schema: "/response_format/json_schema/schema",
        told: ["/messages/0/content", "/messages/1/content"],
    },
    Vendor {
        name: "gemini",
        model: "gemini/gemini-3.7-flash",
        schema: "/generationConfig/responseJsonSchema",
        told: ["/systemInstruction/parts/0/text", "/contents/0/parts/0/text"],
    },
    Vendor {
        name: "ark",
        model: "ark/doubao-seed-2-1-pro-260915",
        schema: "/response_format/json_schema/schema",
        told: ["/messages/0/content", "/messages/1/content"],
    },
];

fn setup(simulator: &Simulator) -> Setup {
    Setup::sample()
        .with("OPENAI_API_KEY", "sk-a-secret-key")
        .with("OPENAI_BASE_URL", &simulator.openai())
        .with("GEMINI_API_KEY", "AIza-a-secret-key")
        .with("FILMGATE_GEMINI_BASE_URL", &simulator.at("/gemini/v1beta"))
        .with("ARK_API_KEY", "a-secret-key")
        .with("FILMGATE_ARK_BASE_URL", &simulator.at("/ark/api/v3"))
}

fn wants(model: &str, prompt: &str, kind: Kind) -> OptimizePromptRequest {
    OptimizePromptRequest {
        model: model.to_owned(),
        prompt: prompt.to_owned(),
        kind: kind.into(),
        ..OptimizePromptRequest::default()
    }
}

async fn optimize(server: &Server, request: OptimizePromptRequest) -> OptimizePromptResponse {
    ChatServiceClient::new(server.channel().await).optimize_prompt(request).await.unwrap().into_inner()
}

/// A rule by which a model says this.
async fn says(simulator: &Simulator, text: &str) {
    simulator.control("faults", json!({ "faults": [{ "rule": "chat", "says": text }] })).await;
}

/// The body that the vendor got last.
async fn asked(simulator: &Simulator, vendor: &Vendor) -> Value {
    simulator.look("chats").await[vendor.name].as_array().unwrap().last().unwrap()["body"].clone()
}

#[tokio::test]
async fn a_model_of_every_vendor_writes_a_better_prompt() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    for vendor in &VENDORS {
        says(&simulator, r#"{"prompt": " A red fox leaps, low sun. No text. ", "improvements": ["light", "motion"]}"#)
            .await;
        let style =
            OptimizePromptRequest { style: "film noir".to_owned(), ..wants(vendor.model, "a fox", Kind::Video) };
        let better = optimize(&server, style).await;
        let expected = ("a fox", "A red fox leaps, low sun. No text.", true, "en", vendor.model, "");
        let OptimizePromptResponse { original_prompt, optimized_prompt, optimized, language, model, reason, .. } =
            &better;
        assert_eq!((&**original_prompt, &**optimized_prompt, *optimized, &**language, &**model, &**reason), expected);
        assert_eq!(better.improvements, ["light", "motion"]);
        assert!(better.usage.is_some_and(|usage| usage.output_tokens > 0), "{better:?}");
        // The card of Ark's model has no price.
        assert_eq!(better.cost_micro_usd > Some(0), vendor.name != "ark", "{better:?}");
        let body = asked(&simulator, vendor).await;
        let schema = body.pointer(vendor.schema).unwrap_or_else(|| panic!("{body}"));
        assert_eq!(schema["required"], json!(["prompt", "improvements"]), "{body}");
        let [instructions, data] = vendor.told.map(|place| body.pointer(place).unwrap().as_str().unwrap());
        assert!(
            instructions.contains("generator of videos") && instructions.contains("camera movement"),
            "{instructions}"
        );
        assert!(
            instructions.contains("in English") && instructions.contains("no text and no watermark"),
            "{instructions}"
        );
        assert_eq!(serde_json::from_str::<Value>(data).unwrap(), json!({ "prompt": "a fox", "style": "film noir" }));

        says(
            &simulator,
            "```json\n{\"prompt\": \"一只红狐狸, cinematic lighting\", \"improvements\": [\"光线\"]}\n```",
        )
        .await;
        let plain =
            OptimizePromptRequest { enhance_details: Some(false), ..wants(vendor.model, "一只狐狸", Kind::Image) };
        let better = optimize(&server, plain).await;
        assert_eq!(
            (&*better.optimized_prompt, &*better.language, better.optimized),
            ("一只红狐狸, cinematic lighting", "zh", true)
        );
        let body = asked(&simulator, vendor).await;
        let instructions = body.pointer(vendor.told[0]).unwrap().as_str().unwrap();
        assert!(
            instructions.contains("generator of images") && instructions.contains("Add no detail"),
            "{instructions}"
        );
        assert!(instructions.contains("in Chinese") && instructions.contains("Keep its style"), "{instructions}");
    }
}

#[tokio::test]
async fn a_model_that_keeps_to_the_schema_is_understood_without_a_word_of_help() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    for vendor in &VENDORS {
        for (prompt, language) in [("a fox", "en"), ("一只狐狸", "zh")] {
            let better = optimize(&server, wants(vendor.model, prompt, Kind::Image)).await;
            assert_eq!(
                (better.optimized, &*better.optimized_prompt, &*better.language),
                (true, prompt, language),
                "{better:?}"
            );
            assert_eq!(better.improvements, ["text"]);
        }
    }
    // It is the language that was asked for that counts.
    let translated =
        OptimizePromptRequest { language: "zh".to_owned(), ..wants(VENDORS[0].model, "a fox", Kind::Image) };
    says(&simulator, r#"{"prompt": "一只狐狸", "improvements": []}"#).await;
    let better = optimize(&server, translated).await;
    assert_eq!((&*better.optimized_prompt, &*better.language, better.optimized), ("一只狐狸", "zh", true));
}

#[tokio::test]
async fn whatever_a_model_answers_wrong_the_prompt_stays_as_it_was() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let long = json!({ "prompt": "x".repeat(32_001), "improvements": [] }).to_string();
    let endless = "x".repeat(300 << 10);
    let same = optimize(&server, wants(VENDORS[0].model, "a fox [refuse]", Kind::Video)).await;
    assert!(!same.optimized && same.reason.contains("refused") && same.usage.is_some(), "{same:?}");
    for vendor in &VENDORS {
        let stays = async |prompt: &str, why: &str| {
            let same = optimize(&server, wants(vendor.model, prompt, Kind::Video)).await;
            assert_eq!((&same.original_prompt, &*same.optimized_prompt), (&same.optimized_prompt, prompt));
            assert!(!same.optimized && same.model.is_empty() && same.improvements.is_empty(), "{same:?}");
            assert!(same.reason.contains(why), "{}: {why}: {same:?}", vendor.name);
            same
        };
        for (said, why) in [
            ("{\"prompt\": \"a red fo", "form asked for"),
            ("A red fox, low sun.", "form asked for"),
            ("{\"prompt\": \" \", \"improvements\": []}", "was empty"),
            ("{\"prompt\": \"一只红狐狸在雪地里\", \"improvements\": []}", "another language than en"),
            (&long, "32001 characters"),
            (&endless, "did not come to an end"),
        ] {
            says(&simulator, said).await;
            stays("a fox", why).await;
        }
        says(&simulator, "").await;
        // What was said was used all the same.
        let same = stays("a fox", "").await;
        assert!(!same.reason.is_empty() && same.language == "en", "{same:?}");
        says(&simulator, "{\"prompt\": \"a red fox\", \"improvements\": []}").await;
        assert_eq!(stays("一只狐狸", "another language than zh").await.language, "zh");
        simulator.faults(&[]).await;
        stays("a fox [filter]", "refused").await;
        for rule in ["chat:status=429,retry_after=1", "chat:status=500", "chat:drop", "chat:malformed", "chat:html"] {
            simulator.faults(&[rule]).await;
            stays("a fox", "").await;
        }
        simulator.faults(&[]).await;
    }
}

#[tokio::test]
async fn a_provider_that_only_talked_is_called_up() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    optimize(&server, wants(VENDORS[0].model, "a fox", Kind::Video)).await;
    let listed = server.models().await.list_providers(ListProvidersRequest::default()).await.unwrap().into_inner();
    let health = |name: &str| listed.providers.iter().find(|provider| provider.name == name).unwrap().health();
    assert_eq!((health("openai"), health("ark")), (ProviderHealth::Up, ProviderHealth::Unknown));
}
