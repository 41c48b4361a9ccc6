//! Loading a configuration: a TOML file, then the environment (`TERN__SECTION__KEY`), then secrets from `*_file`.
//!
//! Unknown keys are refused and every error says where it is: file, line and key, or the variable. What the values mean
//! is checked by each binary, with [`Origin::meaning`] to say where a bad one came from.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What every variable of ours starts with.
const PREFIX: &str = "TERN__";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {why}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The file is not TOML, has an unknown key or a value of the wrong type.
    #[error("{path}:{line}: {text}\n  {why}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// That line, with its section.
        text: String,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// A variable names no key or has a value of the wrong type.
    #[error("environment {name}: {why}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// A value that is well-formed but cannot work.
    #[error("{place}: {key}: {why}")]
    Meaning {
        /// File and line, variable, file in another form, or `default`.
        place: String,
        /// The key, as `section.key`.
        key: String,
        /// What is wrong and what is allowed.
        why: String,
    },
}

/// A configuration and where it came from.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The values.
    pub config: T,
    /// For errors found later.
    pub origin: Origin,
}

/// Where the values came from.
#[derive(Debug, Default)]
pub struct Origin {
    /// A file in another form, that the values were taken over from.
    foreign: Option<PathBuf>,
    path: Option<PathBuf>,
    text: String,
    variables: Vec<(String, String)>,
}

/// Reads `file` (none: defaults only), then lays `environment` over it.
///
/// # Errors
/// [`ConfigError`], which says where.
pub fn load<T>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default,
{
    let text = match file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|why| ConfigError::Read { path: path.to_path_buf(), why })?
        }
        None => String::new(),
    };
    let origin = Origin { path: file.map(Path::to_path_buf), text, ..Origin::default() };
    let config: T = toml::from_str(&origin.text).map_err(|error| origin.file_error(&error))?;
    let table: Table = toml::from_str(&origin.text).map_err(|error| origin.file_error(&error))?;
    overlay(config, table, origin, environment)
}

/// Lays `environment` over values that were taken over from `file`, which is in another form.
///
/// # Errors
/// [`ConfigError`], which says where.
pub fn load_foreign<T>(
    config: T,
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default,
{
    let origin = Origin { foreign: Some(file.to_path_buf()), ..Origin::default() };
    let table = Table::try_from(&config).unwrap_or_default();
    overlay(config, table, origin, environment)
}

fn overlay<T>(
    mut config: T,
    mut table: Table,
    mut origin: Origin,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError>
where
    T: DeserializeOwned + Serialize + Default,
{
    let types = Table::try_from(T::default()).unwrap_or_default();
    for (name, text) in environment {
        let Some(key) = key_of(&name) else { continue };
        let refuse = |why: String| ConfigError::Environment { name: name.clone(), why };
        let (section, leaf) = key
            .split_once('.')
            .ok_or_else(|| refuse(format!("must be {PREFIX}SECTION__KEY, such as {PREFIX}LOG__LEVEL")))?;
        let default = types.get(section).and_then(|section| section.get(leaf));
        let value = read_value(&text, default).map_err(refuse)?;
        let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = entry {
            section.insert(leaf.to_owned(), value);
        }
        // One variable at a time, so that the error names the one that is wrong.
        config = table.clone().try_into().map_err(|error| refuse(one_line(error.message())))?;
        origin.variables.push((key, name));
    }
    Ok(Loaded { config, origin })
}

/// `TERN__RELAY__MIN_PORT` is `relay.min_port`.
fn key_of(name: &str) -> Option<String> {
    Some(name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", "."))
}

/// A variable is text; the default of its key says what to make of it. Lists may be written `a,b` or as TOML.
fn read_value(text: &str, default: Option<&Value>) -> Result<Value, String> {
    let parsed =
        || toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    match default {
        Some(Value::String(_)) | None => Ok(Value::String(text.to_owned())),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.into()))
                .collect(),
        )),
        Some(other) => parsed().ok_or_else(|| format!("{text:?} is not {}", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list, written a,b or [\"a\", \"b\"]",
        _ => "a TOML value",
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

impl Origin {
    fn file_error(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start.min(self.text.len()));
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let text = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        let section = before.lines().rev().map(str::trim).find(|line| line.starts_with('['));
        let text = match section {
            Some(section) if !text.starts_with('[') => format!("{section} {text}"),
            _ => text.to_owned(),
        };
        let path = self.path.clone().unwrap_or_default();
        ConfigError::File { path, line, text, why: one_line(error.message()) }
    }

    /// The error for a value that is well-formed but cannot work; `key` is `section.key`.
    pub fn meaning(&self, key: &str, why: impl Into<String>) -> ConfigError {
        let variable = self.variables.iter().find(|(of, _)| of == key).map(|(_, name)| format!("environment {name}"));
        let line = || {
            let path = self.path.as_ref()?;
            Some(format!("{}:{}", path.display(), self.line_of(key)?))
        };
        let foreign = || self.foreign.as_ref().map(|path| path.display().to_string());
        let place = variable.or_else(line).or_else(foreign).unwrap_or_else(|| "default".into());
        ConfigError::Meaning { place, key: key.into(), why: why.into() }
    }

    fn line_of(&self, key: &str) -> Option<usize> {
        let (wanted, leaf) = key.split_once('.')?;
        let mut section = "";
        for (index, line) in self.text.lines().map(str::trim).enumerate() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_start_matches('[').split(']').next().unwrap_or_default().trim();
            }
            let here = line.split_once('=').is_some_and(|(name, _)| name.trim() == leaf);
            if section == wanted && here {
                return Some(index + 1);
            }
        }
        None
    }

    /// Reads a secret's file, without the white space around it.
    ///
    /// # Errors
    /// [`ConfigError::Meaning`] naming `key`.
    pub fn secret(&self, key: &str, path: &Path) -> Result<String, ConfigError> {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .map_err(|why| self.meaning(key, format!("{} cannot be read: {why}", path.display())))
    }

    /// Reads a file of secrets, one a line; empty lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// [`ConfigError::Meaning`] naming `key`.
    pub fn secrets(&self, key: &str, path: Option<&Path>) -> Result<Vec<String>, ConfigError> {
        let Some(path) = path else { return Ok(Vec::new()) };
        let text = self.secret(key, path)?;
        Ok(text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Clone, PartialEq, Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        relay: Section,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Section {
        port: u16,
        name: String,
        list: Vec<String>,
        key_file: Option<PathBuf>,
    }

    impl Default for Section {
        fn default() -> Self {
            Self { port: 1, name: "x".into(), list: Vec::new(), key_file: None }
        }
    }

    fn from(text: &str, environment: &[(&str, &str)]) -> Result<Loaded<Sample>, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sample.toml");
        std::fs::write(&path, text).expect("written");
        load(Some(&path), environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_lies_over_the_file() {
        let loaded = from(
            "[relay]\nport = 5\nname = \"file\"\n",
            &[
                ("TERN__RELAY__NAME", "0123"),
                ("TERN__RELAY__LIST", "a, b"),
                ("TERN__RELAY__KEY_FILE", "/run/key"),
                ("PATH", "/bin"),
            ],
        )
        .expect("loads");
        let expected = Section {
            port: 5,
            name: "0123".into(),
            list: vec!["a".into(), "b".into()],
            key_file: Some("/run/key".into()),
        };
        assert_eq!(loaded.config.relay, expected);
    }

    #[test]
    fn errors_say_where_and_what_is_allowed() {
        let error =
            |text, environment: &[(&str, &str)]| from(text, environment).map(|_| ()).expect_err("refused").to_string();
        let unknown = error("[relay]\nport = 5\nprot = 6\n", &[]);
        assert!(unknown.contains("sample.toml:3: [relay] prot = 6"), "{unknown}");
        assert!(unknown.contains("expected one of") && unknown.contains("`port`"), "{unknown}");
        let kind = error("[relay]\n\nport = \"x\"\n", &[]);
        assert!(kind.contains("sample.toml:3:") && kind.contains("expected u16"), "{kind}");
        let variable = error("", &[("TERN__RELAY__PROT", "6")]);
        assert!(variable.contains("TERN__RELAY__PROT") && variable.contains("`port`"), "{variable}");
        let number = error("", &[("TERN__RELAY__PORT", "many")]);
        assert!(number.contains("\"many\" is not a number"), "{number}");
        let section = error("[rely]\n", &[]);
        assert!(section.contains("sample.toml:1") && section.contains("`relay`"), "{section}");
    }

    #[test]
    fn the_environment_lies_over_what_was_taken_over() {
        let taken = Sample { relay: Section { port: 5, name: "taken".into(), ..Section::default() } };
        let over = |name: &str, value: &str| {
            load_foreign(taken.clone(), Path::new("/etc/other.conf"), [(name.to_owned(), value.to_owned())])
        };
        let loaded = over("TERN__RELAY__PORT", "7").expect("loads");
        assert_eq!((loaded.config.relay.port, loaded.config.relay.name.as_str()), (7, "taken"));
        assert!(loaded.origin.meaning("relay.port", "is 7").to_string().starts_with("environment TERN__RELAY__PORT"));
        let name = loaded.origin.meaning("relay.name", "is taken").to_string();
        assert_eq!(name, "/etc/other.conf: relay.name: is taken");
        assert!(over("TERN__RELAY__PROT", "7").is_err());
    }

    #[test]
    fn a_meaning_points_to_its_line_or_variable() {
        let loaded = from("[relay]\nname = \"a\"\n", &[("TERN__RELAY__PORT", "7")]).expect("loads");
        let name = loaded.origin.meaning("relay.name", "must not be a").to_string();
        assert!(name.contains("sample.toml:2: relay.name: must not be a"), "{name}");
        let port = loaded.origin.meaning("relay.port", "is 7").to_string();
        assert!(port.starts_with("environment TERN__RELAY__PORT: relay.port"), "{port}");
        assert!(loaded.origin.meaning("relay.list", "is empty").to_string().starts_with("default: relay.list"));
    }
}
