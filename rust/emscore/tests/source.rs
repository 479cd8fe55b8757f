//! Inputs: what is found, told apart, joined and read.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, LargeStringArray, NullArray,
    RecordBatch, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Int8Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use common::{drain, file, open, read, sample, strings, write};
use emscore::source::Source;
use tempfile::tempdir;

fn open_all(paths: &[&Path]) -> emscore::Result<Source> {
    Source::open(
        &paths
            .iter()
            .map(|p| p.to_str().unwrap().to_string())
            .collect::<Vec<_>>(),
    )
}

#[test]
fn content_decides_before_the_ending() {
    let folder = tempdir().unwrap();
    let batch = sample(10);
    for ending in [
        "arrow",
        "arrows",
        "parquet",
        "jsonl",
        "jsonl.gz",
        "jsonl.zst",
    ] {
        let path = folder.path().join(format!("right.{ending}"));
        write(&path, &batch.schema(), std::slice::from_ref(&batch));
        for wrong in ["wrong.arrow", "wrong.dat", "wrong"] {
            let renamed = folder.path().join(wrong);
            fs::copy(&path, &renamed).unwrap();
            assert_eq!(
                read(&renamed).unwrap().num_rows(),
                10,
                "{ending} as {wrong}"
            );
        }
    }
}

#[test]
fn compressed_arrow_is_read() {
    let folder = tempdir().unwrap();
    let batch = sample(3000);
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = || {
            IpcWriteOptions::default()
                .try_with_compression(Some(codec))
                .unwrap()
        };
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let mut writer =
            FileWriter::try_new_with_options(&mut a, &batch.schema(), options()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let mut writer =
            StreamWriter::try_new_with_options(&mut b, &batch.schema(), options()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        for (name, bytes) in [("file.arrow", a), ("stream.arrow", b)] {
            assert_eq!(
                read(&file(folder.path(), name, bytes)).unwrap(),
                batch,
                "{codec:?} {name}"
            );
        }
    }
}

#[test]
fn a_stream_without_an_end_mark_is_whole() {
    let folder = tempdir().unwrap();
    let batch = sample(10);
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, &batch.schema())
        .unwrap()
        .write(&batch)
        .unwrap();
    assert_eq!(
        read(&file(folder.path(), "a.arrows", bytes)).unwrap(),
        batch
    );
}

#[test]
fn what_pzstd_wrote_is_read() {
    let folder = tempdir().unwrap();
    let skipped = b"\x50\x2a\x4d\x18\x04\0\0\0size";
    let lines = zstd::encode_all(&b"{\"a\":1}\n"[..], 3).unwrap();
    let twice = [&skipped[..], &lines, skipped, &lines].concat();
    let path = file(folder.path(), "a.jsonl.zst", twice);
    assert_eq!(read(&path).unwrap().num_rows(), 2);
}

#[test]
fn a_folder_stands_for_its_files_in_order() {
    let folder = tempdir().unwrap();
    for (name, n) in [("b.jsonl", 2), ("a.jsonl", 1), ("c.jsonl.gz", 3)] {
        let columns: Vec<(_, ArrayRef)> = vec![("n", Arc::new(Int64Array::from(vec![n])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        write(&folder.path().join(name), &batch.schema(), &[batch]);
    }
    for ignored in ["notes.txt", "_SUCCESS", ".hidden.jsonl", "state.json"] {
        file(folder.path(), ignored, "not data");
    }
    let all = |path: &str| strings(&drain(Source::open(&[path.into()]).unwrap()).unwrap(), "n");
    let there = folder.path().to_str().unwrap();
    assert_eq!(all(there), ["1", "2", "3"].map(|n| Some(n.to_string())));
    assert_eq!(
        all(&format!("{there}/*.jsonl")),
        ["1", "2"].map(|n| Some(n.to_string()))
    );
    let source = Source::open(&[format!("{there}/b.jsonl"), format!("{there}/a.jsonl")]).unwrap();
    assert_eq!(source.rows, Some(2));
    assert_eq!(source.files[0], format!("{there}/b.jsonl"));
    assert_eq!(
        strings(&drain(source).unwrap(), "n"),
        ["2", "1"].map(|n| Some(n.to_string()))
    );
}

#[test]
fn a_name_with_glob_characters_is_itself_first() {
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "run[1].jsonl", "{\"a\":1}\n");
    assert_eq!(read(&path).unwrap().num_rows(), 1);
}

#[test]
fn nothing_to_read_is_said() {
    let folder = tempdir().unwrap();
    let there = folder.path().to_str().unwrap().to_string();
    let why = |inputs: &[&str]| {
        let inputs: Vec<String> = inputs.iter().map(|s| s.to_string()).collect();
        Source::open(&inputs).err().expect("refused").to_string()
    };
    assert!(why(&[]).contains("no input is named"));
    assert!(
        why(&[&there]).contains("holds no file that is read"),
        "{}",
        why(&[&there])
    );
    assert!(why(&[&format!("{there}/*.arrow")]).contains("matches no file"));
    assert!(why(&[&format!("{there}/gone.arrow")]).contains("does not exist"));
    fs::create_dir(folder.path().join("train")).unwrap();
    assert!(why(&[&there]).contains("holds no file that is read"));
    assert!(why(&["-", "-"]).contains("standard input can be read only once"));
}

#[test]
fn files_of_one_run_must_agree() {
    let folder = tempdir().unwrap();
    let batch = |fields: Vec<(&str, ArrayRef, bool)>, note: &str| {
        let schema: Vec<_> = fields
            .iter()
            .map(|(n, c, null)| Field::new(*n, c.data_type().clone(), *null))
            .collect();
        let schema = Schema::new(schema).with_metadata([("note".into(), note.into())].into());
        RecordBatch::try_new(
            Arc::new(schema),
            fields.into_iter().map(|(_, c, _)| c).collect(),
        )
        .unwrap()
    };
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let save = |name: &str, batch: RecordBatch| {
        let path = folder.path().join(name);
        write(&path, &batch.schema(), &[batch]);
        path
    };
    let first = save(
        "first.arrow",
        batch(
            vec![("q", text.clone(), false), ("r", text.clone(), false)],
            "1",
        ),
    );
    let loose = save(
        "loose.parquet",
        batch(
            vec![("q", text.clone(), true), ("r", text.clone(), false)],
            "2",
        ),
    );
    let joined = open_all(&[&first, &loose]).unwrap();
    assert!(joined.schema.field(0).is_nullable() && !joined.schema.field(1).is_nullable());
    assert_eq!(joined.schema.metadata()["note"], "1");
    assert_eq!(drain(joined).unwrap().num_rows(), 2);

    let why = |name: &str, fields| {
        let other = save(name, batch(fields, ""));
        let text = open_all(&[&first, &other])
            .err()
            .expect("refused")
            .to_string();
        assert!(
            text.contains(name) && text.contains("first.arrow"),
            "{text}"
        );
        text
    };
    assert!(
        why(
            "typed.arrow",
            vec![("q", text.clone(), true), ("r", number.clone(), true)]
        )
        .contains("column \"r\" is of type Int64 here and Utf8 there")
    );
    assert!(why("fewer.arrow", vec![("q", text.clone(), true)]).contains("no column \"r\""));
    assert!(
        why(
            "more.arrow",
            vec![
                ("q", text.clone(), true),
                ("r", text.clone(), true),
                ("s", number, true)
            ]
        )
        .contains("a column \"s\" more")
    );
    assert!(
        why(
            "order.arrow",
            vec![("r", text.clone(), true), ("q", text, true)]
        )
        .contains("column \"r\" stands where \"q\" did")
    );
}

#[test]
fn of_json_lines_files_the_one_that_does_not_fit_is_named() {
    let folder = tempdir().unwrap();
    let first = folder.path().join("a.parquet");
    let batch = common::one_column("n", Arc::new(Int64Array::from(vec![1])));
    write(&first, &batch.schema(), &[batch]);
    let fine = file(folder.path(), "b.jsonl", "{\"n\":1}\n");
    for line in ["{\"n\":1,\"s\":1}\n", "{\"n\":\"x\"}\n"] {
        let other = file(folder.path(), "c.jsonl", line);
        let refused = open_all(&[&first, &fine, &other]).err().expect("refused");
        assert!(
            refused.to_string().contains("c.jsonl does not fit"),
            "{refused}"
        );
    }
}

#[test]
fn kinds_of_text_are_one_type() {
    let folder = tempdir().unwrap();
    let texts = || vec![Some("x"), None];
    let kinds: [ArrayRef; 5] = [
        Arc::new(StringArray::from(texts())),
        Arc::new(LargeStringArray::from(texts())),
        Arc::new(StringViewArray::from(texts())),
        Arc::new(texts().into_iter().collect::<DictionaryArray<Int8Type>>()),
        Arc::new(NullArray::new(2)),
    ];
    let paths: Vec<_> = kinds
        .into_iter()
        .enumerate()
        .map(|(at, column)| {
            let path = folder.path().join(format!("{at}.arrow"));
            let schema = Schema::new(vec![Field::new("q", column.data_type().clone(), true)]);
            let schema = Arc::new(schema);
            let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
            write(&path, &schema, &[batch]);
            path
        })
        .collect();
    let source = open_all(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>()).unwrap();
    assert_eq!(source.schema.field(0).data_type(), &DataType::LargeUtf8);
    let text = strings(&drain(source).unwrap(), "q");
    for pair in text[..8].chunks(2) {
        assert_eq!(pair, [Some("x".to_string()), None]);
    }
    assert_eq!(text[8..], [None, None]);
}

#[test]
fn folders_say_columns_that_files_lack() {
    let folder = tempdir().unwrap();
    for (place, text) in [
        ("checkpoint=a%20b/step=1", "{\"q\":\"x\"}\n{\"q\":\"y\"}\n"),
        ("checkpoint=c", "{\"q\":\"z\",\"checkpoint\":\"own\"}\n"),
        ("rest", "{\"q\":\"w\"}\n"),
    ] {
        let place = folder.path().join(place);
        fs::create_dir_all(&place).unwrap();
        file(&place, "part.jsonl", text);
    }
    let other = folder.path().join("checkpoint=d");
    fs::create_dir(&other).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("q", DataType::Utf8, true)]));
    let column: ArrayRef = Arc::new(StringArray::from(vec!["v"]));
    let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
    write(&other.join("part.parquet"), &schema, &[batch]);
    let all = drain(open_all(&[folder.path()]).unwrap()).unwrap();
    let said = ["a b", "a b", "own", "d"].map(|text| Some(text.to_string()));
    assert_eq!(strings(&all, "checkpoint"), [&said[..], &[None]].concat());
    let one = Some("1".to_string());
    assert_eq!(strings(&all, "step"), [one.clone(), one, None, None, None]);
}

#[test]
fn json_lines_files_share_their_columns() {
    let folder = tempdir().unwrap();
    let a = file(
        folder.path(),
        "a.jsonl",
        "{\"q\":\"x\",\"score\":null}\n{\"q\":\"y\",\"score\":1}\n",
    );
    let b = file(
        folder.path(),
        "b.jsonl",
        "{\"q\":\"z\",\"score\":0.5,\"more\":true}\n",
    );
    let source = open_all(&[&a, &b]).unwrap();
    let types: Vec<_> = source
        .schema
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    assert_eq!(
        types,
        [DataType::Utf8, DataType::Float64, DataType::Boolean]
    );
    let all = drain(source).unwrap();
    assert_eq!(strings(&all, "more"), [None, None, Some("true".into())]);
}

#[test]
fn mixed_json_keeps_its_text() {
    let folder = tempdir().unwrap();
    let lines = [
        r#"{"mix":1,"big":12345678901234567890123,"exact":9007199254740993,"o":{},"deep":[{"a":1}]}"#,
        r#"{"mix":"one","big":1,"exact":1.5,"o":{},"deep":[{"b":"x"},null]}"#,
        "",
        r#"  {"mix":1.50,"deep":null}  "#,
        r#"{"mix":[1, {"k": "\u00e9"}],"mix2":"\ud83d\ude42 \" é","deep":[]}"#,
    ];
    let all = read(&file(folder.path(), "a.jsonl", lines.join("\r\n"))).unwrap();
    let some = |texts: &[&str]| {
        texts
            .iter()
            .map(|t| Some(t.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        strings(&all, "mix"),
        some(&["1", "one", "1.50", r#"[1, {"k": "\u00e9"}]"#])
    );
    assert_eq!(
        strings(&all, "big")[..2],
        some(&["12345678901234567890123", "1"])
    );
    assert_eq!(
        strings(&all, "exact")[..2],
        some(&["9007199254740993", "1.5"])
    );
    assert_eq!(strings(&all, "mix2")[3], Some("🙂 \" é".into()));
    assert_eq!(strings(&all, "o")[..2], some(&["{}", "{}"]));
    let deep = all.column_by_name("deep").unwrap().as_list::<i32>();
    assert_eq!(deep.value(1).len(), 2);
    assert!(deep.is_null(2) && !deep.is_null(3));
    let DataType::List(item) = deep.data_type() else {
        panic!("{}", deep.data_type())
    };
    assert!(matches!(item.data_type(), DataType::Struct(fields) if fields.len() == 2));
}

#[test]
fn csv_is_text() {
    let folder = tempdir().unwrap();
    let bytes =
        "\u{feff},id,text\r\n0,001,\"two\r\nlines, \"\"quoted\"\"\"\r\n\r\n1,,\"\"\n2,5\" pipe,é";
    let all = read(&file(folder.path(), "a.csv", bytes)).unwrap();
    let names: Vec<_> = all
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["", "id", "text"]);
    assert_eq!(
        strings(&all, "id"),
        [Some("001".into()), None, Some("5\" pipe".into())]
    );
    let text = ["two\r\nlines, \"quoted\"", "", "é"].map(|t| Some(t.to_string()));
    assert_eq!(strings(&all, "text"), text);
}

#[test]
fn compression_may_come_in_several_members() {
    let folder = tempdir().unwrap();
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    let (one, two) = ("{\"a\":1}\n", "{\"a\":2}\n");
    for (name, bytes) in [
        ("a.jsonl.gz", [gzip(one), gzip(two)].concat()),
        ("a.jsonl.zst", [zstd(one), zstd(two)].concat()),
    ] {
        assert_eq!(
            read(&file(folder.path(), name, bytes)).unwrap().num_rows(),
            2,
            "{name}"
        );
    }
}

#[test]
fn no_rows_keep_the_columns() {
    let folder = tempdir().unwrap();
    let batch = sample(0);
    for ending in ["arrow", "arrows", "parquet"] {
        let path = folder.path().join(format!("none.{ending}"));
        write(&path, &batch.schema(), std::slice::from_ref(&batch));
        let source = open(&path).unwrap();
        assert_eq!(
            (source.rows, source.schema.as_ref()),
            (Some(0), batch.schema().as_ref()),
            "{ending}"
        );
        assert_eq!(source.count(), 0);
    }
    let csv = file(folder.path(), "none.csv", "q,r\n");
    assert_eq!(read(&csv).unwrap().schema().fields().len(), 2);
}

#[test]
fn huge_texts_make_small_batches() {
    let folder = tempdir().unwrap();
    let text = "x".repeat(1 << 20);
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|_| &text)));
    let batch = RecordBatch::try_from_iter([("response", texts)]).unwrap();
    for ending in ["arrow", "arrows", "parquet", "jsonl", "csv"] {
        let path = folder.path().join(format!("huge.{ending}"));
        write(&path, &batch.schema(), std::slice::from_ref(&batch));
        let source = open(&path).unwrap();
        let rows: Vec<_> = source.map(|batch| batch.unwrap().num_rows()).collect();
        assert_eq!(rows.iter().sum::<usize>(), 40);
        // Parquet knows only averages, of dictionaries too.
        let most = if ending == "parquet" { 40 } else { 17 };
        assert!(rows.iter().all(|&n| n <= most), "{ending} {rows:?}");
    }
}

#[test]
fn what_is_appended_while_a_file_is_read_is_not_part_of_it() {
    let folder = tempdir().unwrap();
    let batch = sample(2000);
    for ending in ["jsonl", "jsonl.gz", "csv", "csv.zst", "arrows"] {
        let path = folder.path().join(format!("a.{ending}"));
        write(&path, &batch.schema(), std::slice::from_ref(&batch));
        let mut bytes = fs::read(&path).unwrap();
        if ending == "arrows" {
            bytes.truncate(bytes.len() - 8); // as written so far, without an end mark
            fs::write(&path, &bytes).unwrap();
        }
        let source = open(&path).unwrap();
        let mut appending = fs::OpenOptions::new().append(true).open(&path).unwrap();
        appending.write_all(&bytes).unwrap();
        assert_eq!(drain(source).unwrap().num_rows(), 2000, "{ending}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_whatever_it_holds() {
    let folder = tempdir().unwrap();
    let batch = sample(2000);
    for (ending, rows) in [
        ("arrows", None),
        ("arrow", Some(2000)),
        ("parquet", Some(2000)),
        ("jsonl.gz", Some(2000)),
        ("csv", Some(2000)),
    ] {
        let path = folder.path().join(format!("whole.{ending}"));
        write(&path, &batch.schema(), std::slice::from_ref(&batch));
        let (pipe, feeder) = common::pipe(folder.path(), path);
        let source = open(&pipe).unwrap();
        assert_eq!(source.rows, rows, "{ending}");
        assert_eq!(drain(source).unwrap().num_rows(), 2000, "{ending}");
        feeder.join().unwrap();
        fs::remove_file(&pipe).unwrap();
    }
}
