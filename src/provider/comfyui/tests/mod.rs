//! The adapter with the workflows of its documentation, against a scripted server on this machine.

mod calls;
mod golden;
mod workflows;

use std::{path::Path, time::Duration};

use serde_json::{Value as Json, json};
use url::Url;

use super::{COMFYUI, ComfyUi};
use crate::provider::{
    error::SetupError,
    http::inputs::Inputs,
    id_of,
    port::Ticket,
    vendor::{Build, Value, Values},
};

const JOB: &str = "3f0f5b3e-0d6f-4a53-9a2e-0c7f4a2b9d11";

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider/comfyui/examples")
}

/// The adapter of a folder of workflows, or why there is none.
fn of_folder(folder: &Path, base: &Url) -> Result<Option<ComfyUi>, SetupError> {
    let mut values = Values::default();
    values.insert("workflows", Value::Text(folder.to_str().unwrap().to_owned()));
    values.insert("base_url", Value::Url(base.clone()));
    ComfyUi::of(Build {
        id: id_of(COMFYUI).unwrap(),
        account: String::new(),
        values,
        cards: Vec::new(),
        chat_cards: Vec::new(),
        timeout: Duration::from_secs(30),
        download_timeout: Duration::from_secs(30),
        home: None,
    })
}

fn comfyui(base: &Url) -> ComfyUi {
    let built = of_folder(&examples(), base).unwrap().unwrap();
    ComfyUi { inputs: Inputs::admitting(&built.id, "127.0.0.1"), ..built }
}

fn ticket() -> Ticket {
    Ticket { account: "none".to_owned(), job: JOB.to_owned(), data: json!({ "kind": "image", "client": JOB }) }
}

/// An entry of the history that succeeded.
fn succeeded(job: &str, outputs: &Json) -> Json {
    let messages = json!([["execution_start", { "timestamp": 1000 }], ["execution_success", { "timestamp": 9900.0 }]]);
    json!({
        "prompt": [12, job, {}, { "client_id": job }, ["9"]], "outputs": outputs,
        "status": { "status_str": "success", "completed": true, "messages": messages }, "meta": {},
    })
}
