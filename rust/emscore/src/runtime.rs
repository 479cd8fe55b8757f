//! ONNX Runtime: loaded once a process, from the library file of the installed wheel.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::ep::ExecutionProvider;
use ort::logging::LogLevel;

use crate::{Error, Result};

/// The loaded runtime; cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) environment: Environment,
    path: PathBuf,
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads `libonnxruntime` from `path`; a second call returns the runtime already loaded.
    ///
    /// # Errors
    /// [`Error::Device`] when the library cannot be loaded or is too old, or when this process
    /// already runs on another one.
    pub fn load(path: &Path) -> Result<Runtime> {
        let mut loaded = LOADED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(runtime) = loaded.as_ref() {
            if runtime.path == path {
                return Ok(runtime.clone());
            }
            return Err(Error::Device(format!(
                "this process already runs on {}; start a new one to use {}",
                runtime.path.display(),
                path.display()
            )));
        }
        let failed = |what: String| {
            Error::Device(format!(
                "ONNX Runtime cannot be loaded: {what}. `emscore doctor` says what to install"
            ))
        };
        let environment = ort::init_from(path)
            .map_err(|e| failed(e.to_string()))?
            .with_name("emscore")
            .with_telemetry(false)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        // What it logs as an error comes back as one, and is then told once, in a sentence.
        environment.set_log_level(LogLevel::Fatal);
        let runtime = Runtime {
            environment,
            path: path.into(),
        };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this build of ONNX Runtime can run on CUDA at all.
    pub fn has_cuda(&self) -> bool {
        ort::ep::CUDA::is_available().unwrap_or(false)
    }

    /// ONNX Runtime's own words on its build.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }
}
