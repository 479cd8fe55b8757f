//! CSV with a header. A null is an empty field and an empty text is `""`, as DuckDB, polars and
//! PostgreSQL tell them apart.

use std::io::Write as _;

use arrow::array::{Array, RecordBatch, new_empty_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::text::{Text, named_once, shown, unshown};
use super::{Encoder, Trouble};
use crate::conform::conform;

pub(super) struct Csv {
    file: Text,
    schema: SchemaRef,
    row: String,
}

impl Csv {
    pub fn new(mut file: Text, schema: &SchemaRef) -> Result<Csv, Trouble> {
        let nested = |data_type: &DataType| match data_type {
            DataType::Dictionary(_, values) => values.is_nested(),
            other => other.is_nested(),
        };
        if let Some(field) = schema
            .fields()
            .iter()
            .find(|field| nested(field.data_type()))
        {
            let (name, data_type) = (field.name(), field.data_type());
            return Err(format!(
                "CSV cannot hold the nested column {name:?} ({data_type}); write .jsonl, .parquet or \
                 .arrow instead"
            )
            .into());
        }
        named_once(schema, "CSV")?;
        let schema = shown(schema);
        // A type without a text form shows itself on no rows.
        for field in schema.fields() {
            let none = new_empty_array(field.data_type());
            ArrayFormatter::try_new(&none, &FormatOptions::default()).map_err(|e| {
                let name = field.name();
                format!(
                    "CSV cannot hold the column {name:?} ({e}); write .parquet or .arrow instead"
                )
            })?;
        }
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| quoted(field.name()))
            .collect();
        writeln!(file, "{}", names.join(","))?;
        Ok(Csv {
            file,
            schema,
            row: String::new(),
        })
    }
}

impl Encoder for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble> {
        let batch = conform(batch, &self.schema)?;
        let options = FormatOptions::default().with_display_error(false);
        let columns = batch.columns().iter().map(|column| {
            Ok((
                column.logical_nulls(),
                ArrayFormatter::try_new(column.as_ref(), &options)?,
            ))
        });
        let columns = columns.collect::<Result<Vec<_>, Trouble>>()?;
        let mut value = String::new();
        for index in 0..batch.num_rows() {
            self.row.clear();
            for (place, (nulls, formatter)) in columns.iter().enumerate() {
                if place > 0 {
                    self.row.push(',');
                }
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
                    continue;
                }
                value.clear();
                let written = formatter.value(index).write(&mut value);
                written.map_err(|e| unshown(self.schema.field(place).name(), &e))?;
                let field = if value.is_empty() {
                    "\"\"".into()
                } else {
                    quoted(&value)
                };
                self.row.push_str(&field);
            }
            self.row.push('\n');
            self.file.write_all(self.row.as_bytes())?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Trouble> {
        Ok(self.file.finish()?)
    }
}

/// `field`, in quotes where it needs them.
fn quoted(field: &str) -> std::borrow::Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}
