//! The types of JSON values, found by looking at every one of them.
//!
//! A value that fits no common type keeps its text: `1`, `"one"` and `{"n": 1}` in one column make
//! a column of strings. Nothing is rounded and nothing is dropped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Values within values, at most.
const MAX_DEPTH: usize = 64;
/// Keys of a nested object, at most; beyond, its keys are data and it stays JSON text.
const MAX_KEYS: usize = 256;
/// Columns, at most.
const MAX_COLUMNS: usize = 10_000;
/// Up to here integers are also exact as floats.
const EXACT: u64 = 1 << 53;

/// What is known about a column, from the values seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Shape {
    #[default]
    Null,
    Bool,
    /// An integer that a float holds exactly.
    Int,
    /// An integer that a float may round.
    Long,
    Float,
    Text,
    /// Lists or objects beside values of other types: text that may be JSON.
    Json,
    List(Box<Shape>),
    Object(Object),
}

/// The keys of an object, in the order in which they first came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    keys: Vec<(String, Shape)>,
    index: HashMap<String, usize>,
}

impl Object {
    /// Widens the columns by one line.
    pub fn see_line(&mut self, line: &str) -> Result<(), String> {
        for (key, value) in entries(line)? {
            self.key(&key).see(value.get(), 0)?;
        }
        if self.keys.len() > MAX_COLUMNS {
            return Err(format!(
                "there are more than {MAX_COLUMNS} different keys up to here"
            ));
        }
        Ok(())
    }

    /// Widens the columns by those of another file.
    pub fn merge(&mut self, other: Object) {
        for (key, shape) in other.keys {
            self.key(&key).merge(shape);
        }
    }

    /// Widens the column `key` by a text.
    pub fn has_text(&mut self, key: &str) {
        self.key(key).merge(Shape::Text);
    }

    /// Whether there are no columns, as in a file without rows.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The shape that `keys` lead to, through lists too.
    pub fn at(&self, keys: &[String]) -> Option<&Shape> {
        let (key, rest) = keys.split_first()?;
        let mut shape = &self.keys[*self.index.get(key)?].1;
        while let Shape::List(item) = shape {
            shape = item;
        }
        match shape {
            Shape::Object(object) if !rest.is_empty() => object.at(rest),
            shape => Some(shape),
        }
    }

    /// As Arrow has it.
    pub fn fields(&self) -> Fields {
        self.keys
            .iter()
            .map(|(key, shape)| Field::new(key, shape.data_type(), true))
            .collect()
    }

    fn key(&mut self, key: &str) -> &mut Shape {
        let at = match self.index.get(key) {
            Some(&at) => at,
            None => {
                self.index.insert(key.into(), self.keys.len());
                self.keys.push((key.into(), Shape::Null));
                self.keys.len() - 1
            }
        };
        &mut self.keys[at].1
    }
}

impl Shape {
    /// Whether its text is the JSON of lists or objects, in some rows at least.
    pub fn holds_json(&self) -> bool {
        matches!(self, Shape::Json | Shape::Object(_))
    }

    fn see(&mut self, raw: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values nest deeper than {MAX_DEPTH}"));
        }
        // Even where the column is text already, everything within is checked.
        let mut elsewhere = Shape::Null;
        match raw.as_bytes()[0] {
            b'n' => {}
            b't' | b'f' => self.merge(Shape::Bool),
            b'"' => {
                string(raw)?;
                self.merge(Shape::Text);
            }
            b'[' => {
                self.merge(Shape::List(Box::default()));
                let item = if let Shape::List(item) = self {
                    item
                } else {
                    &mut elsewhere
                };
                for value in items(raw)? {
                    item.see(value.get(), depth + 1)?;
                }
            }
            b'{' => {
                self.merge(Shape::Object(Object::default()));
                for (key, value) in entries(raw)? {
                    let slot = match self {
                        Shape::Object(object) => object.key(&key),
                        _ => &mut elsewhere,
                    };
                    slot.see(value.get(), depth + 1)?;
                    if matches!(self, Shape::Object(object) if object.keys.len() > MAX_KEYS) {
                        *self = Shape::Json;
                    }
                    elsewhere = Shape::Null;
                }
            }
            _ => self.merge(number(raw)),
        }
        Ok(())
    }

    fn merge(&mut self, other: Shape) {
        use Shape::*;
        *self = match (std::mem::take(self), other) {
            (Null, shape) | (shape, Null) => shape,
            (List(mut item), List(other)) => {
                item.merge(*other);
                List(item)
            }
            (Object(mut object), Object(other)) => {
                object.merge(other);
                if object.keys.len() > MAX_KEYS {
                    Json
                } else {
                    Object(object)
                }
            }
            (Int, Long) | (Long, Int) => Long,
            (Int, Float) | (Float, Int) => Float,
            (a, b) if a == b => a,
            (List(_) | Object(_) | Json, _) | (_, List(_) | Object(_) | Json) => Json,
            _ => Text,
        };
    }

    fn data_type(&self) -> DataType {
        match self {
            Shape::Null => DataType::Null,
            Shape::Bool => DataType::Boolean,
            Shape::Int | Shape::Long => DataType::Int64,
            Shape::Float => DataType::Float64,
            Shape::Text | Shape::Json => DataType::Utf8,
            Shape::List(item) => {
                DataType::List(Arc::new(Field::new_list_field(item.data_type(), true)))
            }
            // A struct without fields holds nothing, and few formats can store it.
            Shape::Object(object) if object.keys.is_empty() => DataType::Utf8,
            Shape::Object(object) => DataType::Struct(object.fields()),
        }
    }
}

fn number(raw: &str) -> Shape {
    if raw.contains(['.', 'e', 'E']) {
        match raw.parse::<f64>() {
            Ok(value) if value.is_finite() => Shape::Float,
            _ => Shape::Text,
        }
    } else {
        match raw.parse::<i64>() {
            Ok(value) if value.unsigned_abs() <= EXACT => Shape::Int,
            Ok(_) => Shape::Long,
            Err(_) => Shape::Text,
        }
    }
}

/// The text of a JSON string.
pub(super) fn string(raw: &str) -> Result<Cow<'_, str>, String> {
    if raw.contains('\\') {
        serde_json::from_str(raw)
            .map(Cow::Owned)
            .map_err(|e| reason(&e))
    } else {
        Ok(Cow::Borrowed(&raw[1..raw.len() - 1]))
    }
}

/// The values of a JSON array.
pub(super) fn items(raw: &str) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(raw).map_err(|e| reason(&e))
}

/// The keys and values of a JSON object.
pub(super) fn entries(raw: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, String> {
    serde_json::from_str::<Entries<'_>>(raw)
        .map(|entries| entries.0)
        .map_err(|e| reason(&e))
}

/// What is wrong, and at which character of the line.
fn reason(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let place = format!(" at line {} column {}", e.line(), e.column());
    match text.strip_suffix(&place) {
        Some(what) if e.column() > 0 => format!("{what} (character {})", e.column()),
        what => what.unwrap_or(&text).into(),
    }
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object ({...})")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    pairs.push((key, map.next_value()?));
                }
                let mut keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_ref()).collect();
                keys.sort_unstable();
                match keys.windows(2).find(|two| two[0] == two[1]) {
                    None => Ok(Entries(pairs)),
                    Some(two) => Err(serde::de::Error::custom(format_args!(
                        "the key {:?} comes twice in one object",
                        two[0]
                    ))),
                }
            }
        }
        input.deserialize_map(Pairs)
    }
}

/// A key that is borrowed where it holds no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
