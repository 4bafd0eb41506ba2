//! The files of the repository.

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).expect("this crate is two folders deep").to_owned()
}

/// The text of a file of the repository.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// Every file below a folder of the repository whose name ends so, sorted; build output left out.
///
/// # Panics
/// If a folder cannot be listed.
pub fn folder_of(folder: impl AsRef<Path>, ending: &str) -> Vec<PathBuf> {
    const NOT_OURS: [&str; 3] = [".git", "runs", "fuzz"];
    let mut found = Vec::new();
    let mut folders = vec![folder.as_ref().to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root().join(&folder))
            .unwrap_or_else(|error| panic!("{} cannot be listed: {error}", folder.display()));
        for entry in entries {
            let entry = entry.expect("an entry of a folder");
            let name = entry.file_name().into_string().expect("names of files are text");
            let path = folder.join(&name);
            if entry.file_type().expect("the type of a file").is_dir() {
                // What is built stands in `target`; deeper down that is a word like others.
                if path != Path::new("target") && !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file below a folder, with its text.
pub fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    folder_of(folder, ".rs").into_iter().map(|path| (path.clone(), read(path))).collect()
}

/// A Rust file without comments and without its test module, which stands at its end.
pub fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let code = |line: &&str| !line.trim_start().starts_with("//");
    text[..end].lines().filter(code).collect::<Vec<_>>().join("\n")
}
