//! The rows of the table: what the rule says, what a server should be seen to do, and how to see it.

mod abuse;
mod peers;
mod stun;
mod turn;

use super::world::World;

/// One row.
pub(crate) struct Row {
    /// The RFC with its section, or the number in the list of abuse.
    pub(crate) place: &'static str,
    pub(crate) rule: String,
    /// What is right; several ways are separated by ` or `.
    pub(crate) want: &'static str,
    pub(crate) probe: Box<dyn Fn(&mut World) -> String>,
}

impl Row {
    /// Whether what was seen is right.
    pub(crate) fn is_right(&self, seen: &str) -> bool {
        self.want.split(" or ").any(|want| want == seen)
    }
}

fn row(
    place: &'static str,
    rule: impl Into<String>,
    want: &'static str,
    probe: impl Fn(&mut World) -> String + 'static,
) -> Row {
    Row { place, rule: rule.into(), want, probe: Box::new(probe) }
}

/// What must be known to read the table.
pub(crate) const NOTES: &str = "Channel numbers from 0x5000 up were valid in RFC 5766, and clients of that time (coturn's own up to \
                                4.6) choose them: Tern takes\nthem unless told `rfc5766_channels = false`.";

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    [stun::rows(), turn::rows(), peers::rows(), abuse::rows()].into_iter().flatten().collect()
}

/// `a` or `b`.
fn either(is: bool, a: &str, b: &str) -> String {
    (if is { a } else { b }).to_owned()
}

fn code(answer: Option<super::probe::Answer>) -> String {
    answer.map_or("none".into(), |answer| answer.code().to_string())
}
