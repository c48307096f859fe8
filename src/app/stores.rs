//! The store that the settings name: SQLite in the data folder, or a shared PostgreSQL.

use std::{fs, io, path::Path, sync::Arc};

use uuid::Uuid;

use super::StartError;
use crate::{
    config::{Config, DatabaseConfig, Problem},
    domain::budget::Budgets,
    store::{
        port::Store,
        postgres::{Address, Postgres},
        sqlite::Sqlite,
    },
};

const SETTING: &str = "database_url (FILMGATE_DATABASE_URL)";

/// Opens it. The caller holds the lock of the data folder.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let folder = &config.data_dir;
    let trouble = |what| move |source: anyhow::Error| StartError::Folder { folder: folder.clone(), what, source };
    let budgets = Budgets::from(config.budgets.clone());
    let Some(database) = &config.database else {
        let store = Sqlite::open(&folder.join("filmgate.db"), budgets).map_err(anyhow::Error::from);
        return Ok(Arc::new(store.map_err(trouble("opening the database"))?));
    };
    let address = address(database).map_err(|problem| StartError::Settings(vec![problem]))?;
    let process = process(folder).map_err(anyhow::Error::from).map_err(trouble("naming this process"))?;
    match Postgres::open(&address, process, database.lease, budgets).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(source) => Err(StartError::Database { address: address.to_string(), source }),
    }
}

/// What is wrong with the settings of the database.
pub(super) fn check(config: &Config) -> Option<Problem> {
    config.database.as_ref().and_then(|database| address(database).err())
}

/// Connects to the database and changes nothing: what it is, or what is wrong with it. Nothing without a shared database.
pub async fn check_database(config: &Config) -> Option<Result<String, Problem>> {
    // A bad address is a problem of the settings.
    let address = address(config.database.as_ref()?).ok()?;
    let examined = Postgres::examine(&address).await;
    Some(match examined {
        Ok((program, 0)) => Ok(format!("PostgreSQL {program} at {address}, without tables yet")),
        Ok((program, version)) => Ok(format!("PostgreSQL {program} at {address}, tables of version {version}")),
        Err(error) => Err(Problem {
            setting: SETTING.to_owned(),
            message: format!("cannot be used at {address}: {:#}", anyhow::Error::from(error)),
            fix: "start the database, or correct the address, user, password and sslmode".to_owned(),
        }),
    })
}

fn address(database: &DatabaseConfig) -> Result<Address, Problem> {
    Address::parse(&database.url).map_err(|error| Problem {
        setting: SETTING.to_owned(),
        message: error.to_string(),
        fix: "correct it, or unset it to keep records in the data folder".to_owned(),
    })
}

/// The name of the process on this folder, made once: whoever has the folder's lock is the only one of this name.
fn process(folder: &Path) -> io::Result<String> {
    let file = folder.join("process");
    match fs::read_to_string(&file) {
        Ok(text) if Uuid::parse_str(text.trim()).is_ok() => return Ok(text.trim().to_owned()),
        // A crash may have left a part of it.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = Uuid::new_v4().to_string();
    fs::write(&file, format!("{name}\n"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_process_once() {
        let folder = tempfile::tempdir().unwrap();
        let name = process(folder.path()).unwrap();
        assert_eq!(process(folder.path()).unwrap(), name);
        fs::write(folder.path().join("process"), &name[..7]).unwrap();
        assert_ne!(process(folder.path()).unwrap(), name, "half a name is none");
    }
}
