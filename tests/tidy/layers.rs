//! The arrows between packages, read from their manifests.

use std::collections::BTreeMap;

use super::{files_named, none, read, root};

/// Who may depend on which packages of ours: in the product, and beside that in its own tests.
const ARROWS: [(&str, &[&str], &[&str]); 11] = [
    ("turn", &[], &["netsim"]),
    ("rtp", &[], &[]),
    ("sfu", &["rtp"], &["rtc-client", "netsim", "signalling"]),
    ("signalling", &[], &[]),
    ("rtc-client", &["rtp", "signalling"], &["netsim"]),
    ("webm", &[], &[]),
    ("session", &["rtc-client", "signalling", "webm"], &[]),
    ("netsim", &[], &[]),
    ("service", &[], &[]),
    ("turn-server", &["turn", "sfu", "signalling", "service"], &["rtc-client", "netsim"]),
    ("recorder", &["rtc-client", "session", "signalling", "webm", "service"], &["netsim"]),
];

/// Packages that prove the others: they may use all, nobody may use them.
const PROVERS: [&str; 3] = ["tests", "bench", "fuzz"];

/// The WebRTC engine can be replaced while only these name it.
const ENGINE_USERS: [&str; 2] = ["sfu", "rtc-client"];

/// What would bring the outside world into a pure crate.
const IMPURE: [&str; 12] = [
    "tokio",
    "mio",
    "socket2",
    "quinn-udp",
    "libc",
    "reqwest",
    "axum",
    "hyper",
    "crossbeam-channel",
    "tracing-subscriber",
    "prometheus-client",
    "service",
];

/// What relay and rooms must not know: text formats and the web are the shell's.
const NOT_IN_CORES: [&str; 5] = ["serde_json", "http", "axum", "prometheus-client", "jsonwebtoken"];

/// The names under a table of dependencies.
fn names(manifest: &toml::Table, table: &str) -> Vec<String> {
    manifest.get(table).and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

/// What is wrong with the dependencies of a package.
fn check(package: &str, manifest: &toml::Table, pure: bool, ours: &[&str]) -> Vec<String> {
    let (product, tests) = (names(manifest, "dependencies"), names(manifest, "dev-dependencies"));
    let mut wrong = Vec::new();
    if !PROVERS.contains(&package) {
        let Some((_, allowed, in_tests)) = ARROWS.iter().find(|(name, ..)| *name == package) else {
            return vec![format!("{package}: a new package needs its row in tests/tidy/layers.rs")];
        };
        let is_ours = |name: &&String| ours.contains(&name.as_str());
        for name in product.iter().filter(is_ours).filter(|name| !allowed.contains(&name.as_str())) {
            wrong.push(format!("{package} must not depend on {name}"));
        }
        let known = |name: &str| allowed.contains(&name) || in_tests.contains(&name);
        for name in tests.iter().filter(is_ours).filter(|name| !known(name)) {
            wrong.push(format!("the tests of {package} must not depend on {name}"));
        }
        if product.iter().any(|name| name == "str0m") && !ENGINE_USERS.contains(&package) {
            wrong.push(format!("{package} must not name the WebRTC engine"));
        }
    }
    if pure {
        for name in product.iter().filter(|name| IMPURE.contains(&name.as_str())) {
            wrong.push(format!("{package} is pure: it must not depend on {name}"));
        }
    }
    if package == "turn" || package == "sfu" {
        for name in product.iter().filter(|name| NOT_IN_CORES.contains(&name.as_str())) {
            wrong.push(format!("{package} must not know {name}"));
        }
    }
    wrong
}

/// The manifests of the workspace, by folder.
fn manifests() -> BTreeMap<String, toml::Table> {
    let all = files_named("", "Cargo.toml").into_iter().filter(|path| path.as_os_str() != "Cargo.toml");
    let parsed = all.map(|path| {
        let folder = path.parent().expect("a manifest lies in a folder").to_string_lossy().into_owned();
        (folder, read(&path).parse().unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    });
    parsed.collect()
}

fn name_of(manifest: &toml::Table) -> &str {
    manifest["package"]["name"].as_str().expect("a package has a name")
}

#[test]
fn dependencies_point_one_way() {
    let manifests = manifests();
    let ours: Vec<&str> = manifests.values().map(name_of).collect();
    let wrong = manifests
        .iter()
        .flat_map(|(folder, manifest)| check(name_of(manifest), manifest, folder.starts_with("crates/"), &ours));
    none(wrong.collect());
}

#[test]
fn a_forbidden_arrow_is_noticed() {
    let manifest = "[dependencies]\nsfu = 1\ntokio = 1\nserde_json = 1\nstr0m = 1\n[dev-dependencies]\nservice = 1\n";
    let wrong = check("turn", &manifest.parse().expect("the sample is TOML"), true, &["turn", "sfu", "service"]);
    assert_eq!(
        wrong,
        [
            "turn must not depend on sfu",
            "the tests of turn must not depend on service",
            "turn must not name the WebRTC engine",
            "turn is pure: it must not depend on tokio",
            "turn must not know serde_json",
        ]
    );
    let stranger = check("stranger", &toml::Table::new(), false, &[]);
    assert_eq!(stranger, ["stranger: a new package needs its row in tests/tidy/layers.rs"]);
}

#[test]
fn every_package_is_a_member_and_takes_the_lints_of_the_workspace() {
    let workspace: toml::Table = read("Cargo.toml").parse().expect("the workspace manifest is TOML");
    let members = workspace["workspace"]["members"].as_array().expect("the workspace lists its members");
    let members: Vec<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let mut wrong = Vec::new();
    for (folder, manifest) in manifests() {
        if !members.contains(&folder.as_str()) {
            wrong.push(format!("{folder} is not a member of the workspace"));
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            wrong.push(format!("{folder}/Cargo.toml does not take [workspace.lints]"));
        }
    }
    for folder in members {
        if !root().join(folder).join("Cargo.toml").exists() {
            wrong.push(format!("the member {folder} has no manifest"));
        }
    }
    none(wrong);
}
