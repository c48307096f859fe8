//! The two languages in which prompts are written.

use std::fmt;

/// A language that prompts are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Chinese.
    Chinese,
    /// English, or any other that is not Chinese.
    English,
}

impl Language {
    /// That of a text: Chinese if it has at least as many Chinese characters as words in Latin letters, and no Japanese or Korean character.
    pub fn of(text: &str) -> Self {
        let n_chinese = text.chars().filter(|c| is_chinese(*c)).count();
        let is_latin = |word: &&str| word.chars().any(|c| c.is_ascii_alphabetic());
        let n_words = text.split(|c: char| c.is_whitespace() || is_chinese(c)).filter(is_latin).count();
        let is_chinese = n_chinese > 0 && n_chinese >= n_words && !text.chars().any(is_japanese_or_korean);
        if is_chinese { Self::Chinese } else { Self::English }
    }

    /// Whether a text may be called one in this language. Names and terms of another are common in both, and in Chinese prompts more than Chinese.
    pub(super) fn is_spoken_in(self, text: &str) -> bool {
        match self {
            Self::Chinese => text.chars().any(is_chinese),
            Self::English => Self::of(text) == Self::English,
        }
    }

    /// Its code: `zh` or `en`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chinese => "zh",
            Self::English => "en",
        }
    }

    /// Of its code.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Chinese, Self::English].into_iter().find(|language| language.as_str() == code)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn is_japanese_or_korean(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_that_of_most_of_the_text() {
        for (text, expected) in [
            ("a fox", "en"),
            ("一只狐狸 fox", "zh"),
            ("用Unreal Engine渲染", "zh"),
            ("a neon sign that says 你好", "en"),
            ("狐が走る", "en"),
            ("", "en"),
            ("여우", "en"),
            ("лиса", "en"),
        ] {
            assert_eq!(Language::of(text).as_str(), expected, "{text}");
        }
    }

    #[test]
    fn a_text_may_have_words_of_the_other_language() {
        let check = |language: Language, text: &str, expected: bool| {
            assert_eq!(language.is_spoken_in(text), expected, "{language} {text}");
        };
        check(Language::Chinese, "狐狸, cinematic lighting, 8k, ultra detailed", true);
        check(Language::Chinese, "a fox in the snow", false);
        check(Language::English, "a neon sign that says 你好", true);
        check(Language::English, "一只红狐狸", false);
    }
}
