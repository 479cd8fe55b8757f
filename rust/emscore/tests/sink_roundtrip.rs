//! Whatever rows go into a file come out of it.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use common::{Cell, IN_TEXT, KINDS, column, read, strings, write};
use proptest::prelude::*;

fn cells(rows: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Cell>> {
    let text = prop_oneof![
        any::<String>(),
        "[a-c\" ,\n\r\u{0}]{0,6}",
        Just(String::new()),
        Just("null".to_string()),
        Just("007".to_string()),
    ];
    let number = prop_oneof![any::<i64>(), -5..5_i64];
    prop::collection::vec(prop::option::weighted(0.8, (number, text)), rows)
}

fn batches(kinds: usize) -> impl Strategy<Value = Vec<RecordBatch>> {
    let columns = prop::collection::vec(0..kinds, 2..6);
    let sizes = prop::collection::vec(cells(0..40), 1..4);
    (columns, sizes).prop_map(|(kinds, sizes)| {
        let batch = |cells: &Vec<Cell>| {
            let columns = kinds.iter().enumerate().map(|(place, kind)| {
                // Neighbours differ.
                let mut cells = cells.clone();
                let rows = cells.len();
                cells.rotate_left(place.min(rows));
                column(*kind, &cells)
            });
            let columns: Vec<_> = columns.collect();
            let field = |(place, c): (usize, &ArrayRef)| {
                Field::new(format!("c{place}"), c.data_type().clone(), true)
            };
            let fields: Vec<_> = columns.iter().enumerate().map(field).collect();
            let metadata = [("key".to_string(), "value".to_string())];
            let schema = Schema::new_with_metadata(fields, metadata.into());
            RecordBatch::try_new(Arc::new(schema), columns).unwrap()
        };
        sizes.iter().map(batch).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 2,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn binary_formats_give_everything_back(batches in batches(KINDS)) {
        let folder = tempfile::tempdir().unwrap();
        let schema = batches[0].schema();
        let all = concat_batches(&schema, &batches).unwrap();
        for ending in ["arrow", "arrows", "parquet"] {
            let path = folder.path().join(format!("a.{ending}"));
            write(&path, &schema, &batches);
            let back = read(&path).unwrap();
            let found = back.schema();
            prop_assert_eq!(found.metadata(), schema.metadata());
            for (place, field) in schema.fields().iter().enumerate() {
                let coded = matches!(field.data_type(), DataType::Dictionary(_, _));
                if coded {
                    // Dictionaries may be ordered anew, or left out where a file cannot change them.
                    prop_assert_eq!(strings(&back, field.name()), strings(&all, field.name()));
                } else {
                    prop_assert_eq!(back.column(place), all.column(place), "{}", ending);
                }
            }
        }
    }

    #[test]
    fn text_formats_give_the_text_back(batches in batches(IN_TEXT)) {
        let folder = tempfile::tempdir().unwrap();
        let schema = batches[0].schema();
        let all = concat_batches(&schema, &batches).unwrap();
        for ending in ["jsonl", "jsonl.gz", "csv", "csv.zst"] {
            let path = folder.path().join(format!("a.{ending}"));
            write(&path, &schema, &batches);
            if all.num_rows() == 0 && ending.starts_with("jsonl") {
                continue; // JSON Lines has its columns in its rows
            }
            let back = read(&path).unwrap();
            prop_assert_eq!(back.num_rows(), all.num_rows());
            for field in schema.fields() {
                prop_assert_eq!(strings(&back, field.name()), strings(&all, field.name()), "{}", ending);
            }
        }
    }
}
