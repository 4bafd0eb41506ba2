//! What nobody may read in a failure (clause 6), and where it comes from.

use std::env::{self, VarError};

use super::TargetError;

/// Shorter words are no secrets, and hiding them would make every text unreadable.
const SHORTEST: usize = 4;
/// What stands where a secret was.
const HIDDEN: &str = "***";

/// Words that are hidden in texts.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Hides a value, and each word of it: of `Bearer abcd` a server may repeat `abcd` alone.
    pub(super) fn add(&mut self, value: &str) {
        let words = value.split_ascii_whitespace().chain([value]);
        for word in words.filter(|word| word.len() >= SHORTEST) {
            if !self.0.iter().any(|known| known == word) {
                self.0.push(word.to_owned());
            }
        }
        // The longest first, or a part of it would stay behind.
        self.0.sort_by_key(|word| std::cmp::Reverse(word.len()));
    }

    /// The text without them.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in &self.0 {
            if text.contains(word) {
                text = text.replace(word, HIDDEN);
            }
        }
        text
    }
}

/// A setting's value: `env:NAME` is read from the environment, so that a password need not stand in a file.
///
/// # Errors
/// [`TargetError::Variable`] if there is no such variable.
pub fn value_of(name: &str, value: &str) -> Result<String, TargetError> {
    let Some(variable) = value.strip_prefix("env:") else { return Ok(value.to_owned()) };
    let wrong = |why: &str| TargetError::Variable {
        name: name.to_owned(),
        variable: variable.to_owned(),
        why: why.to_owned(),
    };
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return Err(wrong("is no name of a variable: write env:NAME"));
    }
    env::var(variable).map_err(|error| match error {
        VarError::NotPresent => wrong("is not set: set it for the server"),
        VarError::NotUnicode(_) => wrong("is not text: set it to what the target expects"),
    })
}

/// The beginning of a text of somebody else, on one line.
pub(super) fn excerpt(text: &str, most_bytes: usize) -> String {
    let mut line = String::new();
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > most_bytes {
            line.truncate(line.floor_char_boundary(most_bytes));
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_with_each_of_their_words() {
        let mut secrets = Secrets::default();
        secrets.add("Bearer abcdef");
        secrets.add("abc");
        let told = secrets.hide("token abcdef of \"Bearer abcdef\" is not abc");
        assert_eq!(told, "token *** of \"***\" is not abc");
    }

    #[test]
    fn values_are_read_from_the_environment() {
        assert_eq!(value_of("a", "plain"), Ok("plain".into()));
        assert_eq!(value_of("a", "env:PATH").ok(), env::var("PATH").ok());
        let refused = value_of("a", "env:HANDFAST_NO_SUCH").expect_err("it is not set");
        let told = refused.to_string();
        assert!(told.contains("a comes from the environment variable HANDFAST_NO_SUCH"), "{told}");
        assert!(value_of("a", "env:").is_err() && value_of("a", "env:a=b").is_err());
    }

    #[test]
    fn a_text_is_cut_between_letters_and_has_one_line() {
        assert_eq!(excerpt(" one\r\n\ttwo\0 ", 200), "one two");
        assert_eq!(excerpt("ééé", 3), "é…");
        assert_eq!(excerpt(&"a".repeat(1_000), 200).len(), 200 + '…'.len_utf8());
        assert_eq!(excerpt("", 10), "");
    }
}
