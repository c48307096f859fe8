//! What fields of the contract are called in calls that make images and speech.

/// The names of one call; a cheap copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// What the prompt is called.
    pub(super) prompt: &'static str,
    /// What the file format is called.
    pub(super) format: &'static str,
    /// How many of the inputs, the first, came as images.
    pub(super) n_images: usize,
    /// How many after them came as masks.
    pub(super) n_masks: usize,
}

/// OpenAI's parameters that are passed on to the provider as they are.
pub(super) const PASSED_ON: [&str; 3] = ["moderation", "output_compression", "input_fidelity"];

impl Names {
    /// What a field of the contract is called here.
    pub(super) fn of(self, field: &str) -> String {
        match input(field) {
            Some(index) if index < self.n_images => return "image".to_owned(),
            Some(index) if index < self.n_images + self.n_masks => return "mask".to_owned(),
            Some(_) | None => {}
        }
        let field = field.strip_prefix("options.").unwrap_or(field);
        let name = match field {
            "prompt" => self.prompt,
            "inputs" => "image",
            "width" | "height" => "size",
            "samples" => "n",
            "format" => self.format,
            "labels[\"user\"]" => "user",
            "labels[\"safety_identifier\"]" => "safety_identifier",
            _ => passed_on(field).unwrap_or(field),
        };
        name.to_owned()
    }
}

/// The index of `inputs[3].uri`.
fn input(field: &str) -> Option<usize> {
    field.strip_prefix("inputs[")?.split_once(']')?.0.parse().ok()
}

fn passed_on(field: &str) -> Option<&str> {
    field.strip_prefix("provider_options.").filter(|name| PASSED_ON.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_that_the_caller_wrote() {
        let names = Names { prompt: "input", format: "output_format", n_images: 2, n_masks: 1 };
        for (field, name) in [
            ("prompt", "input"),
            ("options.width", "size"),
            ("options.samples", "n"),
            ("options.format", "output_format"),
            ("options.negative_prompt", "negative_prompt"),
            ("options.provider_options.moderation", "moderation"),
            ("options.provider_options.steps", "provider_options.steps"),
            ("inputs[1].uri", "image"),
            ("inputs[2].data", "mask"),
            ("inputs[3].data", "inputs[3].data"),
            ("inputs", "image"),
            ("labels[\"user\"]", "user"),
            ("labels[\"team\"]", "labels[\"team\"]"),
            ("session", "session"),
        ] {
            assert_eq!(names.of(field), name, "{field}");
        }
    }
}
