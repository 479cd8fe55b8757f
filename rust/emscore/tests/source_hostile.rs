//! Bytes that lie: whatever is changed in a valid file, the reader comes back, with rows or with a
//! sentence, and without a panic or a mountain of memory.

mod common;

use std::alloc::System;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cap::Cap;
use common::{file, sample, write};
use emscore::Error;
use proptest::prelude::*;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const KINDS: [&str; 8] = [
    "arrow",
    "arrows",
    "lz4.arrow",
    "zstd.arrow",
    "parquet",
    "jsonl",
    "jsonl.gz",
    "csv",
];

/// A small valid file of each kind.
fn valid(kind: usize) -> &'static [u8] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    &FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        KINDS
            .iter()
            .map(|kind| {
                let path = folder.path().join(format!("a.{kind}"));
                match kind.split_once('.') {
                    Some((codec, "arrow")) => fs::write(&path, compressed(codec)).unwrap(),
                    _ => write(&path, &sample(0).schema(), &[sample(20), sample(9)]),
                }
                fs::read(path).unwrap()
            })
            .collect()
    })[kind]
}

fn compressed(codec: &str) -> Vec<u8> {
    use arrow::ipc::{
        CompressionType,
        writer::{FileWriter, IpcWriteOptions},
    };
    let codec = if codec == "lz4" {
        CompressionType::LZ4_FRAME
    } else {
        CompressionType::ZSTD
    };
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(codec))
        .unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        FileWriter::try_new_with_options(&mut bytes, &sample(0).schema(), options).unwrap();
    writer.write(&sample(200)).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// Reads all of it; anything but rows or an input error fails the test.
fn survives(path: &Path) -> Result<(), TestCaseError> {
    let start = Instant::now();
    let before = MEMORY.allocated();
    let outcome = common::open(path).and_then(|mut source| source.try_for_each(|b| b.map(drop)));
    if let Err(e) = outcome {
        prop_assert!(matches!(e, Error::Input(_)), "{e:?}");
        prop_assert!(!e.to_string().contains('\n'), "{e}");
    }
    prop_assert!(
        start.elapsed() < Duration::from_secs(20),
        "it took {:?}",
        start.elapsed()
    );
    let peak = MEMORY.max_allocated().saturating_sub(before);
    prop_assert!(peak < 256 << 20, "it allocated {} MB", peak >> 20);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6 * ProptestConfig::default().cases, failure_persistence: None, ..Default::default() })]

    #[test]
    fn changed_bytes_are_survived(
        kind in 0..KINDS.len(),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(), Just(0), Just(0xff), Just(0x7f), Just(0x80),
        ], 1..5usize), 0..6),
        near_the_end in any::<bool>(),
    ) {
        let mut bytes = valid(kind).to_vec();
        for (at, value, count) in changes {
            // Footers hold most lengths and offsets.
            let range = if near_the_end { bytes.len() * 2 / 3..bytes.len() } else { 0..bytes.len() };
            let at = range.start + at.index(range.len());
            let end = (at + count).min(bytes.len());
            bytes[at..end].fill(value);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        survives(&file(folder.path(), &format!("a.{}", KINDS[kind]), bytes))?;
    }

    #[test]
    fn any_bytes_are_survived(
        kind in 0..KINDS.len(),
        magic in prop::sample::select(vec![&b""[..], b"ARROW1\0\0", b"\xff\xff\xff\xff\x10\0\0\0", b"PAR1", b"{\"a\":", b"\x1f\x8b\x08"]),
        body in prop::collection::vec(any::<u8>(), 0..300),
        end in prop::sample::select(vec![&b""[..], b"\x20\0\0\0ARROW1", b"\x20\0\0\0PAR1", b"}\n"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        survives(&file(folder.path(), &format!("a.{}", KINDS[kind]), [magic, &body, end].concat()))?;
    }
}
