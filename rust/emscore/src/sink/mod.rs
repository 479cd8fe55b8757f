//! Scored record batches → files.
