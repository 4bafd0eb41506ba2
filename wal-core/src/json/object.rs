//! An object of JSON that is read key by key; what is left over was not expected.

use serde_json::{Map, Value as Json};

use crate::build::{Place, Problems};
use crate::nearest::suggestion;
use crate::problem::Step;

/// An object and its path.
pub(super) struct Object<'a> {
    path: String,
    map: &'a Map<String, Json>,
    asked: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// `json` as an object, or a problem.
    pub(super) fn new(path: String, json: &'a Json, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Object(map) => Some(Self { path, map, asked: Vec::new(), refused: Vec::new() }),
            other => {
                add(problems, &path, format!("expected an object, got {}", describe(other)));
                None
            }
        }
    }

    /// The path of something inside.
    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}{}", self.path, Step(key))
    }

    /// Notes a problem of something inside.
    pub(super) fn problem(&self, key: &str, message: String, problems: &mut Problems) {
        add(problems, &self.path_of(key), message);
    }

    /// The value of a key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Json> {
        self.asked.push(key);
        self.map.get(key)
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a Json> {
        let found = self.take(key);
        // A key that nearly is the right one is reported by `finish`.
        let near = |other: &String| !suggestion(other, [key]).is_empty();
        if found.is_none() && !self.map.keys().any(near) {
            add(problems, &self.path, format!("{key:?} is missing"));
        }
        found
    }

    /// A string that must be there.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a str> {
        let json = self.need(key, problems)?;
        let text = json.as_str();
        if text.is_none() {
            self.problem(key, format!("expected a string, got {}", describe(json)), problems);
        }
        text
    }

    /// Refuses a key that is known and cannot be obeyed, if it is there.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str, problems: &mut Problems) {
        if self.map.contains_key(key) {
            self.refused.push(key);
            self.problem(key, why.to_owned(), problems);
        }
    }

    /// Reports every key that nothing asked for.
    pub(super) fn finish(self, problems: &mut Problems) {
        for key in self.map.keys() {
            let key = key.as_str();
            if !self.asked.contains(&key) && !self.refused.contains(&key) {
                let near = suggestion(key, self.asked.iter().copied());
                let hint = if near.is_empty() {
                    format!(": known here: {}", self.asked.join(", "))
                } else {
                    near
                };
                self.problem(key, format!("unknown field{hint}"), problems);
            }
        }
    }
}

/// Notes a problem at a path.
pub(super) fn add(problems: &mut Problems, path: &str, message: impl std::fmt::Display) {
    problems.add(Place::Alone, path, message);
}

/// A value in words.
pub(super) fn describe(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("the string {:?}", text.chars().take(60).collect::<String>()),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}
