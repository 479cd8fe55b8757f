//! What the fuzz targets share.

use std::io::Write;

use emscore::{Error, source::Source};

/// Reads `bytes` as a file with this ending, to its end. Rows or an input error are fine; a panic,
/// a hang and a mountain of memory are not.
pub fn read(ending: &str, bytes: &[u8]) {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile().expect("a temporary file");
    file.write_all(bytes).expect("written");
    let name = file.path().to_str().expect("UTF-8").to_string();
    let outcome = Source::open(&[name]).and_then(|source| source.map(|b| b.map(drop)).collect());
    match outcome {
        Ok(()) | Err(Error::Input(_)) => {}
        Err(e) => panic!("{e:?}"),
    }
}
