//! Whatever rows go into a file come out of it.

mod common;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use common::{Cell, IN_TEXT, KINDS, column, read, strings, write};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
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

#[test]
fn parquet_holds_seconds_and_days_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let seconds = || Int64Array::from(vec![Some(86_400), None]);
    let cast = |to: &DataType| arrow::compute::cast(&seconds(), to).unwrap();
    let (second, milli) = (TimeUnit::Second, TimeUnit::Millisecond);
    let zoned = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let when = cast(&zoned(second));
    let list = ListArray::new(
        item(zoned(second)),
        OffsetBuffer::from_lengths([1, 1]),
        when.clone(),
        None,
    );
    let day =
        arrow::compute::cast(&cast(&DataType::Timestamp(second, None)), &DataType::Date64).unwrap();
    let time =
        arrow::compute::cast(&Int32Array::from(vec![3600, 1]), &DataType::Time32(second)).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("when", when),
        ("list", Arc::new(list)),
        ("day", day),
        ("time", time),
        (
            "fine",
            cast(&DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = folder.path().join("out.parquet");
    write(&path, &batch.schema(), std::slice::from_ref(&batch));
    // What readers see that know Parquet alone.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let file = std::fs::File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    let types: Vec<_> = reader
        .schema()
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    assert_eq!(types[0], zoned(milli));
    assert!(matches!(&types[1], DataType::List(item) if *item.data_type() == zoned(milli)));
    let rest = [
        DataType::Date32,
        DataType::Time32(milli),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
    ];
    assert_eq!(types[2..], rest);
    let back = read(&path).unwrap();
    let (seconds, days) = (back.column(0), back.column(2));
    assert_eq!(
        &arrow::compute::cast(seconds, &zoned(second)).unwrap(),
        batch.column(0)
    );
    assert_eq!(
        &arrow::compute::cast(days, &DataType::Date64).unwrap(),
        batch.column(2)
    );
    assert_eq!(strings(&back, "time"), strings(&batch, "time"));
}
