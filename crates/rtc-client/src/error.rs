//! What can go wrong on a transport.

/// A refusal or a failure of a [`crate::Transport`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer cannot be read, or does not fit the offer.
    #[error("the answer cannot be used: {0}")]
    Answer(String),
    /// No offer waits for an answer, or an offer is made while one waits.
    #[error("no offer is due: {0}")]
    Order(&'static str),
    /// No such m-line, or it is not one that sends.
    #[error("m-line {0} sends nothing")]
    NotSending(crate::Mid),
    /// The other side did not accept this codec on the m-line.
    #[error("m-line {mid} does not carry {codec:?}")]
    Codec {
        /// The m-line.
        mid: crate::Mid,
        /// The codec.
        codec: crate::Codec,
    },
    /// A local address that cannot be a candidate (port 0, unspecified).
    #[error("{0} cannot be a candidate")]
    Candidate(std::net::SocketAddr),
    /// The frame is empty or larger than a frame may be.
    #[error("a frame of {0} bytes")]
    Frame(usize),
    /// The engine gave up; the transport is dead.
    #[error("the transport failed: {0}")]
    Engine(String),
}
