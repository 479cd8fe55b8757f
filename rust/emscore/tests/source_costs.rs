//! What it costs to read one large batch.

mod common;

use std::alloc::System;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use cap::Cap;
use common::{pointing, streamed};
use emscore::columns::{ColumnNames, Columns};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// The only test here, since it counts what the process allocates.
#[test]
fn one_batch_costs_about_its_bytes_however_it_is_cut() {
    let texts: Vec<String> = (0..40_000)
        .map(|i| format!("{i} {}", "word ".repeat(100)))
        .collect();
    let size = texts.iter().map(String::len).sum::<usize>();
    assert!(size > 20_000_000);
    let question: ArrayRef = Arc::new(StringArray::from_iter_values(texts.iter().map(|_| "q")));
    for (at, (name, column)) in pointing(&texts).into_iter().enumerate() {
        let batch = RecordBatch::try_from_iter([("q", question.clone()), (name, column)]).unwrap();
        let names = ColumnNames {
            question: Some("q".into()),
            response: Some(name.into()),
        };
        let columns = Columns::detect(&batch.schema(), &names).ok();
        assert_eq!(columns.is_some(), at < 6, "{name}");
        let before = MEMORY.total_allocated();
        let mut batches = Vec::new();
        for (at, piece) in streamed(&batch).enumerate() {
            let piece = piece.unwrap();
            if let Some(columns) = &columns {
                let read = columns.texts(&piece).unwrap();
                assert_eq!(read.response(7), texts[at * 1024 + 7], "{name}");
            }
            batches.push(piece);
        }
        let allocated = MEMORY.total_allocated() - before;
        assert!(allocated < 6 * size, "{name}: {} MB", allocated >> 20);
        let rows: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
        assert!(rows[..39].iter().all(|&n| n == 1024), "{name}: {rows:?}");
        let back = concat_batches(&batch.schema(), &batches).unwrap();
        assert_eq!(back, batch, "{name}");
    }
}
