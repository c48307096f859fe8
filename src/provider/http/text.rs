//! Vendors' texts made safe to show: what they echo may hold a prompt, a key or a signed address.

/// Most characters of a vendor's text that are shown.
pub const SHOWN_CHARS: usize = 500;
/// A shorter hidden text would blot out ordinary words.
const LEAST_HIDDEN: usize = 4;

/// `text` on one line of at most 500 characters, without the queries of addresses, the contents of data URIs and the
/// `hidden` texts; nothing if it is empty or a page.
pub fn shown(text: &str, hidden: &[&str]) -> Option<String> {
    if is_html(text.as_bytes()) {
        return None;
    }
    let mut line = one_line(text);
    for secret in hidden.iter().map(|secret| one_line(secret)).filter(|secret| secret.len() >= LEAST_HIDDEN) {
        line = line.replace(&secret, "[…]");
    }
    let words: Vec<&str> = line.split(' ').map(bare).collect();
    let line = words.join(" ");
    (!line.is_empty()).then(|| shortened(&line, SHOWN_CHARS))
}

/// True for a page, which is never quoted.
pub fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// At most `most` characters, the last an ellipsis if some are missing.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A word without what an address in it may hide.
pub fn bare(word: &str) -> &str {
    if let Some(at) = word.find("://") {
        return word[at..].find(['?', '#']).map_or(word, |end| &word[..at + end]);
    }
    match (word.find("data:"), word.find(',')) {
        (Some(start), Some(comma)) if start < comma && word[start..comma].contains('/') => &word[..comma],
        (Some(_) | None, Some(_) | None) => word,
    }
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vendor_echoes_is_not_shown() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(shown(text, &["r8_secret", "a fox\nin snow", "it"]).as_deref(), expected, "{text}");
        };
        check("plain text: it failed", Some("plain text: it failed"));
        check("two\n- lines\u{7}", Some("two - lines"));
        check("bad key r8_secret!", Some("bad key […]!"));
        check("cannot make \"a fox in  snow\"", Some("cannot make \"[…]\""));
        check("at https://h.example/a.mp4?sig=abc#x now", Some("at https://h.example/a.mp4 now"));
        check("got data:image/png;base64,AAAA here", Some("got data:image/png;base64 here"));
        check("", None);
        check("  <!DOCTYPE html><p>", None);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "ä".repeat(600);
        let cut = shown(&long, &[]).unwrap();
        assert_eq!(cut.chars().count(), 500);
        assert!(cut.ends_with('…'));
        assert_eq!(shortened("abc", 3), "abc");
    }
}
