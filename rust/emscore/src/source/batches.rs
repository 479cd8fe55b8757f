//! Cuts batches down to what the stages after this one expect.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, GenericListViewArray,
    ListArray, MapArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;

use super::Batches;

/// Rows in a batch, at most.
pub(super) const MAX_ROWS: usize = 1024;
/// Bytes in a batch, at most, unless a single row is larger.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Splits `batch` into pieces of at most [`MAX_ROWS`] rows and about [`MAX_BYTES`] bytes.
pub(super) fn split(batch: RecordBatch) -> impl Iterator<Item = RecordBatch> + Send {
    let rows = batch.num_rows();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= rows {
            return None;
        }
        let mut piece = batch.slice(start, MAX_ROWS.min(rows - start));
        while piece.num_rows() > 1 && bytes(&piece) > MAX_BYTES {
            piece = piece.slice(0, piece.num_rows() / 2);
        }
        start += piece.num_rows();
        Some(alone(piece))
    })
}

/// Joins small batches that follow each other, such as those of many small files: threads share the
/// rows of one batch. Not where there are dictionaries, since an Arrow file takes only one a column.
pub(super) fn join(schema: &SchemaRef, batches: Batches) -> Batches {
    let coded = |field: &&Field| matches!(field.data_type(), DataType::Dictionary(_, _));
    if schema.flattened_fields().iter().any(coded) {
        return batches;
    }
    let mut batches = batches.peekable();
    let together = std::iter::from_fn(move || {
        let first = match batches.next()? {
            Ok(batch) => batch,
            damage => return Some(vec![damage]),
        };
        let (mut rows, mut size) = (first.num_rows(), bytes(&first));
        let mut all = vec![first];
        let fits = |rows, size| rows <= MAX_ROWS && size <= MAX_BYTES;
        while let Some(Ok(next)) = batches.next_if(|next| {
            let next = next.as_ref();
            next.is_ok_and(|next| fits(rows + next.num_rows(), size + bytes(next)))
        }) {
            rows += next.num_rows();
            size += bytes(&next);
            all.push(next);
        }
        Some(match concat_batches(&all[0].schema(), &all) {
            Ok(one) => vec![Ok(one)],
            Err(_) => all.into_iter().map(Ok).collect(),
        })
    });
    Box::new(together.flatten())
}

/// About how many bytes the rows of `batch` take.
fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|c| bytes_of(c)).sum()
}

/// Dictionaries count as if each row had its value, since text is read so.
fn bytes_of(array: &dyn Array) -> usize {
    use DataType::*;
    let rows = array.len();
    let all = |arrays: &[ArrayRef]| arrays.iter().map(|a| bytes_of(a)).sum();
    match array.data_type() {
        Utf8View => 16 * rows + array.as_string_view().total_buffer_bytes_used(),
        BinaryView => 16 * rows + array.as_binary_view().total_buffer_bytes_used(),
        Struct(_) => all(array.as_struct().columns()),
        List(_) => 4 * rows + items(array.as_list::<i32>()),
        LargeList(_) => 8 * rows + items(array.as_list::<i64>()),
        Map(_, _) => 4 * rows + items(&ListArray::from(array.as_map().clone())),
        ListView(_) => 8 * rows + viewed(array.as_list_view::<i32>()),
        LargeListView(_) => 16 * rows + viewed(array.as_list_view::<i64>()),
        FixedSizeList(_, _) => bytes_of(array.as_fixed_size_list().values()),
        Dictionary(_, _) => {
            let values = array.as_any_dictionary().values();
            8 * rows + rows * (bytes_of(values) / values.len().max(1))
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

fn items<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> usize {
    bytes_of(&own_items(list))
}

/// The rows of a list view may lie anywhere in its items, which count as if all were of one size.
fn viewed<O: OffsetSizeTrait>(view: &GenericListViewArray<O>) -> usize {
    let items: usize = view.sizes().iter().map(|size| size.as_usize()).sum();
    items * (bytes_of(view.values()) / view.values().len().max(1))
}

/// The items of the rows of `list`, which may share them with the rows it was cut from.
fn own_items<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> ArrayRef {
    let offsets = list.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[list.len()].as_usize());
    list.values().slice(first, last - first)
}

/// `piece` without what the rest of its batch holds. What is read from a column or written costs
/// as much as all that it points to.
fn alone(piece: RecordBatch) -> RecordBatch {
    let columns = piece.columns().iter().map(alone_of).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(piece.num_rows()));
    // A batch that breaks its schema's word on nulls is left to the stage that says so.
    RecordBatch::try_new_with_options(piece.schema(), columns, &options).unwrap_or(piece)
}

fn alone_of(array: &ArrayRef) -> ArrayRef {
    use DataType::*;
    let own: Result<ArrayRef, ArrowError> = match array.data_type() {
        Utf8View => Ok(Arc::new(array.as_string_view().gc())),
        BinaryView => Ok(Arc::new(array.as_binary_view().gc())),
        List(_) => alone_list(array.as_list::<i32>()).map(|list| Arc::new(list) as _),
        LargeList(_) => alone_list(array.as_list::<i64>()).map(|list| Arc::new(list) as _),
        Map(_, sorted) => alone_list(&ListArray::from(array.as_map().clone())).and_then(|list| {
            let (field, offsets, entries, nulls) = list.into_parts();
            let entries = entries.as_struct().clone();
            Ok(Arc::new(MapArray::try_new(field, offsets, entries, nulls, *sorted)?) as _)
        }),
        ListView(item) => alone_view(array, List(item.clone())),
        LargeListView(item) => alone_view(array, LargeList(item.clone())),
        FixedSizeList(_, _) => {
            let (field, size, values, nulls) = array.as_fixed_size_list().clone().into_parts();
            let (values, rows) = (alone_of(&values), array.len());
            FixedSizeListArray::try_new_with_length(field, size, values, nulls, rows)
                .map(|list| Arc::new(list) as _)
        }
        Struct(_) => {
            let (fields, columns, nulls) = array.as_struct().clone().into_parts();
            let columns = columns.iter().map(alone_of).collect();
            StructArray::try_new_with_length(fields, columns, nulls, array.len())
                .map(|array| Arc::new(array) as _)
        }
        _ => Ok(array.clone()),
    };
    own.unwrap_or_else(|_| array.clone())
}

fn alone_list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
) -> Result<GenericListArray<O>, ArrowError> {
    let (items, (field, offsets, _, nulls)) = (own_items(list), list.clone().into_parts());
    let offsets = OffsetBuffer::from_lengths(offsets.lengths());
    GenericListArray::try_new(field, offsets, alone_of(&items), nulls)
}

fn alone_view(view: &ArrayRef, list: DataType) -> Result<ArrayRef, ArrowError> {
    cast(&alone_of(&cast(view, &list)?), view.data_type())
}
