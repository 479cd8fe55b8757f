//! JSON Lines. Nulls are written out, so that a column of nulls does not vanish.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::{Writer, WriterBuilder, writer::LineDelimited};

use super::retype::{retype, retype_schema};
use super::text::{Text, named_once, shown, unshown};
use super::{Encoder, Trouble};
use crate::conform::conform;

pub(super) struct JsonLines {
    shown: SchemaRef,
    plain: SchemaRef,
    writer: Writer<Text, LineDelimited>,
}

impl JsonLines {
    pub fn new(file: Text, schema: &SchemaRef) -> Result<JsonLines, Trouble> {
        named_once(schema, "JSON Lines")?;
        let shown = shown(schema);
        let schema = retype_schema(&shown, &plain);
        // A type that JSON cannot hold shows itself on a row of nulls.
        for field in schema.fields() {
            let nullable = Schema::new(vec![Field::new("", field.data_type().clone(), true)]);
            let nulls = vec![new_null_array(field.data_type(), 1)];
            let row = RecordBatch::try_new(Arc::new(nullable), nulls)?;
            builder()
                .build::<_, LineDelimited>(Vec::new())
                .write(&row)
                .map_err(|_| {
                    format!(
                        "JSON Lines cannot hold the column {:?} of type {}; write .arrow instead",
                        field.name(),
                        field.data_type()
                    )
                })?;
        }
        Ok(JsonLines {
            shown,
            plain: schema,
            writer: builder().build(file),
        })
    }
}

/// Times as text, since the writer would write its error where one has none, and dictionaries (and
/// runs) as their values, since it takes a null among these for a blank.
fn plain(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Dictionary(_, values) => Some(retype(values, &plain)),
        DataType::RunEndEncoded(_, values) => Some(retype(values.data_type(), &plain)),
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _) => Some(DataType::Utf8),
        _ => None,
    }
}

fn builder() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

impl Encoder for JsonLines {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble> {
        let shown = conform(batch, &self.shown)?;
        let pairs = shown.columns().iter().zip(self.plain.fields());
        let columns = pairs.map(|(column, field)| {
            cast(column, field.data_type()).map_err(|e| unshown(field.name(), &e))
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let plain = RecordBatch::try_new(self.plain.clone(), columns)?;
        Ok(self.writer.write(&plain)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Trouble> {
        self.writer.finish()?;
        Ok(self.writer.into_inner().finish()?)
    }
}
