//! `POST /v1/images/edits`: images to start from, as parts of a form or by name.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    Door,
    file::references,
    images::{self, How, answer},
    key,
    names::Names,
    params::Params,
    problem::Problem,
};
use crate::{
    domain::{card::ModelCard, order::InputRole},
    pb::v1::{self, Input, input::Source},
};

/// Most images of a call, as OpenAI has it.
const MAX_IMAGES: usize = 16;

pub(super) async fn edit(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let caller = door.caller(request.headers())?;
    let (host, key) = (images::host(&request), key::of(request.headers())?);
    let mut params = Params::read(&door, &caller, request).await?;
    let how = How::read(&mut params, "image_edit.completed", host)?;
    let mut sources = references(&door, &caller, &mut params, "image").await?;
    sources.extend(references(&door, &caller, &mut params, "images").await?);
    let mask = references(&door, &caller, &mut params, "mask").await?;
    match (sources.len(), mask.len()) {
        (0, _) => return Err(Problem::missing("image")),
        (1..=MAX_IMAGES, 0 | 1) => {}
        (1..=MAX_IMAGES, _) => return Err(Problem::wrong_value("mask", "there can be only one")),
        (n, _) => return Err(Problem::wrong_value("image", format!("{n} images; at most {MAX_IMAGES}"))),
    }
    let mut request = images::order(&door, &mut params)?;
    let how = how.of(&request.model);
    key::give(&mut request.request_id, key)?;
    let names = Names { prompt: "prompt", format: "output_format", n_images: sources.len(), n_masks: mask.len() };
    let inputs = inputs(images::card(&door, &request.model), sources, mask);
    request.inputs.splice(0..0, inputs);
    let made = door.make(caller, request, names).await?;
    answer(door, made, how).await
}

/// The first image is changed, and the others are shown with it; a model that changes none is shown all.
fn inputs(card: Option<&ModelCard>, images: Vec<Source>, mask: Vec<Source>) -> Vec<Input> {
    let takes = |role| card.is_none_or(|card| card.inputs.contains_key(&role));
    let input = |role: v1::InputRole, source| Input { role: role.into(), source: Some(source) };
    let first = if takes(InputRole::Source) || !takes(InputRole::Reference) {
        v1::InputRole::Source
    } else {
        v1::InputRole::Reference
    };
    let further = if takes(InputRole::Reference) { v1::InputRole::Reference } else { v1::InputRole::Source };
    let images = images.into_iter().enumerate();
    let images = images.map(|(index, source)| input(if index == 0 { first } else { further }, source));
    images.chain(mask.into_iter().map(|source| input(v1::InputRole::Mask, source))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(takes: &[&str]) -> Vec<v1::InputRole> {
        let table: String = takes.iter().map(|role| format!("{role} = {{ field = \"x\" }}\n")).collect();
        let card: ModelCard = toml::from_str(&format!("name = \"m\"\nkind = \"image\"\n[inputs]\n{table}")).unwrap();
        let file = || Source::Uri("https://example.com/a.png".to_owned());
        let inputs = inputs(Some(&card), vec![file(), file()], vec![file()]);
        inputs.into_iter().map(|input| input.role()).collect()
    }

    #[test]
    fn images_play_the_parts_that_the_model_has() {
        use v1::InputRole::{Mask, Reference, Source};
        assert_eq!(roles(&["source", "reference", "mask"]), [Source, Reference, Mask]);
        assert_eq!(roles(&["reference"]), [Reference, Reference, Mask]);
        // The card refuses what is too many.
        assert_eq!(roles(&["source"]), [Source, Source, Mask]);
        assert_eq!(roles(&[]), [Source, Source, Mask]);
    }
}
