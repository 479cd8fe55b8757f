//! Files and streams → record batches.
