//! Layers, problems and secrets, in surroundings made for each test.

use std::{fs, time::Duration};

use secrecy::ExposeSecret;

use super::*;

mod vendors;

pub(super) use self::vendors::MADE_UP;

const TOKEN: &str = "r8_not_to_be_seen";

struct Case {
    folder: tempfile::TempDir,
    surroundings: Surroundings,
    flags: Vec<String>,
}

fn case() -> Case {
    let folder = tempfile::tempdir().unwrap();
    let surroundings = Surroundings {
        folder: folder.path().to_path_buf(),
        data_home: Some("/data".into()),
        config_home: Some(folder.path().join("home")),
        ..Surroundings::default()
    };
    Case { folder, surroundings, flags: vec!["filmgate".to_owned()] }
}

impl Case {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.surroundings.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    fn file(self, text: &str) -> Self {
        self.file_at("filmgate.toml", text)
    }

    fn file_at(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn resolve(&self) -> Result<Config, Vec<Problem>> {
        Config::resolve_in(Settings::parse_flags(self.flags.clone()).unwrap(), &self.surroundings)
    }

    fn config(&self) -> Config {
        self.resolve().unwrap()
    }

    /// Every problem in words.
    fn problems(&self) -> Vec<String> {
        self.resolve().unwrap_err().iter().map(Problem::to_string).collect()
    }
}

#[test]
fn nothing_set_gives_the_defaults() {
    let config = case().config();
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.data_dir, Path::new("/data/filmgate"));
    assert_eq!(config.jobs.max_duration, Duration::from_mins(30));
    assert_eq!(config.jobs.unresolved_for, Duration::from_hours(24));
    assert_eq!((config.jobs.concurrency, config.jobs.max_unfinished), (100, 50_000));
    assert_eq!(config.drain, DrainConfig { delay: Duration::from_secs(5), deadline: Duration::from_secs(30) });
    assert_eq!(config.artifacts.max_bytes, 2 << 30);
    let replicate = &config.vendor("replicate").unwrap().values;
    assert_eq!(replicate.url("base_url").unwrap().as_str(), "https://api.replicate.com/v1");
    assert!(replicate.get("api_token").is_none() && config.file.is_none() && config.warnings.is_empty());
}

#[test]
fn a_flag_wins_over_the_environment_which_wins_over_the_file() {
    let case = case()
        .file("retry_base = \"1s\"\npoll_interval = \"1s\"\nconcurrency = 1\n[replicate]\nmodel = \"file/model\"");
    let case = case.env("FILMGATE_RETRY_BASE", "2s").env("FILMGATE_POLL_INTERVAL", "3s").flag("--retry-base=4s");
    let config = case.env("REPLICATE_MODEL", "env/model").config();
    assert_eq!(config.jobs.retry_base, Duration::from_secs(4));
    assert_eq!(config.jobs.poll_interval, Duration::from_secs(3));
    assert_eq!(config.jobs.concurrency, 1);
    assert_eq!(config.vendor("replicate").unwrap().values.text("model"), Some("env/model"));
}

#[test]
fn a_database_is_named_by_its_address_which_is_not_shown() {
    assert!(case().config().database.is_none());
    let case = case().env("FILMGATE_DATABASE_URL", "postgres://user:s3cret@db/films").file("lease = \"3s\"");
    let config = case.config();
    assert!(!format!("{config:?}").contains("s3cret"));
    assert_eq!(config.database.unwrap().lease, Duration::from_secs(3));
    let problems = case.env("FILMGATE_LEASE", "1ms").problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("FILMGATE_LEASE") && problems[0].contains("1s to 1h"), "{problems:?}");
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let case =
        case().file("log = \"debug\"").env("FILMGATE_LOG", "").env("REPLICATE_API_TOKEN", " ").flag("--log-format=");
    let config = case.config();
    assert_eq!(config.telemetry.log, "debug");
    assert_eq!(config.telemetry.log_format, LogFormat::Text);
    assert!(!config.vendor("replicate").unwrap().has_key());
}

#[test]
fn second_names_of_variables_are_asked_after_the_first() {
    let config = case()
        .env("REPLICATE_API_KEY", TOKEN)
        .env("SYSTEM_PROMPT", "second")
        .env("FILMGATE_SYSTEM_PROMPT", "first")
        .config();
    assert_eq!(vendors::keys(&config, "replicate"), [TOKEN]);
    assert_eq!(config.jobs.system_prompt.as_deref(), Some("first"));
}

#[test]
fn port_replaces_only_the_port_of_the_default_address() {
    assert_eq!(case().env("PORT", "8080").config().listen.to_string(), "127.0.0.1:8080");
    let config = case().env("PORT", "8080").file("listen = \"[::]:9090\"").config();
    assert_eq!(config.listen.to_string(), "[::]:9090");
    assert!(config.warnings[0].to_string().contains("no access control"), "{:?}", config.warnings);
}

#[test]
fn the_file_is_the_asked_one_else_the_local_one_else_the_one_at_home() {
    let case = case().file_at("home/filmgate/filmgate.toml", "concurrency = 1");
    assert_eq!(case.config().jobs.concurrency, 1);
    let case = case.file("concurrency = 2");
    assert_eq!(case.config().jobs.concurrency, 2);
    let case = case.file_at("asked.toml", "concurrency = 3");
    let asked = case.folder.path().join("asked.toml");
    let case = case.env("FILMGATE_CONFIG", asked.to_str().unwrap());
    assert_eq!(case.config().jobs.concurrency, 3);
    assert_eq!(case.config().file, Some(asked));
    let problems = case.flag("--config=/nowhere/filmgate.toml").problems();
    assert!(problems[0].starts_with("/nowhere/filmgate.toml: there is no such file"), "{problems:?}");
}

#[test]
fn all_problems_are_told_at_once_with_names_shapes_and_fixes() {
    let case = case().env("FILMGATE_MAX_DURATION", "soon").env("FILMGATE_CONCURRENCY", "0").flag("--listen=here");
    let case =
        case.env("REPLICATE_API_TOKEN", &format!("{TOKEN} x")).file("[routes]\nfast = []\nBad = [\"sample/video\"]");
    let problems = case.env("FILMGATE_DRAIN_DELAY", "30s").env("FILMGATE_LOG", "a=b=c").problems();
    let expected = [
        "listen (--listen, FILMGATE_LISTEN): is \"here\" but must be an IP address",
        "max_duration (--max-duration, FILMGATE_MAX_DURATION): is \"soon\" but must be a time",
        "concurrency (--concurrency, FILMGATE_CONCURRENCY): is \"0\" but must be a whole number",
        "drain_delay (--drain-delay, FILMGATE_DRAIN_DELAY): is 30s, too long beside drain_deadline (30s)",
        "log (--log, FILMGATE_LOG): is \"a=b=c\" but must be a level",
        "replicate.api_token (--replicate-api-token, REPLICATE_API_TOKEN, REPLICATE_API_KEY): holds a blank",
        "routes.Bad: must be a name",
        "routes.fast: must be a name",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem} should start with {expected}");
    }
    assert!(!problems.concat().contains(TOKEN));
}

#[test]
fn a_wrong_file_is_told_by_line_and_never_quoted() {
    for (text, expected) in [
        (format!("[replicate]\napi_tokn = \"{TOKEN}\""), "line 2: unknown field `api_tokn`"),
        (format!("replicate = \"{TOKEN}\""), "line 1: invalid type"),
        (format!("[replicate]\napi_token = \"{TOKEN}"), "line 2: "),
        (format!("concurrency = [\"{TOKEN}\"]"), "line 1: invalid type"),
        ("config = \"other.toml\"".to_owned(), "line 1: unknown field `config`"),
    ] {
        let problems = case().file(&text).env("FILMGATE_CONCURRENCY", "many").problems();
        assert_eq!(problems.len(), 2, "the other problems are told too: {problems:?}");
        assert!(problems[0].contains(expected), "{problems:?} should hold {expected}");
        assert!(!problems.concat().contains(TOKEN), "{problems:?}");
    }
}

#[test]
fn a_wrong_line_of_dotenv_is_told_and_never_quoted() {
    let case = case().file_at(".env", &format!("REPLICATE_API_TOKEN: {TOKEN}"));
    let problem = surroundings::load_variables(&case.folder.path().join(".env")).unwrap_err().to_string();
    assert!(problem.contains(".env: a line is not of the form NAME=value") && !problem.contains(TOKEN), "{problem}");
    assert_eq!(surroundings::load_variables(Path::new("/nowhere/.env")), Ok(()));
}

#[test]
fn no_debug_output_shows_a_secret() {
    let case = case().env("REPLICATE_API_TOKEN", TOKEN);
    let settings = Settings::from_variables(|name| case.surroundings.variables.get(name).cloned()).unwrap();
    assert!(format!("{:?}", settings.vendors).contains("api_token"));
    let shown = format!("{:?} {:?} {settings:?}", case.config(), case.surroundings);
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[test]
fn artifacts_go_where_the_url_says_with_the_variables_of_that_cloud_alone() {
    let case = case()
        .env("FILMGATE_ARTIFACTS_URL", "s3://films/made")
        .env("AWS_SECRET_ACCESS_KEY", TOKEN)
        .env("AWS_REGION", " eu-west-1 ")
        .env("AWS_SESSION_TOKEN", "")
        .env("AZURE_STORAGE_ACCOUNT_KEY", "x");
    let config = case.config();
    assert_eq!(config.artifacts.url.as_ref().unwrap().as_str(), "s3://films/made");
    let names: Vec<&str> = config.artifacts.cloud.keys().map(String::as_str).collect();
    assert_eq!(names, ["AWS_REGION", "AWS_SECRET_ACCESS_KEY"]);
    assert_eq!(config.artifacts.cloud["AWS_REGION"].expose_secret(), "eu-west-1");
    assert!(!format!("{config:?}").contains(TOKEN));
    let wrong = self::case().env("FILMGATE_ARTIFACTS_URL", "ftp://films").problems();
    assert!(wrong[0].contains("FILMGATE_ARTIFACTS_URL") && wrong[0].contains("s3://bucket/prefix"), "{wrong:?}");
}

#[test]
fn records_that_are_shared_without_their_artifacts_are_warned_about() {
    let shared = || case().env("FILMGATE_DATABASE_URL", "postgres://db.example/filmgate");
    let told: Vec<String> = shared().config().warnings.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("FILMGATE_ARTIFACTS_URL"), "{told:?}");
    assert!(shared().env("FILMGATE_ARTIFACTS_URL", "s3://films").config().warnings.is_empty());
}

#[test]
fn a_key_of_links_is_long_enough_and_never_shown() {
    let long = "not_to_be_seen_0123456789abcdefgh";
    let config = case().env("FILMGATE_LINK_KEY", long).config();
    assert_eq!(config.artifacts.link_key.as_ref().unwrap().expose_secret(), long);
    assert!(!format!("{config:?}").contains(long));
    let problems = case().env("FILMGATE_LINK_KEY", "not_to_be_seen").problems();
    assert!(problems[0].contains("FILMGATE_LINK_KEY") && problems[0].contains("32"), "{problems:?}");
    assert!(!problems[0].contains("not_to_be_seen"));
}

#[test]
fn a_public_address_that_replicate_would_not_call_is_warned_about() {
    let warnings = |public: &str, base: &str| {
        let case = case().env("REPLICATE_API_TOKEN", TOKEN).env("FILMGATE_PUBLIC_URL", public);
        let config = case.env("FILMGATE_REPLICATE_BASE_URL", base).config();
        assert_eq!(config.public_url.as_ref().unwrap().as_str().trim_end_matches('/'), public);
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (real, simulated) = ("https://api.replicate.com/v1", "http://127.0.0.1:50052/replicate/v1");
    assert!(warnings("https://film.example/gate", real).is_empty());
    assert!(warnings("http://127.0.0.1:50051", simulated).is_empty());
    let told = warnings("http://film.example", real);
    assert!(told.len() == 1 && told[0].contains("FILMGATE_PUBLIC_URL") && told[0].contains("https"), "{told:?}");
    let without_key = case().env("FILMGATE_PUBLIC_URL", "http://film.example").config();
    assert!(without_key.warnings.is_empty());
    for wrong in ["film.example", "ftp://film.example", "https://me:word@film.example", "https://film.example/?x=1"] {
        let problems = case().env("FILMGATE_PUBLIC_URL", wrong).problems();
        assert!(problems[0].contains("public_url"), "{problems:?}");
    }
}

#[test]
fn a_secret_of_webhooks_has_one_form_and_is_never_shown() {
    let secret = "whsec_bm90X3RvX2JlX3NlZW4=";
    let config = case().env("REPLICATE_WEBHOOK_SECRET", secret).config();
    assert!(
        config.vendor("replicate").unwrap().values.secret("webhook_secret").is_some()
            && !format!("{config:?}").contains(secret)
    );
    for wrong in ["bm90X3RvX2JlX3NlZW4=", "whsec_", "whsec_not_to_be_seen"] {
        let problems = case().env("REPLICATE_WEBHOOK_SECRET", wrong).problems();
        assert!(problems[0].contains("REPLICATE_WEBHOOK_SECRET") && problems[0].contains("whsec_"), "{problems:?}");
        assert!(!problems[0].contains("seen") && !problems[0].contains("bm90"), "{problems:?}");
    }
}

#[test]
fn unknown_variables_of_ours_are_warned_about() {
    let case =
        case().env("FILMGATE_LISTN", "x").env("FILMGATE_SERVER", "x").env("FILMGATE_TEST_PYTHON", "x").env("HOME", "x");
    let warned: Vec<String> = case.config().warnings.into_iter().map(|problem| problem.setting).collect();
    assert_eq!(warned, ["FILMGATE_LISTN"]);
}

#[test]
fn routes_and_model_cards_come_from_the_file() {
    let text = "[routes]\nfast = [\"sample/video\", \"replicate/minimax/video-01\"]\n[[models]]\nname = \"own\"\n";
    let config = case().file(text).config();
    assert_eq!(config.routes["fast"].models, ["sample/video", "replicate/minimax/video-01"]);
    assert_eq!(config.models[0]["name"].as_str(), Some("own"));
    let text = "[routes]\nfast = ['sample/video']\n[routes.thrifty]\nstrategy = 'cheapest'\nmodels = ['veo3', 'a/b/c']";
    let routes = case().file(text).config().routes;
    assert_eq!((routes["fast"].strategy.as_str(), routes["thrifty"].strategy.as_str()), ("ordered", "cheapest"));
    assert_eq!(routes["thrifty"].models, ["veo3", "a/b/c"]);
}

#[test]
fn limits_of_models_come_from_the_file() {
    let config = case().file("[limits.veo3]\nrate = 10\n[limits.\"fal/x\"]\nconcurrency = 2").config();
    assert_eq!(config.limits["veo3"], LimitConfig { concurrency: None, rate: Some(10) });
    assert_eq!(config.limits["fal/x"], LimitConfig { concurrency: Some(2), rate: None });
}

#[test]
fn wrong_routes_and_limits_name_what_is_allowed() {
    let check = |text: &str, setting: &str, words: &str| {
        let problems = case().file(text).problems();
        assert!(problems.len() == 1 && problems[0].starts_with(setting) && problems[0].contains(words), "{problems:?}");
    };
    check("[routes.a]\nstrategy = 'best'\nmodels = ['x/y']", "routes.a: ", "ordered, cheapest, fastest");
    check("[routes.a]\nmodels = []", "routes.a: ", "at least one");
    check("[routes.a]\nmodel = ['x/y']", "routes.a: ", "allowed: strategy, models");
    check("[limits.veo3]\nrate = 0", "limits.\"veo3\": ", "at least 1");
    check("[limits.veo3]\nrates = 1", "limits.\"veo3\": ", "allowed: concurrency, rate");
    check("[limits]\nveo3 = 5", "limits.\"veo3\": ", "concurrency, rate or both");
}

#[test]
fn the_table_documents_every_setting_truthfully() {
    let table = Config::settings_table();
    for setting in &table {
        let flag = setting.key.replace(['.', '_'], "-");
        assert_eq!(setting.flag, format!("--{flag}"));
        assert!(!setting.env.is_empty() && !setting.help.is_empty(), "{setting:?}");
        if let Some(default) = &setting.default {
            assert!(
                setting.help.contains(&format!("default {default}"))
                    || setting.help.contains(&format!("default `{default}`")),
                "{setting:?}"
            );
        }
    }
    let with_default = table.iter().filter(|setting| setting.default.is_some()).count();
    let of_vendors =
        super::vendors::known().filter(|vendor| !vendor.is_template).flat_map(|vendor| vendor.all_settings());
    let of_vendors = of_vendors.filter(|setting| setting.default.is_some()).count();
    assert_eq!(with_default, 21 + of_vendors, "every line of defaults.toml belongs to a setting");
}

#[test]
fn flattening_the_settings_leaves_a_command_its_own_description() {
    use clap::Args;
    let command = Settings::augment_args(clap::Command::new("serve").about("own"));
    assert_eq!(command.get_about().map(ToString::to_string).as_deref(), Some("own"));
    command.debug_assert();
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn callbacks_go_nowhere_unless_told() {
    let callbacks = case().config().callbacks;
    assert!(callbacks.default.url.is_none() && callbacks.default.secrets.is_empty() && callbacks.tenants.is_empty());
    assert_eq!(callbacks.retry_base, Duration::from_secs(5));
}

#[test]
fn each_tenant_may_have_an_address_and_a_secret_of_its_own() {
    let file = format!(
        "[callbacks]\nurl = \"https://a.example/x\"\nallow = \"10.0.0.0/8\"\n[callbacks.tenants.acme]\nurl = \"http://10.1.1.1/\"\n\
         [callbacks.tenants.b]\nsecret = \"{SECRET}\""
    );
    let callbacks =
        case().file(&file).env("FILMGATE_CALLBACK_SECRET", &format!("{SECRET} {SECRET}")).config().callbacks;
    assert_eq!((callbacks.default.url.unwrap().path(), callbacks.default.secrets.len()), ("/x", 2));
    assert_eq!(callbacks.tenants["acme"].url.as_ref().unwrap().as_str(), "http://10.1.1.1/");
    assert_eq!(callbacks.tenants["b"].secrets.len(), 1);
}

#[test]
fn what_is_wrong_with_callbacks_is_told_without_showing_it() {
    let of = |file: &str| case().file(file).problems().join("\n");
    for (file, what) in [
        ("[callbacks]\nurl = \"https://a.example/hidden\"", "callbacks.secret"),
        ("[callbacks.tenants.acme]\nurl = \"https://a.example/hidden\"", "callbacks.tenants.acme.secret"),
        ("[callbacks]\nurl = \"https://10.0.0.1/hidden\"", "FILMGATE_CALLBACK_ALLOW"),
        ("[callbacks]\nurl = \"http://a.example/hidden\"", "https://"),
        ("[callbacks.tenants.\"a b\"]\nurl = \"https://a.example/hidden\"", "is no tenant"),
        ("[callbacks]\nsecret = \"hidden\"", "whsec_"),
        ("[callbacks]\nsecret = \"whsec_aGlkZGVu\"", "24 to 64 bytes"),
        ("[callbacks]\nallow = \"10.0.0.0/40\"", "callbacks.allow"),
        ("[callbacks.tenants.acme]\nsecrets = \"hidden\"", "unknown field"),
        ("[callbacks]\nretry_base = \"0s\"", "callbacks.retry_base"),
    ] {
        let told = of(file);
        assert!(told.contains(what) && !told.contains("hidden") && !told.contains("aGlkZGVu"), "{file}: {told}");
    }
}
