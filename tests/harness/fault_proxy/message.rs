//! Requests and answers of HTTP/1.1 as they are: a head and a body, unchanged but where a fault changes them.

use std::io;

use service::storage::md5_hex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest head that is read.
const MAX_HEAD: usize = 64 * 1024;

/// A request or an answer.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Request or status line and headers, with the empty line.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The message as it goes over the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Method and target of a request.
    pub(super) fn request(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// Changes a byte in the middle of the body or, without one, a digit of the ETag; `false`: there is neither.
    pub(super) fn damage(&mut self) -> bool {
        let middle = self.body.len() / 2;
        if let Some(byte) = self.body.get_mut(middle) {
            *byte ^= 0x20;
            return true;
        }
        let etag = "\netag: \"";
        let Some(at) = self.head.to_ascii_lowercase().find(etag).map(|at| at + etag.len()) else { return false };
        let digit = if self.head[at..].starts_with('0') { "1" } else { "0" };
        self.head.replace_range(at..=at, digit);
        true
    }

    fn answer(status: u16, headers: &str, body: String) -> Self {
        let head = format!("HTTP/1.1 {status} Fault\r\n{headers}content-length: {}\r\n\r\n", body.len());
        Self { head, body: body.into_bytes() }
    }

    /// An error of S3.
    pub(super) fn error(status: u16) -> Self {
        let code = match status {
            403 => "ExpiredToken",
            503 => "SlowDown",
            _ => "InternalError",
        };
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        let body = format!("{text}<Error><Code>{code}</Code><Message>a fault of the tests</Message></Error>");
        Self::answer(status, "content-type: application/xml\r\n", body)
    }

    /// An answer that says that a request was done, with the digest that one expects.
    pub(super) fn pretence(request: &Self) -> Self {
        match request.request().0 {
            "PUT" => Self::answer(200, &format!("etag: \"{}\"\r\n", md5_hex(&request.body)), String::new()),
            "DELETE" => Self::answer(204, "", String::new()),
            _ => Self::answer(200, "", String::new()),
        }
    }
}

/// Reads a request; `None`: the connection ended before one.
pub(super) async fn read_message(socket: &mut TcpStream, continues: bool) -> io::Result<Option<Message>> {
    let Some((head, mut body)) = read_head(socket).await? else { return Ok(None) };
    let mut message = Message { head, body: Vec::new() };
    if continues && message.header("expect").is_some() {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = message.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    read_rest(socket, &mut body, length).await?;
    message.body = body;
    Ok(Some(message))
}

/// Reads an answer; one to HEAD has no body, whatever its head says.
pub(super) async fn read_answer(socket: &mut TcpStream, head_only: bool) -> io::Result<Message> {
    let (head, mut body) = read_head(socket).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut message = Message { head, body: Vec::new() };
    let bare = head_only || message.head.starts_with("HTTP/1.1 1") || message.head.starts_with("HTTP/1.1 204");
    if bare {
        return Ok(message);
    }
    match message.header("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => read_rest(socket, &mut body, length).await?,
        // Chunked: it is passed on as it came, up to its last chunk.
        None => {
            while !body.ends_with(b"0\r\n\r\n") {
                read_some(socket, &mut body).await?;
            }
        }
    }
    message.body = body;
    Ok(message)
}

async fn read_head(socket: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8(bytes).map_err(io::Error::other)?, rest)));
        }
        if bytes.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let empty = bytes.is_empty();
        match read_some(socket, &mut bytes).await {
            Err(error) if empty && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
    }
}

async fn read_rest(socket: &mut TcpStream, body: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while body.len() < length {
        read_some(socket, body).await?;
    }
    Ok(())
}

async fn read_some(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 65536];
    match socket.read(&mut chunk).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            bytes.extend_from_slice(&chunk[..n]);
            Ok(())
        }
    }
}
