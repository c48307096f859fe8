//! The user's workflows: the folder of the settings, and those that cards name.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use crate::domain::card::ModelCard;

use super::workflow::Workflow;

/// The workflows and their cards, by the model's name.
#[derive(Debug, Clone, Default)]
pub(super) struct Library {
    pub(super) cards: Vec<Arc<ModelCard>>,
    pub(super) workflows: BTreeMap<String, Workflow>,
}

impl Library {
    /// `NAME.json` of `folder` with its card `NAME.toml`, if it has one, or the card of that name among `cards`; and the cards whose
    /// `adapter.workflow` is a file.
    ///
    /// # Errors
    /// In words, with the file.
    pub(super) fn read(folder: Option<&Path>, cards: &[Arc<ModelCard>]) -> Result<Self, String> {
        let mut library = Self::default();
        let mut cards: BTreeMap<&str, &Arc<ModelCard>> = cards.iter().map(|card| (card.name.as_str(), card)).collect();
        for (name, file) in folder.map(workflows_in).transpose()?.unwrap_or_default() {
            let own = cards.remove(name.as_str());
            let workflow = workflow(&file)?;
            let card = match own {
                Some(card) => card.as_ref().clone(),
                None => card_of(&name, &file.with_extension("toml"), &workflow)?,
            };
            library.add(&file, workflow, card)?;
        }
        for card in cards.into_values() {
            let Some(toml::Value::String(file)) = card.adapter.get("workflow") else {
                return Err(format!(
                    "the card {} needs adapter = {{ workflow = \"FILE\" }}, or {}.json in the folder of workflows",
                    card.name, card.name
                ));
            };
            let file = Path::new(file);
            library.add(file, workflow(file)?, card.as_ref().clone())?;
        }
        Ok(library)
    }

    fn add(&mut self, file: &Path, workflow: Workflow, card: ModelCard) -> Result<(), String> {
        let name = card.name.clone();
        let card = workflow.complete(card).map_err(|why| format!("{} {why}", file.display()))?;
        self.cards.push(Arc::new(card));
        self.workflows.insert(name, workflow);
        Ok(())
    }
}

/// The workflows of a folder in the order of their names.
fn workflows_in(folder: &Path) -> Result<BTreeMap<String, std::path::PathBuf>, String> {
    let unreadable = |error: io::Error| format!("the folder of workflows {} cannot be read: {error}", folder.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_json = file.extension().is_some_and(|extension| extension == "json");
        if let Some(name) = file.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_json) {
            found.insert(name.to_owned(), file);
        }
    }
    Ok(found)
}

fn workflow(file: &Path) -> Result<Workflow, String> {
    let text = fs::read(file).map_err(|error| format!("the workflow {} cannot be read: {error}", file.display()))?;
    Workflow::read(&text).map_err(|why| format!("the workflow {} {why}", file.display()))
}

/// The card in `file`, or one of what the workflow itself says.
fn card_of(name: &str, file: &Path, workflow: &Workflow) -> Result<ModelCard, String> {
    let mut table = match fs::read_to_string(file) {
        Ok(text) => {
            toml::from_str::<toml::Table>(&text).map_err(|error| format!("{}: {}", file.display(), error.message()))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => toml::Table::new(),
        Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
    };
    table.insert("name".to_owned(), name.into());
    if !table.contains_key("kind") {
        table.insert("kind".to_owned(), workflow.kind().as_str().into());
    }
    table.try_into().map_err(|error: toml::de::Error| format!("{}: {}", file.display(), error.message()))
}
