//! What a refused order says: which node, which input, and which field of the request filled it. Pure.

use serde_json::Value;

use crate::provider::{error::ErrorKind, http::text::shown};

use super::workflow::{Slot, Workflow};

/// What was wrong with an order.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    /// What kind of trouble it is.
    pub(super) kind: ErrorKind,
    /// In the server's words.
    pub(super) detail: Option<String>,
    /// The request's field.
    pub(super) field: Option<String>,
}

/// Reads the body of a 400.
pub(super) fn read(body: &Value, workflow: &Workflow, hidden: &[&str]) -> Refusal {
    let error = &body["error"];
    let word = error["type"].as_str().unwrap_or_default();
    let fault = fault(body);
    let slot =
        fault.as_ref().and_then(|(node, fault)| workflow.slot_at(node, fault["extra_info"]["input_name"].as_str()?));
    let is_missing_file =
        fault.as_ref().is_some_and(|(_, fault)| fault["type"] == "value_not_in_list") && slot.is_none();
    let is_missing_node = matches!(word, "missing_node_type" | "invalid_prompt");
    // A checkpoint or a node that this server does not have, which no order can help.
    let kind = if is_missing_file || is_missing_node { ErrorKind::ModelNotFound } else { ErrorKind::InvalidOrder };
    let mut words: Vec<String> = ["message", "details"].iter().filter_map(|key| text(error, key)).collect();
    if let Some((node, fault)) = &fault {
        let class = body["node_errors"][*node]["class_type"].as_str().unwrap_or("node");
        let said: Vec<String> = ["message", "details"].iter().filter_map(|key| text(fault, key)).collect();
        words.push(format!("{class} ({node}): {}", said.join(", ")));
    }
    let detail = shown(&words.join("; "), hidden);
    Refusal { kind, detail, field: slot.as_ref().map(field) }
}

/// The first error of a node, with the node's id.
fn fault(body: &Value) -> Option<(&str, &Value)> {
    let nodes = body["node_errors"].as_object()?;
    nodes.iter().find_map(|(node, errors)| Some((node.as_str(), errors["errors"].as_array()?.first()?)))
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn field(slot: &Slot) -> String {
    match slot {
        Slot::Prompt => "prompt".to_owned(),
        Slot::Option(name) => format!("options.{name}"),
        Slot::Frames(_) => "options.duration".to_owned(),
        Slot::Input(..) => "inputs".to_owned(),
        Slot::Own(name) => format!("options.provider_options.{name}"),
    }
}
