//! The engine's errors as Python exceptions, one class a kind.

use emscore::Error;
use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};

create_exception!(
    emscore,
    EmscoreError,
    PyException,
    "What emscore raises; its subclasses say why."
);
create_exception!(
    emscore,
    InputError,
    EmscoreError,
    "An input cannot be read, or its columns do not fit."
);
create_exception!(
    emscore,
    OutputError,
    EmscoreError,
    "An output cannot be written, or would destroy something."
);
create_exception!(
    emscore,
    ScorerError,
    EmscoreError,
    "A scorer is missing, incomplete or damaged."
);
create_exception!(
    emscore,
    DeviceError,
    EmscoreError,
    "ONNX Runtime or the device asked for cannot be used."
);
create_exception!(
    emscore,
    ResumeError,
    EmscoreError,
    "An unfinished run cannot be continued as asked."
);
create_exception!(
    emscore,
    CacheError,
    EmscoreError,
    "The score cache cannot be read or written."
);

/// The exception for `error`.
pub fn raise(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Input(_) => InputError::new_err(text),
        Error::Output(_) => OutputError::new_err(text),
        Error::Scorer(_) => ScorerError::new_err(text),
        Error::Device(_) => DeviceError::new_err(text),
        Error::Resume(_) => ResumeError::new_err(text),
        Error::Cache(_) => CacheError::new_err(text),
        Error::Interrupted => PyKeyboardInterrupt::new_err(text),
    }
}
