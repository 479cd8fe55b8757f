//! Batches: how large ones are cut and small ones joined.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{DictionaryArray, RecordBatch, RecordBatchIterator, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use common::{drain, file, one_column, open, pointing, read, streamed, strings, write};
use emscore::source::Source;
use tempfile::tempdir;

#[test]
fn an_arrow_file_is_as_large_as_its_rows() {
    let folder = tempdir().unwrap();
    let texts: Vec<String> = (0..20_000)
        .map(|i| format!("{i} {}", "word ".repeat(20)))
        .collect();
    let columns = pointing(&texts);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = folder.path().join("in.arrows");
    let mut writer =
        StreamWriter::try_new(fs::File::create(&path).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    for ending in ["arrow", "arrows", "parquet"] {
        let out = folder.path().join(format!("out.{ending}"));
        let batches: Vec<_> = open(&path).unwrap().map(Result::unwrap).collect();
        write(&out, &batch.schema(), &batches);
        assert!(
            size(&out) < size(&path) * 11 / 10,
            "{ending}: {} of {}",
            size(&out),
            size(&path)
        );
        if ending != "parquet" {
            assert_eq!(read(&out).unwrap(), batch, "{ending}");
        }
    }
}

#[test]
fn huge_texts_are_counted_wherever_they_are() {
    let texts: Vec<String> = (0..40)
        .map(|i| format!("{i}{}", "x".repeat(1 << 20)))
        .collect();
    for (name, column) in pointing(&texts) {
        let rows: Vec<_> = streamed(&one_column(name, column))
            .map(|b| b.unwrap().num_rows())
            .collect();
        assert_eq!(rows.iter().sum::<usize>(), 40, "{name}");
        assert!(
            rows.iter().all(|&n| n <= 17) && rows.len() < 8,
            "{name}: {rows:?}"
        );
    }
}

/// Files of so many rows each, `a` to `z`; the rows count on.
fn small_files(folder: &Path, sizes: &[usize], text: &str) {
    let mut n = 0;
    for (at, size) in sizes.iter().enumerate() {
        let line = |i: usize| format!("{{\"q\":\"{text}\",\"n\":{i}}}\n");
        file(
            folder,
            &format!("{at:04}.jsonl"),
            (n..n + size).map(line).collect::<String>(),
        );
        n += size;
    }
}

fn sizes(source: Source) -> Vec<usize> {
    source.map(|batch| batch.unwrap().num_rows()).collect()
}

#[test]
fn small_files_are_joined() {
    let folder = tempdir().unwrap();
    small_files(folder.path(), &[3; 700], "text");
    assert_eq!(sizes(open(folder.path()).unwrap()), [1023, 1023, 54]);
    let numbers: Vec<_> = (0..2100).map(|n| Some(n.to_string())).collect();
    assert_eq!(strings(&read(folder.path()).unwrap(), "n"), numbers);
    let folder = tempdir().unwrap();
    small_files(folder.path(), &[2000, 40, 600, 600], "text");
    assert_eq!(sizes(open(folder.path()).unwrap()), [1024, 1016, 600, 600]);
    let folder = tempdir().unwrap();
    small_files(folder.path(), &[1; 20], &"x".repeat(3 << 20));
    assert_eq!(sizes(open(folder.path()).unwrap()), [5, 5, 5, 5]);
}

#[test]
fn what_comes_before_damage_comes_first() {
    let folder = tempdir().unwrap();
    small_files(folder.path(), &[2, 2, 2], "text");
    let mut source = open(folder.path()).unwrap();
    file(folder.path(), "0002.jsonl", "{\"q\":\"gone bad\n");
    assert_eq!(source.next().unwrap().unwrap().num_rows(), 4);
    let error = source.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("0002.jsonl"), "{error}");
    assert!(source.next().is_none());
}

#[test]
fn dictionaries_stay_what_they_are() {
    let folder = tempdir().unwrap();
    for name in ["a", "b", "c"] {
        let column: DictionaryArray<Int32Type> = ["x", "y"].into_iter().map(Some).collect();
        let batch = one_column("q", Arc::new(column));
        write(
            &folder.path().join(format!("{name}.arrow")),
            &batch.schema(),
            &[batch],
        );
    }
    let source = open(folder.path()).unwrap();
    let (schema, batches) = (source.schema.clone(), source.map(Result::unwrap));
    let out = folder.path().join("out.arrow");
    write(&out, &schema, &batches.collect::<Vec<_>>());
    assert_eq!(open(&out).unwrap().schema, schema);
}

#[test]
fn streams_keep_their_batches() {
    let batch = one_column("q", Arc::new(StringArray::from(vec!["x", "y"])));
    let batches = vec![Ok(batch.clone()), Ok(batch.clone())];
    let reader = RecordBatchIterator::new(batches, batch.schema());
    assert_eq!(sizes(Source::from_reader(Box::new(reader))), [2, 2]);
}

#[cfg(unix)]
#[test]
fn pipes_keep_their_batches() {
    let folder = tempdir().unwrap();
    let batch = one_column("q", Arc::new(StringArray::from(vec!["x", "y"])));
    let path = folder.path().join("whole.arrows");
    write(&path, &batch.schema(), &[batch.clone(), batch.clone()]);
    assert_eq!(sizes(open(&path).unwrap()), [4]);
    let (pipe, feeder) = common::pipe(folder.path(), path);
    assert_eq!(sizes(open(&pipe).unwrap()), [2, 2]);
    feeder.join().unwrap();
}

#[test]
fn no_batch_is_no_batch() {
    let empty = one_column("q", Arc::new(StringArray::from(Vec::<&str>::new())));
    assert_eq!(drain(streamed(&empty)).unwrap().num_rows(), 0);
}
