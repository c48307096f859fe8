//! The simulated vendor as a client of its own sees it.

use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::{Value, json};

use super::process::Process;

/// What the vendor was asked so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Jobs ordered.
    pub(crate) creates: u64,
    /// Jobs asked about.
    pub(crate) gets: u64,
}

impl Process {
    /// The base URL of the simulated Replicate.
    pub(crate) fn replicate(&self) -> String {
        format!("http://{}/replicate/v1", self.addr)
    }

    /// What it was asked so far.
    pub(crate) async fn counts(&self, http: &Client) -> Result<Counts> {
        let url = format!("http://{}/_control/counts?predictions=false", self.addr);
        let page: Value = http.get(url).send().await?.json().await?;
        let count = |name: &str| page["replicate"][name].as_u64().context("a count is missing");
        Ok(Counts { creates: count("creates_received")?, gets: count("gets")? })
    }

    /// How often the job that was asked about least was asked about, and how many jobs there are.
    pub(crate) async fn least_asked(&self, http: &Client) -> Result<(u64, usize)> {
        let url = format!("http://{}/_control/counts", self.addr);
        let page: Value = http.get(url).send().await?.json().await?;
        let jobs = page["replicate"]["predictions"].as_object().context("no jobs")?;
        let least = jobs.values().filter_map(|job| job["gets"].as_u64()).min().unwrap_or_default();
        Ok((least, jobs.len()))
    }
}

/// One job of the vendor without anything in between: ordered, asked about, downloaded.
pub(crate) async fn direct(http: &Client, base: &str) -> Result<()> {
    let prompt = "a lighthouse in a storm, waves as high as houses, seen from a small boat";
    let order = http.post(format!("{base}/models/minimax/video-01/predictions")).bearer_auth("r8_simulated");
    let job: Value =
        order.json(&json!({ "input": { "prompt": prompt } })).send().await?.error_for_status()?.json().await?;
    let id = job["id"].as_str().context("no id")?;
    let asked = http.get(format!("{base}/predictions/{id}")).bearer_auth("r8_simulated").send().await?;
    let job: Value = asked.error_for_status()?.json().await?;
    let url = job["output"].as_str().context("not done at once")?;
    http.get(url).bearer_auth("r8_simulated").send().await?.error_for_status()?.bytes().await?;
    Ok(())
}
