//! Shields against hostile bytes: panics become errors, and declared sizes are not believed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

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
