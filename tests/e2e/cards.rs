//! Every field of every model, through the door to the simulated vendor: it arrives, or the caller is told; nothing is dropped in silence.

mod arrived;
mod order;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use filmgate::pb::v1::{Generation, Kind, ListModelsRequest, Model, State};
use serde_json::{Map, Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use self::{arrived::Arrived, order::FILES};
use crate::{
    simulator::Simulator,
    support::{
        refusals::{Refused, refused},
        server::{Server, Setup},
    },
};

/// Every vendor that filmgate knows, each at the simulator.
fn setup(simulator: &Simulator) -> Setup {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider/http_json/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let described = blocks.join("\n").replace("http://127.0.0.1:50052", &simulator.at(""));
    let described = described.replace("http://127.0.0.1:8000", &simulator.vendor("backend"));
    let shop = format!(
        "[providers.shop]\nadapter = \"openai-aggregator\"\nbase_url = \"{}\"\napi_key = \"any\"\n",
        simulator.openai()
    );
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider/comfyui/examples");
    Setup::replicate(&simulator.replicate())
        .with("FAL_KEY", "id:a_secret_key")
        .with("FILMGATE_FAL_BASE_URL", &simulator.vendor("fal"))
        .with("OPENAI_API_KEY", "sk-a-secret-key")
        .with("OPENAI_BASE_URL", &simulator.openai())
        .with("FILMGATE_VERTEX_PROJECT", "p1")
        .with("FILMGATE_VERTEX_BASE_URL", &simulator.at("/vertex/v1"))
        .with("FILMGATE_VERTEX_STORAGE_API", &simulator.at("/vertex"))
        .with("FILMGATE_VERTEX_STORAGE_URI", "gs://films/videos")
        .with("GCE_METADATA_HOST", simulator.at("").trim_start_matches("http://"))
        .with("GEMINI_API_KEY", "AIza-a-secret-key")
        .with("FILMGATE_GEMINI_BASE_URL", &simulator.at("/gemini/v1beta"))
        .with("ARK_API_KEY", "ark_a_secret_key")
        .with("FILMGATE_ARK_BASE_URL", &simulator.vendor("ark/api/v3"))
        .with("MIDJOURNEY_BASE_URL", &simulator.vendor("midjourney/mj"))
        .with("FILMGATE_COMFYUI_WORKFLOWS", workflows.to_str().unwrap())
        .with("FILMGATE_COMFYUI_BASE_URL", &simulator.vendor("comfyui"))
        .with_file("filmgate.toml", &format!("{described}\n{shop}"))
}

/// What an aggregator takes and the simulator, which is OpenAI, does not.
const NOT_SIMULATED: [(&str, &str, &str); 3] =
    [("shop/sora-2", "duration", "10"), ("shop/sora-2", "duration", "15"), ("shop/sora-2", "duration", "25")];

/// The vendor of the simulator behind a provider.
fn vendor(provider: &str) -> &str {
    match provider {
        "python" => "backend",
        "shop" => "openai",
        other => other,
    }
}

async fn models(server: &Server) -> Vec<Model> {
    let mut all = Vec::new();
    let mut request = ListModelsRequest { available: true, ..ListModelsRequest::default() };
    loop {
        let page = server.models().await.list_models(request.clone()).await.unwrap().into_inner();
        all.extend(page.models);
        if page.next_page_token.is_empty() {
            all.retain(|model| !model.name.starts_with("sample/") && model.kind() != Kind::Text);
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// An order that a vendor got.
#[derive(Debug, Clone)]
struct Placed {
    /// A word of its prompt, as no other order has it.
    mark: String,
    generation: Generation,
}

/// What is expected of an order, to be looked at once all have been placed.
struct Expected {
    what: String,
    placed: Placed,
    /// The same order twice without what is asked for.
    plain: Option<[Placed; 2]>,
    /// Somewhere in what is sent.
    holds: Option<String>,
    /// How many outputs it asks for.
    n_outputs: Option<u64>,
}

/// One model under examination.
struct Examined<'a> {
    server: &'a Server,
    model: &'a Model,
    /// Which of the files goes in each role.
    files: BTreeMap<String, usize>,
    plain: BTreeMap<Vec<String>, [Placed; 2]>,
    /// Inputs with which an order can do.
    least: Vec<String>,
    expected: Vec<Expected>,
    problems: Vec<String>,
    n_fields: usize,
}

static N_ORDERS: AtomicUsize = AtomicUsize::new(0);

impl<'a> Examined<'a> {
    fn new(server: &'a Server, model: &'a Model) -> Self {
        let sound = |role: &str| role == "INPUT_ROLE_AUDIO" || matches!(model.kind(), Kind::Speech | Kind::Music);
        let files = order::roles().into_iter().map(|role| (role.clone(), usize::from(sound(&role)))).collect();
        Self {
            server,
            model,
            files,
            plain: BTreeMap::new(),
            least: vec![],
            expected: vec![],
            problems: vec![],
            n_fields: 0,
        }
    }

    fn problem(&mut self, what: impl std::fmt::Display) {
        self.problems.push(format!("{}: {what}", self.model.name));
    }

    /// Orders with these inputs and options.
    async fn order(&mut self, mode: &str, roles: &[String], options: &Value) -> Result<Placed, Refused> {
        loop {
            let mark = format!("fox{:05}x", N_ORDERS.fetch_add(1, Ordering::Relaxed));
            let files = roles.iter().map(|role| {
                let mut file = FILES[self.files[role]].clone();
                file["role"] = json!(role);
                file
            });
            let takes_none = self.model.prompt_characters.as_ref().is_some_and(|range| range.maximum == 0);
            let order = json!({
                "model": self.model.name, "mode": mode, "cache": "CACHE_POLICY_BYPASS",
                "options": self.with_what_it_needs(options),
                "prompt": if takes_none { String::new() } else { format!("a {mark} in the snow") },
                "inputs": files.collect::<Vec<_>>(),
            });
            match order::place(self.server, self.model.kind(), &order).await {
                Ok(generation) if generation.state() == State::Failed => {
                    let failure = generation.failure.clone().unwrap_or_default();
                    let film = roles.iter().find(|role| self.files[*role] + 2 == FILES.len()).cloned();
                    if let Some(role) = film.filter(|_| failure.message.contains("https address only")) {
                        self.files.insert(role, FILES.len() - 1);
                        continue;
                    }
                    // There is no such task.
                    if failure.field == "options.provider_options.taskId" {
                        return Ok(Placed { mark, generation });
                    }
                    self.problem(format!("{mode} {roles:?} {options}: it fails: {}", failure.message));
                    return Ok(Placed { mark, generation });
                }
                Ok(generation) => return Ok(Placed { mark, generation }),
                Err(status) => {
                    let refused = refused(&status);
                    // Perhaps a file of another kind.
                    let wrong = |at: &usize| refused.fields.contains(&format!("inputs[{at}].data"));
                    let role = (0..roles.len()).find(wrong).map(|at| roles[at].clone());
                    match role.and_then(|role| self.files.get_mut(&role)) {
                        Some(file) if *file + 2 < FILES.len() => *file += 1,
                        _ => return Err(refused),
                    }
                }
            }
        }
    }

    /// These options, and names of the vendor's own without which the model makes nothing.
    fn with_what_it_needs(&self, options: &Value) -> Value {
        let mut options = options.clone();
        for (name, value) in [("taskId", json!("1700000000000001")), ("index", json!(1))] {
            if self.model.provider_options.iter().any(|known| known == name) {
                options["provider_options"][name] = value;
            }
        }
        options
    }

    async fn strict(&mut self, roles: &[String], options: &Value) -> Result<Placed, Refused> {
        self.order("MODE_STRICT", roles, options).await
    }

    /// The order without any options, twice.
    async fn plain(&mut self, roles: &[String]) -> Option<[Placed; 2]> {
        if !self.plain.contains_key(roles) {
            let none = json!({});
            let two = [self.strict(roles, &none).await.ok()?, self.strict(roles, &none).await.ok()?];
            self.plain.insert(roles.to_vec(), two);
        }
        self.plain.get(roles).cloned()
    }

    /// What an order may need beside what it always needs.
    fn input_sets(&self) -> Vec<Vec<String>> {
        let inputs = self.model.inputs.iter().filter(|input| input.required);
        // Several, where there may be: some models mix them.
        let required = inputs.flat_map(|input| vec![input.role.clone(); input.maximum.min(2) as usize]);
        let required: Vec<String> = required.collect();
        let mut sets = vec![required.clone()];
        for input in self.model.inputs.iter().filter(|input| !input.required) {
            sets.push(required.iter().chain([&input.role]).cloned().collect());
        }
        sets
    }

    /// Orders with these options, and with inputs with which they can be had.
    async fn arrives(&mut self, options: Value, holds: Option<String>) {
        self.n_fields += 1;
        let mut last = None;
        for roles in self.input_sets() {
            match self.strict(&roles, &options).await {
                Ok(placed) => {
                    let plain = self.plain(&roles).await;
                    let what = format!("{}: {options}", self.model.name);
                    let n_outputs = options["samples"].as_u64();
                    self.expected.push(Expected { what, placed, plain, holds, n_outputs });
                    return;
                }
                Err(refused) => last = Some(refused),
            }
        }
        self.problem(format!("no order can have {options}: {last:?}"));
    }

    async fn examine(&mut self) {
        for roles in self.input_sets() {
            if self.plain(&roles).await.is_some() {
                self.least = roles;
                break;
            }
        }
        self.options_of_the_card().await;
        self.sizes().await;
        self.other_options().await;
        self.inputs_of_the_card().await;
        self.other_inputs().await;
        self.unknown_names().await;
        self.known_names().await;
    }

    async fn options_of_the_card(&mut self) {
        let kind = self.model.kind();
        for option in &self.model.options {
            if option.allowed.starts_with("width and height together") {
                continue;
            }
            for value in order::values(kind, option) {
                if NOT_SIMULATED.contains(&(self.model.name.as_str(), option.field.as_str(), value.as_str())) {
                    continue;
                }
                let asked = order::written(kind, &option.field, &value);
                // A listed value may have another name at the vendor.
                let holds = (option.values.is_empty() && asked.as_bool().is_none()).then_some(value);
                self.arrives(json!({ &option.field: asked }), holds).await;
            }
        }
    }

    async fn sizes(&mut self) {
        let side = |name: &str| {
            let together = |allowed: &str| allowed.starts_with("width and height together");
            self.model.options.iter().find(|option| option.field == name && together(&option.allowed))
        };
        let (Some(width), Some(height)) = (side("width"), side("height")) else { return };
        let listed = width.values.iter().zip(&height.values);
        let mut sizes: Vec<(u64, u64)> =
            listed.map(|(width, height)| (width.parse().unwrap(), height.parse().unwrap())).collect();
        if sizes.is_empty() {
            let default = (width.default_value.parse().unwrap_or(0), height.default_value.parse().unwrap_or(0));
            for size in [(1024, 768), (1152, 864), (2048, 1536), (2304, 1728)] {
                if size == default {
                    continue;
                }
                let asked = json!({ "width": size.0, "height": size.1 });
                if self.strict(&self.least.clone(), &asked).await.is_ok() {
                    return self.arrives(asked, Some(size.0.to_string())).await;
                }
            }
            return self.problem("no usual size is taken");
        }
        let default = (width.default_value.clone(), height.default_value.clone());
        sizes.retain(|size| (size.0.to_string(), size.1.to_string()) != default);
        for (width, height) in sizes {
            self.arrives(json!({ "width": width, "height": height }), None).await;
        }
    }

    /// Options of the contract that the card does not have: refused by name, or left out with a report.
    async fn other_options(&mut self) {
        let kind = self.model.kind();
        let has = |name: &str| self.model.options.iter().any(|option| option.field == name);
        // The height of a model that takes classes of size means one of them.
        let is_class = |name: &str| name == "height" && has("resolution");
        let others = order::options(kind).into_iter().map(|field| field.name().to_owned());
        let others: Vec<String> = others.filter(|name| !has(name) && !is_class(name)).collect();
        self.n_fields += others.len();
        let asked = others.iter().map(|name| (name.clone(), order::written(kind, name, order::usual(kind, name))));
        let asked = Value::Object(asked.collect::<Map<_, _>>());
        let paths: BTreeSet<String> = others.iter().map(|name| format!("options.{name}")).collect();
        let least = self.least.clone();
        if others.is_empty() {
            return;
        }
        match self.strict(&least, &asked).await {
            Err(refused) if refused.fields.iter().cloned().collect::<BTreeSet<_>>() == paths => {}
            other => self.problem(format!("strict {asked}: {other:?}")),
        }
        match self.order("MODE_ADAPT", &least, &asked).await {
            Ok(placed) => {
                let told = placed.generation.adjustments.iter().filter(|told| told.used.is_empty());
                let told: BTreeSet<String> = told.map(|told| told.field.clone()).collect();
                if told != paths {
                    self.problem(format!("of {paths:?} only these are reported as left out: {told:?}"));
                }
            }
            Err(refused) => self.problem(format!("adapt {asked}: {refused:?}")),
        }
    }

    async fn inputs_of_the_card(&mut self) {
        for input in &self.model.inputs {
            self.n_fields += 1;
            let mut last = None;
            for mut roles in self.input_sets() {
                roles.retain(|role| *role != input.role);
                let without = roles.clone();
                roles.extend(vec![input.role.clone(); input.maximum.min(2) as usize]);
                let what = format!("{}: {}", self.model.name, input.role);
                match self.strict(&roles, &json!({})).await {
                    Ok(placed) => {
                        let plain = self.plain(&without).await;
                        self.expected.push(Expected { what, placed, plain, holds: None, n_outputs: None });
                        last = None;
                        break;
                    }
                    Err(refused) => last = Some(refused),
                }
            }
            if let Some(refused) = last {
                self.problem(format!("no order can have {}: {refused:?}", input.role));
            }
        }
    }

    async fn other_inputs(&mut self) {
        let mut roles = self.least.clone();
        let n_least = roles.len();
        roles.extend(order::roles().into_iter().filter(|role| self.model.inputs.iter().all(|has| has.role != *role)));
        self.n_fields += roles.len() - n_least;
        let paths: Vec<String> = (n_least..roles.len()).map(|at| format!("inputs[{at}].role")).collect();
        if paths.is_empty() {
            return;
        }
        for mode in ["MODE_STRICT", "MODE_ADAPT"] {
            match self.order(mode, &roles, &json!({})).await {
                Err(refused) if refused.fields == paths => {}
                other => self.problem(format!("{mode} {roles:?}: {other:?}")),
            }
        }
    }

    /// Names of the vendor's own that nobody knows: refused, or passed on unchecked.
    async fn unknown_names(&mut self) {
        self.n_fields += 1;
        let asked = json!({ "provider_options": { "filmgate_unknown": "as it is" } });
        let least = self.least.clone();
        match self.strict(&least, &asked).await {
            Err(refused) if refused.fields == ["options.provider_options.filmgate_unknown"] => {}
            other => self.problem(format!("strict {asked}: {other:?}")),
        }
        if self.model.provider_options.iter().any(|name| name == "taskId") {
            return;
        }
        self.passed_on("MODE_ADAPT", "filmgate_unknown", "as it is").await;
    }

    /// Names of the vendor's own that the card lists, with a value that it may dislike but sees.
    async fn known_names(&mut self) {
        for name in self.model.provider_options.iter().filter(|name| !matches!(name.as_str(), "taskId" | "index")) {
            self.n_fields += 1;
            self.passed_on("MODE_STRICT", name, "seventy-seven").await;
        }
    }

    async fn passed_on(&mut self, mode: &str, name: &str, value: &str) {
        let (least, n_problems) = (self.least.clone(), self.problems.len());
        let asked = json!({ "provider_options": { name: value } });
        match self.order(mode, &least, &asked).await {
            Ok(placed) => {
                let failure = placed.generation.failure.as_ref();
                if failure.is_some_and(|failure| failure.message.contains(name)) {
                    // Who dislikes it by name has seen it.
                    return self.problems.truncate(n_problems);
                }
                let plain = self.plain(&least).await;
                let what = format!("{}: {asked}", self.model.name);
                let holds = Some(value.to_owned());
                self.expected.push(Expected { what, placed, plain, holds, n_outputs: None });
            }
            Err(refused) => self.problem(format!("{asked}: {refused:?}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_every_model_arrives_or_is_told() {
    let simulator = Simulator::start(&[]);
    let server = Arc::new(setup(&simulator).start().await);
    let models = models(&server).await;
    let (turns, mut running) = (Arc::new(Semaphore::new(16)), JoinSet::new());
    let providers: BTreeSet<String> =
        models.iter().map(|model| model.name.split('/').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(providers.len(), 11, "{providers:?}");
    for model in models {
        let (server, turns) = (Arc::clone(&server), Arc::clone(&turns));
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let mut examined = Examined::new(&server, &model);
            examined.examine().await;
            let Examined { expected, problems, n_fields, .. } = examined;
            (model, expected, problems, n_fields)
        });
    }
    let done = running.join_all().await;
    let jobs = simulator.look("jobs").await;
    let arrived: BTreeMap<&str, Arrived> =
        providers.iter().map(|provider| (provider.as_str(), Arrived::new(&jobs[vendor(provider)]))).collect();
    let (mut problems, mut n_all) = (Vec::new(), 0);
    for (model, expected, of_model, n_fields) in done {
        let provider = model.name.split('/').next().unwrap_or_default();
        problems.extend(of_model);
        problems.extend(arrived[provider].doubles(&expected));
        for expected in &expected {
            let Some(problem) = arrived[provider].problem(expected) else { continue };
            // A number of outputs may be had by further steps.
            let n_made = server.end_of(&expected.placed.generation.name).await.artifacts.len();
            if expected.n_outputs != Some(n_made as u64) {
                problems.push(problem);
            }
        }
        n_all += n_fields;
    }
    assert!(problems.is_empty(), "{} of {n_all} fields:\n{}", problems.len(), problems.join("\n"));
    assert!(n_all > 1000, "{n_all}");
}

#[tokio::test]
async fn what_a_model_cannot_start_from_is_refused_with_the_models_that_can() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let order = |model: &str, role: &str| {
        let mut file = FILES[0].clone();
        file["role"] = json!(role);
        json!({ "model": model, "prompt": "a fox", "cache": "CACHE_POLICY_BYPASS", "inputs": [file] })
    };
    let drawn = order("midjourney/imagine", "INPUT_ROLE_SOURCE");
    let status = order::place(&server, Kind::Image, &drawn).await.unwrap_err();
    assert_eq!(refused(&status).fields, ["inputs[0].role"]);
    let told = status.message();
    assert!(
        told.contains("Models that take it: ") && told.contains("openai/gpt-image-2") && !told.contains("sample/"),
        "{told}"
    );
    // What two frames become needs no words.
    let mut pair = order("hailuo-2.0", "INPUT_ROLE_FIRST_FRAME");
    let mut last = FILES[0].clone();
    last["role"] = json!("INPUT_ROLE_LAST_FRAME");
    pair["prompt"] = json!("");
    pair["inputs"].as_array_mut().unwrap().push(last);
    let made = order::place(&server, Kind::Video, &pair).await.unwrap();
    assert_eq!(made.model, "fal/fal-ai/minimax/hailuo-02/pro");
    server.end_of(&made.name).await;
    let body = &simulator.jobs("fal").await[0]["body"];
    assert_eq!(body["prompt"], "smooth cinematic transition between images");
}
