//! JSON Lines. Nulls are written out, so that a column of nulls does not vanish.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::json::{Writer, WriterBuilder, writer::LineDelimited};

use super::text::{Text, shown};
use super::{Encoder, Trouble};
use crate::conform::conform;

pub(super) struct JsonLines {
    schema: SchemaRef,
    writer: Writer<Text, LineDelimited>,
}

impl JsonLines {
    pub fn new(file: Text, schema: &SchemaRef) -> Result<JsonLines, Trouble> {
        let schema = shown(schema);
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
            schema,
            writer: builder().build(file),
        })
    }
}

fn builder() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

impl Encoder for JsonLines {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble> {
        Ok(self.writer.write(&conform(batch, &self.schema)?)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Trouble> {
        self.writer.finish()?;
        Ok(self.writer.into_inner().finish()?)
    }
}
