//! An import as a file of ours: what differs from the defaults, and a comment for each remark.

use super::Import;
use crate::config::Config;

/// Why no section can fail to become TOML: it has strings, numbers, switches and lists of them.
const PLAIN: &str = "a configuration is a table of plain values";

pub(super) fn toml(import: &Import) -> String {
    let ours = toml::Table::try_from(&import.config).expect(PLAIN);
    let defaults = toml::Table::try_from(Config::default()).expect(PLAIN);
    let mut changed = toml::Table::new();
    for (section, keys) in ours {
        let default = defaults.get(&section);
        let toml::Value::Table(keys) = keys else { continue };
        let keys = keys.into_iter().filter(|(key, value)| default.and_then(|section| section.get(key)) != Some(value));
        let keys: toml::Table = keys.collect();
        if !keys.is_empty() {
            changed.insert(section, toml::Value::Table(keys));
        }
    }
    let mut text =
        String::from("# Taken over from coturn. What is not here has its default: see config/turn-server.toml.\n");
    for remark in &import.remarks {
        // A remark quotes the file, and must not leave its comment.
        let line = remark.to_string().replace(char::is_control, " ");
        text.push_str(&format!("# {line}\n"));
    }
    text.push('\n');
    text.push_str(&toml::to_string(&changed).expect(PLAIN));
    text
}
