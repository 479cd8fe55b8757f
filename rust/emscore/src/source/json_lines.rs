//! JSON Lines, in two passes: the first checks every line and finds the columns, the second reads.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, RecordBatch,
    StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields, SchemaRef};
use serde_json::value::RawValue;

use super::Batches;
use super::batches::{MAX_BYTES, MAX_ROWS};
use super::json_shape::{Object, entries, items, string};
use super::origin::Origin;
use super::text::{self, MAX_RECORD};
use crate::error::{Error, Result};

/// Cells in a batch, at most.
const MAX_CELLS: usize = 1 << 20;

/// Checks every line; returns the columns and the number of rows.
pub(super) fn inspect(origin: &Origin) -> Result<(Object, u64)> {
    let mut lines = Lines::open(origin)?;
    let mut columns = Object::default();
    let mut rows = 0;
    let mut line = Vec::new();
    while lines.next(&mut line)? {
        let text = str::from_utf8(line.trim_ascii_end()).map_err(|e| {
            lines.bad(
                &format!("a byte is not UTF-8 (character {})", e.valid_up_to() + 1),
                "save it as UTF-8",
            )
        })?;
        columns
            .see_line(text)
            .map_err(|why| lines.bad(&why, mend(text, &why)))?;
        rows += 1;
        line.clear();
    }
    Ok((columns, rows))
}

fn mend(line: &str, why: &str) -> &'static str {
    if why.contains("surrogate") || why.contains("hex escape") {
        "such an escape is no character; mend the text with text.encode(\"utf-8\", \"replace\").decode()"
    } else if line.contains("NaN") || line.contains("Infinity") {
        "JSON knows no NaN or Infinity; write null"
    } else {
        "each line must hold one whole JSON object"
    }
}

/// The batches, with columns as in `schema`; a key that a line lacks is null.
pub(super) fn read(origin: &Origin, schema: SchemaRef) -> Result<Batches> {
    let mut lines = Lines::open(origin)?;
    // Files with thousands of columns come in smaller batches.
    let rows_at_once = (MAX_CELLS / schema.fields().len().max(1)).clamp(1, MAX_ROWS);
    let mut batch = move || -> Result<Option<RecordBatch>> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        while ends.len() < rows_at_once && bytes.len() < MAX_BYTES && lines.next(&mut bytes)? {
            ends.push(bytes.len());
        }
        if ends.is_empty() {
            return Ok(None);
        }
        let columns = rows(&bytes, &ends).and_then(|rows| columns(schema.fields(), &rows));
        let columns = columns.map_err(|why| lines.bad(&why, "it changed while it was read"))?;
        let batch = RecordBatch::try_new(schema.clone(), columns);
        batch
            .map(Some)
            .map_err(|e| lines.bad(&e.to_string(), "it changed while it was read"))
    };
    Ok(Box::new(std::iter::from_fn(move || batch().transpose())))
}

/// The lines that hold something.
struct Lines {
    origin: Origin,
    input: Box<dyn BufRead + Send>,
    number: u64,
}

impl Lines {
    fn open(origin: &Origin) -> Result<Lines> {
        Ok(Lines {
            origin: origin.clone(),
            input: text::open(origin)?,
            number: 0,
        })
    }

    /// Appends the next line to `line`; false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let start = line.len();
        loop {
            self.number += 1;
            let mut limited = (&mut self.input).take(MAX_RECORD as u64 + 1);
            let read = limited.read_until(b'\n', line);
            if read.map_err(|e| text::trouble(&self.origin, &e))? == 0 {
                return Ok(false);
            }
            if line.len() - start > MAX_RECORD {
                let why = format!("it is longer than {} MiB", MAX_RECORD >> 20);
                return Err(self.bad(&why, "each line must hold one whole JSON object"));
            }
            if !line[start..].trim_ascii().is_empty() {
                return Ok(true);
            }
            line.truncate(start);
        }
    }

    fn bad(&self, why: &str, mend: &str) -> Error {
        self.origin.bad(format_args!(
            "is not JSON Lines at line {}: {why}; {mend}",
            self.number
        ))
    }
}

type Row<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

fn rows<'a>(bytes: &'a [u8], ends: &[usize]) -> Result<Vec<Option<Row<'a>>>, String> {
    let mut start = 0;
    let line = |&end: &usize| {
        let line = &bytes[std::mem::replace(&mut start, end)..end];
        entries(str::from_utf8(line).map_err(|e| e.to_string())?).map(Some)
    };
    ends.iter().map(line).collect()
}

/// One array a field, from objects; a key that an object lacks is null.
fn columns(fields: &Fields, rows: &[Option<Row<'_>>]) -> Result<Vec<ArrayRef>, String> {
    let names = fields
        .iter()
        .enumerate()
        .map(|(place, field)| (field.name().as_str(), place));
    let places: HashMap<&str, usize> = names.collect();
    let mut cells = vec![vec![None; rows.len()]; fields.len()];
    for (index, row) in rows.iter().enumerate() {
        for (key, value) in row.iter().flatten() {
            let place = places
                .get(key.as_ref())
                .ok_or_else(|| format!("the key {key:?} is new"))?;
            cells[*place][index] = Some(value.get()).filter(|raw| *raw != "null");
        }
    }
    fields
        .iter()
        .zip(cells)
        .map(|(field, cells)| array(field.data_type(), &cells))
        .collect()
}

/// JSON values → an array of a type that the first pass found.
fn array(data_type: &DataType, cells: &[Option<&str>]) -> Result<ArrayRef, String> {
    fn each<T: std::str::FromStr>(cells: &[Option<&str>]) -> Result<Vec<Option<T>>, String> {
        let parse = |raw: &str| raw.parse().map_err(|_| format!("{raw} is of another type"));
        cells
            .iter()
            .map(|cell| cell.map(parse).transpose())
            .collect()
    }
    let nulls = || NullBuffer::from_iter(cells.iter().map(Option::is_some));
    Ok(match data_type {
        DataType::Null => Arc::new(NullArray::new(cells.len())),
        DataType::Boolean => Arc::new(BooleanArray::from(each::<bool>(cells)?)),
        DataType::Int64 => Arc::new(Int64Array::from(each::<i64>(cells)?)),
        DataType::Float64 => Arc::new(Float64Array::from(each::<f64>(cells)?)),
        DataType::List(item) => {
            let lists = cells.iter().map(|cell| cell.map_or(Ok(Vec::new()), items));
            let lists = lists.collect::<Result<Vec<_>, _>>()?;
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
            let values = lists.iter().flatten().map(|value| value.get());
            let values: Vec<_> = values.map(|raw| (raw != "null").then_some(raw)).collect();
            let values = array(item.data_type(), &values)?;
            let list = ListArray::try_new(item.clone(), offsets, values, Some(nulls()));
            Arc::new(list.map_err(|e| e.to_string())?)
        }
        DataType::Struct(fields) => {
            let rows = cells.iter().map(|cell| cell.map(entries).transpose());
            let columns = columns(fields, &rows.collect::<Result<Vec<_>, _>>()?)?;
            let objects = StructArray::try_new(fields.clone(), columns, Some(nulls()));
            Arc::new(objects.map_err(|e| e.to_string())?)
        }
        _ => {
            let mut texts = StringBuilder::new();
            for cell in cells {
                match cell {
                    None => texts.append_null(),
                    Some(raw) if raw.starts_with('"') => texts.append_value(string(raw)?),
                    Some(raw) => texts.append_value(raw),
                }
            }
            Arc::new(texts.finish())
        }
    })
}
