//! The lines of a `turnserver.conf`, cut as coturn cuts them. What they mean is not known here.

use super::values::Set;

/// coturn reads lines into a buffer of this size, and would take the rest for another line.
const LONGEST: usize = 1023;

/// A line that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    pub(super) name: &'a str,
    /// Empty where there is none.
    pub(super) value: &'a str,
}

impl Line<'_> {
    /// The value as `read` reads it, with the line that it comes from.
    pub(super) fn set<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Set<T>, String> {
        Ok(Set { line: self.number, value: read(self.value)? })
    }
}

/// The lines that are neither empty nor comments; an error has the line's number.
pub(super) fn read(text: &str) -> impl Iterator<Item = Result<Line<'_>, (usize, String)>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let number = index + 1;
        if line.len() > LONGEST {
            return Some(Err((number, format!("coturn reads lines of at most {LONGEST} bytes"))));
        }
        let line = line.trim();
        (!line.is_empty() && !line.starts_with('#')).then(|| Ok(cut(number, line)))
    })
}

/// `name`, `name value`, `name=value`, `name = "value"`.
fn cut(number: usize, line: &str) -> Line<'_> {
    let separator = |letter: char| letter == ' ' || letter == '=' || letter == '\t';
    let (name, rest) = line.split_once(separator).unwrap_or((line, ""));
    let value = rest.trim_start_matches(separator);
    let value = value.strip_prefix('"').map_or(value, |inner| inner.strip_suffix('"').unwrap_or(inner));
    Line { number, name, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_coturn_does() {
        let text = "# x\n\n  realm=a b \nno-tcp\nmin-port\t= 5\ncli-password=\"a=b\"\nuser=a:=\r\n";
        let lines: Vec<_> =
            read(text).map(|line| line.map(|line| (line.number, line.name, line.value)).unwrap()).collect();
        let wanted = [
            (3, "realm", "a b"),
            (4, "no-tcp", ""),
            (5, "min-port", "5"),
            (6, "cli-password", "a=b"),
            (7, "user", "a:="),
        ];
        assert_eq!(lines, wanted);
        assert_eq!(read(&"x".repeat(1024)).next().unwrap().unwrap_err().0, 1);
    }
}
