//! The limit on open files: a relay needs a descriptor an allocation, a recorder some a participant, and the usual soft
//! limit is 1024.
#![allow(unsafe_code)]

use std::io;

/// Raises the soft limit to the hard one, which needs no privilege; gives the limit that holds from now on.
///
/// # Errors
/// The system refuses, which it should not.
pub fn raise_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer names one live rlimit that nobody else uses.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above, and only read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    #[test]
    fn raising_twice_gives_the_same() {
        assert_eq!(super::raise_limit().unwrap(), super::raise_limit().unwrap());
    }
}
