//! EDN: values from a stream of bytes, one after the other, and back.

use std::fmt::Write as _;
use std::io::Read;

use crate::error::{HistoryError, MAX_DEPTH, MAX_OPERATION_BYTES, Problem};
use crate::value::Value;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Reads values from EDN text; holds one chunk of it and the value in work.
#[derive(Debug)]
pub(crate) struct EdnReader<R> {
    from: R,
    chunk: Vec<u8>,
    /// The part of the chunk that is not consumed.
    rest: std::ops::Range<usize>,
    /// Where the next byte is.
    line: u64,
    column: u64,
    /// Bytes of the value in work.
    taken: usize,
    /// Whether the values stand in one vector around them all.
    inside_vector: bool,
    begun: bool,
}

impl<R: Read> EdnReader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            chunk: vec![0; CHUNK],
            rest: 0..0,
            line: 1,
            column: 1,
            taken: 0,
            inside_vector: false,
            begun: false,
        }
    }

    /// The next value and where it began; `None` at the end.
    pub(crate) fn next_value(&mut self) -> Result<Option<(u64, u64, Value)>, HistoryError> {
        self.taken = 0;
        loop {
            self.skip_blank()?;
            let (line, column) = (self.line, self.column);
            match self.peek()? {
                None if self.inside_vector => return Err(self.wrong(Problem::CutOff)),
                None => return Ok(None),
                Some(b'[') if !self.begun => {
                    self.bump();
                    (self.begun, self.inside_vector) = (true, true);
                }
                Some(b']') if self.inside_vector => {
                    self.bump();
                    self.inside_vector = false;
                }
                Some(_) => {
                    self.begun = true;
                    // A discarded form (`#_ form`) gives nothing.
                    if let Some(value) = self.form(0)? {
                        return Ok(Some((line, column, value)));
                    }
                }
            }
        }
    }

    /// Where the reader is.
    pub(crate) fn wrong(&self, problem: Problem) -> HistoryError {
        problem.at(self.line, self.column)
    }

    fn syntax(&self, message: impl Into<String>) -> HistoryError {
        self.wrong(Problem::Syntax(message.into()))
    }

    /// A token that is wrong; one at the very end may be half of a right one.
    fn bad_token(&mut self, message: impl Into<String>) -> HistoryError {
        match self.peek() {
            Ok(None) => self.wrong(Problem::CutOff),
            Ok(Some(_)) => self.syntax(message),
            Err(error) => error,
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, HistoryError> {
        while self.rest.is_empty() {
            match self.from.read(&mut self.chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.rest = 0..count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.wrong(Problem::Io(error.to_string()))),
            }
        }
        Ok(Some(self.chunk[self.rest.start]))
    }

    /// Consumes the byte that was peeked.
    fn bump(&mut self) {
        if self.chunk[self.rest.start] == b'\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        self.rest.start += 1;
        self.taken += 1;
    }

    /// The next byte of a value that has begun.
    fn within(&mut self) -> Result<u8, HistoryError> {
        if self.taken > MAX_OPERATION_BYTES {
            return Err(self.wrong(Problem::TooLong));
        }
        self.peek()?.ok_or_else(|| self.wrong(Problem::CutOff))
    }

    fn skip_blank(&mut self) -> Result<(), HistoryError> {
        while let Some(byte) = self.peek()? {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => self.bump(),
                b';' => {
                    while self.peek()?.is_some_and(|byte| byte != b'\n') {
                        self.bump();
                    }
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// A value; `None` if it was one to discard.
    fn form(&mut self, depth: usize) -> Result<Option<Value>, HistoryError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(Problem::TooDeep));
        }
        match self.within()? {
            open @ (b'[' | b'(') => {
                self.bump();
                let close = if open == b'[' { b']' } else { b')' };
                Ok(Some(Value::List(self.items(close, depth)?)))
            }
            b'{' => {
                self.bump();
                Ok(Some(Value::Map(self.entries(depth)?)))
            }
            b'"' => {
                self.bump();
                Ok(Some(Value::Text(self.text()?)))
            }
            b':' => {
                self.bump();
                let name = self.token()?;
                if name.is_empty() {
                    return Err(self.bad_token("a keyword has no name after its colon"));
                }
                Ok(Some(Value::Keyword(name)))
            }
            b'\\' => {
                self.bump();
                Ok(Some(Value::Text(self.character()?)))
            }
            b'#' => {
                self.bump();
                self.dispatch(depth)
            }
            closing @ (b']' | b')' | b'}') => {
                Err(self.syntax(format!("'{}' closes nothing", char::from(closing))))
            }
            _ => self.atom().map(Some),
        }
    }

    /// Values up to a closing bracket.
    fn items(&mut self, close: u8, depth: usize) -> Result<Vec<Value>, HistoryError> {
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.within()? == close {
                self.bump();
                return Ok(items);
            }
            items.extend(self.form(depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, HistoryError> {
        let mut items = self.items(b'}', depth)?.into_iter();
        let mut entries = Vec::with_capacity(items.len() / 2);
        while let Some(key) = items.next() {
            let Some(value) = items.next() else {
                return Err(self.syntax(format!("the map's last key, {key}, has no value")));
            };
            entries.push((key, value));
        }
        Ok(entries)
    }

    /// What follows a `#`.
    fn dispatch(&mut self, depth: usize) -> Result<Option<Value>, HistoryError> {
        match self.within()? {
            b'{' => {
                self.bump();
                Ok(Some(Value::Set(self.items(b'}', depth)?)))
            }
            b'_' => {
                self.bump();
                self.following(depth)?;
                Ok(None)
            }
            _ => {
                let tag = self.token()?;
                if tag.is_empty() {
                    return Err(self.bad_token("'#' has no tag after it"));
                }
                Ok(Some(Value::Tagged(tag, Box::new(self.following(depth)?))))
            }
        }
    }

    /// The next value inside of another.
    fn following(&mut self, depth: usize) -> Result<Value, HistoryError> {
        loop {
            self.skip_blank()?;
            if let Some(value) = self.form(depth + 1)? {
                return Ok(value);
            }
        }
    }

    /// Bytes up to the next that ends a token, as text.
    fn token(&mut self) -> Result<String, HistoryError> {
        let mut bytes = Vec::new();
        while let Some(byte) = self.peek()? {
            if byte.is_ascii_whitespace() || b",;\"[](){}\\".contains(&byte) {
                break;
            }
            if self.taken > MAX_OPERATION_BYTES {
                return Err(self.wrong(Problem::TooLong));
            }
            bytes.push(byte);
            self.bump();
        }
        String::from_utf8(bytes).map_err(|_| self.bad_token("the text is not UTF-8"))
    }

    fn atom(&mut self) -> Result<Value, HistoryError> {
        let token = self.token()?;
        let (digits, signed) = match token.as_bytes() {
            [b'+' | b'-', digits @ ..] => (digits, true),
            digits => (digits, false),
        };
        if digits.first().is_some_and(u8::is_ascii_digit) {
            return self.number(token);
        }
        Ok(match token.as_str() {
            "nil" => Value::Nil,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "" => return Err(self.bad_token("here a value was expected")),
            _ if token.bytes().any(|byte| byte.is_ascii_control()) => {
                return Err(self.bad_token("a control character stands where a value was expected"));
            }
            _ if signed && digits.first() == Some(&b'.') => return self.number(token),
            _ => Value::Symbol(token),
        })
    }

    fn number(&mut self, token: String) -> Result<Value, HistoryError> {
        let whole = token.strip_suffix('N').unwrap_or(&token);
        let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return whole.parse().map(Value::Int).map_err(|_| {
                self.bad_token(format!("{token} has more than 64 bits; write it as text"))
            });
        }
        let real = token.strip_suffix('M').unwrap_or(&token);
        let ratio = real.split_once('/').is_some_and(|(over, under)| {
            over.parse::<i64>().is_ok() && under.bytes().all(|byte| byte.is_ascii_digit())
        });
        if ratio || real.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(Value::Real(token));
        }
        Err(self.bad_token(format!("{token:?} is no number")))
    }

    fn text(&mut self) -> Result<String, HistoryError> {
        let mut bytes = Vec::new();
        loop {
            let byte = self.within()?;
            self.bump();
            match byte {
                b'"' => break,
                b'\\' => {
                    let escaped = self.within()?;
                    self.bump();
                    match escaped {
                        b'n' => bytes.push(b'\n'),
                        b't' => bytes.push(b'\t'),
                        b'r' => bytes.push(b'\r'),
                        b'b' => bytes.push(8),
                        b'f' => bytes.push(12),
                        b'"' | b'\\' | b'/' => bytes.push(escaped),
                        b'u' => {
                            let letter = self.unicode()?;
                            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        _ => {
                            let it = char::from(escaped).escape_default();
                            return Err(self.syntax(format!("\\{it} is no escape of a text")));
                        }
                    }
                }
                _ => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.syntax("the text is not UTF-8"))
    }

    /// Four digits after `\u`, and a second half if the first one needs it.
    fn unicode(&mut self) -> Result<char, HistoryError> {
        let first = self.four_digits()?;
        if let Some(letter) = char::from_u32(first) {
            return Ok(letter);
        }
        for expected in [b'\\', b'u'] {
            if self.within()? != expected {
                return Err(self.syntax(format!("\\u{first:04x} is half of a character")));
            }
            self.bump();
        }
        let second = self.four_digits()?;
        let both = [first, second].map(|half| u16::try_from(half).expect("four digits"));
        let letter = char::decode_utf16(both).next().and_then(Result::ok);
        letter.ok_or_else(|| self.syntax(format!("\\u{first:04x}\\u{second:04x} is no character")))
    }

    fn four_digits(&mut self) -> Result<u32, HistoryError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.within()?).to_digit(16);
            let digit = digit.ok_or_else(|| self.syntax("\\u needs four hexadecimal digits"))?;
            code = code * 16 + digit;
            self.bump();
        }
        Ok(code)
    }

    /// What follows a backslash outside of text.
    fn character(&mut self) -> Result<String, HistoryError> {
        let mut bytes = vec![self.within()?];
        self.bump();
        bytes.extend(self.token()?.bytes());
        let token =
            String::from_utf8(bytes).map_err(|_| self.bad_token("the text is not UTF-8"))?;
        Ok(match token.as_str() {
            "newline" => "\n".to_owned(),
            "space" => " ".to_owned(),
            "tab" => "\t".to_owned(),
            "return" => "\r".to_owned(),
            one if one.chars().count() == 1 => token,
            _ => return Err(self.bad_token(format!("\\{} is no character", token.escape_debug()))),
        })
    }
}

/// Appends a value as EDN, on one line.
pub(crate) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("nil"),
        Value::Bool(it) => write!(out, "{it}").expect("a string takes all"),
        Value::Int(it) => write!(out, "{it}").expect("a string takes all"),
        Value::Real(it) | Value::Symbol(it) => out.push_str(it),
        // JSON's escapes are among EDN's.
        Value::Text(it) => {
            out.push_str(&serde_json::to_string(it).expect("every text is JSON text"));
        }
        Value::Keyword(it) => {
            out.push(':');
            out.push_str(it);
        }
        Value::List(items) => write_all("[", items, "]", out),
        Value::Set(items) => write_all("#{", items, "}", out),
        Value::Map(entries) => {
            out.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                write(key, out);
                out.push(' ');
                write(value, out);
            }
            out.push('}');
        }
        Value::Tagged(tag, inner) => {
            write!(out, "#{tag} ").expect("a string takes all");
            write(inner, out);
        }
    }
}

fn write_all(open: &str, items: &[Value], close: &str, out: &mut String) {
    out.push_str(open);
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            out.push(' ');
        }
        write(item, out);
    }
    out.push_str(close);
}
