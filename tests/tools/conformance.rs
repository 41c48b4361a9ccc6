//! `make conformance`: joins the rules, the tests that name them and a JUnit report of the runner into a document.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tests::conformance::{PASS, Proof, proofs, render, rules};

/// Whether each test passed, by suite and name.
fn results(junit: &str) -> BTreeMap<(String, String), bool> {
    let mut found = BTreeMap::new();
    let mut suite = String::new();
    let mut last = String::new();
    for element in junit.split('<').skip(1) {
        let attribute = |name: &str| {
            let value = element.split_once(&format!(" {name}=\""))?.1;
            Some(value.split_once('"')?.0.replace("&apos;", "'").replace("&amp;", "&"))
        };
        if element.starts_with("testsuite ") {
            suite = attribute("name").unwrap_or_default();
        } else if element.starts_with("testcase ") {
            last = attribute("name").unwrap_or_default();
            found.insert((suite.clone(), last.clone()), true);
        } else if element.starts_with("failure") || element.starts_with("error") {
            // It stands inside its test.
            found.insert((suite.clone(), last.clone()), false);
        }
    }
    found
}

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: conformance JUNIT_FILE");
        return ExitCode::from(2);
    };
    let junit = std::fs::read_to_string(&path).expect("the runner wrote a report");
    let results = results(&junit);
    let of = |proof: &Proof| {
        let is = |suite: &str| suite == proof.package || suite.starts_with(&format!("{}::", proof.package));
        let found = results.iter().find(|((suite, test), _)| *test == proof.test && is(suite));
        match found {
            Some((_, true)) => PASS,
            Some((_, false)) => "**FAIL**",
            None => "**not run**",
        }
    };
    let proofs = proofs().expect("markers stand above tests");
    let rules = rules().expect("tests/rules.txt is well-formed");
    print!("{}", render(&rules, &proofs, of));
    let wrong: Vec<_> = proofs.iter().filter(|proof| of(proof) != PASS).collect();
    for proof in &wrong {
        eprintln!("{} {}: {}", proof.package, proof.test, of(proof));
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
