//! What a user names → files, in order: paths, folders, globs, `-`.

use std::fs;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::origin::{bad, unreadable};
use super::sniff;
use crate::error::{Error, Result};

/// The files that `inputs` stand for. A folder stands for the files in it with a known ending,
/// sorted by name; a pattern for what it matches, likewise.
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
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|e| unreadable(&e.path().to_string_lossy(), e.error()))?;
        if path.is_dir() {
            files.extend(folder(&path)?);
        } else {
            files.push(name(&path)?);
        }
    }
    if files.is_empty() {
        return Err(bad(
            pattern,
            "matches no file; check the pattern, and quote it in the shell",
        ));
    }
    Ok(files)
}

fn folder(path: &Path) -> Result<Vec<String>> {
    let shown = path.to_string_lossy();
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut paths: Vec<PathBuf> = entries
        .map_err(|e| unreadable(&shown, &e))?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    let hidden = |path: &Path| {
        path.file_name().is_some_and(|name| {
            name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"_")
        })
    };
    paths.retain(|path| !hidden(path));
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let known = |path: &PathBuf| sniff::by_ending(&path.to_string_lossy()).is_some();
    let files = files
        .iter()
        .filter(|path| known(path))
        .map(|path| name(path));
    let files = files.collect::<Result<Vec<_>>>()?;
    match folders.first() {
        _ if !files.is_empty() => Ok(files),
        Some(inner) => Err(bad(
            &shown,
            format_args!(
                "holds no file that is read, only folders; name those ({}, ...)",
                inner.display()
            ),
        )),
        None => Err(bad(
            &shown,
            "holds no file that is read (.arrow, .arrows, .feather, .ipc, .parquet, .jsonl, .ndjson, \
             .csv, the last three also .gz or .zst); name the files",
        )),
    }
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
