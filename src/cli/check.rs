//! `filmgate check`: the doctor. Names every problem of the settings and of the machine with its fix; asks no vendor anything.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{
    connect::{Connection, Tenant, call, dial_address},
    exit::Exit,
    failure::Failure,
    host,
    terminal::{Format, Terminal},
    text,
};
use crate::{
    config::{Config, Problem, Settings},
    pb::v1::ListProvidersRequest,
};

/// Longest wait for whoever holds the port to prove that it is filmgate.
const OTHER_TIMEOUT: Duration = Duration::from_secs(3);
/// A folder in which fewer bytes can be written is called full.
const ROOM: usize = 1 << 20;

/// Arguments of `filmgate check`.
#[derive(Debug, clap::Args)]
#[command(after_help = Exit::help())]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
}

/// What was looked at.
#[derive(Debug)]
struct Findings {
    /// What must be mended.
    problems: Vec<Problem>,
    /// What works but is probably not meant.
    warnings: Vec<Problem>,
    /// What is fine, or good to know.
    facts: Vec<(&'static str, String)>,
    /// The settings in use, without secrets.
    settings: Vec<(Cow<'static, str>, String)>,
}

/// Looks at everything and tells; [`Exit::Config`] if anything must be mended.
pub(super) async fn check(check: Check, tenant: Tenant, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let findings = match Config::resolve(check.settings) {
        Ok(config) => examine(config, tenant).await,
        Err(problems) => Findings { problems, warnings: Vec::new(), facts: Vec::new(), settings: Vec::new() },
    };
    match terminal.format {
        Format::Json => terminal.json_line(&findings.json())?,
        Format::Text => terminal.line(&findings.text())?,
    }
    Ok(if findings.problems.is_empty() { Exit::Ok } else { Exit::Config })
}

async fn examine(config: Config, tenant: Tenant) -> Findings {
    let settings = host::effective(&config);
    let problems = host::problems(&config).await;
    let providers = host::providers(&config);
    let database = host::database(&config).await;
    let mut findings = Findings { problems, warnings: config.warnings, facts: Vec::new(), settings };
    match writable(&config.data_dir) {
        Ok(()) => findings.facts.push(("data folder", format!("{} is writable", config.data_dir.display()))),
        Err(error) => {
            findings.problems.push(unwritable("data_dir", "FILMGATE_DATA_DIR", &config.data_dir, &error));
        }
    }
    match database {
        Some(Ok(database)) => findings.facts.push(("database", database)),
        Some(Err(problem)) => findings.problems.push(problem),
        None => {}
    }
    let artifacts = config.artifacts.url.as_ref().filter(|url| url.scheme() == "file");
    let artifacts = artifacts.and_then(|url| url.to_file_path().ok());
    for (what, setting, variable, folder) in [
        ("artifacts", "artifacts_url", "FILMGATE_ARTIFACTS_URL", &artifacts),
        ("log folder", "log_dir", "FILMGATE_LOG_DIR", &config.telemetry.log_dir),
    ] {
        let Some(folder) = folder else { continue };
        match writable(folder) {
            Ok(()) => findings.facts.push((what, format!("{} is writable", folder.display()))),
            Err(error) => findings.problems.push(unwritable(setting, variable, folder, &error)),
        }
    }
    match port(config.listen, tenant).await {
        Port::Free => findings.facts.push(("port", format!("{} is free", config.listen))),
        Port::Filmgate => findings.facts.push(("port", format!("a filmgate is running at {}", config.listen))),
        Port::Taken(error) => findings.problems.push(Problem {
            setting: "listen".to_owned(),
            message: format!("cannot listen on {}: {error}", config.listen),
            fix: "end the program that holds the port, or set FILMGATE_LISTEN to another one".to_owned(),
        }),
    }
    let told = match providers.as_slice() {
        [] => "none is configured: samples are served, marked as such. Set REPLICATE_API_TOKEN to generate".to_owned(),
        [one] => format!("{one} is configured"),
        [..] => format!("{} are configured", providers.join(", ")),
    };
    findings.facts.push(("providers", told));
    let ffprobe = match on_path("ffprobe") {
        Some(path) => format!("found at {}", path.display()),
        None => "not found; optional".to_owned(),
    };
    findings.facts.push(("ffprobe", ffprobe));
    findings
}

/// Whether files can be made and filled in `folder`, or in the nearest folder above it that exists. Leaves nothing behind.
fn writable(folder: &Path) -> io::Result<()> {
    let nearest = folder.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("."));
    let nearest = if nearest.as_os_str().is_empty() { Path::new(".") } else { nearest };
    // An empty file can be made on a full disk as well.
    tempfile::tempfile_in(nearest)?.write_all(&[0; ROOM])
}

fn unwritable(setting: &str, variable: &str, folder: &Path, error: &io::Error) -> Problem {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let mend = if is_full { "make space there" } else { "give this user the right to write there" };
    Problem {
        setting: setting.to_owned(),
        message: format!("{} cannot be written: {error}", folder.display()),
        fix: format!("{mend}, or set {variable} to another folder"),
    }
}

enum Port {
    Free,
    /// Ours is running there, which is no problem.
    Filmgate,
    Taken(io::Error),
}

async fn port(listen: SocketAddr, tenant: Tenant) -> Port {
    let Err(error) = TcpListener::bind(listen) else { return Port::Free };
    let Ok(connection) = Connection::to(&dial_address(listen), tenant).await else { return Port::Taken(error) };
    let mut request = call(ListProvidersRequest::default());
    request.set_timeout(OTHER_TIMEOUT);
    match connection.models().list_providers(request).await {
        Ok(_) => Port::Filmgate,
        Err(_) => Port::Taken(error),
    }
}

/// The first file of that name on the search path.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file())
}

impl Findings {
    fn text(&self) -> String {
        let mut blocks = Vec::new();
        if !self.settings.is_empty() {
            blocks.push(text::facts(&self.settings));
        }
        if !self.facts.is_empty() {
            blocks.push(text::facts(&self.facts));
        }
        let list = |title: &str, problems: &[Problem]| {
            problems
                .iter()
                .map(|Problem { setting, message, fix }| format!("{title}: {setting}: {message}\n  fix: {fix}"))
                .collect::<Vec<_>>()
        };
        blocks.extend(list("warning", &self.warnings));
        blocks.extend(list("problem", &self.problems));
        blocks.push(match self.problems.len() {
            0 => "no problems".to_owned(),
            1 => "1 problem".to_owned(),
            n_problems => format!("{n_problems} problems"),
        });
        blocks.join("\n\n")
    }

    fn json(&self) -> serde_json::Value {
        fn map<K: AsRef<str>>(pairs: &[(K, String)]) -> serde_json::Value {
            pairs.iter().map(|(key, value)| (key.as_ref().to_owned(), json!(value))).collect()
        }
        let list = |problems: &[Problem]| {
            let one = |problem: &Problem| json!({ "setting": problem.setting, "message": problem.message, "fix": problem.fix });
            problems.iter().map(one).collect::<serde_json::Value>()
        };
        json!({
            "problems": list(&self.problems),
            "warnings": list(&self.warnings),
            "facts": map(&self.facts),
            "settings": map(&self.settings),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_below_a_file_is_not_writable_and_a_new_one_in_a_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(writable(&folder.path().join("new/deep")).is_ok());
        assert!(!folder.path().join("new").exists(), "nothing is left behind");
        assert!(writable(&file.join("below")).is_err());
    }

    #[tokio::test]
    async fn a_port_of_somebody_else_is_told_from_a_free_one() {
        // A listener that hangs up on its first caller.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stranger = std::thread::spawn(move || listener.accept().map(drop));
        assert!(matches!(port(addr, Tenant::new(None).unwrap()).await, Port::Taken(_)));
        stranger.join().unwrap().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert!(matches!(port(any, Tenant::new(None).unwrap()).await, Port::Free));
    }

    #[test]
    fn every_problem_has_its_fix() {
        let problem = |setting: &str| Problem {
            setting: setting.to_owned(),
            message: "is wrong".to_owned(),
            fix: "mend it".to_owned(),
        };
        let findings = Findings {
            problems: vec![problem("listen"), problem("data_dir")],
            warnings: vec![problem("log")],
            facts: vec![("ffprobe", "not found; optional".to_owned())],
            settings: Vec::new(),
        };
        assert_eq!(
            findings.text(),
            "ffprobe  not found; optional\n\nwarning: log: is wrong\n  fix: mend it\n\nproblem: listen: is wrong\n  fix: mend it\n\n\
             problem: data_dir: is wrong\n  fix: mend it\n\n2 problems"
        );
        assert_eq!(findings.json()["problems"][0]["fix"], "mend it");
    }
}
