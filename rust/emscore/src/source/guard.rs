//! Shields against hostile bytes: panics become errors, declared sizes are not believed, and text
//! that nobody has looked through is.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, GenericListArray, LargeBinaryArray, ListArray,
    OffsetSizeTrait, RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; a panic in it (the format crates panic on some malformed files) comes back as text.
/// Nothing is printed for such a panic: the caller reports it in a sentence.
pub(super) fn catch<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                usual(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(before);
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("its content makes no sense").into())
    })
}

/// What a compressor can at best do: how many bytes one compressed byte may stand for.
pub(super) enum Ratio {
    /// Bytes as they are.
    Stored = 1,
    /// LZ4: a match is extended by up to 255 bytes a byte.
    Lz4 = 255,
    /// Snappy: 64 bytes in a 3-byte copy.
    Snappy = 22,
    /// Deflate: 258 bytes in 2 bits.
    Deflate = 1032,
    /// Zstandard: a block of 128 KiB in 4 bytes.
    Zstd = 32_768,
    /// Brotli: a block of 16 MiB in some bytes.
    Brotli = 4 << 20,
}

/// Whether `declared` bytes can come out of `compressed` ones. A corrupt length fails this long
/// before anything is allocated for it.
pub(super) fn plausible(declared: u64, compressed: u64, ratio: Ratio) -> bool {
    // The slack covers headers and tiny inputs.
    declared <= compressed.saturating_mul(ratio as u64).saturating_add(64)
}

/// Looks through the texts of a batch that other software made and nothing has validated; `before`
/// rows came before it.
pub(super) fn check_text(batch: &RecordBatch, before: u64) -> Result<()> {
    let columns = batch.columns().iter().zip(batch.schema_ref().fields());
    for (column, field) in columns {
        if let Some(row) = no_text(column) {
            return Err(Error::Input(format!(
                "row {} of the column {:?} holds bytes that are not UTF-8, and so no text; decode \
                 them with what they are encoded in, or with errors=\"replace\".",
                before + row as u64,
                field.name()
            )));
        }
    }
    Ok(())
}

/// The first row of `array` with a text, at any depth, that is not UTF-8.
fn no_text(array: &ArrayRef) -> Option<usize> {
    use DataType::*;
    let broken = |bytes: Option<&[u8]>| bytes.is_some_and(|b| str::from_utf8(b).is_err());
    match array.data_type() {
        Utf8 => BinaryArray::from(array.as_string::<i32>().clone())
            .iter()
            .position(broken),
        LargeUtf8 => LargeBinaryArray::from(array.as_string::<i64>().clone())
            .iter()
            .position(broken),
        Utf8View => array
            .as_string_view()
            .clone()
            .to_binary_view()
            .iter()
            .position(broken),
        Struct(_) => array.as_struct().columns().iter().filter_map(no_text).min(),
        List(_) => no_text_in(array.as_list::<i32>()),
        LargeList(_) => no_text_in(array.as_list::<i64>()),
        Map(_, _) => no_text_in(&ListArray::from(array.as_map().clone())),
        FixedSizeList(_, size) => {
            no_text(array.as_fixed_size_list().values()).map(|item| item / *size as usize)
        }
        Dictionary(_, values) => no_text(&cast(array, values).ok()?),
        RunEndEncoded(_, values) => no_text(&cast(array, values.data_type()).ok()?),
        _ => None,
    }
}

fn no_text_in<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Option<usize> {
    let item = O::usize_as(no_text(list.values())?);
    Some(list.value_offsets().partition_point(|&start| start <= item) - 1)
}
