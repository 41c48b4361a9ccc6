//! Identifiers as they travel: short, made by the server, safe in a URL, a file name and a log line.
//!
//! All but [`RoomName`] and [`PcId`] are ours (`[a-z0-9]+`); those two are chosen by a client and therefore parsed here, once.

use serde::{Deserialize, Serialize};

/// Why a string is not the identifier it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {allowed}")]
pub struct InvalidId {
    what: &'static str,
    allowed: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the identifier.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is empty, too long or has a character that is not allowed.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let check: fn(char) -> bool = $check;
                if text.is_empty() || text.len() > $max || !text.chars().all(check) {
                    return Err(InvalidId { what: $what, allowed: $allowed });
                }
                Ok(Self(text))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

fn ours(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

id!(
    /// A room as its users name it (`demo`, `standup-42`). Never used as a file name.
    RoomName, "a room name", 64, "1 to 64 characters of a-z, A-Z, 0-9, '-', '_', '.'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
);
id!(
    /// A participant of one room (`p7`), unique for the life of the server.
    ParticipantId, "a participant id", 32, "1 to 32 characters of a-z, 0-9", ours
);
id!(
    /// A published track (`t2`), unique for the life of the server.
    TrackId, "a track id", 32, "1 to 32 characters of a-z, 0-9", ours
);
id!(
    /// A transport (PeerConnection) of a participant, chosen by its client; a browser uses [`PcId::main`] only.
    PcId, "a pc", 32, "1 to 32 characters of a-z, 0-9", ours
);
id!(
    /// A recording, unique for ever: it is part of a storage key.
    RecordingId, "a recording id", 32, "1 to 32 characters of a-z, 0-9", ours
);
id!(
    /// A recorder process, stable over its restarts.
    RecorderId, "a recorder id", 32, "1 to 32 characters of a-z, 0-9", ours
);

impl PcId {
    /// The transport that rides inside `join`, and the one meant where a message names none.
    pub fn main() -> Self {
        Self("main".into())
    }
}

impl Default for PcId {
    fn default() -> Self {
        Self::main()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_are_parsed_at_the_edge() {
        assert!(RoomName::parse("Stand-up_1.a").is_ok());
        for bad in ["", "a b", "../x", "é", &"x".repeat(65)] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<ParticipantId>("\"P7\"").is_err());
    }
}
