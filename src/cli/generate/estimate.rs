//! `filmgate estimate`: what an order would cost, without ordering.

use std::time::Duration;

use super::{
    input,
    kinds::Flags,
    options::{ImageFlags, MusicFlags, SpeechFlags, VideoFlags},
    order::OrderArgs,
    value,
};
use crate::{
    cli::{ClientCommand, Context, connect::call, exit::Exit, failure::Failure, json, models, terminal::Format, text},
    pb::v1::{self, EstimateCostRequest, OrderToEstimate},
};

/// Arguments of `filmgate estimate`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Estimate {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// What a video would cost.
    Video(Box<Order<VideoFlags>>),
    /// What images would cost.
    Image(Box<Order<ImageFlags>>),
    /// What a spoken text would cost.
    Speech(Box<Order<SpeechFlags>>),
    /// What music would cost.
    Music(Box<Order<MusicFlags>>),
}

#[derive(Debug, clap::Args)]
struct Order<F: Flags> {
    /// What to show, speak or play; may be left out if the price does not depend on it.
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
    /// How many such orders.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Also get a quote that binds for so long, 1s to 24h: the order that it goes along with, as `--quote`, costs no more.
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    quote_ttl: Option<Duration>,
    #[command(flatten)]
    order: OrderArgs<F>,
}

impl ClientCommand for Estimate {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let request = match self.kind {
            Kind::Video(order) => order.ask(context).await?,
            Kind::Image(order) => order.ask(context).await?,
            Kind::Speech(order) => order.ask(context).await?,
            Kind::Music(order) => order.ask(context).await?,
        };
        let response = context.connection.generations().estimate_cost(call(request)).await?.into_inner();
        match context.terminal.format {
            Format::Json => context.terminal.json_line(&json::of(&response)?)?,
            Format::Text => {
                for estimate in &response.estimates {
                    context.terminal.line(&words(estimate))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

impl<F: Flags> Order<F> {
    async fn ask(self, context: &Context<'_>) -> Result<EstimateCostRequest, Failure> {
        let quote_ttl = self.quote_ttl.map(value::to_proto_duration).transpose();
        let quote_ttl = quote_ttl.map_err(|error| Failure::usage(format!("--quote-ttl: {error}")))?;
        let inputs = input::resolve(&self.order.inputs, &context.connection).await?;
        let order = self.order.request(self.prompt.unwrap_or_default(), inputs)?;
        let order = OrderToEstimate { order: Some(order.into()), count: Some(self.count) };
        Ok(EstimateCostRequest { orders: vec![order], quote_ttl })
    }
}

fn words(estimate: &v1::Estimate) -> String {
    let cost = estimate.estimated_micro_usd.map_or_else(|| "unknown".to_owned(), text::dollars);
    let mut facts = vec![
        ("model", estimate.model.clone()),
        ("cost", cost),
        ("price", estimate.price.as_ref().map(models::price).unwrap_or_default()),
        ("usually takes", text::duration(estimate.expected_time.as_ref())),
        ("quote", estimate.quote.clone()),
        ("quote ends", text::time(estimate.quote_expire_time.as_ref())),
    ];
    let adjusted = estimate.adjustments.iter().map(|changed| {
        let used = if changed.used.is_empty() { "nothing" } else { &changed.used };
        ("adjusted", format!("{}: {} instead of {} ({})", changed.field, used, changed.asked, changed.why))
    });
    facts.extend(adjusted);
    text::facts(&facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_told_in_facts() {
        let estimate = v1::Estimate {
            model: "replicate/x".to_owned(),
            estimated_micro_usd: Some(800_000),
            expected_time: Some(prost_types::Duration { seconds: 45, nanos: 0 }),
            adjustments: vec![v1::Adjustment {
                field: "options.duration".to_owned(),
                asked: "7".to_owned(),
                used: "6".to_owned(),
                why: "x takes 4, 6, 8".to_owned(),
            }],
            ..v1::Estimate::default()
        };
        assert_eq!(
            words(&estimate),
            "model          replicate/x\ncost           $0.80\nusually takes  45 s\n\
             adjusted       options.duration: 6 instead of 7 (x takes 4, 6, 8)"
        );
        assert!(words(&v1::Estimate::default()).contains("unknown"));
    }
}
