//! Types of columns, where a format wants another.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

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
