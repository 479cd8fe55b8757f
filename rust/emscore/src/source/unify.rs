//! One schema for several files: columns must agree, but for nullability, metadata and kinds of text.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

/// Widens `common` by the nullability that `other` adds; where they differ otherwise, says how.
pub(super) fn merge(common: &Schema, other: &Schema) -> Result<Schema, String> {
    if let Some(missing) = common
        .fields()
        .iter()
        .find(|f| other.index_of(f.name()).is_err())
    {
        return Err(format!("it has no column {:?}", missing.name()));
    }
    if let Some(added) = other
        .fields()
        .iter()
        .find(|f| common.index_of(f.name()).is_err())
    {
        return Err(format!("it has a column {:?} more", added.name()));
    }
    let pairs = common.fields().iter().zip(other.fields());
    let fields = pairs.map(|(a, b)| {
        if a.name() != b.name() {
            return Err(format!(
                "column {:?} stands where {:?} did",
                b.name(),
                a.name()
            ));
        }
        merge_field(a, b).ok_or_else(|| {
            let (name, new, old) = (a.name(), b.data_type(), a.data_type());
            format!("column {name:?} is of type {new} here and {old} there")
        })
    });
    let fields = fields.collect::<Result<Fields, String>>()?;
    if other.fields().len() != fields.len() {
        return Err("a column comes twice".into());
    }
    Ok(Schema::new_with_metadata(fields, common.metadata().clone()))
}

/// Whether a file with these columns, be they not all of it, cannot fit `common`.
pub(super) fn is_foreign(common: &Schema, columns: &Fields) -> bool {
    columns.iter().any(|column| {
        let there = common.field_with_name(column.name());
        there.map_or(true, |there| {
            merge_type(there.data_type(), column.data_type()).is_none()
        })
    })
}

fn merge_field(a: &FieldRef, b: &FieldRef) -> Option<FieldRef> {
    let data_type = merge_type(a.data_type(), b.data_type())?;
    let field: Field = a.as_ref().clone().with_data_type(data_type);
    Some(Arc::new(
        field.with_nullable(a.is_nullable() || b.is_nullable()),
    ))
}

/// Writers differ in how they keep text, and readers in what they make of it.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Names of list items differ between writers (`item`, `element`) and mean nothing.
fn merge_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match (a, b) {
        _ if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        _ if is_text(a) && is_text(b) => LargeUtf8,
        (List(a), List(b)) => List(merge_field(a, b)?),
        (LargeList(a), LargeList(b)) => LargeList(merge_field(a, b)?),
        (FixedSizeList(a, n), FixedSizeList(b, m)) if n == m => {
            FixedSizeList(merge_field(a, b)?, *n)
        }
        (Struct(a), Struct(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b);
            let field = |(a, b): (&FieldRef, &FieldRef)| {
                (a.name() == b.name()).then(|| merge_field(a, b)).flatten()
            };
            Struct(pairs.map(field).collect::<Option<Fields>>()?)
        }
        _ => return None,
    })
}
