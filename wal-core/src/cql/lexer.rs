//! Words, numbers, strings and signs of a statement.

use super::CqlError;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword without quotes, folded to lower case.
    Word(String),
    /// A name in double quotes, as it is.
    Quoted(String),
    /// A string in single quotes.
    Text(String),
    /// A number, as it was written.
    Number(String),
    /// One of `( ) , . ; = < > { } : [ ]`.
    Sign(char),
    /// Nothing more.
    End,
}

/// A token and the byte where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) offset: usize,
}

/// All tokens of a text, [`Kind::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, CqlError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let offset = lexer.at;
        let kind = lexer.token()?;
        let end = kind == Kind::End;
        tokens.push(Token { kind, offset });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, offset: usize, message: &str) -> Result<T, CqlError> {
        Err(CqlError::at(self.text, offset, message))
    }

    fn skip_blanks(&mut self) -> Result<(), CqlError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") || trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                match trimmed.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.fail(self.at, "this comment has no end: close it with */"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Kind, CqlError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(Kind::End);
        };
        match first {
            'a'..='z' | 'A'..='Z' => {
                let word = self.take(|letter| letter.is_ascii_alphanumeric() || letter == '_');
                Ok(Kind::Word(word.to_ascii_lowercase()))
            }
            '"' => Ok(Kind::Quoted(self.quoted('"')?)),
            '\'' => Ok(Kind::Text(self.quoted('\'')?)),
            '0'..='9' | '-' | '+' => {
                let plain = |letter: char| letter.is_ascii_alphanumeric() || ".+-".contains(letter);
                let number = self.take(plain);
                if number.parse::<f64>().is_err() {
                    return self.fail(self.at - number.len(), "this is not a number");
                }
                Ok(Kind::Number(number.to_owned()))
            }
            '(' | ')' | ',' | '.' | ';' | '=' | '<' | '>' | '{' | '}' | ':' | '[' | ']' => {
                self.at += 1;
                Ok(Kind::Sign(first))
            }
            _ => self.fail(
                self.at,
                "a statement has no such character here: put names with it in double quotes",
            ),
        }
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|letter| !wanted(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A quoted part in which a doubled quote stands for one.
    fn quoted(&mut self, quote: char) -> Result<String, CqlError> {
        let start = self.at;
        let mut inside = String::new();
        self.at += 1;
        loop {
            let Some(end) = self.rest().find(quote) else {
                return self.fail(start, "this quote has no end: close it with the same sign");
            };
            inside.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if !self.rest().starts_with(quote) {
                return Ok(inside);
            }
            inside.push(quote);
            self.at += 1;
        }
    }
}
