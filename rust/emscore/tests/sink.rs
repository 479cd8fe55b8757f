//! Outputs: formats, names, and what is refused.

mod common;

use common::{ENDINGS, read, sample, strings, write};

#[test]
fn every_format_gives_the_rows_back() {
    let folder = tempfile::tempdir().unwrap();
    let batches = [sample(1500), sample(7)];
    for ending in ENDINGS {
        let path = folder.path().join(format!("out.{ending}"));
        write(&path, &batches[0].schema(), &batches);
        let back = read(&path).unwrap_or_else(|e| panic!("{ending}: {e}"));
        assert_eq!(back.num_rows(), 1507, "{ending}");
        let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        for name in ["question", "response", "n", "flag", "aligned", "outcome"] {
            let (mut now, mut then) = (strings(&back, name), strings(&all, name));
            if name == "aligned" {
                // 1.0 in one format is 1 in another.
                let number = |v: Option<String>| v.map(|v| v.parse::<f32>().unwrap().to_string());
                now = now.into_iter().map(number).collect();
                then = then.into_iter().map(number).collect();
            }
            assert_eq!(now, then, "{ending} {name}");
        }
        if ["arrow", "feather", "ipc", "arrows", "parquet"].contains(&ending) {
            assert_eq!(back.schema(), all.schema(), "{ending}");
        }
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, ENDINGS.len(), "no hidden file is left");
}
