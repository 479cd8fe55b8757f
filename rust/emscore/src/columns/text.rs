//! A column that holds text, by itself or within chats.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder, StructArray};
use arrow::compute::{cast, is_null, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::record_batch::RecordBatch;

use crate::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Question,
    Response,
}

impl Turn {
    fn is_role(self, role: &str) -> bool {
        match self {
            Turn::Question => matches!(role, "user" | "human"),
            Turn::Response => matches!(role, "assistant" | "model" | "gpt" | "ai"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A list of structs, the parts in which chats may have a text.
    Parts {
        kind: usize,
        text: usize,
    },
    /// A list of structs; positions of role and content in the struct.
    Chat {
        role: usize,
        content: usize,
    },
}

#[derive(Debug, Clone)]
pub(super) struct TextColumn {
    pub name: String,
    pub path: Vec<usize>,
    /// The names along the path, and on to the text within.
    pub keys: Vec<String>,
    pub data_type: DataType,
    /// `None` where it holds no text.
    pub kind: Option<Kind>,
}

impl TextColumn {
    /// The column called `name`, or the field of a struct that `a.b` names.
    pub fn find(schema: &Schema, name: &str) -> Option<TextColumn> {
        let found = |path: Vec<usize>, mut keys: Vec<String>, field: &FieldRef| {
            keys.extend(keys_within(field.data_type()));
            TextColumn {
                name: name.into(),
                path,
                keys,
                data_type: field.data_type().clone(),
                kind: kind_of(field.data_type()),
            }
        };
        if let Some((at, field)) = schema.fields().find(name) {
            return Some(found(vec![at], vec![name.into()], field));
        }
        let keys = || name.split('.').map(String::from).collect();
        let mut fields = schema.fields();
        let mut path = Vec::new();
        let mut steps = name.split('.').peekable();
        while let Some(step) = steps.next() {
            let (at, field) = fields.find(step)?;
            path.push(at);
            match field.data_type() {
                _ if steps.peek().is_none() => return Some(found(path, keys(), field)),
                DataType::Struct(inner) => fields = inner,
                _ => return None,
            }
        }
        None
    }

    /// Its text in `batch`, a row each; of a chat, that of a turn.
    pub fn read(&self, batch: &RecordBatch, turn: Turn) -> Result<LargeStringArray> {
        let mut array: ArrayRef = batch.column(self.path[0]).clone();
        for &at in &self.path[1..] {
            let parent: &StructArray = array.as_struct();
            array = nullif(
                parent.column(at),
                &is_null(parent).map_err(|e| self.unreadable(e))?,
            )
            .map_err(|e| self.unreadable(e))?;
        }
        match self.kind {
            Some(Kind::Chat { role, content }) => self.read_chat(&array, turn, role, content),
            _ => self.as_text(&array),
        }
    }

    fn as_text(&self, array: &ArrayRef) -> Result<LargeStringArray> {
        if let Some(Kind::Parts { kind, text }) = kind_of(array.data_type()) {
            return self.join_parts(array, kind, text);
        }
        // In one step, all of a dictionary would be cast, however few of its values are here.
        let plain = match array.data_type() {
            DataType::Dictionary(_, values) => cast(array, values),
            _ => Ok(array.clone()),
        };
        let text = plain.and_then(|plain| cast(&plain, &DataType::LargeUtf8));
        let text = text.map_err(|e| self.unreadable(e))?;
        Ok(text.as_string::<i64>().clone())
    }

    /// Parts that are no text, such as images, are left out.
    fn join_parts(&self, array: &ArrayRef, kind: usize, text: usize) -> Result<LargeStringArray> {
        let (parts, rows) = self.items(array)?;
        let kinds = self.as_text(parts.column(kind))?;
        let texts = self.as_text(parts.column(text))?;
        let is_text =
            |at: &usize| matches!(text_at(&kinds, *at), "text" | "input_text" | "output_text");
        let join = |(row, range): (usize, Range<usize>)| {
            let texts = range.filter(is_text).map(|at| text_at(&texts, at));
            array
                .is_valid(row)
                .then(|| texts.collect::<Vec<_>>().join("\n"))
        };
        Ok(rows.into_iter().enumerate().map(join).collect())
    }

    /// The last assistant turn is the response; the last user turn before it the question.
    fn read_chat(
        &self,
        array: &ArrayRef,
        turn: Turn,
        role: usize,
        content: usize,
    ) -> Result<LargeStringArray> {
        let (messages, rows) = self.items(array)?;
        let roles = self.as_text(messages.column(role))?;
        let contents = self.as_text(messages.column(content))?;
        let last = |range: Range<usize>, turn: Turn| {
            range
                .rev()
                .find(|&at| turn.is_role(&text_at(&roles, at).to_ascii_lowercase()))
        };
        let mut texts = LargeStringBuilder::with_capacity(rows.len(), 0);
        for (row, range) in rows.into_iter().enumerate() {
            let range = if array.is_null(row) { 0..0 } else { range };
            let answer = last(range.clone(), Turn::Response);
            let at = match turn {
                Turn::Response => answer,
                Turn::Question => last(range.start..answer.unwrap_or(range.end), turn),
            };
            texts.append_option(
                at.filter(|&at| contents.is_valid(at))
                    .map(|at| contents.value(at)),
            );
        }
        Ok(texts.finish())
    }

    /// The structs in a list array, and each row's range in them.
    fn items(&self, array: &ArrayRef) -> Result<(StructArray, Vec<Range<usize>>)> {
        let item = item(array.data_type()).expect("chats and parts are lists");
        let item = Field::new_list_field(item.data_type().clone(), true);
        let list = cast(array, &DataType::LargeList(item.into()));
        let list = list.map_err(|e| self.unreadable(e))?;
        let list = list.as_list::<i64>();
        let rows = list.offsets().windows(2);
        let rows = rows.map(|ends| ends[0] as usize..ends[1] as usize);
        Ok((list.values().as_struct().clone(), rows.collect()))
    }

    fn unreadable(&self, error: arrow::error::ArrowError) -> Error {
        Error::Input(format!(
            "the column '{}' cannot be read as text: {error}",
            self.name
        ))
    }
}

fn kind_of(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            Some(Kind::Text)
        }
        DataType::Dictionary(_, values) => kind_of(values).filter(|kind| *kind == Kind::Text),
        DataType::RunEndEncoded(_, values) => {
            kind_of(values.data_type()).filter(|kind| *kind == Kind::Text)
        }
        _ => {
            let fields = item_fields(data_type)?;
            let position = |names: &[&str]| {
                names
                    .iter()
                    .find_map(|name| fields.find(name))
                    .map(|(at, field)| (at, kind_of(field.data_type())))
            };
            let text = |names| match position(names)? {
                (at, Some(Kind::Text)) => Some(at),
                _ => None,
            };
            let content = match position(&["content", "value"]) {
                Some((at, Some(Kind::Text | Kind::Parts { .. }))) => Some(at),
                _ => None,
            };
            match (text(&["role", "from"]), content) {
                (Some(role), Some(content)) => Some(Kind::Chat { role, content }),
                _ => Some(Kind::Parts {
                    kind: text(&["type"])?,
                    text: text(&["text"])?,
                }),
            }
        }
    }
}

/// What is in a list.
fn item(data_type: &DataType) -> Option<&FieldRef> {
    use DataType::*;
    match data_type {
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) => Some(item),
        FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// The fields of the structs in a list.
fn item_fields(data_type: &DataType) -> Option<&Fields> {
    match item(data_type)?.data_type() {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// The names that lead on to the text in a chat or in parts.
fn keys_within(data_type: &DataType) -> Vec<String> {
    let at = match kind_of(data_type) {
        Some(Kind::Chat { content, .. }) => content,
        Some(Kind::Parts { text, .. }) => text,
        _ => return Vec::new(),
    };
    let field = item_fields(data_type).map(|fields| &fields[at]);
    let keys = field.map(|field| {
        let mut keys = vec![field.name().clone()];
        keys.extend(keys_within(field.data_type()));
        keys
    });
    keys.unwrap_or_default()
}

/// The text at `row`; a null is an empty one.
pub(super) fn text_at(array: &LargeStringArray, row: usize) -> &str {
    if array.is_null(row) {
        ""
    } else {
        array.value(row)
    }
}
