//! emscore's engine: files of sampled responses in, alignment and coherence scores out.
//!
//! Data flows one way: [`source`] → [`columns`] → `encode` → `batch` → `session` → [`sink`];
//! `pipeline` wires it, [`score_file()`] runs it from files to a file. Nothing in this crate knows
//! Python.

mod batch;
mod cache;
pub mod columns;
mod conform;
pub mod device;
mod disk;
mod encode;
pub mod engine;
mod error;
mod format;
mod journal;
mod lane;
mod memo;
mod pipeline;
mod plan;
pub mod progress;
pub mod rates;
mod reader;
mod runtime;
mod score;
mod score_file;
pub mod scorer;
mod session;
pub mod sink;
pub mod source;
pub mod tally;
mod workers;

pub use engine::{Engine, EngineOptions};
pub use error::{Error, Result};
pub use pipeline::{Scoring, score};
pub use plan::Options;
pub use runtime::Runtime;
pub use score_file::score_file;
