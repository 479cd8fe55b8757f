//! Columns in another type, where a format wants one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

/// What to put in place of a type, if anything.
pub(super) type Replace<'a> = &'a dyn Fn(&DataType) -> Option<DataType>;

/// `data_type` with every type within it replaced for which `replace` has another.
pub(super) fn retype(data_type: &DataType, replace: Replace<'_>) -> DataType {
    use DataType::*;
    if let Some(other) = replace(data_type) {
        return other;
    }
    let field = |field| retype_field(field, replace);
    match data_type {
        Dictionary(keys, values) => Dictionary(keys.clone(), Box::new(retype(values, replace))),
        List(item) => List(field(item)),
        LargeList(item) => LargeList(field(item)),
        FixedSizeList(item, n) => FixedSizeList(field(item), *n),
        Struct(fields) => Struct(fields.iter().map(field).collect()),
        Map(entries, sorted) => Map(field(entries), *sorted),
        other => other.clone(),
    }
}

/// The same of a field, which keeps its name and metadata.
pub(super) fn retype_field(field: &FieldRef, replace: Replace<'_>) -> FieldRef {
    let data_type = retype(field.data_type(), replace);
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The same of a schema.
pub(super) fn retype_schema(schema: &SchemaRef, replace: Replace<'_>) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| retype_field(field, replace))
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Casts the columns of `batch` whose type is another in `schema`.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let pairs = batch.columns().iter().zip(schema.fields());
    let columns = pairs.map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(column.clone())
        } else {
            cast(column, field.data_type())
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}
