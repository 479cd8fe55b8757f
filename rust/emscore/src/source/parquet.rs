//! Parquet: one row group after the other, page by page.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::batches::{MAX_BYTES, MAX_ROWS};
use super::guard::{Ratio, catch, plausible};
use super::origin::Origin;
use super::{Batches, Inspected, thrift};
use crate::error::{Error, Result};

/// What a Parquet file begins and ends with.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// The footer's length and the magic.
const TAIL: u64 = 8;

/// Reads the footer and every page header, so that damage is found before any work.
pub(super) fn inspect(origin: &Origin) -> Result<Inspected> {
    let file = origin.open()?;
    let (metadata, end) = footer(origin, &file)?;
    let mut rows = 0;
    for (index, group) in metadata.metadata().row_groups().iter().enumerate() {
        let n = u64::try_from(group.num_rows())
            .ok()
            .filter(|&n| n <= i64::MAX as u64 / 2);
        rows += n.ok_or_else(|| damaged(origin, index, "its number of rows is impossible"))?;
        for column in group.columns() {
            check_pages(&file, column, end).map_err(|why| {
                damaged(
                    origin,
                    index,
                    &format!("column {}: {why}", column.column_path()),
                )
            })?;
        }
    }
    Ok(Inspected {
        schema: metadata.schema().clone(),
        rows,
    })
}

/// The batches of a Parquet file.
pub(super) fn read(origin: &Origin) -> Result<Batches> {
    let file = origin.open()?;
    let (metadata, _) = footer(origin, &file)?;
    let groups = 0..metadata.metadata().num_row_groups();
    let origin = origin.clone();
    Ok(Box::new(groups.flat_map(move |index| -> Batches {
        let rows = batch_rows(metadata.metadata().row_group(index));
        let begun = catch(|| {
            let file = file.try_clone().map_err(|e| e.to_string())?;
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_row_groups(vec![index])
                .with_batch_size(rows)
                .build()
                .map_err(|e| e.to_string())
        });
        let origin = origin.clone();
        let damaged = move |why: String| damaged(&origin, index, &why);
        match begun {
            Ok(mut reader) => Box::new(std::iter::from_fn(move || {
                let next = catch(|| reader.next().transpose().map_err(|e| e.to_string()));
                next.map_err(&damaged).transpose()
            })),
            Err(why) => Box::new(std::iter::once(Err(damaged(why)))),
        }
    })))
}

fn damaged(origin: &Origin, group: usize, why: &str) -> Error {
    origin.bad(format_args!(
        "is damaged in row group {group}: {why}; write it again or leave it out"
    ))
}

/// As many rows as hold [`MAX_BYTES`] on average, [`MAX_ROWS`] at most.
fn batch_rows(group: &RowGroupMetaData) -> usize {
    let plain = |column: &ColumnChunkMetaData| {
        // A dictionary-encoded column may be far larger than its pages.
        column
            .unencoded_byte_array_data_bytes()
            .unwrap_or(0)
            .max(column.uncompressed_size())
            .max(0)
    };
    let bytes = group
        .columns()
        .iter()
        .map(plain)
        .fold(0, i64::saturating_add);
    let row = (bytes / group.num_rows().max(1)).max(1) as u64;
    (MAX_BYTES as u64 / row).clamp(1, MAX_ROWS as u64) as usize
}

/// The footer, and where it begins.
fn footer(origin: &Origin, mut file: &File) -> Result<(ArrowReaderMetadata, u64)> {
    let length = origin.bytes;
    let mut read = |start: u64, bytes: &mut [u8]| {
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(bytes))
    };
    let mut tail = [0; TAIL as usize];
    let begin = MAGIC.len() as u64;
    if length < begin + TAIL || read(length - TAIL, &mut tail).is_err() || tail[4..] != *MAGIC {
        return Err(origin.bad(format_args!(
            "is cut short or was not finished: it begins as a Parquet file but lacks the end of \
             one (at byte {length}); copy or write it again"
        )));
    }
    let size = u64::from(u32::from_le_bytes(
        tail[..4].try_into().expect("four bytes"),
    ));
    let bad_footer = |why: &str| {
        origin.bad(format_args!(
            "has a damaged Parquet footer: {why}; copy or write it again"
        ))
    };
    let Some(start) = (length - TAIL)
        .checked_sub(size)
        .filter(|&start| start >= begin)
    else {
        return Err(bad_footer("its length is wrong"));
    };
    let mut bytes = vec![0; size as usize];
    read(start, &mut bytes).map_err(|e| origin.unreadable(&e))?;
    thrift::walk(&bytes).ok_or_else(|| bad_footer("its lengths make no sense"))?;
    catch(|| {
        ArrowReaderMetadata::load(
            &file.try_clone().map_err(|e| e.to_string())?,
            ArrowReaderOptions::new(),
        )
        .map_err(|e| e.to_string())
    })
    .map(|metadata| (metadata, start))
    .map_err(|why| bad_footer(&why))
}

/// Walks the page headers of a column chunk.
fn check_pages(mut file: &File, column: &ColumnChunkMetaData, limit: u64) -> Result<(), String> {
    let start = column.dictionary_page_offset().filter(|&at| at > 0);
    let start = start.unwrap_or(column.data_page_offset());
    let start = u64::try_from(start).map_err(|_| "it begins before the file")?;
    let size = u64::try_from(column.compressed_size()).map_err(|_| "its size is negative")?;
    let end = start.checked_add(size).filter(|&end| end <= limit);
    let end = end.ok_or("it reaches beyond the file")?;
    let mut at = start;
    while at < end {
        let header = page_header(&mut file, at, end)
            .ok_or_else(|| format!("the page at byte {at} has a damaged header"))?;
        let [_, _, declared, stored] = header
            .integers
            .map(|n| n.and_then(|n| u64::try_from(n).ok()));
        let after = at + header.length as u64;
        match (declared, stored) {
            (Some(declared), Some(stored))
                if stored <= end - after && plausible(declared, stored, ratio(column)) =>
            {
                at = after + stored;
            }
            _ => return Err(format!("the page at byte {at} has an impossible size")),
        }
    }
    Ok(())
}

/// Headers are some dozen bytes, unless they carry long statistics.
fn page_header(file: &mut &File, at: u64, end: u64) -> Option<thrift::Walked> {
    let mut window = 256;
    loop {
        let size = (end - at).min(window);
        let mut bytes = vec![0; size as usize];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        match thrift::walk(&bytes) {
            Some(walked) => return Some(walked),
            None if size < window || window >= 16 << 20 => return None,
            None => window *= 16,
        }
    }
}

fn ratio(column: &ColumnChunkMetaData) -> Ratio {
    match column.compression() {
        Compression::UNCOMPRESSED => Ratio::Stored,
        Compression::SNAPPY => Ratio::Snappy,
        Compression::LZ4 | Compression::LZ4_RAW => Ratio::Lz4,
        Compression::GZIP(_) => Ratio::Deflate,
        Compression::BROTLI(_) => Ratio::Brotli,
        _ => Ratio::Zstd,
    }
}
