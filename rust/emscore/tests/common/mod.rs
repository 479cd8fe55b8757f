//! What the tests of sources and sinks share.
#![allow(dead_code)] // each test file uses a part

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int64Array,
    LargeListArray, LargeStringArray, ListArray, ListViewArray, MapArray, RecordBatch,
    RecordBatchIterator, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    UInt16Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int16Type, Int32Type, Schema, SchemaRef};
use emscore::sink::Output;
use emscore::source::Source;

/// Every ending that an output may have.
pub const ENDINGS: [&str; 12] = [
    "arrow",
    "feather",
    "ipc",
    "arrows",
    "parquet",
    "jsonl",
    "jsonl.gz",
    "jsonl.zst",
    "ndjson",
    "csv",
    "csv.gz",
    "csv.zst",
];

/// A batch of the usual columns, with the nulls and texts that hurt.
pub fn sample(rows: usize) -> RecordBatch {
    let texts = [
        "plain",
        "",
        "a,b \"q\"\nnew line",
        "naïve 🙂 שלום",
        "\u{0}nul",
        " padded ",
    ];
    let question = (0..rows).map(|i| (i % 7 != 3).then_some(texts[i % texts.len()]));
    let response = (0..rows).map(|i| Some(format!("response {i}")));
    let outcome: DictionaryArray<Int32Type> = (0..rows)
        .map(|i| (i % 5 != 4).then_some(["ok", "refusal"][i % 2]))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("question", Arc::new(question.collect::<StringArray>())),
        ("response", Arc::new(response.collect::<StringArray>())),
        (
            "n",
            Arc::new(Int64Array::from_iter(
                (0..rows).map(|i| (i % 3 != 1).then_some(i as i64)),
            )),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from_iter((0..rows).map(|i| Some(i % 2 == 0)))),
        ),
        (
            "aligned",
            Arc::new(Float32Array::from_iter(
                (0..rows).map(|i| (i % 4 != 0).then_some(i as f32 / 8.0)),
            )),
        ),
        ("outcome", Arc::new(outcome)),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let metadata = [
        ("b".to_string(), "2".to_string()),
        ("a".to_string(), "1".to_string()),
    ];
    let schema = Schema::new_with_metadata(fields, metadata.into());
    RecordBatch::try_new(
        Arc::new(schema),
        columns.into_iter().map(|(_, c)| c).collect(),
    )
    .unwrap()
}

/// A value from which a cell of any type is made.
pub type Cell = Option<(i64, String)>;

/// How many kinds of column there are; the first ones CSV and JSON give back as they were.
pub const KINDS: usize = 16;
pub const IN_TEXT: usize = 5;

/// A column of one of the [`KINDS`].
pub fn column(kind: usize, cells: &[Cell]) -> ArrayRef {
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
                .with_timezone("+05:30"),
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

/// A batch with a column of every kind.
pub fn every_kind(rows: i64) -> RecordBatch {
    let cells: Vec<Cell> = (0..rows)
        .map(|n| (n % 4 != 3).then(|| (n * 5 - 9, format!("a text longer than twelve {n}"))))
        .collect();
    let columns = (0..KINDS).map(|kind| (format!("c{kind}"), column(kind, &cells), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Writes `batches` to a new file.
pub fn write(path: &Path, schema: &SchemaRef, batches: &[RecordBatch]) {
    let mut output = Output::create(path, schema, false).unwrap();
    batches
        .iter()
        .for_each(|batch| output.write(batch).unwrap());
    output.finish().unwrap();
}

/// A text file in `folder`.
pub fn file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A pipe in `folder` that a thread feeds with a file.
#[cfg(unix)]
pub fn pipe(folder: &Path, from: PathBuf) -> (PathBuf, std::thread::JoinHandle<()>) {
    let pipe = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let to = pipe.clone();
    let feeder = std::thread::spawn(move || {
        let mut to = std::fs::OpenOptions::new().write(true).open(to).unwrap();
        std::io::copy(&mut std::fs::File::open(from).unwrap(), &mut to).unwrap();
    });
    (pipe, feeder)
}

pub fn open(path: &Path) -> emscore::Result<Source> {
    Source::open(&[path.to_str().unwrap().to_string()])
}

/// All rows of `path` in one batch; the promises about rows and batches are checked on the way.
pub fn read(path: &Path) -> emscore::Result<RecordBatch> {
    drain(open(path)?)
}

pub fn drain(source: Source) -> emscore::Result<RecordBatch> {
    let (schema, rows) = (source.schema.clone(), source.rows);
    let batches = source.collect::<emscore::Result<Vec<_>>>()?;
    assert!(
        batches
            .iter()
            .all(|batch| batch.num_rows() <= 1024 && batch.schema_ref() == &schema)
    );
    let all = concat_batches(&schema, &batches).unwrap();
    if let Some(rows) = rows {
        assert_eq!(rows, all.num_rows() as u64);
    }
    Ok(all)
}

/// The error's sentence.
pub fn refusal(path: &Path) -> String {
    let e = read(path).expect_err("it is bad");
    assert!(matches!(e, emscore::Error::Input(_)), "{e:?}");
    let text = e.to_string();
    assert!(!text.contains('\n') && text.ends_with('.'), "{text:?}");
    text
}

/// A column as strings.
pub fn strings(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = batch
        .column_by_name(name)
        .unwrap_or_else(|| panic!("no column {name}"));
    let column = arrow::compute::cast(column, &DataType::Utf8).unwrap();
    let column = column.as_any().downcast_ref::<StringArray>().unwrap();
    column.iter().map(|text| text.map(String::from)).collect()
}

fn structs(texts: &ArrayRef) -> (Arc<Field>, ArrayRef) {
    let roles: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..texts.len()).map(|_| "assistant"),
    ));
    let field = |name, of: &ArrayRef| Field::new(name, of.data_type().clone(), true);
    let fields = Fields::from(vec![field("role", &roles), field("content", texts)]);
    let of: ArrayRef = Arc::new(StructArray::new(
        fields.clone(),
        vec![roles, texts.clone()],
        None,
    ));
    (
        Arc::new(Field::new("item", DataType::Struct(fields), true)),
        of,
    )
}

/// A column of every kind that points into something larger; the first six hold chats or text.
pub fn pointing(texts: &[String]) -> Vec<(&'static str, ArrayRef)> {
    let rows = texts.len();
    let plain: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let view: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
    let keys = StringArray::from_iter_values((0..rows).map(|_| "key"));
    let entries = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, true),
    ]);
    let entries = StructArray::new(entries, vec![Arc::new(keys), plain.clone()], None);
    let entry = Field::new("entries", entries.data_type().clone(), false);
    let one_each = || OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
    let ((item, messages), (view_item, view_messages)) = (structs(&plain), structs(&view));
    let list = ListArray::new(item.clone(), one_each(), messages.clone(), None);
    let large = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
    vec![
        ("list", Arc::new(list.clone())),
        (
            "large",
            Arc::new(LargeListArray::new(view_item, large, view_messages, None)),
        ),
        (
            "fixed",
            Arc::new(FixedSizeListArray::new(item, 1, messages, None)),
        ),
        ("list view", Arc::new(ListViewArray::from(list))),
        ("view", view.clone()),
        (
            "dictionary",
            Arc::new(
                texts
                    .iter()
                    .map(|t| Some(t.as_str()))
                    .collect::<DictionaryArray<Int32Type>>(),
            ),
        ),
        (
            "map",
            Arc::new(MapArray::new(
                Arc::new(entry),
                one_each(),
                entries,
                None,
                false,
            )),
        ),
        ("struct", structs(&view).1),
        ("bytes", Arc::new(BinaryViewArray::from_iter_values(texts))),
    ]
}

pub fn one_column(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([(name, column)]).unwrap()
}

pub fn streamed(batch: &RecordBatch) -> Source {
    let batches = vec![Ok(batch.clone())];
    Source::from_reader(Box::new(RecordBatchIterator::new(batches, batch.schema())))
}
