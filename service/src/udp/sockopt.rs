//! Socket options that no library sets for us. One function an option; nothing else.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Clears DF: a relay adds a header and must not lose what no longer fits the path (RFC 8656 section 14).
pub(super) fn allow_fragments(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        return set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT);
    }
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
}

/// Sends everything whole, whatever size the way takes.
pub(super) fn forbid_fragments(socket: BorrowedFd<'_>, to: SocketAddr) -> io::Result<()> {
    if to.is_ipv4() {
        return set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
    }
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)?;
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)
}

/// Keeps what the network says of sent datagrams for who asks.
pub(super) fn report_errors(socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        return set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1);
    }
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
}

/// Nobody reads receive timestamps here, and each costs time.
pub(super) fn no_timestamps(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0)
}

/// Lets the kernel join datagrams of one sender (GRO). A kernel that cannot gives single ones.
pub(super) fn receive_runs(socket: BorrowedFd<'_>) -> io::Result<()> {
    match set(socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        outcome => outcome,
    }
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the borrow's time, and the pointer names one live c_int of the given size.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
