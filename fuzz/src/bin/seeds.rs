//! Writes a small valid file of each format into `corpus/TARGET`, for the fuzzer to start from.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float32Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use emscore::sink::Output;

fn main() -> emscore::Result<()> {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a, \"b\"\n"), None, Some("é")]));
    let numbers: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.5), None, Some(2.0)]));
    let outcomes: DictionaryArray<Int32Type> = ["ok", "refusal", "ok"].into_iter().collect();
    let lists = [Some(vec![Some(1.0), None]), None, Some(vec![])];
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
    let flat: Vec<(&str, ArrayRef)> =
        vec![("response", texts), ("aligned", numbers), ("outcome", Arc::new(outcomes))];
    let nested = [flat.clone(), vec![("deep", Arc::new(lists) as ArrayRef)]].concat();
    for (target, ending, columns) in [
        ("arrow_file", "arrow", &nested),
        ("arrow_stream", "arrows", &nested),
        ("parquet", "parquet", &nested),
        ("json_lines", "jsonl", &nested),
        ("json_lines", "jsonl.zst", &nested),
        ("csv", "csv", &flat),
        ("csv", "csv.gz", &flat),
    ] {
        let folder = Path::new("corpus").join(target);
        std::fs::create_dir_all(&folder).expect("a folder for seeds");
        let batch = RecordBatch::try_from_iter(columns.clone()).expect("columns of one length");
        let mut output = Output::create(&folder.join(format!("seed.{ending}")), &batch.schema(), true)?;
        output.write(&batch)?;
        output.finish()?;
    }
    Ok(())
}
