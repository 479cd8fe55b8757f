//! Python bindings of the engine: thin, a verb a file. Arrow data crosses by the C interfaces, and
//! the GIL is released wherever work is done.

mod errors;
mod inspect;
mod rates;
mod score_file;
mod scorer;
mod scoring;

use pyo3::prelude::*;

/// The native module behind `emscore`.
#[pymodule]
mod _emscore {
    #[pymodule_export]
    use crate::errors::{
        CacheError, DeviceError, EmscoreError, InputError, OutputError, ResumeError, ScorerError,
    };
    #[pymodule_export]
    use crate::inspect::{describe, runtime_info};
    #[pymodule_export]
    use crate::rates::{Pairs, Tally, score_values};
    #[pymodule_export]
    use crate::scorer::Scorer;
    #[pymodule_export]
    use crate::scoring::Scoring;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        let py = module.py();
        let stop_all = wrap_pyfunction!(crate::scoring::stop_all, module)?;
        py.import("atexit")?.call_method1("register", (stop_all,))?;
        if cfg!(debug_assertions) {
            let warnings = py.import("warnings")?;
            let text = "emscore was built without optimisation; expect it to be slow";
            warnings.call_method1("warn", (text,))?;
        }
        Ok(())
    }
}
