//! Bad inputs: each is named with the place where it is bad, in one sentence.

mod common;

use std::fs;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::ipc::writer::StreamWriter;
use common::{file, refusal};
use tempfile::tempdir;

#[test]
fn what_is_not_data_is_named() {
    let folder = tempdir().unwrap();
    let why = |name: &str, bytes: &[u8]| refusal(&file(folder.path(), name, bytes));
    assert!(why("a.arrow", b"").contains("is empty (0 bytes)"));
    assert!(why("a.txt", b"some text").contains("is neither Arrow"));
    assert!(why("a.parquet", b"some text").contains("does not begin as an Arrow or Parquet"));
    assert!(why("a.json", b"[{\"a\": 1}]").contains("one JSON array"));
    assert!(why("a.feather", b"FEA1....").contains("Feather file of version 1"));
    assert!(why("a.parquet", b"PARE....PARE").contains("encrypted"));
    assert!(why("a.csv", b"\xff\xfea\0,\0").contains("UTF-16"));
    assert!(why("a.arrow", b"ARROW1\0\0").contains("cut short or was not finished"));
    assert!(why("a.parquet", b"PAR1").contains("cut short or was not finished"));
    assert!(why("a.arrow", b"not arrow at all").contains("a.arrow"));
    assert!(why("a.jsonl", b"\n\n").contains("has no columns"));
    assert!(why("a.jsonl", b"{}\n{}\n").contains("has no columns"));
    let gzipped = zstd::encode_all(&b"PAR1PAR1"[..], 3).unwrap();
    assert!(why("a.parquet.zst", &gzipped).contains("decompress it first"));
}

#[test]
fn a_map_without_keys_is_named() {
    let entries = Field::new("entries", DataType::Struct(Fields::empty()), false);
    let map = Field::new("m", DataType::Map(Arc::new(entries), false), true);
    let mut bytes = Vec::new();
    let writer = StreamWriter::try_new(&mut bytes, &Schema::new(vec![map]));
    writer.unwrap().finish().unwrap();
    let folder = tempdir().unwrap();
    assert!(refusal(&file(folder.path(), "a.arrows", bytes)).contains("2 fields"));
}

#[test]
fn bad_json_is_named_with_its_line() {
    let folder = tempdir().unwrap();
    let why = |line: &[u8]| {
        let bytes = [
            b"{\"a\": \"fine\"}\n\n".as_slice(),
            line,
            b"\n{\"a\": \"fine\"}\n",
        ]
        .concat();
        let text = refusal(&file(folder.path(), "a.jsonl", bytes));
        assert!(text.contains("at line 3"), "{text}");
        text
    };
    assert!(why(b"{\"a\": }").contains("expected value"));
    assert!(why(b"{\"a\": \"cut").contains("EOF"));
    assert!(why(b"{\"a\": \"\xff\"}").contains("not UTF-8"));
    assert!(why(br#"{"a": "\ud83d"}"#).contains("no character"));
    assert!(why(br#"{"a": "\udc00 alone"}"#).contains("no character"));
    assert!(why(br#"{"b": [{"\ud83d": 1}]}"#).contains("no character"));
    assert!(why(br#"{"a": NaN}"#).contains("JSON knows no NaN"));
    assert!(why(br#"{"a": 1, "a": 2}"#).contains("comes twice"));
    assert!(why(b"[1, 2]").contains("an object"));
    assert!(why(b"{\"a\": 1} {\"a\": 2}").contains("trailing characters"));
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(why(deep.as_bytes()).contains("deeper than"));
}

#[test]
fn bad_csv_is_named_with_its_line() {
    let folder = tempdir().unwrap();
    let why = |bytes: &[u8], line: &str| {
        let text = refusal(&file(folder.path(), "a.csv", bytes));
        assert!(text.contains(line), "{text}");
        text
    };
    assert!(why(b"a,b\n1,\"x\ny\"\n1,2,3\n", "at line 4").contains("3 fields and the header 2"));
    assert!(why(b"a,b\r\n1,2\r\n1\r\n", "at line 3").contains("1 fields"));
    assert!(why(b"a,b\n1,\"open\n2,3\n", "at line 2").contains("never closed"));
    assert!(why(b"a,b\n1,\"x\" y\n", "at line 2").contains("follows a closing quote"));
    assert!(why(b"a,b\n1,\xff\n", "at line 2").contains("not UTF-8"));
    assert!(why(b"a,b\n\xc3,\xa9\n", "at line 2").contains("not UTF-8"));
    assert!(why(b"q;r\nx;y\n", "at line 1").contains("';' separates the columns"));
    assert!(why(b"\xef\xbb\xbfsep=;\nq;r\n", "at line 1").contains("';' separates"));
    assert!(why(b" {\"q\": 1, \"r\": 2}\n", "at line 1").contains("call it .jsonl"));
    assert!(why(b"a,a\n1,2\n", "at line 1").contains("two columns are named \"a\""));
    assert!(why(b"\n\n", "a.csv").contains("no header"));
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let path = file(folder.path(), "a.jsonl", "{\"a\":1}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything.
    if fs::File::open(&path).is_err() {
        assert!(refusal(&path).contains("ask for read permission"));
    }
}
