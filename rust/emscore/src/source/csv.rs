//! CSV with a header: every column is text, so that `001` stays `001`.
//!
//! An empty field is null and a quoted empty field (`""`) is an empty text. What usual parsers
//! forgive is named here instead, since it hides lost rows: a quote that never closes, text after a
//! closing quote, a row with more or fewer fields than the header.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::BufRead;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::batches::{MAX_BYTES, MAX_ROWS};
use super::origin::Origin;
use super::text::{self, MAX_RECORD};
use super::{Batches, Inspected};
use crate::error::{Error, Result};

/// Checks every row and counts them.
pub(super) fn inspect(origin: &Origin) -> Result<Inspected> {
    let mut records = Records::open(origin)?;
    let schema = records.header()?;
    let mut record = Record::default();
    let mut rows = 0;
    while records.next(&mut record)? {
        let _checked = records.fields(&record, schema.fields().len())?;
        rows += 1;
    }
    Ok(Inspected { schema, rows })
}

/// The batches of a CSV file.
pub(super) fn read(origin: &Origin) -> Result<Batches> {
    let mut records = Records::open(origin)?;
    let schema = records.header()?;
    let mut record = Record::default();
    let mut batch = move || -> Result<Option<RecordBatch>> {
        let mut columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|_| StringBuilder::new())
            .collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < MAX_ROWS && bytes < MAX_BYTES && records.next(&mut record)? {
            for (column, field) in columns
                .iter_mut()
                .zip(records.fields(&record, schema.fields().len())?)
            {
                column.append_option(field);
            }
            rows += 1;
            bytes += record.bytes.len();
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = columns
            .iter_mut()
            .map(|c| Arc::new(c.finish()) as ArrayRef)
            .collect();
        RecordBatch::try_new(schema.clone(), columns)
            .map(Some)
            .map_err(|e| records.bad(0, e))
    };
    Ok(Box::new(std::iter::from_fn(move || batch().transpose())))
}

/// One row: its fields end to end.
#[derive(Default)]
struct Record {
    line: u64,
    bytes: Vec<u8>,
    /// Where each field ends, and whether it was quoted.
    ends: Vec<(usize, bool)>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

struct Records {
    origin: Origin,
    input: Box<dyn BufRead + Send>,
    /// The line that is being read.
    line: u64,
    /// The last byte was a carriage return: a newline after it belongs to it.
    after_return: bool,
}

impl Records {
    fn open(origin: &Origin) -> Result<Records> {
        let input = text::open(origin)?;
        Ok(Records {
            origin: origin.clone(),
            input,
            line: 1,
            after_return: false,
        })
    }

    fn header(&mut self) -> Result<SchemaRef> {
        let mut record = Record::default();
        let head = self
            .input
            .fill_buf()
            .map_err(|e| text::trouble(&self.origin, &e))?;
        if head.trim_ascii_start().starts_with(b"{") {
            return Err(self.bad(1, "it begins like JSON Lines; call it .jsonl if it is that"));
        }
        if !self.next(&mut record)? {
            return Err(self
                .origin
                .bad("holds no header; the first line names the columns"));
        }
        let names = self
            .fields(&record, record.ends.len())?
            .map(Option::unwrap_or_default);
        let fields: Vec<_> = names
            .map(|name| Field::new(name, DataType::Utf8, true))
            .collect();
        if let [field] = fields.as_slice()
            && let Some(sign) = [';', '\t', '|']
                .into_iter()
                .find(|&c| field.name().contains(c))
        {
            return Err(self.bad(
                record.line,
                format_args!("{sign:?} separates the columns; write it with commas"),
            ));
        }
        let mut seen = HashSet::new();
        match fields
            .iter()
            .find(|field| !seen.insert(field.name().clone()))
        {
            Some(twice) => Err(self.bad(
                record.line,
                format_args!("two columns are named {:?}; rename one", twice.name()),
            )),
            None => Ok(Arc::new(Schema::new(fields))),
        }
    }

    /// Reads the next row that is not a blank line; false at the end.
    fn next(&mut self, record: &mut Record) -> Result<bool> {
        loop {
            record.bytes.clear();
            record.ends.clear();
            record.line = self.line;
            if !self.fill(record)? {
                return Ok(false);
            }
            if record.ends != [(0, false)] {
                return Ok(true);
            }
        }
    }

    /// Reads one row, be it blank; false at the end.
    fn fill(&mut self, record: &mut Record) -> Result<bool> {
        let mut state = State::FieldStart;
        let mut quoted = false;
        loop {
            let chunk = self
                .input
                .fill_buf()
                .map_err(|e| text::trouble(&self.origin, &e))?;
            if chunk.is_empty() {
                if state == State::Quoted {
                    return Err(self.bad(
                        record.line,
                        "a quote is opened in this row and never closed; close or double it",
                    ));
                }
                let nothing = state == State::FieldStart && record.ends.is_empty();
                if !nothing {
                    record.ends.push((record.bytes.len(), quoted));
                }
                return Ok(!nothing);
            }
            let mut used = 0;
            let mut done = false;
            for &byte in chunk {
                used += 1;
                if std::mem::take(&mut self.after_return) && byte == b'\n' {
                    if state == State::Quoted {
                        record.bytes.push(byte);
                    }
                    continue;
                }
                if byte == b'\n' || byte == b'\r' {
                    self.line += 1;
                    self.after_return = byte == b'\r';
                }
                state = match (state, byte) {
                    (State::Quoted, b'"') => State::QuoteInQuoted,
                    (State::FieldStart, b'"') => {
                        quoted = true;
                        State::Quoted
                    }
                    (State::QuoteInQuoted, b'"') | (State::Quoted, _) => {
                        record.bytes.push(byte);
                        State::Quoted
                    }
                    (_, b',') => {
                        record
                            .ends
                            .push((record.bytes.len(), std::mem::take(&mut quoted)));
                        State::FieldStart
                    }
                    (_, b'\n' | b'\r') => {
                        record.ends.push((record.bytes.len(), quoted));
                        done = true;
                        break;
                    }
                    (State::QuoteInQuoted, _) => {
                        return Err(self.bad(
                            self.line,
                            "text follows a closing quote; double the quotes within a field",
                        ));
                    }
                    _ => {
                        record.bytes.push(byte);
                        State::Plain
                    }
                };
            }
            self.input.consume(used);
            if done {
                return Ok(true);
            }
            if record.bytes.len() + record.ends.len() * size_of::<(usize, bool)>() > MAX_RECORD {
                return Err(self.bad(
                    record.line,
                    format_args!(
                        "a row is longer than {} MiB; is a quote not closed?",
                        MAX_RECORD >> 20
                    ),
                ));
            }
        }
    }

    /// The fields of `record`, of which there must be `count`; an empty one is null.
    fn fields<'a>(
        &self,
        record: &'a Record,
        count: usize,
    ) -> Result<impl Iterator<Item = Option<&'a str>>> {
        if record.ends.len() != count {
            return Err(self.bad(
                record.line,
                format_args!(
                    "the row has {} fields and the header {count}; quote fields that hold commas",
                    record.ends.len()
                ),
            ));
        }
        let text = str::from_utf8(&record.bytes).ok();
        let text = text.filter(|text| {
            record
                .ends
                .iter()
                .all(|&(end, _)| text.is_char_boundary(end))
        });
        let Some(text) = text else {
            return Err(self.bad(record.line, "a byte is not UTF-8; save it as UTF-8"));
        };
        let mut start = 0;
        Ok(record.ends.iter().map(move |&(end, quoted)| {
            let field = &text[std::mem::replace(&mut start, end)..end];
            (quoted || !field.is_empty()).then_some(field)
        }))
    }

    fn bad(&self, line: u64, why: impl Display) -> Error {
        self.origin
            .bad(format_args!("is not CSV at line {line}: {why}"))
    }
}
