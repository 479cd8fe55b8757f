//! emscore's engine: files of sampled responses in, alignment and coherence scores out.
//!
//! Data flows one way: [`source`] → [`columns`] → [`encode`] → [`batch`] → [`session`] →
//! [`sink`]; [`pipeline`] wires it, [`score_file`] runs it from files to a file. Nothing in this
//! crate knows Python.

pub mod batch;
mod cache;
pub mod columns;
mod conform;
pub mod device;
mod disk;
pub mod encode;
pub mod engine;
pub mod error;
mod journal;
mod lane;
mod memo;
pub mod pipeline;
pub mod progress;
pub mod rates;
pub mod runtime;
pub mod score;
pub mod score_file;
pub mod scorer;
pub mod session;
pub mod sink;
pub mod source;
pub mod tally;
mod workers;

pub use engine::{Engine, EngineOptions};
pub use error::{Error, Result};
pub use pipeline::{Options, Scoring, score};
pub use runtime::Runtime;
pub use score_file::score_file;
