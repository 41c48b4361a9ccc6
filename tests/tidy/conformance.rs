//! Tests name the rules that they prove; the rules exist, and the document shows both.

use std::collections::BTreeSet;

use tests::conformance::{PASS, parse_proofs, parse_rules, proofs, render, rules};

use super::{none, read};

#[test]
fn rules_that_tests_name_exist() {
    let rules = rules().expect("tests/rules.txt is well-formed");
    let known: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let mut wrong = Vec::new();
    for proof in proofs().expect("markers stand above tests") {
        let unknown = proof.rules.iter().filter(|rule| !known.contains(rule.as_str()));
        wrong.extend(unknown.map(|rule| format!("{}: tests/rules.txt has no rule {rule:?}", proof.test)));
    }
    none(wrong);
}

#[test]
fn the_document_is_up_to_date() {
    let (rules, proofs) = (rules().expect("well-formed"), proofs().expect("markers stand above tests"));
    // Whether they pass is what the run that this test is part of says.
    let wanted = render(&rules, &proofs, |_| PASS);
    let written = read("docs/conformance.md");
    let wanted: BTreeSet<&str> = wanted.lines().collect();
    let written: BTreeSet<&str> = written.lines().collect();
    let differ = wanted.symmetric_difference(&written).map(|line| format!("make conformance changes: {line}"));
    none(differ.collect());
}

#[test]
fn markers_are_read() {
    let marker = ["/// Rule", ": a, b"].concat();
    let source = format!("mod tests {{\n    /// What.\n    {marker}\n    #[test]\n    fn x() {{\n    }}\n}}\n");
    assert_eq!(parse_proofs(&source), Ok(vec![("tests::x".into(), vec!["a".into(), "b".into()])]));
    assert!(parse_proofs(&format!("{marker}\nstruct X;\n")).is_err());
    assert!(parse_rules("# Part\na | RFC 1 2 | says\na | x | y\n").is_err());
    assert!(parse_rules("a | b\n").is_err());
}
