//! What is there: scorers and ONNX Runtime.

use std::path::Path;

use emscore::Runtime;
use emscore::scorer::Scorer;
use pyo3::prelude::*;
use serde_json::json;

use crate::errors::raise;

/// A scorer directory in words, as JSON, after checking each of its files.
#[pyfunction]
pub fn describe(py: Python<'_>, model: &str) -> PyResult<String> {
    let look = || {
        let scorer = Scorer::open(Path::new(model))?;
        let mut files = serde_json::Map::new();
        for role in scorer.roles() {
            files.insert(role.into(), json!(scorer.read(role)?.len()));
        }
        if let Some(first) = scorer.first() {
            for role in first.scorer.roles() {
                let name = format!("{}/{role}", first.scorer.name());
                files.insert(name, json!(first.scorer.read(role)?.len()));
            }
        }
        let (template, thresholds) = (scorer.template(), scorer.thresholds());
        Ok(json!({
            "id": scorer.id(),
            "name": scorer.name(),
            "judge": scorer.judge(),
            "files": files,
            "max_tokens": template.max_tokens,
            "max_question_tokens": template.max_question_tokens,
            "misaligned_below": thresholds.aligned,
            "coherent_above": thresholds.coherent,
        }))
    };
    py.detach(look)
        .map(|scorer| scorer.to_string())
        .map_err(raise)
}

/// The loaded ONNX Runtime in words, as JSON.
#[pyfunction]
pub fn runtime_info(py: Python<'_>, runtime: &str) -> PyResult<String> {
    let runtime = py
        .detach(|| Runtime::load(Path::new(runtime)))
        .map_err(raise)?;
    Ok(json!({
        "path": runtime.path(),
        "build": runtime.build_info(),
        "cuda": runtime.has_cuda(),
    })
    .to_string())
}
