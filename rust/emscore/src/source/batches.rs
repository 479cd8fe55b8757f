//! Cuts batches down to what the stages after this one expect.

use arrow::array::{Array, RecordBatch};

/// Rows in a batch, at most.
pub(super) const MAX_ROWS: usize = 1024;
/// Bytes in a batch, at most, unless a single row is larger.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Splits `batch` without copying into pieces of at most [`MAX_ROWS`] rows and about
/// [`MAX_BYTES`] bytes.
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
        Some(piece)
    })
}

fn bytes(batch: &RecordBatch) -> usize {
    let of = |column: &dyn Array| column.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(|column| of(column)).sum()
}
