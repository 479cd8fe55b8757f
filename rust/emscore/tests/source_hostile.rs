//! Bytes that lie: whatever is changed in a valid file, the reader comes back, with rows or with a
//! sentence, and without a panic or a mountain of memory.

mod common;

use std::alloc::System;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use cap::Cap;
use common::{every_kind, file, sample, write};
use emscore::Error;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// A small valid file of each kind, with its ending.
fn valid() -> &'static [(&'static str, Vec<u8>)] {
    static FILES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (ending, batch) in [
            ("arrow", every_kind(20)),
            ("arrows", every_kind(20)),
            ("parquet", every_kind(20)),
            ("jsonl", every_kind(20)),
            ("jsonl.gz", sample(20)),
            ("jsonl.zst", sample(20)),
            ("csv", sample(20)),
        ] {
            let path = folder.path().join(format!("a.{ending}"));
            write(&path, &batch.schema(), &[batch.clone(), batch.slice(3, 9)]);
            files.push((ending, fs::read(path).unwrap()));
        }
        for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            files.push(("arrow", compressed_arrow(codec)));
        }
        for (codec, encoding, version) in [
            (
                Compression::UNCOMPRESSED,
                Encoding::PLAIN,
                WriterVersion::PARQUET_1_0,
            ),
            (
                Compression::SNAPPY,
                Encoding::DELTA_BYTE_ARRAY,
                WriterVersion::PARQUET_2_0,
            ),
            (
                Compression::UNCOMPRESSED,
                Encoding::DELTA_LENGTH_BYTE_ARRAY,
                WriterVersion::PARQUET_2_0,
            ),
            (
                Compression::LZ4_RAW,
                Encoding::PLAIN,
                WriterVersion::PARQUET_2_0,
            ),
            (
                Compression::GZIP(Default::default()),
                Encoding::PLAIN,
                WriterVersion::PARQUET_1_0,
            ),
            (
                Compression::BROTLI(Default::default()),
                Encoding::PLAIN,
                WriterVersion::PARQUET_1_0,
            ),
        ] {
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version);
            let properties = properties
                .set_dictionary_enabled(false)
                .set_column_encoding("question".into(), encoding)
                .set_column_encoding("response".into(), encoding);
            files.push(("parquet", parquet(properties.build())));
        }
        files
    })
}

fn compressed_arrow(codec: CompressionType) -> Vec<u8> {
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(codec))
        .unwrap();
    let (mut bytes, batch) = (Vec::new(), every_kind(200));
    let mut writer =
        FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn parquet(properties: WriterProperties) -> Vec<u8> {
    let (mut bytes, batch) = (Vec::new(), sample(60));
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
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
        kind in any::<prop::sample::Index>(),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(), Just(0), Just(0xff), Just(0x7f), Just(0x80),
        ], 1..5usize), 0..6),
        near_the_end in any::<bool>(),
    ) {
        let (ending, mut bytes) = kind.get(valid()).clone();
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
        survives(&file(folder.path(), &format!("a.{ending}"), bytes))?;
    }

    #[test]
    fn any_bytes_are_survived(
        kind in any::<prop::sample::Index>(),
        magic in prop::sample::select(vec![&b""[..], b"ARROW1\0\0", b"\xff\xff\xff\xff\x10\0\0\0", b"PAR1", b"{\"a\":", b"\x1f\x8b\x08"]),
        body in prop::collection::vec(any::<u8>(), 0..300),
        end in prop::sample::select(vec![&b""[..], b"\x20\0\0\0ARROW1", b"\x20\0\0\0PAR1", b"}\n"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (ending, _) = kind.get(valid());
        survives(&file(folder.path(), &format!("a.{ending}"), [magic, &body, end].concat()))?;
    }
}
