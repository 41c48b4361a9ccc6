//! Where a recording lies in storage: the operator's template with its placeholders filled in, and the recording's id, so that
//! no two recordings ever share a folder.
//!
//! Room names come from users. What they may contain is allowed in keys but for a dot at the start, which becomes `_`.

use signalling::{RecordingId, RoomName};
use time::OffsetDateTime;

/// The longest folder without the id, in bytes: keys have 512, and file names follow.
const LONGEST: usize = 256;

/// Why a template leads nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FolderError {
    /// Something else stands in braces, or a brace stands alone.
    #[error(
        "{0:?} is no placeholder; there are {{room}}, {{room_id}}, {{date}}, {{year}}, {{month}}, {{day}} and {{hour}}"
    )]
    Placeholder(String),
    /// A part is empty, begins with a dot or has a character that keys must not have.
    #[error("{0:?} must be names of a-z, A-Z, 0-9, '-', '_' and '.', not beginning with '.', with '/' between them")]
    Names(String),
    /// It is too long.
    #[error("it can be longer than {LONGEST} bytes")]
    Length,
}

/// The folder of a recording that begins at `at_ms`, milliseconds since 1970; dates are in UTC.
///
/// # Errors
/// [`FolderError`], the same for every room and time unless it is about the length.
pub(crate) fn folder(
    template: &str,
    room: &RoomName,
    room_id: &str,
    id: &RecordingId,
    at_ms: u64,
) -> Result<String, FolderError> {
    let seconds = i64::try_from(at_ms / 1000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        let (name, after) = after.split_once('}').ok_or_else(|| FolderError::Placeholder(format!("{{{after}")))?;
        match name {
            "room" => path.push_str(&safe_name(room.as_str())),
            "room_id" => path.push_str(room_id),
            "date" => path.push_str(&format!("{year:04}-{month:02}-{day:02}")),
            "year" => path.push_str(&format!("{year:04}")),
            "month" => path.push_str(&format!("{month:02}")),
            "day" => path.push_str(&format!("{day:02}")),
            "hour" => path.push_str(&format!("{:02}", at.hour())),
            other => return Err(FolderError::Placeholder(format!("{{{other}}}"))),
        }
        rest = after;
    }
    path.push_str(rest);
    if path.len() > LONGEST {
        return Err(FolderError::Length);
    }
    if !path.split('/').all(is_name) {
        return Err(FolderError::Names(template.to_owned()));
    }
    Ok(format!("{path}/{id}"))
}

/// Checks a template for every room and time.
///
/// # Errors
/// [`FolderError`].
pub(crate) fn check(template: &str) -> Result<(), FolderError> {
    let longest = RoomName::parse("x".repeat(64)).expect("64 letters are a room name");
    let id = RecordingId::parse("x").expect("a letter is a recording id");
    folder(template, &longest, &"x".repeat(20), &id, 0).map(drop)
}

/// A name that may be a part of a key, of any text: what keys must not have is left out.
pub(crate) fn safe_name(text: &str) -> String {
    let kept = text.chars().filter(|c| c.is_ascii() && is_allowed(*c as u8)).collect::<String>();
    kept.strip_prefix('.').map_or(kept.clone(), |rest| format!("_{rest}"))
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_allowed)
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20 21:05:03 UTC.
    const AT: u64 = 1_795_208_703_000;

    fn of(template: &str, room: &str) -> Result<String, FolderError> {
        let id = RecordingId::parse("r1").expect("an id");
        folder(template, &RoomName::parse(room).expect("a name"), "abc", &id, AT)
    }

    #[test]
    fn placeholders_are_filled_in() {
        for (template, expected) in [
            ("{room_id}", "abc/r1"),
            ("{room}", "demo/r1"),
            ("calls/{year}/{month}/{day}/{hour}-{room}", "calls/2026/11/20/21-demo/r1"),
            ("{date}.{room_id}", "2026-11-20.abc/r1"),
            ("all", "all/r1"),
        ] {
            assert_eq!(of(template, "demo").as_deref(), Ok(expected), "{template}");
            assert_eq!(check(template), Ok(()));
        }
    }

    #[test]
    fn no_room_leaves_its_place() {
        for (room, expected) in [("..", "_./r1"), (".hidden", "_hidden/r1"), ("a..b", "a..b/r1")] {
            assert_eq!(of("{room}", room).as_deref(), Ok(expected));
        }
        assert_eq!(of("x-{room}", "..").as_deref(), Ok("x-_./r1"));
    }

    #[test]
    fn a_template_that_yields_no_key_is_refused() {
        for bad in ["", "/", "a/", "/a", "a//b", "..", ".{room}", "a/../b", "a b", "ä", "a\\b", "}", "a}b"] {
            assert_eq!(check(bad), Err(FolderError::Names(bad.into())), "{bad:?}");
        }
        for (bad, named) in [("{rom}", "{rom}"), ("{", "{"), ("a{room", "{room"), ("{}", "{}")] {
            assert_eq!(check(bad), Err(FolderError::Placeholder(named.into())), "{bad:?}");
        }
        assert_eq!(check(&"{room}".repeat(5)), Err(FolderError::Length));
        assert!(of(&"{room}".repeat(5), "demo").is_ok(), "short rooms fit");
    }

    #[test]
    fn any_text_becomes_a_name() {
        for (text, name) in [("Ada L.", "AdaL."), ("../etc", "_.etc"), ("Радия", ""), ("a/b\"c", "abc")] {
            assert_eq!(safe_name(text), name);
        }
    }
}
