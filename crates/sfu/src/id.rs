//! Identifiers inside the process. They print as they travel (`p7`, `t2`), the shell parses them at its edge.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl $name {
            /// Reads what [`Display`](std::fmt::Display) printed; anything else is `None`.
            pub fn parse(text: &str) -> Option<Self> {
                let digits = text.strip_prefix($prefix)?;
                let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
                canonical.then(|| digits.parse().ok().map(Self)).flatten()
            }
        }
    };
}

id!(
    /// A room of this process.
    RoomId, "r"
);
id!(
    /// A participant, given by the shell, unique for the life of the process.
    ParticipantId, "p"
);
id!(
    /// A published track, given by the worker, unique for the life of the process.
    TrackId, "t"
);
id!(
    /// Ties a reply to its command.
    RequestId, "q"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        assert_eq!(ParticipantId::parse(&ParticipantId(7).to_string()), Some(ParticipantId(7)));
        for bad in ["7", "p", "p07", "t7", "p-1", "p99999999999999999999999"] {
            assert_eq!(ParticipantId::parse(bad), None, "{bad}");
        }
    }
}
