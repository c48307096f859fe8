//! `filmgate models`, `routes` and `providers`: what can be ordered, under which names, and from whom.

use super::{ClientCommand, Context, connect::call, exit::Exit, failure::Failure, kind::MadeArg, pages::collect, text};
use crate::pb::v1::{
    self, ChatModel, ListModelsRequest, ListProvidersRequest, ListRoutesRequest, Model, Price, PriceUnit, Provider,
    ProviderHealth, Route,
};

/// Most rows shown; more cards or providers than anybody has.
const MOST_ROWS: usize = 10_000;

/// Arguments of `filmgate models`.
#[derive(Debug, clap::Args)]
pub(super) struct Models {
    /// Only this provider's.
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Only this kind.
    #[arg(long)]
    kind: Option<MadeArg>,
    /// Only those with this option (`seed`), mode (`first_and_last_frame`) or input role (`INPUT_ROLE_MASK`); repeatable.
    #[arg(long = "capability", value_name = "NAME")]
    capabilities: Vec<String>,
    /// Only those of which one ordinary output costs at most so much, in US dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = micro_usd)]
    max_price: Option<i64>,
    /// Only those that can be used here.
    #[arg(long)]
    available: bool,
}

/// Arguments of `filmgate routes`.
#[derive(Debug, clap::Args)]
pub(super) struct Routes {}

/// Arguments of `filmgate providers`.
#[derive(Debug, clap::Args)]
pub(super) struct Providers {}

impl ClientCommand for Models {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let connection = &context.connection;
        let rows = collect(MOST_ROWS, async |page| {
            let request = ListModelsRequest {
                page_size: page.size,
                page_token: page.token,
                kind: self.kind.map_or(v1::Kind::Unspecified, v1::Kind::from).into(),
                provider: self.provider.clone().unwrap_or_default(),
                capabilities: self.capabilities.clone(),
                max_micro_usd: self.max_price,
                available: self.available,
            };
            let response = connection.models().list_models(call(request)).await?.into_inner();
            Ok((response.models, response.next_page_token))
        });
        let heading = ["MODEL", "KIND", "PRICE", "USUALLY TAKES", "USABLE", "END OF LIFE"];
        context.terminal.rows(&rows.await?, heading, cells)?;
        Ok(Exit::Ok)
    }
}

impl ClientCommand for Routes {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let connection = &context.connection;
        let rows = collect(MOST_ROWS, async |page| {
            let request = ListRoutesRequest { page_size: page.size, page_token: page.token };
            let response = connection.models().list_routes(call(request)).await?.into_inner();
            Ok((response.routes, response.next_page_token))
        });
        context.terminal.rows(&rows.await?, ["ROUTE", "STRATEGY", "MODELS"], route_cells)?;
        Ok(Exit::Ok)
    }
}

impl ClientCommand for Providers {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let connection = &context.connection;
        let rows = collect(MOST_ROWS, async |page| {
            let request = ListProvidersRequest { page_size: page.size, page_token: page.token };
            let response = connection.models().list_providers(call(request)).await?.into_inner();
            Ok((response.providers, response.next_page_token))
        });
        let heading = ["PROVIDER", "STATE", "RUNNING", "QUEUED", "KEYS", "TO CONFIGURE"];
        context.terminal.rows(&rows.await?, heading, provider_cells)?;
        Ok(Exit::Ok)
    }
}

/// Dollars as millionths, for example `0.25`.
fn micro_usd(text: &str) -> Result<i64, String> {
    let dollars: f64 = text.trim_start_matches('$').parse().map_err(|_| "expected dollars, for example 0.25")?;
    if !(0.0..=1e9).contains(&dollars) {
        return Err("must be from 0 to a thousand million".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "far below 2^53")]
    Ok((dollars * 1e6).round() as i64)
}

fn cells(model: &Model) -> [String; 6] {
    [
        model.name.clone(),
        text::word(model.kind().as_str_name(), "KIND_"),
        match &model.chat {
            Some(chat) => tokens_price(chat),
            None => model.price.as_ref().map_or_else(|| "unknown".to_owned(), price),
        },
        text::duration(model.expected_time.as_ref()),
        if model.available { "yes" } else { "no key" }.to_owned(),
        model.end_of_life.clone(),
    ]
}

/// What a language model costs, in words.
fn tokens_price(chat: &ChatModel) -> String {
    match (chat.input_micro_usd, chat.output_micro_usd) {
        (Some(0), Some(0)) => "free".to_owned(),
        (Some(read), Some(written)) => {
            format!("{} read, {} written a million tokens", text::dollars(read), text::dollars(written))
        }
        (None, _) | (_, None) => "unknown".to_owned(),
    }
}

/// What a model costs, in words.
pub(super) fn price(price: &Price) -> String {
    let unit = match price.unit() {
        PriceUnit::OutputSecond => " a second",
        PriceUnit::Output => " each",
        PriceUnit::ComputeSecond => " a compute second",
        PriceUnit::Character => " a character",
        PriceUnit::Megapixel => " a megapixel",
        PriceUnit::Token => " a token",
        PriceUnit::Unspecified => "",
    };
    let unit = if price.per > 1 {
        format!(" for {}{}", price.per, unit.replacen(" a ", " ", 1) + "s")
    } else {
        unit.to_owned()
    };
    let most = price.variants.iter().map(|variant| variant.micro_usd).max().filter(|most| *most > price.micro_usd);
    let most = most.map(|most| format!(" (up to {})", text::dollars(most)));
    format!("{}{unit}{}", text::dollars(price.micro_usd), most.unwrap_or_default())
}

fn route_cells(route: &Route) -> [String; 3] {
    let strategy = text::word(route.strategy().as_str_name(), "ROUTE_STRATEGY_");
    [route.name.clone(), strategy, route.models.join(", ")]
}

fn provider_cells(provider: &Provider) -> [String; 6] {
    let resting = provider.resting_until_time.as_ref().map(|until| format!("rests until {}", text::time(Some(until))));
    let state = match (provider.configured, provider.health()) {
        (false, _) => "not configured",
        (true, ProviderHealth::Up) => "up",
        (true, ProviderHealth::Down) => "down",
        (true, ProviderHealth::Unknown | ProviderHealth::Unspecified) => "not called yet",
    };
    [
        provider.name.clone(),
        resting.unwrap_or_else(|| state.to_owned()),
        format!("{} of {}", provider.n_running, provider.concurrency),
        provider.n_queued.to_string(),
        if provider.n_keys > 0 { format!("{} of {}", provider.n_keys_usable, provider.n_keys) } else { String::new() },
        provider.how_to_configure.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_in_dollars() {
        assert_eq!(micro_usd("0.25"), Ok(250_000));
        assert_eq!(micro_usd("$0.003"), Ok(3_000));
        for bad in ["", "cheap", "-1", "nan", "1e12"] {
            assert!(micro_usd(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_name_their_unit() {
        let table = [
            (PriceUnit::OutputSecond, 1, None, "$0.05 a second"),
            (PriceUnit::Output, 1, None, "$0.05 each"),
            (PriceUnit::ComputeSecond, 1, Some(100_000), "$0.05 a compute second (up to $0.10)"),
            (PriceUnit::Character, 1000, None, "$0.05 for 1000 characters"),
        ];
        for (unit, per, most, expected) in table {
            let variants = most.map(|micro_usd| v1::PriceVariant { micro_usd, ..v1::PriceVariant::default() });
            let told = Price {
                unit: unit.into(),
                micro_usd: 50_000,
                per,
                variants: variants.into_iter().collect(),
                ..Price::default()
            };
            assert_eq!(price(&told), expected);
        }
    }
}
