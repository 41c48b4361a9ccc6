//! Which test proves which rule: the list of rules is `tests/rules.txt`, the proofs are lines of documentation of tests,
//! `/// Rule: name, other`. Whether the tests pass is the runner's to say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A line of `tests/rules.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What tests call it.
    pub name: String,
    /// Where it is written: an RFC with sections, or a line of the list of abuse.
    pub place: String,
    /// What it says.
    pub text: String,
    /// The heading that it stands under.
    pub part: String,
}

/// A test that names rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proof {
    /// The package, as the runner calls it.
    pub package: String,
    /// The test's path in its binary.
    pub test: String,
    /// The names of the rules.
    pub rules: Vec<String>,
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// Reads the text of a list of rules.
///
/// # Errors
/// The first line that is none, or a name that comes twice.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, String> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut part = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_prefix("# ") {
            part = heading.to_owned();
            continue;
        }
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, place, says] = fields[..] else { return Err(format!("not `name | where | what`: {line}")) };
        if rules.iter().any(|rule| rule.name == name) {
            return Err(format!("{name} comes twice"));
        }
        rules.push(Rule { name: name.into(), place: place.into(), text: says.into(), part: part.clone() });
    }
    Ok(rules)
}

/// The rules of this workspace.
///
/// # Errors
/// What [`parse_rules`] says.
pub fn rules() -> Result<Vec<Rule>, String> {
    let path = root().join("tests/rules.txt");
    parse_rules(&fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// The tests of a source file that name rules, as (test's name without its module, rules).
///
/// # Errors
/// A marker that no test follows.
pub fn parse_proofs(source: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let mut found = Vec::new();
    let mut named: Vec<String> = Vec::new();
    // Inside `mod tests { … }` a test's path has one more step.
    let mut inside = "";
    for (index, line) in source.lines().enumerate() {
        let text = line.trim_start();
        if line == "mod tests {" {
            inside = "tests::";
        }
        if let Some(names) = text.strip_prefix("/// Rule:") {
            named.extend(names.split(',').map(|name| name.trim().to_owned()));
            continue;
        }
        if named.is_empty() || text.starts_with("///") || text.starts_with("#[") {
            continue;
        }
        if let Some(rest) = text.strip_prefix("async fn ").or(text.strip_prefix("fn ")) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            found.push((format!("{inside}{name}"), std::mem::take(&mut named)));
        } else {
            return Err(format!("line {}: `/// Rule:` stands above something that is no test", index + 1));
        }
    }
    if named.is_empty() { Ok(found) } else { Err("`/// Rule:` at the end of the file".into()) }
}

/// Every test of the workspace that names rules, sorted.
///
/// # Errors
/// What [`parse_proofs`] says, with the file.
pub fn proofs() -> Result<Vec<Proof>, String> {
    let mut found = Vec::new();
    for (folder, package, module) in [
        ("crates/turn/src", "turn", ""),
        ("crates/sfu/tests/sim", "sfu", ""),
        ("turn-server/src", "turn-server", ""),
        ("tests", "tests", ""),
        ("fuzz/src", "fuzz", ""),
    ] {
        for path in sources(&root().join(folder)) {
            let source = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let relative = path.strip_prefix(root().join(folder)).expect("found below the folder");
            let steps = relative.with_extension("");
            let steps = steps.to_string_lossy().replace(['/', '\\'], "::");
            let steps = if ["lib", "main", "e2e"].contains(&steps.as_str()) { "" } else { &steps };
            let proofs = parse_proofs(&source).map_err(|error| format!("{}: {error}", path.display()))?;
            for (name, rules) in proofs {
                let test = [module, steps, &name].into_iter().filter(|step| !step.is_empty()).collect::<Vec<_>>();
                found.push(Proof { package: package.into(), test: test.join("::"), rules });
            }
        }
    }
    found.sort();
    Ok(found)
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The proofs of each rule, by its name.
pub fn by_rule(proofs: &[Proof]) -> BTreeMap<&str, Vec<&Proof>> {
    let mut map: BTreeMap<&str, Vec<&Proof>> = BTreeMap::new();
    for proof in proofs {
        for rule in &proof.rules {
            map.entry(rule).or_default().push(proof);
        }
    }
    map
}

/// The document: every rule with its tests and what the runner said of them, under the headings of the list.
pub fn render(rules: &[Rule], proofs: &[Proof], result: impl Fn(&Proof) -> &'static str) -> String {
    let proofs = by_rule(proofs);
    let of = |rule: &Rule| proofs.get(rule.name.as_str()).cloned().unwrap_or_default();
    let open = rules.iter().filter(|rule| of(rule).is_empty()).count();
    let mut text = format!(
        "# Conformance of the relay\n\n\
         Made by `make conformance` from [tests/rules.txt](../tests/rules.txt) and from the tests that name its rules; do not edit.\n\
         {} rules, {open} of them open: no test of ours proves those.\n",
        rules.len()
    );
    let mut part = "";
    for rule in rules {
        if rule.part != part {
            part = &rule.part;
            text.push_str(&format!("\n## {part}\n\n| rule | where | tests | result |\n|---|---|---|---|\n"));
        }
        let tests = of(rule);
        let names: Vec<_> = tests.iter().map(|proof| format!("`{} {}`", proof.package, proof.test)).collect();
        // One that fails is enough.
        let results = || tests.iter().map(|proof| result(proof));
        let result = results().find(|result| *result != PASS).or(results().next()).unwrap_or("open");
        text.push_str(&format!("| {} | {} | {} | {result} |\n", rule.text, rule.place, names.join("<br>")));
    }
    text
}

/// The result of a test that passed.
pub const PASS: &str = "pass";
