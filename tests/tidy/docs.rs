//! The prose: links lead somewhere, settings and commands that are named exist, the status table is whole.

use std::collections::BTreeSet;
use std::path::Path;

use super::{files, files_named, none, read, root};

/// What the product was asked for; README says of each how far it is.
const ASKED_FOR: [&str; 11] = [
    "STUN/TURN relay",
    "Time-limited credentials",
    "SFU",
    "Mesh",
    "Signalling",
    "Quality monitor",
    "Recorder",
    "S3",
    "REST API",
    "Web client",
    "Containers",
];

/// The targets of the links in a text, outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code; a link whose text is code ends in the piece after it.
        for piece in line.split('`').step_by(2) {
            found.extend(piece.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned));
        }
    }
    found
}

/// The names that a text's headings can be linked by, as the usual renderers make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// Links of a file that lead nowhere.
fn dead_links(path: &Path, text: &str) -> Vec<String> {
    let mut dead = Vec::new();
    for link in links(text) {
        let link = link.split(' ').next().unwrap_or_default();
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
        let folder = path.parent().unwrap_or(Path::new(""));
        let target = if file.is_empty() { path.to_path_buf() } else { folder.join(file) };
        if !root().join(&target).exists() {
            dead.push(format!("{}: {link} does not exist", path.display()));
        } else if let Some(anchor) = anchor
            && !anchors(&read(&target)).contains(anchor)
        {
            dead.push(format!("{}: no heading for {link}", path.display()));
        }
    }
    dead
}

#[test]
fn links_lead_somewhere() {
    let pages = files_named("", ".md");
    assert!(pages.iter().any(|page| page == Path::new("README.md")), "the walk does not see README.md");
    none(pages.iter().flat_map(|page| dead_links(page, &read(page))).collect());
}

#[test]
fn a_dead_link_is_noticed() {
    let text = "[a](nowhere.md) [b](README.md) `[c](code.md)` [`d`](gone.rs) [e](README.md#no-such-heading)\n\
                ```\n[f](x)\n```\n";
    let dead = dead_links(Path::new("SAMPLE.md"), text);
    assert_eq!(
        dead,
        [
            "SAMPLE.md: nowhere.md does not exist",
            "SAMPLE.md: gone.rs does not exist",
            "SAMPLE.md: no heading for README.md#no-such-heading",
        ]
    );
    assert!(anchors("## Where is what?\n").contains("where-is-what"));
}

#[test]
fn the_status_table_names_everything_that_was_asked_for() {
    let readme = read("README.md");
    let status =
        readme.split("\n## ").find(|section| section.starts_with("Status")).expect("README has a Status section");
    let rows: Vec<&str> = status.lines().filter(|line| line.starts_with("| ")).collect();
    let named = |item: &&&str| !rows.iter().any(|row| row.starts_with(&format!("| {item}")));
    none(ASKED_FOR.iter().filter(named).map(|item| format!("README's status table has no row for {item}")).collect());
}

#[test]
fn sample_configurations_are_explained() {
    let pages: String = ["README.md", "docs/operations.md"].iter().map(read).collect();
    for sample in ["config/turn-server.toml", "config/recorder.toml"] {
        assert!(root().join(sample).exists(), "{sample} is missing");
        assert!(pages.contains(sample), "neither README nor docs/operations.md names {sample}");
    }
}

/// The targets of the Makefile.
fn targets(makefile: &str) -> BTreeSet<&str> {
    let lines = makefile.lines().filter(|line| line.contains(": ## "));
    lines.filter_map(|line| line.split(':').next()).collect()
}

/// Commands in a text that the Makefile does not know.
fn unknown_commands(text: &str, known: &BTreeSet<&str>) -> Vec<String> {
    let named = text.split("`make ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next());
    named.filter(|name| !known.contains(name)).map(|name| format!("make {name} does not exist")).collect()
}

#[test]
fn commands_that_are_named_exist() {
    let makefile = read("Makefile");
    let known = targets(&makefile);
    none(files_named("", ".md").iter().flat_map(|page| unknown_commands(&read(page), &known)).collect());
    assert_eq!(unknown_commands("say `make nonsense` or `make test`", &known), ["make nonsense does not exist"]);
}

#[test]
fn scripts_are_used() {
    // A script that neither the Makefile nor another script starts is dead.
    let users: String = files("").iter().filter(|path| is_user(path)).map(read).collect();
    let scripts = files_named("scripts", ".sh").into_iter().map(|path| path.to_string_lossy().into_owned());
    let unused = scripts.filter(|name| !users.contains(name.trim_start_matches("scripts/")));
    none(unused.map(|name| format!("nothing starts {name}")).collect());
}

fn is_user(path: &Path) -> bool {
    path == Path::new("Makefile") || path.starts_with("scripts") || path.starts_with(".ci")
}
