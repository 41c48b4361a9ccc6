//! The sources: sizes, names of files, what must not be written, purity beyond what clippy sees.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{files, files_named, none, read, root};

/// Lines of product code in a file, at most: beyond it, a second concept has moved in.
const MAX_LINES: usize = 600;

/// Files that are text which we wrote.
const TEXT: [&str; 14] =
    ["rs", "toml", "md", "js", "html", "css", "sh", "yml", "yaml", "json", "lock", "Makefile", "Dockerfile", "run"];

/// The lines of a Rust file, without the items that only tests see, each with its number.
fn product(source: &str) -> impl Iterator<Item = (usize, &str)> {
    // Where the skipped item ends: at the brace that stands as far in as its attribute.
    let mut end: Option<String> = None;
    let mut in_body = false;
    source.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(move |(_, line)| {
        if let Some(brace) = &end {
            in_body |= line.ends_with('{');
            if line == brace || (!in_body && line.ends_with([';', '}'])) {
                end = None;
            }
            return false;
        }
        let test_only = line.trim_start() == "#[cfg(test)]";
        if test_only {
            end = Some(line.replace("#[cfg(test)]", "}"));
            in_body = false;
        }
        !test_only
    })
}

#[test]
fn what_only_tests_see_is_no_product() {
    let source = "a\n#[cfg(test)]\nmod tests;\nb\n    #[cfg(test)]\n    fn x() {\n        c\n    }\nd\n\
                  #[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn y() {\n    }\n}\ne\n";
    assert_eq!(product(source).collect::<Vec<_>>(), [(1, "a"), (4, "b"), (9, "d"), (16, "e")]);
}

fn too_long(path: &Path, source: &str) -> Option<String> {
    let lines = product(source).count();
    (lines > MAX_LINES).then(|| format!("{}: {lines} product lines, at most {MAX_LINES}", path.display()))
}

#[test]
fn files_hold_one_concept() {
    let sources = ["rs", "js"].into_iter().flat_map(|end| files_named("", &format!(".{end}")));
    none(sources.filter_map(|path| too_long(&path, &read(&path))).collect());
    let long = format!("{}#[cfg(test)]\nmod tests {{}}\n", "x\n".repeat(MAX_LINES));
    assert_eq!(too_long(Path::new("a"), &long), None);
    assert!(too_long(Path::new("a"), &"x\n".repeat(MAX_LINES + 1)).is_some());
}

#[test]
fn modules_open_with_a_header() {
    let bare = |path: &PathBuf| !has_header(path, &read(path));
    let bare = files_named("", ".rs").into_iter().filter(bare);
    none(bare.map(|path| format!("{}: no //! header", path.display())).collect());
    assert!(!has_header(Path::new("a.rs"), "fn main() {}\n"));
}

/// A `main` of a few lines says what it is by itself.
fn has_header(path: &Path, source: &str) -> bool {
    source.starts_with("//! ") || (path.ends_with("main.rs") && source.lines().count() < 10)
}

#[test]
fn folders_of_modules_have_named_files() {
    let found = files_named("", "mod.rs").into_iter().filter(|path| path.ends_with("mod.rs"));
    none(found.map(|path| format!("{}: name it after its folder", path.display())).collect());
}

/// Lines that name a machine's own paths or leave work behind. The words are put together here, so that this file is
/// not its own first finding.
fn left_behind(path: &Path, text: &str) -> Vec<String> {
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"]].map(|w| w.concat());
    let found = |line: &str| words.iter().find(|word| line.contains(word.as_str())).cloned();
    let lines = text.lines().enumerate().filter_map(|(at, line)| found(line).map(|word| (at + 1, word)));
    lines.map(|(at, word)| format!("{}:{at}: {word}", path.display())).collect()
}

#[test]
fn nothing_is_left_behind() {
    let is_text = |path: &Path| {
        let name = path.extension().or(path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
        TEXT.contains(&name.as_str())
    };
    let found = files("").into_iter().filter(|path| is_text(path)).flat_map(|path| left_behind(&path, &read(&path)));
    none(found.collect());
    assert_eq!(left_behind(Path::new("a"), &["ok", &["// TO", "DO later"].concat()].join("\n")).len(), 1);
}

/// What clippy's lists cannot say: a pure crate neither waits, nor locks, nor names a runtime or a system's handle.
fn impure(path: &Path, source: &str) -> Vec<String> {
    let words = [
        "tokio::",
        "mio::",
        "async fn",
        "async move",
        ".await",
        "std::fs",
        "std::thread",
        "std::process",
        "Mutex<",
        "RwLock<",
        "UdpSocket",
        "TcpStream",
        "TcpListener",
        "Instant::now",
        "SystemTime::now",
        "thread_local!",
    ];
    let code = product(source).filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found = code.filter_map(|(at, line)| words.iter().find(|word| line.contains(**word)).map(|word| (at, word)));
    found.map(|(at, word)| format!("{}:{at}: {word}", path.display())).collect()
}

#[test]
fn crates_are_pure() {
    let sources = files_named("crates", ".rs").into_iter().filter(|path| is_product(path));
    none(sources.flat_map(|path| impure(&path, &read(&path))).collect());
    let sample = "// std::fs is only a word here\nuse std::fs::File;\nlet now = Instant::now();\n";
    assert_eq!(impure(Path::new("a"), sample), ["a:2: std::fs", "a:3: Instant::now"]);
}

/// Where a file makes MACs or digests of secrets, whatever is compared with them is compared in constant time.
fn hasty(path: &Path, source: &str) -> Vec<String> {
    let secrets = ["mac_over(", ".tag(", ".finalize()", "digest(", "secret", "signature", "cookie)", "ticket)"];
    let careful = source.contains("Hmac<") || source.contains("ct_eq");
    let code = product(source).filter(|(_, line)| careful && !line.trim_start().starts_with("//"));
    // The kind of a MAC is no secret.
    let is_careful = |line: &str| line.contains("ct_eq") || line.contains("Mac::");
    let signs = [" == ", " != ", ".eq(", "starts_with(", "contains("];
    let compares = |line: &str| !is_careful(line) && signs.iter().any(|sign| line.contains(sign));
    let found = code.filter(|(_, line)| compares(line) && secrets.iter().any(|secret| line.contains(secret)));
    found.map(|(at, line)| format!("{}:{at}: {}", path.display(), line.trim())).collect()
}

/// Rule: abuse-13
#[test]
fn secrets_are_compared_in_constant_time() {
    let folders = ["crates/turn", "turn-server/src"].into_iter().flat_map(|folder| files_named(folder, ".rs"));
    let sources: Vec<_> = folders.filter(|path| is_product(path)).map(|path| (read(&path), path)).collect();
    let careful = sources.iter().filter(|(source, _)| source.contains("ct_eq")).count();
    assert!(careful >= 5, "the sources are where they were: {careful}");
    none(sources.iter().flat_map(|(source, path)| hasty(path, source)).collect());
    let sample = "use hmac::Hmac;\ntype Tag = Hmac<Sha1>;\nlet good = self.tag(seconds) == given;\n// secret == x\n";
    assert_eq!(hasty(Path::new("a"), sample), ["a:3: let good = self.tag(seconds) == given;"]);
}

/// Tests and examples of a crate may touch the world; modules of tests are recognised by their place.
fn is_product(path: &Path) -> bool {
    let place = path.to_string_lossy();
    place.contains("/src/")
        && !place.contains("/tests/")
        && !place.ends_with("/tests.rs")
        && !place.contains("/testing")
}

#[test]
fn fuzz_targets_have_a_corpus_and_are_replayed() {
    let targets: BTreeSet<String> = files_named("fuzz", ".rs")
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("fuzz_targets"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    let listed = read("fuzz/src/lib.rs");
    let mut wrong = Vec::new();
    for target in &targets {
        let corpus = root().join("fuzz/corpus").join(target);
        if !corpus.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            wrong.push(format!("fuzz target {target}: no corpus"));
        }
        if !listed.contains(&format!("\"{target}\"")) {
            wrong.push(format!("fuzz target {target}: not in the replay table of fuzz/src/lib.rs"));
        }
    }
    none(wrong);
}
