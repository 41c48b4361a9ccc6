//! TLS over a non-blocking stream. What waits to be sent waits in the outbox, where the oldest media can still be
//! dropped: TLS is given a record's worth only when everything before has gone to the kernel.

use std::io::{self, Read as _, Write};

use mio::net::TcpStream;
use rustls::ServerConnection;

use super::outbox::Outbox;

/// Payload of the largest record (RFC 8446 section 5.1).
const RECORD: usize = 1 << 14;

/// Reads once. `None`: nothing of the application yet, but the stream may hold more; 0: the stream is over.
///
/// # Errors
/// `WouldBlock`: nothing is there. Others: the stream is broken, or what came is no TLS that we speak; the peer is told.
pub(super) fn read(tls: &mut ServerConnection, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    if let Some(length) = decrypted(tls, buffer)? {
        return Ok(Some(length));
    }
    match tls.read_tls(stream) {
        Ok(0) => return Ok(Some(0)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
        Err(error) => return Err(error),
    }
    if let Err(error) = tls.process_new_packets() {
        // An alert that does not fit into the kernel's buffer is not worth waiting for.
        let _ = tls.write_tls(stream);
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    decrypted(tls, buffer)
}

fn decrypted(tls: &mut ServerConnection, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match tls.reader().read(buffer) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // RFC 8446 section 6.1: without close_notify the stream may have been cut; it is over either way.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

/// Writes as much as `stream` takes.
///
/// # Errors
/// The stream is broken.
pub(super) fn write(tls: &mut ServerConnection, stream: &mut TcpStream, outbox: &mut Outbox) -> io::Result<()> {
    loop {
        while tls.wants_write() {
            match tls.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if outbox.is_empty() || tls.is_handshaking() {
            return Ok(());
        }
        outbox.write_to(&mut Record { tls, room: RECORD })?;
    }
}

/// Takes one record's worth, then says that it would block.
struct Record<'a> {
    tls: &'a mut ServerConnection,
    room: usize,
}

impl Write for Record<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tls.writer().write(&bytes[..bytes.len().min(self.room)])?;
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
