//! Path templates of `google.api.http`: `/api/v1/{name=generations/*}:cancel`.

use std::ops::Range;

/// A template, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// What the path consists of.
    pub(super) segments: Vec<Segment>,
    /// What follows the last colon.
    pub(super) verb: Option<String>,
    /// Which segments are the values of which fields.
    pub(super) variables: Vec<Variable>,
}

/// One part of a path between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// This very text.
    Literal(String),
    /// Any one part that is not empty.
    One,
    /// All further parts, at least one, none of them empty. Always the last segment.
    Rest,
}

/// A field that takes its value from the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    /// The field's path in the request.
    pub(super) field: String,
    /// The segments that are its value, joined by slashes.
    pub(super) segments: Range<usize>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is no template, for people: a defect of the contract.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("path {text:?} {why}");
        let path = text.strip_prefix('/').ok_or_else(|| wrong("must start with a slash"))?;
        // A colon within braces would belong to a segment; no template of ours has one there.
        let (path, verb) = match path.rsplit_once(':') {
            Some((path, verb)) if !verb.contains(['}', '/']) => (path, Some(verb.to_owned())),
            Some(_) | None => (path, None),
        };
        let mut template = Self { segments: Vec::new(), verb, variables: Vec::new() };
        let mut rest = path;
        loop {
            let after = match rest.strip_prefix('{') {
                Some(inner) => {
                    let (variable, after) = inner.split_once('}').ok_or_else(|| wrong("has an open brace"))?;
                    template.push_variable(variable);
                    after
                }
                None => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    template.push(&rest[..end]);
                    &rest[end..]
                }
            };
            match after.strip_prefix('/') {
                Some(next) => rest = next,
                None if after.is_empty() => break,
                None => return Err(wrong("has text after a brace")),
            }
        }
        match template.segments.split_last() {
            Some((_, all_but_last)) if !all_but_last.contains(&Segment::Rest) => Ok(template),
            Some(_) | None => Err(wrong("has ** in front of something else")),
        }
    }

    fn push(&mut self, segment: &str) {
        self.segments.push(match segment {
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal => Segment::Literal(literal.to_owned()),
        });
    }

    fn push_variable(&mut self, variable: &str) {
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let start = self.segments.len();
        pattern.split('/').for_each(|segment| self.push(segment));
        self.variables.push(Variable { field: field.to_owned(), segments: start..self.segments.len() });
    }

    /// The values of the variables, if the decoded parts of a path fit; `parts` are without the verb.
    pub(super) fn captures<'t>(&'t self, parts: &[&str]) -> Option<Vec<(&'t str, String)>> {
        let is_open = self.segments.last() == Some(&Segment::Rest);
        let fits = if is_open { parts.len() >= self.segments.len() } else { parts.len() == self.segments.len() };
        let all = self.segments.iter().zip(parts).all(|(segment, part)| match segment {
            Segment::Literal(literal) => literal == part,
            Segment::One | Segment::Rest => !part.is_empty(),
        });
        if !fits || !all || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let value = |variable: &'t Variable| {
            let Range { start, end } = variable.segments;
            let end = if is_open && end == self.segments.len() { parts.len() } else { end };
            (variable.field.as_str(), parts[start..end].join("/"))
        };
        Some(self.variables.iter().map(value).collect())
    }

    /// The narrower sorts first: more literal text, nothing open.
    pub(super) fn breadth(&self) -> (bool, usize) {
        let n_open = self.segments.iter().filter(|segment| !matches!(segment, Segment::Literal(_))).count();
        (self.segments.last() == Some(&Segment::Rest), n_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        let found = template.captures(&parts)?;
        Some(found.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    fn one(field: &str, value: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(field.to_owned(), value.to_owned())])
    }

    #[test]
    fn variables_take_the_segments_of_their_pattern() {
        assert_eq!(captures("/api/{name=films/*}/events", "api/films/1/events"), one("name", "films/1"));
        assert_eq!(captures("/models/{name=**}", "models/a/b/c"), one("name", "a/b/c"));
        assert_eq!(captures("/models/{name}", "models/a"), one("name", "a"));
        assert_eq!(captures("/models", "models"), Some(vec![]));
        for (template, path) in [
            ("/models", "models/"),
            ("/models/{name}", "models"),
            ("/models/{name}", "models/"),
            ("/models/{name}", "models/a/b"),
            ("/models/{name=**}", "models"),
            ("/models/{name=**}", "models//b"),
            ("/{name=films/*}", "song/1"),
        ] {
            assert_eq!(captures(template, path), None, "{template} {path}");
        }
    }

    #[test]
    fn a_verb_is_what_follows_the_last_colon() {
        let template = Template::parse("/{name=films/*}:cancel").unwrap();
        assert_eq!(template.verb.as_deref(), Some("cancel"));
        assert_eq!(template.segments, [Segment::Literal("films".to_owned()), Segment::One]);
        assert_eq!(Template::parse("/films:make").unwrap().verb.as_deref(), Some("make"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["films", "/{name", "/{name}x", "/**/films"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
