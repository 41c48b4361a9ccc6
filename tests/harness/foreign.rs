//! Client programs in other languages, from `tests/clients`, built where a test runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::program::{finish, in_workspace};

/// A program that was built, gone when dropped.
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    _folder: TempDir,
}

/// Builds a C program against a library that pkg-config knows.
pub fn c(source: &str, library: &str) -> Built {
    let mut flags = Command::new("pkg-config");
    flags.args(["--cflags", "--libs", library]);
    let flags = finish(flags).expect_success();
    build(source, |source, program| {
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).args([program, source]);
        compiler.args(flags.split_whitespace());
        compiler
    })
}

/// Builds a Go program with the libraries that Debian packages, and no others.
pub fn go(source: &str) -> Built {
    build(source, |source, program| {
        let mut compiler = Command::new("go");
        compiler.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
        compiler.args(["build", "-o"]).args([program, source]);
        compiler
    })
}

fn build(source: &str, compiler: impl FnOnce(&Path, &Path) -> Command) -> Built {
    let folder = TempDir::with_prefix("tern-client-").expect("a folder");
    let path = folder.path().join("client");
    finish(compiler(&in_workspace("tests/clients").join(source), &path)).expect_success();
    Built { path, _folder: folder }
}
