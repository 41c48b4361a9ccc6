//! Taking over a coturn configuration: the text of a `turnserver.conf` in, a [`Config`] of ours and remarks out.
//!
//! Every option of coturn 4.6 to 4.17 is known by name in one table (`options`): it is used, or ignored because that is
//! harmless here, or refused because ignoring it would weaken the server or change who may use it. Nothing here reads a
//! file or asks the system; what must be known of the host comes in as [`Host`].

mod draft;
mod lines;
mod options;
mod print;
mod ranges;
mod translate;
mod values;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use crate::config::Config;
use draft::Draft;
use lines::Line;
use options::Fate;

/// What must be known of the machine that the configuration is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The addresses of its interfaces. With an IPv6 one, coturn listens there, too.
    pub addresses: Vec<IpAddr>,
    /// The server runs as root, and coturn would leave that for `proc-user`.
    pub root: bool,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fortune {
    /// The server does not start with it.
    Refused,
    /// It has no effect here, and that does no harm.
    Ignored,
    /// It works, but not quite as in coturn.
    Differs,
}

/// One remark about one option, or about the whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line that it is about, from 1; `None`: about what the file does not say.
    pub line: Option<usize>,
    /// coturn's name of the option.
    pub option: String,
    /// What becomes of it.
    pub fortune: Fortune,
    /// Why, and what to do.
    pub text: String,
}

/// A configuration that was taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// Ours. Not for use while a remark refuses something.
    pub config: Config,
    /// In the order of the lines; what is about no line comes last.
    pub remarks: Vec<Remark>,
}

/// Collects remarks.
#[derive(Debug, Default)]
struct Notes(Vec<Remark>);

impl Notes {
    fn add(&mut self, line: Option<usize>, option: &str, fortune: Fortune, text: impl Into<String>) {
        self.0.push(Remark { line, option: option.into(), fortune, text: text.into() });
    }
}

/// Reads the text of a `turnserver.conf`.
pub fn import(text: &str, host: &Host) -> Import {
    let mut notes = Notes::default();
    let mut draft = Draft::default();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for line in lines::read(text) {
        match line {
            Ok(line) => option(&line, host, &mut draft, &mut seen, &mut notes),
            Err((number, why)) => notes.add(Some(number), "", Fortune::Refused, why),
        }
    }
    let config = translate::translate(&draft, host, &mut notes);
    // Remarks about no line come last.
    notes.0.sort_by_key(|remark| remark.line.unwrap_or(usize::MAX));
    Import { config, remarks: notes.0 }
}

fn option<'a>(line: &Line<'a>, host: &Host, draft: &mut Draft, seen: &mut HashMap<&'a str, usize>, notes: &mut Notes) {
    let number = Some(line.number);
    let Some(known) = options::find(line.name) else {
        return notes.add(number, line.name, Fortune::Refused, options::unknown(line.name));
    };
    if let Some(before) = seen.insert(known.name, line.number).filter(|_| !known.many) {
        let text = format!("line {} says it again, and the last one counts", line.number);
        notes.add(Some(before), known.name, Fortune::Ignored, text);
    }
    let on = match known.is_on(line.value) {
        Ok(on) => on,
        Err(why) => return notes.add(number, known.name, Fortune::Refused, why),
    };
    match known.fate {
        Fate::Flag(set) => set(draft, values::Set { line: line.number, value: on }),
        Fate::Value(set) => {
            if let Err(why) = set(draft, line) {
                notes.add(number, known.name, Fortune::Refused, why);
            }
        }
        Fate::Ignored(why) if on => notes.add(number, known.name, Fortune::Ignored, why),
        Fate::Refused(why) if on => notes.add(number, known.name, Fortune::Refused, why),
        Fate::RefusedAsRoot(why) => {
            let fortune = if host.root { Fortune::Refused } else { Fortune::Ignored };
            notes.add(number, known.name, fortune, why);
        }
        // Switched off, which is what happens anyway.
        Fate::Ignored(_) | Fate::Refused(_) => {}
    }
}

impl Host {
    /// Whether it has an IPv6 address beside loopback.
    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|ip| ip.is_ipv6() && !ip.is_loopback())
    }
}

impl Import {
    /// The remarks that keep the server from starting.
    pub fn refusals(&self) -> impl Iterator<Item = &Remark> {
        self.remarks.iter().filter(|remark| remark.fortune == Fortune::Refused)
    }

    /// Our configuration as TOML: what differs from the defaults, and a comment for each remark.
    pub fn to_toml(&self) -> String {
        print::toml(self)
    }
}

impl fmt::Display for Fortune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Differs => "differs",
        })
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.option.is_empty() {
            write!(f, "{}: ", self.option)?;
        }
        write!(f, "{}: {}", self.fortune, self.text)
    }
}

#[cfg(test)]
mod tests;
