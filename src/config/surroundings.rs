use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use secrecy::SecretString;
use serde::Deserialize;
use toml::{Spanned, de::DeTable};

use super::{Problem, Settings, VendorSettings, vendors::Wrong};

/// Variables of ours that are no settings of the server: the command line's and the test scripts'.
const NO_SETTINGS: [&str; 2] = ["FILMGATE_BIN", "FILMGATE_SERVER"];
/// Known to a build for tests only: any other has no failpoints, and warns.
const FAILPOINTS: Option<&str> = if cfg!(feature = "failpoints") { Some("FILMGATE_FAILPOINTS") } else { None };
const TEST_VARIABLES: &str = "FILMGATE_TEST_";

/// What a process finds around it. Resolution reads this and nothing else, so that tests do not depend on the machine.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Environment variables whose name and value are text.
    pub variables: BTreeMap<String, String>,
    /// Where `filmgate.toml` is looked for first.
    pub folder: PathBuf,
    /// XDG configuration folder, if there is a home.
    pub config_home: Option<PathBuf>,
    /// XDG data folder, if there is a home.
    pub data_home: Option<PathBuf>,
    /// The user's home, where vendors' own tools leave credentials.
    pub home: Option<PathBuf>,
}

// Variables may hold secrets, so only their names are shown.
impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("variables", &self.variables.keys())
            .field("folder", &self.folder)
            .field("config_home", &self.config_home)
            .field("data_home", &self.data_home)
            .field("home", &self.home)
            .finish()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let home = etcetera::choose_base_strategy().ok();
        Self {
            variables: env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            folder: PathBuf::from("."),
            config_home: home.as_ref().map(BaseStrategy::config_dir),
            data_home: home.as_ref().map(BaseStrategy::data_dir),
            home: home.as_ref().map(|home| home.home_dir().to_path_buf()),
        }
    }

    /// The file of settings: the one asked for, which must then exist, else the first that does.
    pub(super) fn settings_file(&self, asked: Option<&Path>) -> Option<PathBuf> {
        let usual = || {
            let home = self.config_home.as_ref().map(|home| home.join("filmgate"));
            let folders = std::iter::once(self.folder.clone()).chain(home);
            folders.map(|folder| folder.join("filmgate.toml")).find(|file| file.exists())
        };
        asked.map(Path::to_path_buf).or_else(usual)
    }

    /// The variables that a cloud's own tools read, for the cloud of a URL's scheme; an empty one is not set.
    pub(super) fn of_cloud(&self, scheme: &str) -> BTreeMap<String, SecretString> {
        let prefix = match scheme {
            "s3" => "AWS_",
            "gs" => "GOOGLE_",
            "az" => "AZURE_",
            _ => return BTreeMap::new(),
        };
        let given = self.variables.iter().filter(|(name, value)| name.starts_with(prefix) && !value.trim().is_empty());
        given.map(|(name, value)| (name.clone(), SecretString::from(value.trim()))).collect()
    }

    /// Variables that look like ours and are not: most likely a slip of the pen.
    pub(super) fn unknown_variables(&self) -> Vec<Problem> {
        let known: Vec<String> = Settings::table().into_iter().flat_map(|setting| setting.env).collect();
        self.variables
            .keys()
            .filter(|name| name.starts_with("FILMGATE_") && !name.starts_with(TEST_VARIABLES))
            .filter(|name| !known.contains(name) && !NO_SETTINGS.contains(&name.as_str()))
            .filter(|name| FAILPOINTS != Some(name.as_str()))
            .map(|name| Problem {
                setting: name.clone(),
                message: "no setting has this environment variable, so it has no effect".to_owned(),
                fix: "correct its name, or unset it; `filmgate serve --help` lists all".to_owned(),
            })
            .collect()
    }
}

/// Adds the variables of `.env` in the current folder to the environment; those already set stay. No such file is fine.
///
/// Call it first in `main`, while there is one thread: the environment is not safe to change later.
///
/// # Errors
/// If the file cannot be read or a line is no assignment. No line is shown, as it may hold a secret.
pub fn load_dotenv() -> Result<(), Problem> {
    load_variables(Path::new(".env"))
}

pub(super) fn load_variables(file: &Path) -> Result<(), Problem> {
    match dotenvy::from_path(file) {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => Err(Problem {
            setting: file.display().to_string(),
            message: match error {
                dotenvy::Error::Io(error) => format!("cannot be read: {error}"),
                _ => "a line is not of the form NAME=value".to_owned(),
            },
            fix: "correct the file, quote values that hold spaces, or remove it".to_owned(),
        }),
    }
}

impl Settings {
    /// Reads a file of settings (TOML).
    ///
    /// # Errors
    /// If it cannot be read or holds an unknown key or a value of the wrong type. No line of the file is shown, as it may hold a secret.
    pub fn load_file(path: &Path) -> Result<Self, Problem> {
        let problem =
            |message: String, fix: &str| Problem { setting: path.display().to_string(), message, fix: fix.to_owned() };
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                problem("there is no such file".to_owned(), "correct --config or FILMGATE_CONFIG")
            }
            _ => problem(format!("cannot be read: {error}"), "make it a readable text file"),
        })?;
        Self::parse(&text).map_err(|Wrong { place, message }| {
            let line = place.map(|place| text[..place.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            problem(format!("{place}{}", without_values(&message)), "correct or remove that line")
        })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let document = DeTable::parse(text)?;
        let (span, mut document) = (document.span(), document.into_inner());
        let vendors = VendorSettings::take_from(&mut document)?;
        let keys: Vec<_> = document.keys().map(Spanned::span).collect();
        let read = Self::deserialize(toml::Deserializer::from(Spanned::new(span, document)));
        let settings = read.map_err(Wrong::from).map_err(|mut wrong| {
            // A slip in the name of a vendor's table ends up here.
            if wrong.message.starts_with("unknown field") && wrong.place.as_ref().is_some_and(|at| keys.contains(at)) {
                wrong.message = format!("{}, {}", wrong.message, VendorSettings::names_of_tables());
            }
            wrong
        })?;
        Ok(Self { vendors, ..settings })
    }
}

/// TOML messages quote wrong values in double quotes and key names in back ticks.
fn without_values(message: &str) -> String {
    let mut shown = String::new();
    for (index, part) in message.split('"').enumerate() {
        shown.push_str(if index % 2 == 0 { part } else { "…" });
    }
    shown
}
