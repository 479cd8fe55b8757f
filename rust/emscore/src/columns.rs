//! Which columns hold question and response, and their text.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder, StructArray};
use arrow::compute::{cast, is_null, nullif};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::{Error, Result};

/// Usual names, the first that exists wins.
const QUESTION: &[&str] = &["question", "prompt", "question_text", "user", CHAT];
const RESPONSE: &[&str] = &[
    "response",
    "answer",
    "completion",
    "output",
    "generated_text",
    CHAT,
];
const CHAT: &str = "messages";
const CHECKPOINT: &[&str] = &["checkpoint", "model", "model_id", "model_key"];
const GROUP: &[&str] = &["group"];

/// Names that the user gave; `None` leaves the choice to the usual names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// Column of the question, `a.b` for a field inside a struct.
    pub question: Option<String>,
    /// Column of the response, likewise.
    pub response: Option<String>,
}

/// Where a run finds question, response, checkpoint and group.
#[derive(Debug, Clone)]
pub struct Columns {
    question: TextColumn,
    response: TextColumn,
    checkpoint: Option<TextColumn>,
    group: Option<TextColumn>,
}

/// The texts of one batch, a row each.
#[derive(Debug)]
pub struct Texts {
    question: LargeStringArray,
    response: LargeStringArray,
}

impl Texts {
    /// The question at `row`; a null question is an empty one.
    pub fn question(&self, row: usize) -> &str {
        text_at(&self.question, row)
    }

    /// The response at `row`; a null response is an empty one.
    pub fn response(&self, row: usize) -> &str {
        text_at(&self.response, row)
    }
}

fn text_at(array: &LargeStringArray, row: usize) -> &str {
    if array.is_null(row) {
        ""
    } else {
        array.value(row)
    }
}

impl Columns {
    /// Finds the columns in `schema`.
    ///
    /// # Errors
    /// [`Error::Input`] when a column is missing or holds no text; it lists the columns found.
    pub fn detect(schema: &SchemaRef, names: &ColumnNames) -> Result<Columns> {
        let mut question = find(schema, "question", names.question.as_deref(), QUESTION)?;
        let response = find(schema, "response", names.response.as_deref(), RESPONSE)?;
        // A chat's answer belongs to its own question, not to one in another column.
        let guessed = *names == ColumnNames::default();
        if guessed && response.name == CHAT {
            question = response.clone();
        }
        let chat = question.name == CHAT && matches!(question.kind, Some(Kind::Chat { .. }));
        if guessed && chat && response.name != CHAT {
            return Err(Error::Input(format!(
                "both '{CHAT}' and '{0}' may hold the response; say --response-column {CHAT}, or --response-column {0}, to which the chat is the question",
                response.name
            )));
        }
        let labels = [label(schema, CHECKPOINT), label(schema, GROUP)];
        for column in [&question, &response]
            .into_iter()
            .chain(labels.iter().flatten())
        {
            only_one(schema, column)?;
        }
        readable(schema, "question", &question)?;
        readable(schema, "response", &response)?;
        let guessed_chat = |column: &TextColumn, given: &Option<String>| {
            given.is_none() && column.name == CHAT && column.kind == Some(Kind::Text)
        };
        let one_text = question.path == response.path && question.kind == Some(Kind::Text);
        if one_text
            || guessed_chat(&question, &names.question)
            || guessed_chat(&response, &names.response)
        {
            let name = if response.name == CHAT {
                &response.name
            } else {
                &question.name
            };
            return Err(Error::Input(format!(
                "the column '{name}' holds text where a chat is needed, a list of messages with role and content. Parse it if it is JSON (jq -c '.{name} |= fromjson'), or name other columns with --question-column and --response-column; the columns are {}",
                listed(schema)
            )));
        }
        let [checkpoint, group] = labels;
        Ok(Columns {
            question,
            response,
            checkpoint,
            group,
        })
    }

    /// The keys that lead to the text of the question and of the response.
    pub(crate) fn keys(&self) -> [(&'static str, &[String]); 2] {
        [
            ("question", &self.question.keys),
            ("response", &self.response.keys),
        ]
    }

    /// Name of the question column.
    pub fn question_name(&self) -> &str {
        &self.question.name
    }

    /// Name of the response column.
    pub fn response_name(&self) -> &str {
        &self.response.name
    }

    /// Name of the checkpoint column, if there is one.
    pub fn checkpoint_name(&self) -> Option<&str> {
        self.checkpoint.as_ref().map(|column| column.name.as_str())
    }

    /// Name of the group column, if there is one.
    pub fn group_name(&self) -> Option<&str> {
        self.group.as_ref().map(|column| column.name.as_str())
    }

    /// Questions and responses of `batch`.
    pub fn texts(&self, batch: &RecordBatch) -> Result<Texts> {
        Ok(Texts {
            question: self.question.read(batch, Turn::Question)?,
            response: self.response.read(batch, Turn::Response)?,
        })
    }

    /// Checkpoint and group labels of `batch`, where there are such columns.
    pub fn labels(&self, batch: &RecordBatch) -> Result<[Option<LargeStringArray>; 2]> {
        let read = |column: &Option<TextColumn>| {
            column
                .as_ref()
                .map(|column| column.read(batch, Turn::Response))
                .transpose()
        };
        Ok([read(&self.checkpoint)?, read(&self.group)?])
    }
}

fn find(schema: &Schema, what: &str, given: Option<&str>, usual: &[&str]) -> Result<TextColumn> {
    match given {
        Some(name) => TextColumn::find(schema, name).ok_or_else(|| {
            Error::Input(format!(
                "there is no column '{name}' for the {what}; the columns are {}. Name another with --{what}-column",
                listed(schema)
            ))
        }),
        None => usual.iter().find_map(|name| TextColumn::find(schema, name)).ok_or_else(|| {
            Error::Input(format!(
                "no column looks like the {what} (looked for {}); the columns are {}. Name it with --{what}-column",
                usual.join(", "),
                listed(schema)
            ))
        }),
    }
}

fn readable(schema: &Schema, what: &str, column: &TextColumn) -> Result<()> {
    if column.kind.is_some() {
        return Ok(());
    }
    Err(Error::Input(format!(
        "the {what} column '{}' holds {}, not text or a chat of role and content. Name another with --{what}-column; the columns are {}",
        column.name,
        column.data_type,
        listed(schema)
    )))
}

fn only_one(schema: &Schema, column: &TextColumn) -> Result<()> {
    let name = schema.field(column.path[0]).name();
    if schema
        .fields()
        .iter()
        .filter(|field| field.name() == name)
        .count()
        > 1
    {
        return Err(Error::Input(format!(
            "there are several columns called '{name}'; rename all but one"
        )));
    }
    Ok(())
}

/// Labels are optional: a column that cannot be read as text is no label.
fn label(schema: &Schema, usual: &[&str]) -> Option<TextColumn> {
    let column = usual
        .iter()
        .find_map(|name| TextColumn::find(schema, name))?;
    match column.kind {
        Some(Kind::Text) => Some(column),
        None if column.data_type.is_primitive() || column.data_type == DataType::Boolean => {
            Some(TextColumn {
                kind: Some(Kind::Text),
                ..column
            })
        }
        _ => None,
    }
}

fn listed(schema: &Schema) -> String {
    if schema.fields().is_empty() {
        return "none".into();
    }
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.join(", ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
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
enum Kind {
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
struct TextColumn {
    name: String,
    path: Vec<usize>,
    /// The names along the path, and on to the text within.
    keys: Vec<String>,
    data_type: DataType,
    kind: Option<Kind>,
}

impl TextColumn {
    /// The column called `name`, or the field of a struct that `a.b` names.
    fn find(schema: &Schema, name: &str) -> Option<TextColumn> {
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

    fn read(&self, batch: &RecordBatch, turn: Turn) -> Result<LargeStringArray> {
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
        let (parts, rows) = list_parts(array);
        let parts: &StructArray = parts.as_struct();
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
        let (messages, rows) = list_parts(array);
        let messages: &StructArray = messages.as_struct();
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

/// The fields of the structs in a list.
fn item_fields(data_type: &DataType) -> Option<&Fields> {
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) =
        data_type
    else {
        return None;
    };
    match item.data_type() {
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

/// A list array's items and each row's range in them.
fn list_parts(array: &ArrayRef) -> (ArrayRef, Vec<Range<usize>>) {
    fn ranges<O: Copy + Into<i64>>(offsets: &[O]) -> Vec<Range<usize>> {
        let at = |offset: O| usize::try_from(offset.into()).unwrap_or(0);
        offsets
            .windows(2)
            .map(|pair| at(pair[0])..at(pair[1]))
            .collect()
    }
    match array.data_type() {
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            (list.values().clone(), ranges(list.value_offsets()))
        }
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let size = usize::try_from(*size).unwrap_or(0);
            (
                list.values().clone(),
                (0..list.len())
                    .map(|row| row * size..(row + 1) * size)
                    .collect(),
            )
        }
        _ => {
            let list = array.as_list::<i32>();
            (list.values().clone(), ranges(list.value_offsets()))
        }
    }
}
