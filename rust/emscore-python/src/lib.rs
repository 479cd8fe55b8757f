//! Python bindings of the engine.
use pyo3::prelude::*;

/// The native module behind `emscore`.
#[pymodule]
mod _emscore {}
