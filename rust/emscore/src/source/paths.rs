//! What a user names → files, in order: paths, folders, globs, `-`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use glob::MatchOptions;

use super::guard::catch;
use super::origin::{bad, unreadable};
use crate::error::{Error, Result};
use crate::format::Format;

/// The files that `inputs` stand for. A folder stands for the files in it, at any depth, with a known
/// ending, sorted by name, without results (`NAME.scored.EXT`) beside what they are of; a pattern for
/// what it matches, likewise.
pub(super) fn expand(inputs: &[String]) -> Result<Vec<String>> {
    if inputs.is_empty() {
        return Err(Error::Input(
            "no input is named; name a file, a folder, a pattern or -.".into(),
        ));
    }
    let mut files = Vec::new();
    for input in inputs {
        let path = Path::new(input);
        if input == "-" {
            if files.iter().any(|file| file == "-") {
                return Err(bad(input, "can be read only once; name - once"));
            }
            files.push(input.clone());
        } else if path.is_dir() {
            files.extend(folder(path)?);
        } else if !path.exists() && input.contains(['*', '?', '[']) {
            files.extend(pattern(input)?);
        } else {
            files.push(input.clone());
        }
    }
    Ok(files)
}

fn pattern(pattern: &str) -> Result<Vec<String>> {
    // As in a shell, * does not match hidden files.
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let paths = glob::glob_with(pattern, options).map_err(|e| {
        bad(
            pattern,
            format_args!("is not a pattern: {} (character {})", e.msg, e.pos + 1),
        )
    })?;
    // glob panics at a name that is not UTF-8, whether it matches or not.
    let paths = catch(|| Ok(paths.collect::<Vec<_>>())).map_err(|_| {
        bad(
            pattern,
            "leads past a name that is not UTF-8; rename that, or leave the pattern to the shell \
             (without quotes)",
        )
    })?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|e| unreadable(&e.path().to_string_lossy(), e.error()))?;
        if path.is_dir() {
            files.extend(folder(&path)?);
        } else {
            files.push(name(&path)?);
        }
    }
    // It may match a folder and what is in it.
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    if files.is_empty() {
        return Err(bad(
            pattern,
            "matches no file; check the pattern, and quote it in the shell",
        ));
    }
    Ok(files)
}

/// The files in a folder and in the folders within it.
fn folder(path: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    within(path, &mut files)?;
    if files.is_empty() {
        return Err(bad(
            &path.to_string_lossy(),
            "holds no file that is read (.arrow, .arrows, .feather, .ipc, .parquet, .jsonl, .ndjson, \
             .csv, the last three also .gz or .zst); name the files",
        ));
    }
    files.sort();
    Ok(files)
}

fn within(path: &Path, files: &mut Vec<String>) -> Result<()> {
    if let Some(saved) = saved_dataset(path) {
        for file in saved {
            files.push(name(&path.join(file))?);
        }
        return Ok(());
    }
    let failed = |e| unreadable(&path.to_string_lossy(), &e);
    let mut own = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, file) = (entry.path(), entry.file_name());
        if file.as_encoded_bytes().starts_with(b".") || file.as_encoded_bytes().starts_with(b"_") {
            continue;
        }
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type().map_err(failed)?.is_dir() {
            within(&path, files)?;
        } else if Format::of(&file.to_string_lossy()).is_some() && !path.is_dir() {
            own.push(name(&path)?);
        }
    }
    let is_result = |file: &String| {
        let input = file
            .rsplit_once(".scored.")
            .map(|(stem, ending)| format!("{stem}.{ending}"));
        input.is_some_and(|input| own.contains(&input))
    };
    files.extend(own.iter().filter(|file| !is_result(file)).cloned());
    Ok(())
}

/// The files that `datasets` lists where it saved a data set; beside them may lie its cache.
fn saved_dataset(folder: &Path) -> Option<Vec<String>> {
    let state = fs::read(folder.join("state.json")).ok()?;
    let state: serde_json::Value = serde_json::from_slice(&state).ok()?;
    let files = state.get("_data_files")?.as_array()?.iter();
    files
        .map(|file| Some(file.get("filename")?.as_str()?.to_string()))
        .collect()
}

fn name(path: &Path) -> Result<String> {
    let name = path.to_str().map(String::from);
    name.ok_or_else(|| {
        bad(
            &path.to_string_lossy(),
            "has a name that is not UTF-8; rename it",
        )
    })
}
