//! What a recording is started with: what was asked for, laid over the configuration, checked.

use std::collections::BTreeMap;

use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::recording::{Mode, RecordingOptions};

use super::folder;
use crate::config::RecordingConfig;

/// Tags that S3 takes on an object.
const MAX_TAGS: usize = 10;

/// Characters of a tag's key, at most.
const MAX_TAG_KEY: usize = 128;

/// Characters of a tag's value, at most.
const MAX_TAG_VALUE: usize = 256;

/// What was asked for; what is absent is as configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// What becomes a file.
    pub(crate) mode: Option<Mode>,
    /// Stop by itself after so many seconds; 0: never.
    pub(crate) max_duration_s: Option<u64>,
    /// Stop by itself once it has so many megabytes; 0: never.
    pub(crate) max_size_mb: Option<u64>,
    /// Kept in the manifest and on the objects.
    pub(crate) tags: BTreeMap<String, String>,
    /// A template of the folder.
    pub(crate) prefix: Option<String>,
    /// For how many days it is kept; 0: for ever.
    pub(crate) keep_days: Option<u32>,
}

impl Wanted {
    /// What the recorder is told.
    ///
    /// # Errors
    /// [`Code::BadRequest`]: tags that S3 would not take.
    pub(super) fn options(&self, config: &RecordingConfig) -> Result<RecordingOptions, Refusal> {
        check_tags(&self.tags).map_err(|why| Refusal::new(Code::BadRequest, format!("tags: {why}")))?;
        Ok(RecordingOptions {
            mode: self.mode.unwrap_or(config.mode),
            max_duration_s: self.max_duration_s.unwrap_or(config.max_duration_s),
            max_size_mb: self.max_size_mb.unwrap_or(config.max_size_mb),
            tags: self.tags.clone(),
        })
    }

    /// Where it lies.
    ///
    /// # Errors
    /// [`Code::BadRequest`]: `prefix` leads nowhere.
    pub(super) fn folder(
        &self,
        config: &RecordingConfig,
        room: &RoomName,
        room_id: &str,
        id: &signalling::RecordingId,
        at_ms: u64,
    ) -> Result<String, Refusal> {
        let template = self.prefix.as_ref().unwrap_or(&config.folder);
        folder::folder(template, room, room_id, id, at_ms)
            .map_err(|error| Refusal::new(Code::BadRequest, format!("prefix: {error}")))
    }
}

/// Tags as Amazon S3 allows them on objects.
fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), String> {
    if tags.len() > MAX_TAGS {
        return Err(format!("{} of them, at most {MAX_TAGS}", tags.len()));
    }
    let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " +-=._:/@".contains(c));
    for (key, value) in tags {
        if !(1..=MAX_TAG_KEY).contains(&key.chars().count()) {
            return Err(format!("the key {key:?} must have 1 to {MAX_TAG_KEY} characters"));
        }
        if value.chars().count() > MAX_TAG_VALUE {
            return Err(format!("the value of {key:?} has more than {MAX_TAG_VALUE} characters"));
        }
        if !allowed(key) || !allowed(value) {
            return Err(format!("{key:?} = {value:?} must be letters, digits, spaces and + - = . _ : / @"));
        }
        if key.to_lowercase().starts_with("aws:") {
            return Err(format!("the key {key:?} begins with aws:, which is Amazon's"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tags_are_those_of_s3() {
        let (key, value) = ("k".repeat(MAX_TAG_KEY), "ü".repeat(MAX_TAG_VALUE));
        for good in [&[][..], &[("case", "42 a+b-c=d._:/@")], &[("Fall", "")], &[(&key, &value)]] {
            assert_eq!(check_tags(&tags(good)), Ok(()));
        }
        let (long_key, long_value) = ("k".repeat(MAX_TAG_KEY + 1), "v".repeat(MAX_TAG_VALUE + 1));
        for (bad, why) in [
            (&[("", "x")][..], "1 to 128"),
            (&[(&long_key, "x")], "1 to 128"),
            (&[("x", &long_value)], "more than 256"),
            (&[("x", "a&b")], "letters, digits"),
            (&[("a\nb", "x")], "letters, digits"),
            (&[("AWS:x", "x")], "Amazon"),
        ] {
            let text = check_tags(&tags(bad)).expect_err("refused");
            assert!(text.contains(why), "{bad:?}: {text}");
        }
        let many = (0..=MAX_TAGS).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(check_tags(&many), Err("11 of them, at most 10".into()));
    }

    #[test]
    fn what_is_not_asked_for_is_as_configured() {
        let config = RecordingConfig { mode: Mode::Audio, max_size_mb: 7, ..RecordingConfig::default() };
        let options = Wanted::default().options(&config).expect("works");
        let default = RecordingConfig::default().max_duration_s;
        assert_eq!((options.mode, options.max_duration_s, options.max_size_mb), (Mode::Audio, default, 7));
        let wanted = Wanted { mode: Some(Mode::Track), max_duration_s: Some(0), ..Wanted::default() };
        let options = wanted.options(&config).expect("works");
        assert_eq!((options.mode, options.max_duration_s, options.max_size_mb), (Mode::Track, 0, 7));
    }
}
