//! Values of a history: what EDN can say, and JSON where it can.

/// A value of a history.
///
/// JSON has fewer kinds: there keywords, symbols and names of map entries are text, sets are arrays, and
/// tags are left out. Integers have 64 bits; more is an error of the reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number, as it was written.
    Real(String),
    /// Text.
    Text(String),
    /// A keyword, without its colon.
    Keyword(String),
    /// A symbol.
    Symbol(String),
    /// A vector, or a list.
    List(Vec<Value>),
    /// Names and values, in the order given.
    Map(Vec<(Value, Value)>),
    /// A set, in the order given.
    Set(Vec<Value>),
    /// A value with a tag.
    Tagged(String, Box<Value>),
}

impl Value {
    /// A keyword; the name is without the colon.
    pub fn keyword(name: impl Into<String>) -> Self {
        Self::Keyword(name.into())
    }

    /// The name of a keyword, a symbol or a text: what JSON cannot tell apart.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Keyword(name) | Self::Symbol(name) | Self::Text(name) => Some(name),
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Real(_)
            | Self::List(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::Tagged(..) => None,
        }
    }

    /// The elements of a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Real(_)
            | Self::Text(_)
            | Self::Keyword(_)
            | Self::Symbol(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::Tagged(..) => None,
        }
    }

    /// Without its tags.
    pub fn untagged(self) -> Self {
        match self {
            Self::Tagged(_, inner) => inner.untagged(),
            other => other,
        }
    }
}

impl std::fmt::Display for Value {
    /// As EDN, on one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        crate::edn::write(self, &mut text);
        f.write_str(&text)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Nil, Self::Int)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}
