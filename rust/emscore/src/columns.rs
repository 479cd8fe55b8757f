//! Which columns hold question and response, and their text.

use arrow::array::LargeStringArray;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::{Error, Result};

mod text;

use text::{Kind, TextColumn, Turn, text_at};

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

impl Columns {
    /// The columns of question and response, by their role, where they are texts and not chats.
    pub fn texts_named(&self) -> [(&'static str, Option<&str>); 2] {
        [("question", &self.question), ("response", &self.response)].map(|(role, column)| {
            let is_text = column.kind == Some(Kind::Text);
            (role, is_text.then_some(column.name.as_str()))
        })
    }

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
