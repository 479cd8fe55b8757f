//! Parquet, in row groups that bound what is held in memory.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::retype::retype_schema;
use super::{Encoder, Trouble};
use crate::conform::conform;

/// Encoded bytes in a row group.
const GROUP_BYTES: usize = 64 << 20;
/// Rows in a row group.
const GROUP_ROWS: usize = 1 << 20;

pub(super) struct Parquet {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
}

impl Parquet {
    pub fn new(file: File, schema: &SchemaRef) -> Result<Parquet, Trouble> {
        // At a union, however deep, the writer panics.
        let has_union = |field: &&FieldRef| {
            let alone = Schema::new([FieldRef::clone(field)]);
            let mut within = alone.flattened_fields().into_iter();
            within.any(|field| matches!(field.data_type(), DataType::Union(_, _)))
        };
        if let Some(field) = schema.fields().iter().find(has_union) {
            let (name, data_type) = (field.name(), field.data_type());
            return Err(format!(
                "Parquet cannot hold the column {name:?} of type {data_type}; write .arrow instead"
            )
            .into());
        }
        // Readers that know Parquet but not Arrow's part of it find the metadata here.
        let mut metadata: Vec<_> = schema.metadata().iter().collect();
        metadata.sort();
        let pairs = metadata.into_iter();
        let metadata = pairs.map(|(k, v)| KeyValue::new(k.clone(), v.clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(metadata.collect()))
            .build();
        let schema = retype_schema(schema, &stored);
        Ok(Parquet {
            writer: ArrowWriter::try_new(file, schema.clone(), Some(properties))?,
            schema,
        })
    }
}

/// Parquet knows no seconds, and days only as such: readers would see bare integers.
fn stored(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    match data_type {
        Timestamp(TimeUnit::Second, zone) => Some(Timestamp(TimeUnit::Millisecond, zone.clone())),
        Time32(TimeUnit::Second) => Some(Time32(TimeUnit::Millisecond)),
        Date64 => Some(Date32),
        _ => None,
    }
}

impl Encoder for Parquet {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Trouble> {
        Ok(self.writer.write(&conform(batch, &self.schema)?)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Trouble> {
        self.writer.finish()?;
        Ok(())
    }
}
