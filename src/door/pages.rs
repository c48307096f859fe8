//! Pages by keyset: sizes, and tokens that are opaque and bound to the filters they were made with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::refusal::{Refusal, both};
use crate::{domain::order::Violation, store::port::Page};

/// Rows of a page when the caller does not say.
const DEFAULT_SIZE: usize = 50;
/// Most rows of a page.
const MAX_SIZE: usize = 200;
/// A page ends at this many encoded bytes, so that it stays far below what a client takes in one message.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// No token we make is longer.
const MAX_TOKEN_BYTES: usize = 1024;

/// The page a caller asks for.
#[derive(Debug)]
pub(super) struct Wanted<K> {
    after: Option<K>,
    size: usize,
    filters: String,
}

/// What a token holds.
#[derive(Serialize, Deserialize)]
struct Token<K> {
    /// Fingerprint of the list and its filters.
    f: String,
    /// Key of the last row seen.
    k: K,
}

impl<K: Serialize + DeserializeOwned> Wanted<K> {
    /// Reads `page_size` and `page_token` of a list with these filters, to which its tokens are bound. Tells all that is wrong with either.
    pub(super) fn read<F: Serialize>(
        list: &str,
        filters: Result<F, Refusal>,
        page_size: i32,
        page_token: &str,
    ) -> Result<(F, Self), Refusal> {
        let bound = filters.as_ref().ok().map(|filters| fingerprint(&(list, filters)));
        let mut violations = Vec::new();
        let size = match usize::try_from(page_size) {
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(MAX_SIZE),
            Err(_) => {
                violations.push(Violation::new("page_size", "must not be negative; 0 means 50, at most 200 are sent"));
                DEFAULT_SIZE
            }
        };
        let mut after = None;
        match (page_token, decode::<K>(page_token)) {
            ("", _) => {}
            (_, None) => violations.push(Violation::unknown("page_token", "is not a token of this list")),
            (_, Some(token)) if bound.as_ref().is_some_and(|bound| *bound != token.f) => {
                let why = "belongs to a list with other filters; start anew without it";
                violations.push(Violation::unknown("page_token", why));
            }
            (_, Some(token)) => after = Some(token.k),
        }
        let page = Self { after, size, filters: bound.unwrap_or_default() };
        both(filters, if violations.is_empty() { Ok(page) } else { Err(Refusal::Invalid(violations)) })
    }

    /// The last row already seen.
    pub(super) fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// What to ask the store for: one row more than the page, to learn whether there is a next one.
    pub(super) fn query(&self) -> Page<K>
    where
        K: Clone,
    {
        Page { after: self.after.clone(), limit: self.size + 1 }
    }

    /// Makes the page of the rows that [`Self::query`] gave, and the token of the next page: empty at the end.
    pub(super) fn cut<T, M: Message>(
        self,
        rows: &[T],
        key: impl Fn(&T) -> K,
        show: impl Fn(&T) -> M,
    ) -> (Vec<M>, String) {
        let mut page = Vec::new();
        let mut n_bytes = 0;
        for row in rows.iter().take(self.size) {
            let message = show(row);
            n_bytes += message.encoded_len();
            // The first row is always sent, or the list could never go on.
            if n_bytes > MAX_PAGE_BYTES && !page.is_empty() {
                break;
            }
            page.push(message);
        }
        let last = page.len().checked_sub(1).and_then(|last| rows.get(last)).filter(|_| page.len() < rows.len());
        let token = last.map(|last| encode(&Token { f: self.filters, k: key(last) })).unwrap_or_default();
        (page, token)
    }
}

fn encode<K: Serialize>(token: &Token<K>) -> String {
    // Keys are plain data and always have a JSON form; an empty token would merely end the list.
    serde_json::to_vec(token).map(|json| URL_SAFE_NO_PAD.encode(json)).unwrap_or_default()
}

fn decode<K: DeserializeOwned>(token: &str) -> Option<Token<K>> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

fn fingerprint(filters: &impl Serialize) -> String {
    let json = serde_json::to_vec(filters).unwrap_or_default();
    hex::encode(Sha256::digest(json).get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1;

    fn read(size: i32, token: &str, filters: &str) -> Result<Wanted<u64>, Vec<String>> {
        match Wanted::read("List", Ok(filters), size, token) {
            Ok((_, wanted)) => Ok(wanted),
            Err(refusal) => Err(fields(refusal)),
        }
    }

    fn fields(refusal: Refusal) -> Vec<String> {
        match refusal {
            Refusal::Invalid(violations) => violations.into_iter().map(|violation| violation.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn row(number: u64) -> v1::GenerationEvent {
        v1::GenerationEvent { number: i64::try_from(number).unwrap(), ..Default::default() }
    }

    fn token() -> String {
        read(1, "", "a").unwrap().cut(&[1, 2], |key| *key, |key| row(*key)).1
    }

    #[test]
    fn sizes_are_bounded() {
        for (asked, limit) in [(0, 51), (1, 2), (200, 201), (201, 201), (i32::MAX, 201)] {
            assert_eq!(read(asked, "", "").unwrap().query().limit, limit, "{asked}");
        }
        assert_eq!(read(-1, "", "").unwrap_err(), ["page_size"]);
    }

    #[test]
    fn a_token_leads_on_from_the_last_row_sent() {
        let (page, next) = read(2, "", "a").unwrap().cut(&[7, 8, 9], |key| *key, |key| row(*key));
        assert_eq!(page.len(), 2);
        assert_eq!(read(2, &next, "a").unwrap().query(), Page { after: Some(8), limit: 3 });
    }

    #[test]
    fn only_the_last_page_has_no_token() {
        for (rows, ends) in [(vec![], true), (vec![1], true), (vec![1, 2], true), (vec![1, 2, 3], false)] {
            let (_, next) = read(2, "", "a").unwrap().cut(&rows, |key| *key, |key| row(*key));
            assert_eq!(next.is_empty(), ends, "{rows:?}");
        }
    }

    #[test]
    fn a_token_is_bound_to_its_filters_and_rubbish_is_refused() {
        let token = token();
        let long = "A".repeat(5000);
        assert_eq!(read(1, &token, "b").unwrap_err(), ["page_token"]);
        let other_list = Wanted::<u64>::read("Other", Ok("a"), 1, &token).map(drop);
        assert_eq!(fields(other_list.unwrap_err()), ["page_token"]);
        for bad in ["x", "====", "eyJmIjoxfQ", "null", &token[1..], long.as_str(), "\u{0}"] {
            assert_eq!(read(1, bad, "a").unwrap_err(), ["page_token"], "{bad:?}");
        }
        assert_eq!(read(-5, "x", "a").unwrap_err(), ["page_size", "page_token"]);
    }

    #[test]
    fn wrong_filters_are_told_with_the_rest() {
        let wrong = || Err::<(), _>(Refusal::field("kind", "x"));
        let read = |size, token: &str| Wanted::<u64>::read("List", wrong(), size, token).map(drop).map_err(fields);
        assert_eq!(read(-1, "x"), Err(["kind", "page_size", "page_token"].map(str::to_owned).into()));
        assert_eq!(read(1, &token()), Err(vec!["kind".to_owned()]));
    }

    #[test]
    fn a_page_ends_at_its_size_in_bytes_but_never_empty() {
        let big = |key: &u64| v1::GenerationEvent { message: "m".repeat(600 << 10), ..row(*key) };
        let (page, next) = read(10, "", "a").unwrap().cut(&[1, 2, 3], |key| *key, big);
        assert_eq!((page.len(), read(1, &next, "a").unwrap().query().after), (1, Some(1)));
        let huge = |key: &u64| v1::GenerationEvent { message: "m".repeat(2 << 20), ..row(*key) };
        assert_eq!(read(10, "", "a").unwrap().cut(&[1], |key| *key, huge).0.len(), 1);
    }
}
