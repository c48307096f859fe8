//! What a job's messages said so far. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// How much of each node is done, by what the websocket told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// 0 to 1 for each node that was heard of.
    nodes: BTreeMap<String, f64>,
    current: Option<String>,
    steps: Option<(f64, f64)>,
    percent: Option<u8>,
}

impl Seen {
    /// Takes one text frame in; true if it was about `job`.
    pub(super) fn hear(&mut self, job: &str, frame: &str) -> bool {
        let Ok(message) = serde_json::from_str::<Value>(frame) else { return false };
        let data = &message["data"];
        let kind = message["type"].as_str().unwrap_or_default();
        // The one frame after a reconnect names no job, and is for this client alone.
        let is_ours = data["prompt_id"] == job || (kind == "executing" && data["prompt_id"].is_null());
        if !is_ours {
            return false;
        }
        match kind {
            "progress_state" => self.all(&data["nodes"]),
            "progress" => self.step(data),
            "executing" => self.begin(data["node"].as_str()),
            "executed" => data["node"].as_str().into_iter().for_each(|node| self.set(node, 1.0)),
            "execution_cached" => {
                let nodes = data["nodes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                nodes.for_each(|node| self.set(node, 1.0));
            }
            _ => {}
        }
        true
    }

    /// 0 to 99, never less than before: finished nodes, and the part of the running one, of all of the graph.
    pub(super) fn percent(&mut self, graph: &Value) -> Option<u8> {
        let n_nodes = graph.as_object().map_or(0, serde_json::Map::len);
        if self.nodes.is_empty() || n_nodes == 0 {
            return self.percent;
        }
        let done: f64 = self.nodes.values().sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=99")]
        let percent = (done / n_nodes as f64 * 100.0).clamp(0.0, 99.0) as u8;
        self.percent = self.percent.max(Some(percent));
        self.percent
    }

    /// The class of the node at work and its step, such as `KSampler 12/20`.
    pub(super) fn phase(&self, graph: &Value) -> Option<String> {
        let class = graph[self.current.as_deref()?]["class_type"].as_str()?;
        Some(match self.steps {
            Some((value, max)) if max > 1.0 => format!("{class} {value:.0}/{max:.0}"),
            Some(_) | None => class.to_owned(),
        })
    }

    fn all(&mut self, nodes: &Value) {
        for (id, node) in nodes.as_object().into_iter().flatten() {
            match node["state"].as_str() {
                Some("finished") => self.set(id, 1.0),
                Some("running") => {
                    self.current = Some(id.clone());
                    self.step_of(id, node);
                }
                Some(_) | None => {}
            }
        }
    }

    fn step(&mut self, data: &Value) {
        let node = data["node"].as_str().map(str::to_owned).or_else(|| self.current.clone());
        if let Some(node) = node {
            self.step_of(&node, data);
            self.current = Some(node);
        }
    }

    fn step_of(&mut self, node: &str, data: &Value) {
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        if let (Some(value), Some(max)) = (number(&data["value"]), number(&data["max"]))
            && max > 0.0
        {
            self.steps = Some((value, max));
            self.set(node, value / max);
        }
    }

    /// The next node begins, so the one before is done.
    fn begin(&mut self, node: Option<&str>) {
        if let Some(before) = self.current.take()
            && Some(before.as_str()) != node
        {
            self.set(&before, 1.0);
        }
        if let Some(node) = node {
            self.set(node, 0.0);
            self.current = Some(node.to_owned());
        }
        self.steps = None;
    }

    fn set(&mut self, node: &str, done: f64) {
        let known = self.nodes.entry(node.to_owned()).or_default();
        *known = known.max(done.clamp(0.0, 1.0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph() -> Value {
        json!({
            "3": { "class_type": "KSampler", "inputs": {} }, "4": { "class_type": "CheckpointLoaderSimple", "inputs": {} },
            "8": { "class_type": "VAEDecode", "inputs": {} }, "9": { "class_type": "SaveImage", "inputs": {} },
        })
    }

    fn hear(seen: &mut Seen, kind: &str, mut data: Value) {
        data["prompt_id"] = json!("job");
        assert!(seen.hear("job", &json!({ "type": kind, "data": data }).to_string()), "{kind}");
    }

    #[test]
    fn the_messages_of_an_old_server_add_up() {
        let mut seen = Seen::default();
        assert_eq!((seen.percent(&graph()), seen.phase(&graph())), (None, None));
        hear(&mut seen, "execution_start", json!({}));
        hear(&mut seen, "execution_cached", json!({ "nodes": ["4"] }));
        assert_eq!(seen.percent(&graph()), Some(25));
        hear(&mut seen, "executing", json!({ "node": "3" }));
        hear(&mut seen, "progress", json!({ "node": "3", "value": 10, "max": 20 }));
        assert_eq!((seen.percent(&graph()), seen.phase(&graph()).as_deref()), (Some(37), Some("KSampler 10/20")));
        hear(&mut seen, "executing", json!({ "node": "8" }));
        assert_eq!((seen.percent(&graph()), seen.phase(&graph()).as_deref()), (Some(50), Some("VAEDecode")));
        hear(&mut seen, "executed", json!({ "node": "9", "output": {} }));
        hear(&mut seen, "executing", json!({ "node": null }));
        assert_eq!(seen.percent(&graph()), Some(99));
    }

    #[test]
    fn one_message_of_a_new_server_tells_everything() {
        let mut seen = Seen::default();
        let nodes = json!({ "4": { "state": "finished", "value": 1, "max": 1 }, "3": { "state": "running", "value": 5.0, "max": 20.0 } });
        hear(&mut seen, "progress_state", json!({ "nodes": nodes }));
        assert_eq!((seen.percent(&graph()), seen.phase(&graph()).as_deref()), (Some(31), Some("KSampler 5/20")));
    }

    #[test]
    fn other_jobs_and_rubbish_are_passed_by_and_percent_never_falls() {
        let mut seen = Seen::default();
        hear(&mut seen, "execution_cached", json!({ "nodes": ["3", "4"] }));
        for frame in
            ["", "[]", "null", r#"{"type": "progress", "data": null}"#, r#"{"type": "status", "data": {"status": {}}}"#]
        {
            assert!(!seen.hear("job", frame), "{frame}");
        }
        let other = json!({ "type": "execution_cached", "data": { "prompt_id": "other", "nodes": ["9"] } });
        assert!(!seen.hear("job", &other.to_string()));
        hear(&mut seen, "progress", json!({ "node": "3", "value": -4, "max": 0 }));
        assert_eq!(seen.percent(&graph()), Some(50));
        assert_eq!(seen.percent(&json!({})), Some(50));
    }
}
