//! Whatever rows go into a file come out of it.

mod common;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int64Array, LargeStringArray, ListArray, RecordBatch,
    StringArray, StringViewArray, StructArray, TimestampMicrosecondArray, UInt16Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int16Type, Schema};
use common::{read, strings, write};
use proptest::prelude::*;

/// A value from which a cell of any type is made.
type Cell = Option<(i64, String)>;

/// How many kinds of column there are; the first ones CSV and JSON give back as they were.
const KINDS: usize = 16;
const IN_TEXT: usize = 5;

fn column(kind: usize, cells: &[Cell]) -> ArrayRef {
    let number = || cells.iter().map(|cell| cell.as_ref().map(|(n, _)| *n));
    let text = || {
        cells
            .iter()
            .map(|cell| cell.as_ref().map(|(_, t)| t.as_str()))
    };
    let nulls = || Some(NullBuffer::from_iter(cells.iter().map(Option::is_some)));
    match kind {
        0 => Arc::new(text().collect::<StringArray>()),
        1 => Arc::new(text().collect::<LargeStringArray>()),
        2 => Arc::new(text().collect::<StringViewArray>()),
        3 => Arc::new(number().collect::<Int64Array>()),
        4 => Arc::new(
            number()
                .map(|n| n.map(|n| n % 2 == 0))
                .collect::<BooleanArray>(),
        ),
        5 => Arc::new(number().map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
        6 => Arc::new(
            number()
                .map(|n| n.map(|n| n as u16))
                .collect::<UInt16Array>(),
        ),
        7 => Arc::new(
            number()
                .map(|n| n.map(|n| n as f32 / 7.0))
                .collect::<Float32Array>(),
        ),
        8 => Arc::new(
            number()
                .map(|n| n.map(|n| n as f64 / 7.0))
                .collect::<Float64Array>(),
        ),
        9 => Arc::new(
            number()
                .map(|n| n.map(|n| n as i32))
                .collect::<Date32Array>(),
        ),
        10 => Arc::new(
            number()
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("Europe/Paris"),
        ),
        11 => Arc::new(
            number()
                .map(|n| n.map(i128::from))
                .collect::<Decimal128Array>(),
        ),
        12 => Arc::new(
            text()
                .map(|t| t.map(str::as_bytes))
                .collect::<BinaryArray>(),
        ),
        13 => Arc::new(text().collect::<DictionaryArray<Int16Type>>()),
        14 => {
            let fields = vec![
                Field::new("role", DataType::Utf8, true),
                Field::new("n", DataType::Int64, true),
            ];
            Arc::new(StructArray::new(
                fields.into(),
                vec![column(0, cells), column(3, cells)],
                nulls(),
            ))
        }
        _ => {
            let lengths: Vec<_> = cells
                .iter()
                .map(|cell| cell.as_ref().map_or(0, |(n, _)| *n as usize % 3))
                .collect();
            let total: usize = lengths.iter().sum();
            let items: Vec<_> = cells.iter().cycle().take(total).cloned().collect();
            let items = column(14, &items);
            let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            Arc::new(ListArray::new(
                item,
                OffsetBuffer::from_lengths(lengths),
                items,
                nulls(),
            ))
        }
    }
}

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
