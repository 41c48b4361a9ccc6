//! What the network says of datagrams that were sent: the error queue of a socket (ip(7), IP_RECVERR).
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// An ICMP message about a datagram, or the kernel's own word that it was too large to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkError {
    /// Where the datagram was to go.
    pub destination: SocketAddr,
    /// Type of ICMP, or of ICMPv6, as the destination is.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The MTU, where the datagram was too large; else 0.
    pub mtu: u32,
}

/// Aligned as the kernel's control messages are, and large enough for one error and the address of who sent it.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; 256]);

/// Takes the next error; `WouldBlock`: there is none.
pub(super) fn next(socket: BorrowedFd<'_>) -> io::Result<Option<NetworkError>> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut control = Control([MaybeUninit::uninit(); 256]);
    // The datagram itself comes back, too: nobody needs it.
    let mut bytes = [0u8; 1];
    let mut slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid msghdr, and each pointer below names memory that outlives the call.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: the descriptor is open for the borrow's time, and `header` is set up as recvmsg(2) wants it.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written an address of `msg_namelen` bytes over zeroes.
    let name = unsafe { name.assume_init() };
    let Some(destination) = address(&name) else { return Ok(None) };
    Ok(extended_error(&header).and_then(|error| translate(destination, &error)))
}

fn extended_error(header: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: the kernel has filled `header`; CMSG_* stay within msg_controllen, and the payload is read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(head) = message.as_ref() {
            let ours = (head.cmsg_level, head.cmsg_type);
            let wanted = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
            let whole = head.cmsg_len >= libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as u32) as usize;
            if wanted.contains(&ours) && whole {
                return Some(libc::CMSG_DATA(message).cast::<libc::sock_extended_err>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

fn translate(destination: SocketAddr, error: &libc::sock_extended_err) -> Option<NetworkError> {
    let too_large = error.ee_errno == libc::EMSGSIZE as u32;
    let (kind, code) = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => (error.ee_type, error.ee_code),
        // The first hop is ours: what a router would have said (RFC 1191, RFC 4443 section 3.2).
        libc::SO_EE_ORIGIN_LOCAL if too_large && destination.is_ipv4() => (3, 4),
        libc::SO_EE_ORIGIN_LOCAL if too_large => (2, 0),
        _ => return None,
    };
    Some(NetworkError { destination, kind, code, mtu: if too_large { error.ee_info } else { 0 } })
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer = &raw const *name;
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in lies here, and the storage is aligned and large enough.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(v4.sin_addr.s_addr);
            Some(SocketAddr::from((std::net::Ipv4Addr::from(ip), u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, with a sockaddr_in6.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::from((Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}
