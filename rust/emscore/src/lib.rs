//! emscore's engine: files of sampled responses in, alignment and coherence scores out.
//!
//! Data flows one way: [`source`] → columns → encode → batch → session → [`sink`]. Nothing in
//! this crate knows Python.

pub mod error;
pub mod sink;
pub mod source;

pub use error::{Error, Result};
