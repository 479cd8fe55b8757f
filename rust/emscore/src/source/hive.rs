//! What folders called `key=value` on the way to a file say of all of its rows.

use std::path::{Component, Path};

/// Keys and values, unescaped; of a key that comes twice the last value.
pub(super) fn said(name: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let folders = Path::new(name)
        .parent()
        .into_iter()
        .flat_map(Path::components);
    for folder in folders {
        let Component::Normal(folder) = folder else {
            continue;
        };
        let Some((key, value)) = folder.to_str().and_then(|folder| folder.split_once('=')) else {
            continue;
        };
        let (key, value) = (unescaped(key), unescaped(value));
        found.retain(|(other, _)| *other != key);
        found.push((key, value));
    }
    found
}

/// `%41` is `A`, as in a URL.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|code| str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
