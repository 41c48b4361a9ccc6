//! The rules of the house that a compiler does not know, read from the files of the workspace.
//!
//! Each rule is a function from text to complaints, tried here on a text that breaks it, and then on the workspace.
//! What clippy or rustc can enforce belongs in `[workspace.lints]` or a clippy.toml, not here.

mod conformance;
mod docs;
mod layers;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are made, not written.
const MADE: [&str; 7] = ["target", "data", "corpus", "artifacts", "node_modules", "out", "proptest-regressions"];

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// Every written file below a folder of the workspace, sorted, as paths relative to the workspace.
fn files(below: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a folder's entry is readable").path();
            let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && ![".ci", ".config", ".cargo"].contains(&name.as_str());
            if hidden || MADE.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(below), &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(root()).expect("found below the root").to_path_buf()).collect()
}

/// The written files below a folder whose names end so.
fn files_named(below: &str, end: &str) -> Vec<PathBuf> {
    files(below).into_iter().filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Fails with all complaints at once, so that one run is enough to mend them.
#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}
