//! The limit on open files: a relay needs a descriptor an allocation, a recorder some a participant, and the usual soft
//! limit is 1024.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, which needs no privilege; gives the limit that holds from now on.
///
/// # Errors
/// The system refuses, which it should not.
pub fn raise_limit() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn raising_twice_gives_the_same() {
        assert_eq!(super::raise_limit().unwrap(), super::raise_limit().unwrap());
    }
}
